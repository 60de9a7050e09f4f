//! An array of pairs of byte strings, outermost in its encoding.

use super::item::Item;
use super::{CodecError, write};

/// The deterministic encoding of an array of `[bytes, bytes]`.
#[must_use]
pub fn encode_pairs<'a>(pairs: impl IntoIterator<Item = [&'a [u8]; 2]>) -> Vec<u8> {
    let pairs: Vec<[&[u8]; 2]> = pairs.into_iter().collect();
    let mut out = Vec::new();
    write::length(&mut out, write::ARRAY, pairs.len());
    for pair in pairs {
        write::length(&mut out, write::ARRAY, pair.len());
        pair.iter().for_each(|bytes| write::bytes(&mut out, bytes));
    }
    out
}

/// Decodes an array of `[bytes, bytes]`, of at most `limit` bytes in all.
///
/// # Errors
/// [`CodecError`] names the first thing that is wrong.
pub fn decode_pairs(bytes: &[u8], limit: usize) -> Result<Vec<[Vec<u8>; 2]>, CodecError> {
    let Item::Array(items) = Item::decode(bytes, limit)? else {
        return Err(CodecError::NotPairs);
    };
    items
        .into_iter()
        .map(|item| {
            let Item::Array(pair) = item else {
                return Err(CodecError::NotPairs);
            };
            match pair.as_slice() {
                [Item::Bytes(first), Item::Bytes(second)] => Ok([first.to_vec(), second.to_vec()]),
                _ => Err(CodecError::NotPairs),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_array_of_pairs_is_refused() {
        for (bytes, fault) in [
            (&[0xa0][..], CodecError::NotPairs),
            (&[0x81, 0x40], CodecError::NotPairs),
            (&[0x81, 0x81, 0x40], CodecError::NotPairs),
            (&[0x81, 0x83, 0x40, 0x40, 0x40], CodecError::NotPairs),
            (&[0x81, 0x82, 0x40, 0x60], CodecError::NotPairs),
            (&[0x81, 0x82, 0x40, 0x58, 0x00], CodecError::NotDeterministic),
            (&[0x9f, 0xff], CodecError::NotDeterministic),
            (&[0x80, 0x00], CodecError::Malformed),
            (
                &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                CodecError::Malformed,
            ),
        ] {
            assert_eq!(decode_pairs(bytes, 64), Err(fault), "{bytes:02x?}");
        }
        let fault = CodecError::TooLarge { limit: 1, got: 2 };
        assert_eq!(decode_pairs(&[0x80, 0], 1), Err(fault));
    }

    proptest! {
        #[test]
        fn pairs_round_trip(pairs: Vec<[Vec<u8>; 2]>) {
            let encoded = encode_pairs(pairs.iter().map(|[first, second]| [&first[..], &second[..]]));
            prop_assert_eq!(decode_pairs(&encoded, encoded.len()), Ok(pairs));
        }
    }
}
