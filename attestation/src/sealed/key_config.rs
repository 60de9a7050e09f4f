//! Key configurations of RFC 9458 §3 and the header of an encapsulated request
//! (§4.1). One KDF, HKDF-SHA256, is known; what is not known is left out of a
//! list that is read, as the RFC wants, and never chosen.

use super::SealedFormatError;
use crate::reader::Reader;

/// Most bytes of a list of key configurations. X-Wing's key alone has 1,216.
pub const MAX_CONFIG_BYTES: usize = 4096;
/// Bytes of a request's header before the encapsulated key.
pub const HEADER_BYTES: usize = 7;

const HKDF_SHA256: u16 = 0x0001;
const MAX_CONFIGS: usize = 8;

/// A key encapsulation mechanism (RFC 9180 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kem {
    /// DHKEM(X25519, HKDF-SHA256).
    X25519,
    /// X-Wing: ML-KEM-768 with X25519 (draft-connolly-cfrg-xwing-kem).
    XWing,
}

impl Kem {
    /// Number in IANA's registry.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::X25519 => 0x0020,
            Self::XWing => 0x647a,
        }
    }

    const fn of_id(id: u16) -> Option<Self> {
        match id {
            0x0020 => Some(Self::X25519),
            0x647a => Some(Self::XWing),
            _ => None,
        }
    }

    /// Bytes of a public key.
    #[must_use]
    pub const fn public_key_bytes(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::XWing => 1216,
        }
    }

    /// Bytes of an encapsulated key (`enc`).
    #[must_use]
    pub const fn encapsulated_bytes(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::XWing => 1120,
        }
    }
}

/// An AEAD (RFC 9180 §7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aead {
    /// AES-128-GCM.
    Aes128Gcm,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
}

impl Aead {
    /// Number in IANA's registry.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::Aes128Gcm => 0x0001,
            Self::ChaCha20Poly1305 => 0x0003,
        }
    }

    const fn of_id(id: u16) -> Option<Self> {
        match id {
            0x0001 => Some(Self::Aes128Gcm),
            0x0003 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    /// Bytes of a key, Nk.
    #[must_use]
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::ChaCha20Poly1305 => 32,
        }
    }
}

/// One public key, and what may be used with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyConfig {
    /// Key identifier: which key of the gateway's.
    pub id: u8,
    /// The key's KEM.
    pub kem: Kem,
    /// The public key, [`Kem::public_key_bytes`] of them.
    pub public_key: Vec<u8>,
    /// AEADs that the gateway takes, its first choice first; each with HKDF-SHA256.
    pub aeads: Vec<Aead>,
}

/// `application/ohttp-keys`: configurations, each with its length before it.
#[must_use]
pub fn encode_configs(configs: &[KeyConfig]) -> Vec<u8> {
    let mut list = Vec::new();
    for config in configs {
        let mut one = vec![config.id];
        one.extend_from_slice(&config.kem.id().to_be_bytes());
        one.extend_from_slice(&config.public_key);
        put_u16(&mut one, config.aeads.len().saturating_mul(4));
        for aead in &config.aeads {
            one.extend_from_slice(&HKDF_SHA256.to_be_bytes());
            one.extend_from_slice(&aead.id().to_be_bytes());
        }
        put_u16(&mut list, one.len());
        list.extend_from_slice(&one);
    }
    list
}

fn put_u16(to: &mut Vec<u8>, number: usize) {
    // A number that doesn't fit gives a list that no reader takes.
    to.extend_from_slice(&u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes());
}

