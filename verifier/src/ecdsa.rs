//! ECDSA on P-384 with SHA-384 as certificates carry it \[RFC 5758 §3.2, RFC 3279
//! §2.2.3\]: the algorithm's identifier, and a signature's two integers as the
//! fixed-width form that is verified. Verifies nothing.

use crate::der::{Fault, Tag, sequence};

/// ecdsa-with-SHA384, 1.2.840.10045.4.3.3, without parameters.
const ECDSA_WITH_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
/// Bytes of one integer below the order of P-384.
const INTEGER_BYTES: usize = 48;
const ALGORITHM: &str = "ecdsa-with-SHA384 without parameters";
const SIGNATURE: &str = "two minimal positive integers of at most 48 bytes";

/// Requires that an AlgorithmIdentifier is ecdsa-with-SHA384.
pub(crate) fn require_ecdsa_sha384(algorithm: &[u8]) -> Result<(), Fault> {
    let mut fields = sequence(algorithm, ALGORITHM)?;
    let oid = fields.expect(Tag::OID, ALGORITHM)?;
    fields.finish(ALGORITHM)?;
    if oid.content == ECDSA_WITH_SHA384 {
        Ok(())
    } else {
        Err(Fault(ALGORITHM))
    }
}

/// Ecdsa-Sig-Value ::= SEQUENCE { r INTEGER, s INTEGER } as R and S, big-endian,
/// 48 bytes each.
pub(crate) fn fixed_width(signature: &[u8]) -> Result<[u8; 2 * INTEGER_BYTES], Fault> {
    let mut fields = sequence(signature, SIGNATURE)?;
    let mut fixed = [0; 2 * INTEGER_BYTES];
    for half in fixed.as_chunks_mut::<INTEGER_BYTES>().0 {
        let integer = positive(fields.expect(Tag::INTEGER, SIGNATURE)?.content)?;
        let start = INTEGER_BYTES.checked_sub(integer.len()).ok_or(Fault(SIGNATURE))?;
        half.get_mut(start..)
            .ok_or(Fault(SIGNATURE))?
            .copy_from_slice(integer);
    }
    fields.finish(SIGNATURE)?;
    Ok(fixed)
}

/// The digits of a minimal positive INTEGER \[X.690 §8.3\].
fn positive(content: &[u8]) -> Result<&[u8], Fault> {
    match content {
        [0, digits @ ..] if matches!(digits, [0x80..=0xff, ..]) => Ok(digits),
        [0x01..=0x7f, ..] => Ok(content),
        _ => Err(Fault(SIGNATURE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_algorithm_is_known_and_has_no_parameters() {
        let identifier = |tail: &[u8]| {
            let mut bytes = vec![0x30, 0x0a, 0x06, 0x08];
            bytes.extend_from_slice(ECDSA_WITH_SHA384);
            bytes.extend_from_slice(tail);
            bytes[1] = u8::try_from(bytes.len() - 2).unwrap();
            bytes
        };
        assert_eq!(require_ecdsa_sha384(&identifier(&[])), Ok(()));
        assert!(require_ecdsa_sha384(&identifier(&[0x05, 0x00])).is_err());
        let mut sha256 = identifier(&[]);
        sha256[11] = 2;
        assert!(require_ecdsa_sha384(&sha256).is_err());
    }

    #[test]
    fn integers_that_are_not_minimal_positive_or_small_are_refused() {
        for (integer, holds) in [
            (&[1][..], true),
            (&[0, 0x80], true),
            (&[0x7f; 48], true),
            (&[], false),
            (&[0], false),
            (&[0, 1], false),
            (&[0x80], false),
            (&[0x7f; 49], false),
        ] {
            let length = u8::try_from(integer.len()).unwrap();
            let body = [&[0x02, length][..], integer, &[0x02, 1, 5]].concat();
            let whole = [&[0x30, u8::try_from(body.len()).unwrap()][..], &body].concat();
            assert_eq!(fixed_width(&whole).is_ok(), holds, "{integer:?}");
            assert!(fixed_width(&[&whole[..], &[0]].concat()).is_err());
        }
    }

    proptest! {
        #[test]
        fn a_signature_is_what_a_full_der_library_reads(bytes: Vec<u8>) {
            if let Ok(fixed) = fixed_width(&bytes) {
                let oracle = p384::ecdsa::Signature::from_der(&bytes);
                // The library also refuses integers at or above the order.
                if let Ok(oracle) = oracle {
                    prop_assert_eq!(&fixed[..], &oracle.to_bytes()[..]);
                }
            }
        }

        #[test]
        fn every_signature_survives(r in any::<[u8; 32]>(), s in any::<[u8; 32]>()) {
            let mut wide = [1; 96];
            wide[16..48].copy_from_slice(&r);
            wide[64..].copy_from_slice(&s);
            let Ok(signature) = p384::ecdsa::Signature::from_slice(&wide) else {
                return Ok(());
            };
            prop_assert_eq!(fixed_width(signature.to_der().as_bytes()), Ok(wide));
        }
    }
}
