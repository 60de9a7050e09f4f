//! Base64 in XML signatures \[RFC 4648 §4\]: padded, with line feeds allowed
//! between characters, and one encoding for each value.

/// The bytes of a text of base64 digits, at most `limit` of them; `None` for
/// anything else, bits that are lost included.
pub(in crate::nvidia) fn decode(text: &str, limit: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity((text.len() / 4 * 3).min(limit));
    let (mut bits, mut count, mut padding) = (0_u32, 0_u8, 0_u8);
    for byte in text.bytes().filter(|byte| *byte != b'\n') {
        if byte == b'=' {
            padding += 1;
            if padding > 2 {
                return None;
            }
        } else if padding > 0 {
            return None;
        }
        bits = bits << 6 | u32::from(value(byte)?);
        count += 1;
        if count == 4 {
            let [_, group @ ..] = bits.to_be_bytes();
            let kept = 3_usize.checked_sub(usize::from(padding))?;
            let (kept, lost) = group.split_at_checked(kept)?;
            if lost.iter().any(|byte| *byte != 0) || bytes.len() + kept.len() > limit {
                return None;
            }
            bytes.extend_from_slice(kept);
            (bits, count) = (0, 0);
        }
    }
    (count == 0).then_some(bytes)
}

/// Six bits; padding counts as zeros.
const fn value(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        b'=' => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::decode;
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;

    #[test]
    fn a_second_encoding_of_the_same_bytes_is_refused() {
        assert_eq!(decode("TQ==", 9), Some(b"M".to_vec()));
        for text in [
            "TR==", "TQ=", "TQ", "TQ===", "TQ==TQ==", "T=Q=", "=TQ=", " TQ==", "TQ==\r", "T", "TWE*",
        ] {
            assert_eq!(decode(text, 9), None, "{text}");
        }
        assert_eq!(decode("TWFu", 2), None);
        assert_eq!(decode("", 0), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn what_is_decoded_is_what_the_library_decodes(text in "[A-Za-z0-9+/]{0,40}={0,3}") {
            prop_assert_eq!(decode(&text, 64), BASE64_STANDARD.decode(&text).ok());
        }

        #[test]
        fn every_value_survives_with_lines(bytes: Vec<u8>) {
            let lines = BASE64_STANDARD.encode(&bytes).chars().enumerate().fold(String::new(), |mut text, (at, digit)| {
                if at % 64 == 0 {
                    text.push('\n');
                }
                text.push(digit);
                text
            });
            prop_assert_eq!(decode(&lines, bytes.len()), Some(bytes));
        }
    }
}