/// Reads a list. Configurations with a KEM that isn't known are left out, and
/// pairs of KDF and AEAD that aren't.
///
/// # Errors
/// [`SealedFormatError`] for bytes that are no list, and for a list without one
/// configuration that can be used.
pub fn decode_configs(bytes: &[u8]) -> Result<Vec<KeyConfig>, SealedFormatError> {
    if bytes.len() > MAX_CONFIG_BYTES {
        return Err(fault("at most 4,096 bytes"));
    }
    let mut reader = Reader::new(bytes);
    let mut configs: Vec<KeyConfig> = Vec::new();
    for count in 0_usize.. {
        if reader.rest().is_empty() {
            break;
        }
        if count == MAX_CONFIGS {
            return Err(fault("at most 8 configurations"));
        }
        let one = reader
            .u16_be()
            .and_then(|length| reader.take(usize::from(length)))
            .ok_or_else(|| fault("as many bytes as its length says"))?;
        let Some(config) = decode_config(one)? else {
            continue;
        };
        if configs.iter().any(|other| other.id == config.id) {
            return Err(fault("each key identifier once"));
        }
        configs.push(config);
    }
    if configs.is_empty() {
        return Err(SealedFormatError::NoKnownConfig);
    }
    Ok(configs)
}

fn decode_config(bytes: &[u8]) -> Result<Option<KeyConfig>, SealedFormatError> {
    let mut reader = Reader::new(bytes);
    let cut = || fault("identifier, KEM, public key and algorithms");
    let id = reader.u8().ok_or_else(cut)?;
    let kem = reader.u16_be().ok_or_else(cut)?;
    let Some(kem) = Kem::of_id(kem) else {
        return Ok(None);
    };
    let public_key = reader.take(kem.public_key_bytes()).ok_or_else(cut)?;
    let length = reader.u16_be().ok_or_else(cut)?;
    let suites = reader.take(usize::from(length)).ok_or_else(cut)?;
    let (suites, odd) = suites.as_chunks::<4>();
    if suites.is_empty() || !odd.is_empty() || !reader.rest().is_empty() {
        return Err(fault("pairs of KDF and AEAD, and nothing after them"));
    }
    let aeads: Vec<Aead> = suites
        .iter()
        .map(|[k0, k1, a0, a1]| (u16::from_be_bytes([*k0, *k1]), u16::from_be_bytes([*a0, *a1])))
        .filter(|(kdf, _)| *kdf == HKDF_SHA256)
        .filter_map(|(_, aead)| Aead::of_id(aead))
        .collect();
    Ok((!aeads.is_empty()).then(|| KeyConfig {
        id,
        kem,
        public_key: public_key.to_vec(),
        aeads,
    }))
}

const fn fault(expected: &'static str) -> SealedFormatError {
    SealedFormatError::KeyConfig { expected }
}

/// Which key and algorithms an encapsulated request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestHeader {
    /// Key identifier.
    pub key: u8,
    /// KEM.
    pub kem: Kem,
    /// AEAD; the KDF is HKDF-SHA256.
    pub aead: Aead,
}

impl RequestHeader {
    /// The header's bytes.
    #[must_use]
    pub const fn encode(&self) -> [u8; HEADER_BYTES] {
        let [kem0, kem1] = self.kem.id().to_be_bytes();
        let [kdf0, kdf1] = HKDF_SHA256.to_be_bytes();
        let [aead0, aead1] = self.aead.id().to_be_bytes();
        [self.key, kem0, kem1, kdf0, kdf1, aead0, aead1]
    }

