//! Fields of opaque data as values: fixed sizes, texts, versions. Knows how
//! each is written, not which field has which number.

use super::opaque::OpaqueError;
use crate::digest::Pdi;
use crate::reader::Reader;

/// Most characters of a text. The longest seen is a driver's version, with 11.
const MAX_TEXT: usize = 32;

/// A value of exactly `N` bytes.
pub(super) fn exact<const N: usize>(
    id: u16,
    value: &[u8],
    expected: &'static str,
) -> Result<[u8; N], OpaqueError> {
    value.try_into().map_err(|_| OpaqueError::Field { id, expected })
}

/// A text ended by NUL, which more of them may follow.
///
/// Only letters, digits, `.`, `_` and `-` pass, for these texts become part of
/// the names of reference manifests, and so of addresses and of files.
pub(super) fn text(id: u16, value: &[u8]) -> Result<String, OpaqueError> {
    match text_or_empty(id, value)? {
        text if text.is_empty() => Err(OpaqueError::Field {
            id,
            expected: "a text that is not empty",
        }),
        text => Ok(text),
    }
}

/// As [`text`], but possibly without a character.
pub(super) fn text_or_empty(id: u16, value: &[u8]) -> Result<String, OpaqueError> {
    let expected = "a short text of letters, digits, `.`, `_` and `-`, ended by NUL";
    let fault = || OpaqueError::Field { id, expected };
    let end = value.iter().position(|byte| *byte == 0).ok_or_else(fault)?;
    let (characters, padding) = value.split_at_checked(end).ok_or_else(fault)?;
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if characters.len() > MAX_TEXT || !characters.iter().all(allowed) || padding.iter().any(|byte| *byte != 0)
    {
        return Err(fault());
    }
    core::str::from_utf8(characters)
        .map(str::to_owned)
        .map_err(|_| fault())
}

/// A GPU's VBIOS version: eight bytes, of which the first four are the version,
/// last byte first, and the fifth is its end. `00 9f 00 96 01 00 00 00` is
/// `96.00.9F.00.01`.
pub(super) fn vbios(id: u16, value: &[u8]) -> Result<String, OpaqueError> {
    match exact::<8>(id, value, "eight bytes of VBIOS version")? {
        [d, c, b, a, e, 0, 0, 0] => Ok(format!("{a:02X}.{b:02X}.{c:02X}.{d:02X}.{e:02X}")),
        _ => Err(OpaqueError::Field {
            id,
            expected: "a VBIOS version that ends in three zero bytes",
        }),
    }
}

/// An NVSwitch's BIOS version: five pairs of upper-case hexadecimal digits with
/// dots between, without NUL.
pub(super) fn switch_bios(id: u16, value: &[u8]) -> Result<String, OpaqueError> {
    let expected = "a BIOS version as in `96.10.6D.00.01`";
    let fault = OpaqueError::Field { id, expected };
    let well_formed = value.len() == 14
        && value.iter().enumerate().all(|(at, byte)| match at % 3 {
            2 => *byte == b'.',
            _ => matches!(byte, b'0'..=b'9' | b'A'..=b'F'),
        });
    match core::str::from_utf8(value) {
        Ok(version) if well_formed => Ok(version.to_owned()),
        _ => Err(fault),
    }
}

/// `N` numbers of 32 bits.
pub(super) fn counts<const N: usize>(id: u16, value: &[u8]) -> Result<Box<[u32; N]>, OpaqueError> {
    let (words, rest) = value.as_chunks::<4>();
    let numbers: Box<[u32]> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
    match numbers.try_into() {
        Ok(numbers) if rest.is_empty() => Ok(numbers),
        _ => Err(OpaqueError::Field {
            id,
            expected: "one 32-bit number for each measurement",
        }),
    }
}

/// A number of one to eight bytes.
pub(super) fn number(id: u16, value: &[u8]) -> Result<u64, OpaqueError> {
    let mut bytes = [0; 8];
    match bytes.get_mut(..value.len()) {
        Some(low) if !value.is_empty() => low.copy_from_slice(value),
        _ => {
            return Err(OpaqueError::Field {
                id,
                expected: "a number of one to eight bytes",
            });
        }
    }
    Ok(u64::from_le_bytes(bytes))
}

/// The next identity of a device; `None` if it is one that stands for no
/// device: all bits zero or all one.
pub(super) fn pdi(reader: &mut Reader<'_>) -> Option<Pdi> {
    let bytes = *reader.array::<8>()?;
    (bytes != [0; 8] && bytes != [0xff; 8]).then(|| Pdi::new(bytes))
}
