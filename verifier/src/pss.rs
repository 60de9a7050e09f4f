//! AlgorithmIdentifier of RSASSA-PSS with SHA-384 \[RFC 4055 §3.1\], read for
//! its meaning: AMD's certificates spell the default trailerField out until
//! 2023 and leave it out since late 2024, so comparing bytes would refuse half.

use crate::der::{Elements, Fault, Tag, sequence, small_integer};

/// 1.2.840.113549.1.1.10
const ID_RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
/// 1.2.840.113549.1.1.8
const ID_MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];
/// 2.16.840.1.101.3.4.2.2
const ID_SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];

const SALT_BYTES: u8 = 48;
const TRAILER_BC: u8 = 1;
const WHAT: &str = "RSASSA-PSS with SHA-384, MGF1 with SHA-384 and a 48-byte salt";

/// Requires that an AlgorithmIdentifier (with its header) means RSASSA-PSS,
/// SHA-384, MGF1 with SHA-384, 48 bytes of salt, trailer 0xBC.
pub(crate) fn require_pss_sha384(algorithm: &[u8]) -> Result<(), Fault> {
    let mut fields = sequence(algorithm, WHAT)?;
    require_oid(&mut fields, ID_RSASSA_PSS)?;
    let parameters = fields.expect(Tag::SEQUENCE, WHAT)?;
    fields.finish(WHAT)?;

    // Every default of the parameters is SHA-1's, so none but the trailer may be absent.
    let mut parameters = Elements::new(parameters.content);
    let hash = parameters.expect(Tag::context::<0>(), WHAT)?;
    require_sha384(hash.content)?;
    let mask = parameters.expect(Tag::context::<1>(), WHAT)?;
    let mut mask = sequence(mask.content, WHAT)?;
    require_oid(&mut mask, ID_MGF1)?;
    let mask_hash = mask.expect(Tag::SEQUENCE, WHAT)?;
    mask.finish(WHAT)?;
    require_sha384(mask_hash.raw)?;
    require_integer(parameters.expect(Tag::context::<2>(), WHAT)?.content, SALT_BYTES)?;
    if let Some(trailer) = parameters.optional(Tag::context::<3>(), WHAT)? {
        require_integer(trailer.content, TRAILER_BC)?;
    }
    parameters.finish(WHAT)
}

/// AlgorithmIdentifier of SHA-384, parameters NULL or absent: RFC 4055 §2.1
/// requires both to be accepted.
fn require_sha384(algorithm: &[u8]) -> Result<(), Fault> {
    let mut fields = sequence(algorithm, WHAT)?;
    require_oid(&mut fields, ID_SHA384)?;
    if let Some(null) = fields.optional(Tag::NULL, WHAT)?
        && !null.content.is_empty()
    {
        return Err(Fault(WHAT));
    }
    fields.finish(WHAT)
}

fn require_oid(fields: &mut Elements<'_>, oid: &[u8]) -> Result<(), Fault> {
    if fields.expect(Tag::OID, WHAT)?.content == oid {
        Ok(())
    } else {
        Err(Fault(WHAT))
    }
}

fn require_integer(explicit: &[u8], number: u8) -> Result<(), Fault> {
    let mut fields = Elements::new(explicit);
    let integer = fields.expect(Tag::INTEGER, WHAT)?;
    fields.finish(WHAT)?;
    if small_integer(integer.content) == Some(number) {
        Ok(())
    } else {
        Err(Fault(WHAT))
    }
}

#[cfg(test)]
mod tests {
    use super::require_pss_sha384;

    const HASH: &str = "300d06096086480165030402020500";
    const HASH_NO_NULL: &str = "300b0609608648016503040202";
    const SHA256: &str = "300d06096086480165030402010500";

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![
            tag,
            u8::try_from(content.len()).expect("test parameters are short"),
        ];
        out.extend_from_slice(content);
        out
    }

    fn algorithm(hash: &str, mask_hash: &str, salt: u8, trailer: Option<u8>) -> Vec<u8> {
        let hash = hex::decode(hash).unwrap();
        let mut mask = tlv(0x06, super::ID_MGF1);
        mask.extend(hex::decode(mask_hash).unwrap());
        let mut parameters = tlv(0xa0, &hash);
        parameters.extend(tlv(0xa1, &tlv(0x30, &mask)));
        parameters.extend(tlv(0xa2, &tlv(0x02, &[salt])));
        if let Some(trailer) = trailer {
            parameters.extend(tlv(0xa3, &tlv(0x02, &[trailer])));
        }
        let mut all = tlv(0x06, super::ID_RSASSA_PSS);
        all.extend(tlv(0x30, &parameters));
        tlv(0x30, &all)
    }

    #[test]
    fn both_encodings_of_the_default_trailer_mean_the_same() {
        for trailer in [None, Some(1)] {
            assert!(require_pss_sha384(&algorithm(HASH, HASH, 48, trailer)).is_ok());
            assert!(require_pss_sha384(&algorithm(HASH_NO_NULL, HASH_NO_NULL, 48, trailer)).is_ok());
        }
    }

    #[test]
    fn other_hashes_salts_and_trailers_are_refused() {
        assert!(require_pss_sha384(&algorithm(SHA256, HASH, 48, None)).is_err());
        assert!(require_pss_sha384(&algorithm(HASH, SHA256, 48, None)).is_err());
        assert!(require_pss_sha384(&algorithm(HASH, HASH, 32, None)).is_err());
        assert!(require_pss_sha384(&algorithm(HASH, HASH, 48, Some(2))).is_err());
        // sha384WithRSAEncryption, and PSS whose parameters are all default (SHA-1).
        let pkcs1 = hex::decode("300d06092a864886f70d01010c0500").unwrap();
        let defaults = hex::decode("300d06092a864886f70d01010a3000").unwrap();
        assert!(require_pss_sha384(&pkcs1).is_err());
        assert!(require_pss_sha384(&defaults).is_err());
    }
}
