//! A response as Binary HTTP with indeterminate length (RFC 9292 §3.2), written
//! and read piece by piece. Its end is written, so that a response without one
//! was cut, whatever the encapsulation says.

use super::fields::{Field, MAX_FIELDS, MAX_SECTION_BYTES, read_one};
use super::framing::{put_length, take_length};
use super::{SealedFormatError, message};
use crate::reader::Reader;

const INDETERMINATE: u64 = 3;
/// Most bytes of one piece of content: a chunk's.
const MAX_PIECE: usize = super::MAX_CHUNK_BYTES;

/// Status and header fields of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// Status, from 200 to 599.
    pub status: u16,
    /// Header fields.
    pub fields: Vec<Field>,
}

impl ResponseHead {
    /// The only value of a field; `None` if there is none, or more than one.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|field| field.name == name);
        match (values.next(), values.next()) {
            (Some(field), None) => Some(&field.value),
            _ => None,
        }
    }

    /// The beginning of the response.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![3];
        put_length(&mut bytes, usize::from(self.status));
        self.fields.iter().for_each(|field| field.put(&mut bytes));
        bytes.push(0);
        bytes
    }
}

/// A piece of a response's content; nothing for no bytes, which would be its end.
#[must_use]
pub fn response_content(content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(content.len().saturating_add(8));
    for piece in content.chunks(MAX_PIECE) {
        put_length(&mut bytes, piece.len());
        bytes.extend_from_slice(piece);
    }
    bytes
}

/// The end of a response: of its content, and of its trailer fields.
#[must_use]
pub const fn response_end() -> [u8; 2] {
    [0, 0]
}

/// What has been read of a response.
#[derive(Clone, PartialEq, Eq)]
pub enum ResponsePiece {
    /// Its status and fields; the first piece.
    Head(ResponseHead),
    /// Content.
    Content(Vec<u8>),
    /// More bytes are needed, or none will come: see [`ResponseReader::finish`].
    Incomplete,
}

impl core::fmt::Debug for ResponsePiece {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Head(_) => "Head(..)",
            Self::Content(_) => "Content(..)",
            Self::Incomplete => "Incomplete",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Content,
    Trailer,
    Ended,
}

/// Reads a response as its bytes come.
#[derive(Clone)]
pub struct ResponseReader {
    held: Vec<u8>,
    stage: Stage,
}

impl core::fmt::Debug for ResponseReader {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ResponseReader")
            .field("held", &self.held.len())
            .field("stage", &self.stage)
            .finish()
    }
}

impl Default for ResponseReader {
    fn default() -> Self {
        Self::new()
    }
}

impl ResponseReader {
    /// Nothing has come yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            held: Vec::new(),
            stage: Stage::Head,
        }
    }

    /// Takes more bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next piece.
    ///
    /// # Errors
    /// [`SealedFormatError::Message`] says what was expected.
    pub fn next_piece(&mut self) -> Result<ResponsePiece, SealedFormatError> {
        let mut reader = Reader::new(&self.held);
        let piece = match self.stage {
            Stage::Head => match head(&mut reader) {
                Ok(Some(head)) => {
                    self.stage = Stage::Content;
                    ResponsePiece::Head(head)
                }
                Ok(None) if self.held.len() <= MAX_SECTION_BYTES => return Ok(ResponsePiece::Incomplete),
                Ok(None) => return Err(message("a head within 16 KiB")),
                Err(error) => return Err(error),
            },
            Stage::Content => {
                let Some(length) = take_length(&mut reader) else {
                    return Ok(ResponsePiece::Incomplete);
                };
                let length = usize::try_from(length)
                    .ok()
                    .filter(|length| *length <= MAX_PIECE)
                    .ok_or_else(|| message("content in pieces of at most 16 KiB"))?;
                if length == 0 {
                    self.stage = Stage::Trailer;
                    let left = reader.rest().len();
                    self.drop_read(left);
                    return self.next_piece();
                }
                match reader.take(length) {
                    Some(content) => ResponsePiece::Content(content.to_vec()),
                    None => return Ok(ResponsePiece::Incomplete),
                }
            }
            Stage::Trailer => {
                // No answer of an enclave's has trailer fields.
                match take_length(&mut reader) {
                    None => return Ok(ResponsePiece::Incomplete),
                    Some(0) => self.stage = Stage::Ended,
                    Some(_) => return Err(message("no trailer fields")),
                }
                let left = reader.rest().len();
                self.drop_read(left);
                return self.next_piece();
            }
            Stage::Ended if self.held.iter().any(|byte| *byte != 0) => {
                return Err(message("nothing but zeros after the response"));
            }
            Stage::Ended => {
                self.held.clear();
                return Ok(ResponsePiece::Incomplete);
            }
        };
        let left = reader.rest().len();
        self.drop_read(left);
        Ok(piece)
    }

    fn drop_read(&mut self, left: usize) {
        let read = self.held.len().saturating_sub(left);
        self.held.drain(..read);
    }

    /// Holds that the response came to its end.
    ///
    /// # Errors
    /// [`SealedFormatError::Truncated`].
    pub fn finish(&self) -> Result<(), SealedFormatError> {
        if self.stage == Stage::Ended {
            Ok(())
        } else {
            Err(SealedFormatError::Truncated)
        }
    }
}

