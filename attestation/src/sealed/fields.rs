//! Header fields inside Binary HTTP (RFC 9292 §3.6): names in lower case, values
//! that could stand in an HTTP/1.1 message, a bounded number and size of both.

use super::framing::{put_length, take_length};
use super::{SealedFormatError, message};
use crate::reader::Reader;

/// Most fields of a section.
pub const MAX_FIELDS: usize = 64;
/// Most bytes of a section.
pub const MAX_SECTION_BYTES: usize = 16 * 1024;

/// A header field. Not shown by `Debug`: it is as secret as the rest.
#[derive(Clone, PartialEq, Eq)]
pub struct Field {
    /// Name, in lower case.
    pub name: String,
    /// Value: visible ASCII, space and tab.
    pub value: String,
}

impl core::fmt::Debug for Field {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Field(..)")
    }
}

impl Field {
    /// A field.
    #[must_use]
    pub fn new(name: &str, value: &str) -> Self {
        Self {
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }

    pub(super) fn put(&self, to: &mut Vec<u8>) {
        for text in [&self.name, &self.value] {
            put_length(to, text.len());
            to.extend_from_slice(text.as_bytes());
        }
    }
}

/// The bytes that follow a length, `most` of them at the most.
pub(super) fn sized<'a>(
    reader: &mut Reader<'a>,
    most: usize,
    expected: &'static str,
) -> Result<&'a [u8], SealedFormatError> {
    take_length(reader)
        .and_then(|length| usize::try_from(length).ok())
        .filter(|length| *length <= most)
        .and_then(|length| reader.take(length))
        .ok_or_else(|| message(expected))
}

/// A section whose length is known: all of `bytes` are fields.
pub(super) fn read_known(bytes: &[u8]) -> Result<Vec<Field>, SealedFormatError> {
    let mut reader = Reader::new(bytes);
    let mut fields = Vec::new();
    while !reader.rest().is_empty() {
        fields.push(read_one(&mut reader, fields.len())?);
    }
    Ok(fields)
}

/// One field, which is number `count`.
pub(super) fn read_one(reader: &mut Reader<'_>, count: usize) -> Result<Field, SealedFormatError> {
    if count >= MAX_FIELDS {
        return Err(message("at most 64 fields"));
    }
    let name = sized(reader, MAX_SECTION_BYTES, "a field's name")?;
    let value = sized(reader, MAX_SECTION_BYTES, "a field's value")?;
    let named = !name.is_empty() && name.iter().copied().all(is_name_byte);
    let name = core::str::from_utf8(name).ok().filter(|_| named);
    let visible = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    let value = core::str::from_utf8(value).ok().filter(|_| visible);
    match (name, value) {
        (Some(name), Some(value)) => Ok(Field::new(name, value)),
        _ => Err(message("fields with lower-case names and visible values")),
    }
}

/// A token of RFC 9110 without capital letters.
const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase()
        || byte.is_ascii_digit()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}
