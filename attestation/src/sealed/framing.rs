//! How an encapsulated message is cut into chunks: each with its length before
//! it as a QUIC variable-length integer (RFC 9000 §16); length 0 says that the
//! rest, to the very end, is the final chunk. What is in a chunk isn't looked at.

use super::SealedFormatError;
use crate::reader::Reader;

/// Most bytes of content in one chunk, before it is sealed.
pub const MAX_CHUNK_BYTES: usize = 16 * 1024;
/// What an AEAD adds to a chunk.
pub const TAG_BYTES: usize = 16;

const MAX_SEALED: usize = MAX_CHUNK_BYTES + TAG_BYTES;

/// A sealed chunk with its length before it.
#[must_use]
pub fn frame(sealed: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(sealed.len().saturating_add(4));
    put_length(&mut framed, sealed.len());
    framed.extend_from_slice(sealed);
    framed
}

/// The final sealed chunk with the mark that it is.
#[must_use]
pub fn frame_last(sealed: &[u8]) -> Vec<u8> {
    [&[0], sealed].concat()
}

/// A variable-length integer in its shortest form.
pub(super) fn put_length(to: &mut Vec<u8>, length: usize) {
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    match length {
        0..0x40 => to.extend(u8::try_from(length)),
        0x40..0x4000 => to.extend(
            u16::try_from(length)
                .unwrap_or(0)
                .wrapping_add(0x4000)
                .to_be_bytes(),
        ),
        0x4000..0x4000_0000 => to.extend(
            u32::try_from(length)
                .unwrap_or(0)
                .wrapping_add(0x8000_0000)
                .to_be_bytes(),
        ),
        // Nothing here has a length that needs more than 62 bits.
        _ => to.extend((length | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// Reads a variable-length integer of any form; `None` if there are too few bytes.
pub(super) fn take_length(reader: &mut Reader<'_>) -> Option<u64> {
    let first = reader.u8()?;
    let mut value = u64::from(first & 0x3f);
    for _ in 1..1_u8 << (first >> 6) {
        value = value << 8 | u64::from(reader.u8()?);
    }
    Some(value)
}

/// What an [`Unframer`] has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framed {
    /// A sealed chunk that is not the final one.
    Chunk(Vec<u8>),
    /// More bytes are needed.
    Incomplete,
}

/// Takes a message's bytes as they come and gives its sealed chunks.
#[derive(Clone, Default)]
pub struct Unframer {
    held: Vec<u8>,
    read: usize,
    last: bool,
}

impl core::fmt::Debug for Unframer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Unframer")
            .field("held", &self.held.len())
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl Unframer {
    /// Nothing has come yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes more bytes. What a caller pushes before it asks for chunks is held,
    /// so that it should push no more at once than it is willing to hold.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.held.drain(..self.read.min(self.held.len()));
            self.read = 0;
        }
        self.held.extend_from_slice(bytes);
    }

    /// The next chunk that is not the final one.
    ///
    /// # Errors
    /// [`SealedFormatError::ChunkTooLarge`].
    pub fn next_chunk(&mut self) -> Result<Framed, SealedFormatError> {
        let held = self.held.get(self.read..).unwrap_or_default();
        if self.last {
            return if held.len() > MAX_SEALED {
                Err(SealedFormatError::ChunkTooLarge)
            } else {
                Ok(Framed::Incomplete)
            };
        }
        let mut reader = Reader::new(held);
        let Some(length) = take_length(&mut reader) else {
            return Ok(Framed::Incomplete);
        };
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= MAX_SEALED)
            .ok_or(SealedFormatError::ChunkTooLarge)?;
        if length == 0 {
            self.read = self.held.len().saturating_sub(reader.rest().len());
            self.last = true;
            return self.next_chunk();
        }
        let Some(chunk) = reader.take(length) else {
            return Ok(Framed::Incomplete);
        };
        let chunk = chunk.to_vec();
        self.read = self.held.len().saturating_sub(reader.rest().len());
        Ok(Framed::Chunk(chunk))
    }

    /// The message has ended: the final sealed chunk.
    ///
    /// # Errors
    /// [`SealedFormatError::Truncated`] if it didn't come, or chunks before it were not taken.
    pub fn finish(self) -> Result<Vec<u8>, SealedFormatError> {
        let mut held = self.held;
        if !self.last {
            return Err(SealedFormatError::Truncated);
        }
        held.drain(..self.read.min(held.len()));
        match held.len() {
            0..TAG_BYTES => Err(SealedFormatError::Truncated),
            TAG_BYTES..=MAX_SEALED => Ok(held),
            _ => Err(SealedFormatError::ChunkTooLarge),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The examples of RFC 9000, appendix A.1.
    #[test]
    fn lengths_are_quic_integers() {
        for (bytes, value) in [
            (
                &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..],
                151_288_809_941_952_652_u64,
            ),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ] {
            let mut reader = Reader::new(bytes);
            assert_eq!(take_length(&mut reader), Some(value));
            assert!(reader.rest().is_empty());
        }
        for (value, bytes) in [
            (37_usize, &[0x25][..]),
            (15_293, &[0x7b, 0xbd]),
            (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
        ] {
            let mut written = Vec::new();
            put_length(&mut written, value);
            assert_eq!(written, bytes);
        }
    }

    #[test]
    fn a_message_without_its_final_chunk_is_cut() {
        let mut unframer = Unframer::new();
        unframer.push(&frame(&[7; 40]));
        assert_eq!(unframer.next_chunk(), Ok(Framed::Chunk(vec![7; 40])));
        assert_eq!(unframer.next_chunk(), Ok(Framed::Incomplete));
        assert_eq!(unframer.clone().finish(), Err(SealedFormatError::Truncated));
        unframer.push(&frame_last(&[8; 15]));
        assert_eq!(unframer.next_chunk(), Ok(Framed::Incomplete));
        assert_eq!(unframer.clone().finish(), Err(SealedFormatError::Truncated));
        unframer.push(&[8]);
        assert_eq!(unframer.finish(), Ok(vec![8; 16]));
    }

    #[test]
    fn chunks_above_the_limit_are_refused_before_they_come() {
        let mut unframer = Unframer::new();
        let mut head = Vec::new();
        put_length(&mut head, MAX_SEALED + 1);
        unframer.push(&head);
        assert_eq!(unframer.next_chunk(), Err(SealedFormatError::ChunkTooLarge));
        let mut unframer = Unframer::new();
        unframer.push(&frame_last(&vec![0; MAX_SEALED + 1]));
        assert_eq!(unframer.next_chunk(), Err(SealedFormatError::ChunkTooLarge));
    }

    proptest! {
        #[test]
        fn chunks_come_out_as_they_went_in_however_they_are_cut(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..6),
            last in prop::collection::vec(any::<u8>(), TAG_BYTES..300),
            step in 1_usize..50,
        ) {
            let mut message: Vec<u8> = chunks.iter().flat_map(|chunk| frame(chunk)).collect();
            message.extend(frame_last(&last));
            let mut unframer = Unframer::new();
            let mut found = Vec::new();
            for part in message.chunks(step) {
                unframer.push(part);
                while let Framed::Chunk(chunk) = unframer.next_chunk().unwrap() {
                    found.push(chunk);
                }
            }
            prop_assert_eq!(found, chunks);
            prop_assert_eq!(unframer.finish().unwrap(), last);
        }

        #[test]
        fn reading_never_panics(parts: Vec<Vec<u8>>) {
            let mut unframer = Unframer::new();
            for part in parts {
                unframer.push(&part);
                while matches!(unframer.next_chunk(), Ok(Framed::Chunk(_))) {}
            }
            let _ = unframer.finish();
        }
    }
}