/// The head, if all of it is there.
fn head(reader: &mut Reader<'_>) -> Result<Option<ResponseHead>, SealedFormatError> {
    let (framing, status) = match (take_length(reader), take_length(reader)) {
        (Some(framing), Some(status)) => (framing, status),
        (Some(framing), None) if framing != INDETERMINATE => {
            return Err(message("a response, framing indicator 3"));
        }
        _ => return Ok(None),
    };
    if framing != INDETERMINATE {
        return Err(message("a response, framing indicator 3"));
    }
    let status = u16::try_from(status)
        .ok()
        .filter(|status| (200..600).contains(status))
        .ok_or_else(|| message("a final status from 200 to 599"))?;
    let mut fields = Vec::new();
    loop {
        let mut ahead = *reader;
        // Whether a whole field is there is found out first: what isn't may still come.
        match take_length(&mut ahead) {
            None => return Ok(None),
            Some(0) => {
                *reader = ahead;
                return Ok(Some(ResponseHead { status, fields }));
            }
            Some(name) => {
                if fields.len() >= MAX_FIELDS || name > 16_384 {
                    return Err(message("at most 64 fields within 16 KiB"));
                }
                let whole = usize::try_from(name)
                    .ok()
                    .and_then(|name| ahead.take(name))
                    .and_then(|_| take_length(&mut ahead));
                match whole {
                    None => return Ok(None),
                    Some(value) if value > 16_384 => {
                        return Err(message("at most 64 fields within 16 KiB"));
                    }
                    Some(value) => {
                        let value = usize::try_from(value).unwrap_or(usize::MAX);
                        if ahead.take(value).is_none() {
                            return Ok(None);
                        }
                    }
                }
                fields.push(read_one(reader, fields.len())?);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head() -> ResponseHead {
        ResponseHead {
            status: 200,
            fields: vec![
                Field::new("content-type", "text/event-stream"),
                Field::new("cache-control", "no-store"),
            ],
        }
    }

    #[test]
    fn a_response_without_its_end_is_cut() {
        let mut reader = ResponseReader::new();
        reader.push(&head().encode());
        reader.push(&response_content(b"data: x"));
        assert_eq!(reader.next_piece(), Ok(ResponsePiece::Head(head())));
        assert_eq!(
            reader.next_piece(),
            Ok(ResponsePiece::Content(b"data: x".to_vec()))
        );
        assert_eq!(reader.next_piece(), Ok(ResponsePiece::Incomplete));
        assert_eq!(reader.finish(), Err(SealedFormatError::Truncated));
        reader.push(&[0]);
        assert_eq!(reader.next_piece(), Ok(ResponsePiece::Incomplete));
        assert_eq!(reader.finish(), Err(SealedFormatError::Truncated));
        reader.push(&[0]);
        assert_eq!(reader.next_piece(), Ok(ResponsePiece::Incomplete));
        assert_eq!(reader.finish(), Ok(()));
        reader.push(b"data: y");
        assert!(reader.next_piece().is_err());
    }

    #[test]
    fn an_informational_status_a_request_and_trailers_are_refused() {
        for bytes in [
            &[3, 0x40, 100, 0][..],
            &[0, 3],
            &[3, 0x42, 0x58, 0],
            &[3, 0x40, 200, 0, 0, 1],
        ] {
            let mut reader = ResponseReader::new();
            reader.push(bytes);
            let mut read = reader.next_piece();
            if matches!(read, Ok(ResponsePiece::Head(_))) {
                read = reader.next_piece();
            }
            assert!(read.is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_head_that_never_ends_is_refused() {
        let mut reader = ResponseReader::new();
        reader.push(&[3, 0x40, 200]);
        for _ in 0..65 {
            reader.push(&[1, b'x', 1, b'y']);
        }
        assert!(reader.next_piece().is_err());
        let mut reader = ResponseReader::new();
        reader.push(&[3, 0x40, 200, 1, b'x', 0x80, 1, 0, 0]);
        assert!(reader.next_piece().is_err());
    }

    proptest! {
        #[test]
        fn responses_come_out_as_they_went_in_however_they_are_cut(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..6),
            step in 1_usize..50,
        ) {
            let mut bytes = head().encode();
            parts.iter().for_each(|part| bytes.extend(response_content(part)));
            bytes.extend(response_end());
            let mut reader = ResponseReader::new();
            let (mut heads, mut content) = (Vec::new(), Vec::new());
            for part in bytes.chunks(step) {
                reader.push(part);
                loop {
                    match reader.next_piece().unwrap() {
                        ResponsePiece::Head(head) => heads.push(head),
                        ResponsePiece::Content(bytes) => content.extend(bytes),
                        ResponsePiece::Incomplete => break,
                    }
                }
            }
            prop_assert_eq!(reader.finish(), Ok(()));
            prop_assert_eq!(heads, [head()]);
            prop_assert_eq!(content, parts.concat());
        }

        #[test]
        fn reading_never_panics(parts: Vec<Vec<u8>>) {
            let mut reader = ResponseReader::new();
            for part in parts {
                reader.push(&part);
                while matches!(reader.next_piece(), Ok(ResponsePiece::Head(_) | ResponsePiece::Content(_))) {}
            }
            let _ = reader.finish();
        }
    }
}
