//! The vTPM's attestation key as the paravisor names it: an RSA public key
//! given by two numbers, and the encodings that others want of it.

use crate::binding::spki_digest;
use crate::digest::SpkiDigest;

const MIN_BITS: u32 = 2048;
const MAX_BITS: u32 = 4096;
/// F4, the TPM's default; anything smaller has no use.
const MIN_EXPONENT: u32 = 65_537;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
/// AlgorithmIdentifier of rsaEncryption with its NULL \[RFC 8017 A.1\].
const RSA_ENCRYPTION: [u8; 15] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// Why two numbers are no usable RSA key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RsaKeyError {
    /// A modulus of another size, or in another form than a number's shortest.
    #[error("an RSA modulus has {MIN_BITS} to {MAX_BITS} bits, the first byte not zero; got {got} bytes")]
    ModulusLength {
        /// Bytes that came.
        got: usize,
    },
    /// An even modulus is no product of two odd primes.
    #[error("an RSA modulus is odd")]
    ModulusEven,
    /// An exponent that is small, even, or longer than 32 bits.
    #[error("an RSA exponent is odd, at least {MIN_EXPONENT} and below 2^32")]
    Exponent,
}

/// An RSA public key of 2048 to 4096 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaPublicKey {
    modulus: Vec<u8>,
    exponent: u32,
}

impl RsaPublicKey {
    /// Takes a modulus and an exponent, big-endian, each in its shortest form.
    ///
    /// # Errors
    /// [`RsaKeyError`] names what is wrong with them.
    pub fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, RsaKeyError> {
        let first = modulus.first().copied().unwrap_or(0);
        let length = u32::try_from(modulus.len()).unwrap_or(u32::MAX);
        let bits = length.saturating_mul(8).saturating_sub(first.leading_zeros());
        if first == 0 || !(MIN_BITS..=MAX_BITS).contains(&bits) {
            return Err(RsaKeyError::ModulusLength { got: modulus.len() });
        }
        if modulus.last().is_none_or(|last| last & 1 == 0) {
            return Err(RsaKeyError::ModulusEven);
        }
        let exponent = match *exponent {
            [b, c, d] if b != 0 => u32::from_be_bytes([0, b, c, d]),
            [a, b, c, d] if a != 0 => u32::from_be_bytes([a, b, c, d]),
            _ => return Err(RsaKeyError::Exponent),
        };
        if exponent < MIN_EXPONENT || exponent & 1 == 0 {
            return Err(RsaKeyError::Exponent);
        }
        Ok(Self {
            modulus: modulus.to_vec(),
            exponent,
        })
    }

    /// Bytes of the modulus, and of every signature.
    #[must_use]
    pub fn modulus_len(&self) -> usize {
        self.modulus.len()
    }

    /// DER RSAPublicKey \[RFC 8017 A.1.1\].
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let exponent = self.exponent.to_be_bytes();
        let exponent: Vec<u8> = exponent.into_iter().skip_while(|byte| *byte == 0).collect();
        tlv(SEQUENCE, &[&integer(&self.modulus), &integer(&exponent)])
    }

    /// DER SubjectPublicKeyInfo \[RFC 5280 §4.1.2.7\].
    #[must_use]
    pub fn to_spki_der(&self) -> Vec<u8> {
        tlv(
            SEQUENCE,
            &[&RSA_ENCRYPTION, &tlv(BIT_STRING, &[&[0], &self.to_der()])],
        )
    }

    /// SHA-256 of the SubjectPublicKeyInfo, by which people know the key.
    #[must_use]
    pub fn fingerprint(&self) -> SpkiDigest {
        spki_digest(&self.to_spki_der())
    }
}

fn integer(magnitude: &[u8]) -> Vec<u8> {
    // A leading one bit would be a sign.
    let sign: &[u8] = match magnitude.first() {
        Some(0x80..) => &[0],
        _ => &[],
    };
    tlv(INTEGER, &[sign, magnitude])
}

/// Tag, length and the concatenated parts, which are far below 64 KiB.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short @ ..0x80) => out.push(short),
        Ok(byte) => out.extend([0x81, byte]),
        Err(_) => {
            out.push(0x82);
            out.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const F4: [u8; 3] = [1, 0, 1];

    fn modulus(length: usize) -> Vec<u8> {
        let mut modulus = vec![0xff; length];
        modulus[0] = 0x80;
        modulus
    }

    #[test]
    fn keys_of_unusable_sizes_and_exponents_are_refused() {
        assert!(RsaPublicKey::new(&modulus(256), &F4).is_ok());
        assert!(RsaPublicKey::new(&modulus(512), &[0xff; 4]).is_ok());
        let mut short = modulus(256);
        short[0] = 0x7f;
        let mut padded = modulus(256);
        padded.insert(0, 0);
        for bad in [modulus(128), modulus(255), short, padded, modulus(513), vec![]] {
            let got = bad.len();
            assert_eq!(
                RsaPublicKey::new(&bad, &F4),
                Err(RsaKeyError::ModulusLength { got })
            );
        }
        let mut even = modulus(256);
        even[255] = 0xfe;
        assert_eq!(RsaPublicKey::new(&even, &F4), Err(RsaKeyError::ModulusEven));
        let bad: [&[u8]; 8] = [
            &[],
            &[3],
            &[0xff, 0xff],
            &[1, 0, 0],
            &[1, 0, 2],
            &[0, 1, 0, 1],
            &[1, 0, 0, 0],
            &[1, 0, 0, 0, 1],
        ];
        for exponent in bad {
            assert_eq!(
                RsaPublicKey::new(&modulus(256), exponent),
                Err(RsaKeyError::Exponent)
            );
        }
    }

    #[test]
    fn encodings_are_those_of_the_standards() {
        let key = RsaPublicKey::new(&modulus(256), &F4).unwrap();
        let der = hex::encode(key.to_der());
        assert!(der.starts_with("3082010a028201010080ffff"), "{der}");
        assert!(der.ends_with("ffff0203010001"), "{der}");
        let spki = key.to_spki_der();
        assert_eq!(
            hex::encode(&spki[..33]),
            "30820122300d06092a864886f70d01010105000382010f003082010a0282010100"
        );
        assert_eq!(spki.len(), 294);
        assert_eq!(key.fingerprint(), spki_digest(&spki));
        let large = RsaPublicKey::new(&modulus(512), &[0x80, 0, 0, 1]).unwrap();
        let der = hex::encode(large.to_der());
        assert!(der.starts_with("3082020c0282020100"), "{der}");
        assert!(der.ends_with("02050080000001"), "{der}");
    }
}