    /// Splits a request into header, encapsulated key and chunks.
    ///
    /// # Errors
    /// [`SealedFormatError::Header`] for algorithms that aren't known,
    /// [`SealedFormatError::Truncated`] if the encapsulated key isn't all there.
    pub fn split(request: &[u8]) -> Result<(Self, &[u8], &[u8]), SealedFormatError> {
        let mut reader = Reader::new(request);
        let [key, kem0, kem1, kdf0, kdf1, aead0, aead1] = *reader
            .array::<HEADER_BYTES>()
            .ok_or(SealedFormatError::Truncated)?;
        let kem = Kem::of_id(u16::from_be_bytes([kem0, kem1]));
        let aead = Aead::of_id(u16::from_be_bytes([aead0, aead1]));
        let (Some(kem), Some(aead), HKDF_SHA256) = (kem, aead, u16::from_be_bytes([kdf0, kdf1])) else {
            return Err(SealedFormatError::Header);
        };
        let encapsulated = reader
            .take(kem.encapsulated_bytes())
            .ok_or(SealedFormatError::Truncated)?;
        Ok((Self { key, kem, aead }, encapsulated, reader.rest()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(id: u8, kem: Kem) -> KeyConfig {
        KeyConfig {
            id,
            kem,
            public_key: vec![id; kem.public_key_bytes()],
            aeads: vec![Aead::ChaCha20Poly1305, Aead::Aes128Gcm],
        }
    }

    #[test]
    fn a_list_round_trips_and_fits_its_limit() {
        let list = [config(2, Kem::XWing), config(1, Kem::X25519)];
        let bytes = encode_configs(&list);
        assert!(bytes.len() <= MAX_CONFIG_BYTES);
        assert_eq!(decode_configs(&bytes).unwrap(), list);
    }

    /// RFC 9458 appendix A: the key configuration of the example.
    #[test]
    fn the_example_of_rfc_9458_is_read() {
        let one = hex::decode(
            "01002031e1f05a740102115220e9af918f738674aec95f54db6e04eb705aae8e79815500080001000100010003",
        )
        .unwrap();
        let mut list = vec![0, u8::try_from(one.len()).unwrap()];
        list.extend_from_slice(&one);
        let configs = decode_configs(&list).unwrap();
        assert_eq!(configs[0].id, 1);
        assert_eq!(configs[0].kem, Kem::X25519);
        assert_eq!(configs[0].aeads, [Aead::Aes128Gcm, Aead::ChaCha20Poly1305]);
        assert_eq!(encode_configs(&configs), list);
    }

    #[test]
    fn what_is_not_known_is_left_out_and_never_chosen() {
        // P-256, then X25519 with HKDF-SHA512 and AES-256-GCM as well.
        let mut list = vec![0, 1 + 2 + 65 + 2 + 4, 9, 0x00, 0x10];
        list.extend_from_slice(&[4; 65]);
        list.extend_from_slice(&[0, 4, 0, 1, 0, 1]);
        assert_eq!(decode_configs(&list), Err(SealedFormatError::NoKnownConfig));
        let mut one = vec![1, 0x00, 0x20];
        one.extend_from_slice(&[5; 32]);
        one.extend_from_slice(&[0, 12, 0, 3, 0, 1, 0, 1, 0, 2, 0, 1, 0, 3]);
        list.extend_from_slice(&[0, u8::try_from(one.len()).unwrap()]);
        list.extend_from_slice(&one);
        let configs = decode_configs(&list).unwrap();
        assert_eq!(configs.len(), 1);
        assert_eq!(configs[0].aeads, [Aead::ChaCha20Poly1305]);
    }

    #[test]
    fn a_key_identifier_that_names_two_keys_is_refused() {
        let list = encode_configs(&[config(1, Kem::XWing), config(1, Kem::X25519)]);
        assert_eq!(decode_configs(&list), Err(fault("each key identifier once")));
    }

    #[test]
    fn a_request_for_other_algorithms_is_refused() {
        let header = RequestHeader {
            key: 7,
            kem: Kem::X25519,
            aead: Aead::Aes128Gcm,
        };
        let mut request = header.encode().to_vec();
        assert_eq!(RequestHeader::split(&request), Err(SealedFormatError::Truncated));
        request.extend_from_slice(&[1; 32]);
        request.extend_from_slice(&[0, 9]);
        let (read, encapsulated, chunks) = RequestHeader::split(&request).unwrap();
        assert_eq!((read, encapsulated, chunks), (header, &[1; 32][..], &[0, 9][..]));
        for at in 1..HEADER_BYTES {
            let mut other = request.clone();
            other[at] ^= 0x55;
            assert_eq!(
                RequestHeader::split(&other),
                Err(SealedFormatError::Header),
                "{at}"
            );
        }
    }

    proptest! {
        #[test]
        fn truncated_lists_are_refused(position: prop::sample::Index) {
            let bytes = encode_configs(&[config(2, Kem::XWing)]);
            prop_assert!(decode_configs(&bytes[..position.index(bytes.len())]).is_err());
        }

        #[test]
        fn reading_never_panics(bytes: Vec<u8>) {
            let _ = decode_configs(&bytes);
            let _ = RequestHeader::split(&bytes);
        }
    }
}
