//! A request as Binary HTTP (RFC 9292). Written with known lengths and padded
//! with zeros, so that the length of what travels tells less; read with known
//! and with indeterminate lengths. Whatever isn't understood is refused.

use zeroize::Zeroizing;

use super::fields::{self, Field, MAX_SECTION_BYTES, read_known, sized};
use super::framing::{put_length, take_length};
use super::{SealedFormatError, message};
use crate::reader::Reader;

const KNOWN: u64 = 0;
const INDETERMINATE: u64 = 2;
/// Requests are padded to a multiple of this.
const PAD: usize = 256;
const MAX_METHOD: usize = 16;
const MAX_SCHEME: usize = 16;
const MAX_AUTHORITY: usize = 300;
const MAX_PATH: usize = 2048;

/// A request, as it is before it is sealed or after it was opened.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedRequest {
    /// Method: `GET`, `POST`.
    pub method: String,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// Header fields.
    pub fields: Vec<Field>,
    /// Body. Zeroed when dropped.
    pub body: Zeroizing<Vec<u8>>,
}

impl core::fmt::Debug for SealedRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SealedRequest(..)")
    }
}

/// Most bytes of a request with a body of at most `body` bytes, padding included.
#[must_use]
pub const fn padded_request_bytes(body: usize) -> usize {
    let head = MAX_METHOD + MAX_SCHEME + MAX_AUTHORITY + MAX_PATH + MAX_SECTION_BYTES;
    body.saturating_add(head).saturating_add(64 + PAD)
}

impl SealedRequest {
    /// The only value of a field; `None` if there is none, or more than one.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|field| field.name == name);
        match (values.next(), values.next()) {
            (Some(field), None) => Some(&field.value),
            _ => None,
        }
    }

    /// Binary HTTP with known lengths, padded. The authority is left empty: the
    /// request goes to whoever holds the key.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut section = Vec::new();
        self.fields.iter().for_each(|field| field.put(&mut section));
        // Never grown, so that no copy of the body stays behind.
        let room = padded_request_bytes(self.body.len()).saturating_add(section.len());
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        bytes.push(0);
        for text in [self.method.as_str(), "https", "", self.path.as_str()] {
            put_length(&mut bytes, text.len());
            bytes.extend_from_slice(text.as_bytes());
        }
        for part in [section.as_slice(), self.body.as_slice(), &[]] {
            put_length(&mut bytes, part.len());
            bytes.extend_from_slice(part);
        }
        let padded = bytes.len().next_multiple_of(PAD);
        bytes.resize(padded, 0);
        bytes
    }

    /// Reads a request whose body has at most `most` bytes.
    ///
    /// # Errors
    /// [`SealedFormatError::Message`] says what was expected.
    pub fn decode(bytes: &[u8], most: usize) -> Result<Self, SealedFormatError> {
        let mut reader = Reader::new(bytes);
        let framing = take_length(&mut reader);
        let known = match framing {
            Some(KNOWN) => true,
            Some(INDETERMINATE) => false,
            _ => return Err(message("a request, framing indicator 0 or 2")),
        };
        let method = text(&mut reader, MAX_METHOD, "a method of at most 16 bytes")?;
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(message("a method in capital letters"));
        }
        if text(&mut reader, MAX_SCHEME, "a scheme")? != "https" {
            return Err(message("scheme https"));
        }
        text(&mut reader, MAX_AUTHORITY, "an authority of at most 300 bytes")?;
        let path = text(&mut reader, MAX_PATH, "a path of at most 2,048 bytes")?;
        if !path.starts_with('/') {
            return Err(message("a path that begins with `/`"));
        }
        let (method, path) = (method.to_owned(), path.to_owned());
        let fields = if known {
            read_known(section(&mut reader)?)?
        } else {
            read_indeterminate(&mut reader)?
        };
        let mut body = Zeroizing::new(Vec::new());
        if known {
            let content = part(&mut reader, most, "a body within its limit")?;
            body.extend_from_slice(content);
            read_known(section(&mut reader)?)?;
        } else {
            // As much as could come, so that it is never moved.
            body.reserve_exact(most.min(reader.rest().len()));
            loop {
                let chunk = sized(
                    &mut reader,
                    most.saturating_sub(body.len()),
                    "a body within its limit",
                )?;
                if chunk.is_empty() {
                    break;
                }
                body.extend_from_slice(chunk);
            }
            read_indeterminate(&mut reader)?;
        }
        if reader.rest().iter().any(|byte| *byte != 0) {
            return Err(message("nothing but zeros after the request"));
        }
        Ok(Self {
            method,
            path,
            fields,
            body,
        })
    }
}

fn text<'a>(
    reader: &mut Reader<'a>,
    most: usize,
    expected: &'static str,
) -> Result<&'a str, SealedFormatError> {
    let bytes = sized(reader, most, expected)?;
    core::str::from_utf8(bytes)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or_else(|| message("visible ASCII in method, scheme, authority and path"))
}

/// A length and as many bytes; nothing at all stands for none (RFC 9292 §3.8).
fn part<'a>(
    reader: &mut Reader<'a>,
    most: usize,
    expected: &'static str,
) -> Result<&'a [u8], SealedFormatError> {
    if reader.rest().is_empty() {
        return Ok(&[]);
    }
    sized(reader, most, expected)
}

fn section<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], SealedFormatError> {
    part(reader, MAX_SECTION_BYTES, "fields within 16 KiB")
}

/// Fields up to a name of length 0.
fn read_indeterminate(reader: &mut Reader<'_>) -> Result<Vec<Field>, SealedFormatError> {
    let mut read = Vec::new();
    let begin = reader.rest().len();
    loop {
        let mut ahead = *reader;
        match take_length(&mut ahead) {
            Some(0) => {
                *reader = ahead;
                return Ok(read);
            }
            Some(_) => read.push(fields::read_one(reader, read.len())?),
            None => return Err(message("an end of the fields")),
        }
        if begin.saturating_sub(reader.rest().len()) > MAX_SECTION_BYTES {
            return Err(message("fields within 16 KiB"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(body: &[u8]) -> SealedRequest {
        SealedRequest {
            method: "POST".to_owned(),
            path: "/v1/chat/completions".to_owned(),
            fields: vec![
                Field::new("content-type", "application/json"),
                Field::new("x", ""),
            ],
            body: Zeroizing::new(body.to_vec()),
        }
    }

    #[test]
    fn a_request_round_trips_and_its_length_says_little() {
        let encoded = request(b"{}").encode();
        assert_eq!(encoded.len(), 256);
        assert_eq!(request(&[b'a'; 100]).encode().len(), 256);
        assert_eq!(SealedRequest::decode(&encoded, 2).unwrap(), request(b"{}"));
        assert!(SealedRequest::decode(&encoded, 1).is_err());
    }

    /// RFC 9292 §5.1: the example's fields with a path, in both framings.
    #[test]
    fn both_framings_are_read() {
        let mut known = vec![0, 3];
        known.extend_from_slice(b"GET\x05https\x00\x0a/hello.txt");
        let empty = SealedRequest::decode(&known, 0).unwrap();
        assert_eq!(
            (empty.method.as_str(), empty.path.as_str()),
            ("GET", "/hello.txt")
        );
        let mut other = vec![2, 3];
        other.extend_from_slice(b"GET\x05https\x0bexample.com\x01/");
        other.extend_from_slice(b"\x0aaccept-not\x02en\x00\x02ab\x01c\x00\x00\x00\x00");
        let read = SealedRequest::decode(&other, 3).unwrap();
        assert_eq!(read.field("accept-not"), Some("en"));
        assert_eq!(&read.body[..], b"abc");
        assert!(SealedRequest::decode(&other, 2).is_err());
    }

    #[test]
    fn what_would_split_or_smuggle_a_message_is_refused() {
        for (name, value) in [
            ("x", "a\r\nb: c"),
            ("x\r\ny", "a"),
            ("", "a"),
            ("Content-Type", "a"),
            ("x", "\u{1}"),
            ("x", "é"),
            (":path", "/"),
        ] {
            let bad = SealedRequest {
                fields: vec![Field::new(name, value)],
                ..request(b"")
            };
            assert!(
                SealedRequest::decode(&bad.encode(), 0).is_err(),
                "{name:?} {value:?}"
            );
        }
        for (method, path) in [
            ("post", "/"),
            ("", "/"),
            ("POST", "v1"),
            ("POST", "/ x"),
            ("POST", ""),
        ] {
            let bad = SealedRequest {
                method: method.to_owned(),
                path: path.to_owned(),
                ..request(b"")
            };
            assert!(
                SealedRequest::decode(&bad.encode(), 0).is_err(),
                "{method:?} {path:?}"
            );
        }
        let mut after = request(b"").encode();
        *after.last_mut().unwrap() = 1;
        assert!(SealedRequest::decode(&after, 0).is_err());
        let many = SealedRequest {
            fields: vec![Field::new("x", "y"); 65],
            ..request(b"")
        };
        assert!(SealedRequest::decode(&many.encode(), 0).is_err());
    }

    #[test]
    fn a_field_that_comes_twice_has_no_value() {
        let mut twice = request(b"");
        assert_eq!(twice.field("x"), Some(""));
        twice.fields.push(Field::new("x", "other"));
        assert_eq!(twice.field("x"), None);
    }

    proptest! {
        #[test]
        fn any_body_round_trips(body: Vec<u8>) {
            let encoded = request(&body).encode();
            prop_assert_eq!(encoded.len() % PAD, 0);
            prop_assert!(encoded.len() <= padded_request_bytes(body.len()));
            prop_assert_eq!(SealedRequest::decode(&encoded, body.len()).unwrap(), request(&body));
        }

        #[test]
        fn decoding_never_panics(bytes: Vec<u8>) {
            let _ = SealedRequest::decode(&bytes, 1024);
        }
    }
}
