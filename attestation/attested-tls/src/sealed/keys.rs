//! The enclave's key pairs of sealed mode: drawn in memory, never written, and
//! gone with their last owner. One pair for each KEM, X-Wing first.

use std::sync::Arc;

use bastide_attestation::sealed::{Aead, Kem, KeyConfig, encode_configs};
use bastide_attestation::sha256;

use super::hpke::ReceiverKey;
use super::seal::{self, OpenError, Opened};

/// ChaCha20-Poly1305 first: 256 bits, as X-Wing wants against quantum computers,
/// and no tables where AES has no instructions.
const AEADS: [Aead; 2] = [Aead::ChaCha20Poly1305, Aead::Aes128Gcm];

/// No key could be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key pair could be made; nothing can be sealed to this enclave")]
pub struct NoKey;

/// Key pairs that requests are sealed to, and the configuration that names them.
#[derive(Clone)]
pub struct SealedKeys(Arc<Pairs>);

struct Pairs {
    pairs: [(u8, Kem, ReceiverKey); 2],
    config: Vec<u8>,
}

impl core::fmt::Debug for SealedKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SealedKeys(..)")
    }
}

impl SealedKeys {
    /// Draws key pairs. `generation` numbers them, so that a request names the
    /// pair it is for while two generations are in use.
    ///
    /// # Errors
    /// [`NoKey`] if the system gives none.
    pub fn generate(generation: u8) -> Result<Self, NoKey> {
        let first = generation.wrapping_mul(2);
        let pair = |id, kem| {
            ReceiverKey::generate(kem)
                .map(|key| (id, kem, key))
                .map_err(|_| NoKey)
        };
        let pairs = [
            pair(first, Kem::XWing)?,
            pair(first.wrapping_add(1), Kem::X25519)?,
        ];
        let configs: Vec<KeyConfig> = pairs
            .iter()
            .map(|(id, kem, key)| KeyConfig {
                id: *id,
                kem: *kem,
                public_key: key.public().to_vec(),
                aeads: AEADS.to_vec(),
            })
            .collect();
        let config = encode_configs(&configs);
        Ok(Self(Arc::new(Pairs { pairs, config })))
    }

    /// The key configurations, `application/ohttp-keys`.
    #[must_use]
    pub fn config(&self) -> &[u8] {
        &self.0.config
    }

    /// SHA-256 of the key configurations: S.12.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        sha256(&[&self.0.config])
    }

    /// Whether a request, of which the first byte is enough, names a key of these.
    #[must_use]
    pub fn are_named_by(&self, request: &[u8]) -> bool {
        let pairs = &self.0.pairs;
        request
            .first()
            .is_some_and(|named| pairs.iter().any(|(id, ..)| id == named))
    }

    /// Opens a whole request with at most `limit` bytes of content.
    ///
    /// # Errors
    /// [`OpenError`]; nothing that was sealed is known then.
    pub fn open(&self, request: &[u8], limit: usize) -> Result<Opened, OpenError> {
        seal::open(request, limit, |header| {
            let found = self
                .0
                .pairs
                .iter()
                .find(|(id, kem, _)| *id == header.key && *kem == header.kem);
            found.map(|(.., key)| key)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::seal::{Sealed, seal};
    use super::*;
    use bastide_attestation::sealed::{SealedFormatError, decode_configs};

    fn sealed(keys: &SealedKeys, which: usize, request: &[u8]) -> Sealed {
        seal(&decode_configs(keys.config()).unwrap()[which], request).unwrap()
    }

    #[test]
    fn requests_and_answers_of_any_length_pass_under_both_kems() {
        let keys = SealedKeys::generate(3).unwrap();
        let long = vec![b'x'; 40_000];
        for which in 0..2 {
            for request in [&b""[..], b"short", &long[..16_384], &long] {
                let mut sealed = sealed(&keys, which, request);
                assert!(keys.are_named_by(&sealed.bytes));
                let opened = keys.open(&sealed.bytes, 40_000).unwrap();
                assert_eq!(opened.request.as_slice(), request);
                assert_eq!(opened.id, sealed.id);
                let mut answer = opened.answer;
                let mut bytes = answer.begin().to_vec();
                bytes.extend(answer.content(b"data: 1").unwrap());
                bytes.extend(answer.content(&long).unwrap());
                bytes.extend(answer.finish(b"end").unwrap());
                let mut content = Vec::new();
                for part in bytes.chunks(1000) {
                    content.extend_from_slice(&sealed.answer.push(part).unwrap());
                }
                content.extend_from_slice(&sealed.answer.finish().unwrap());
                assert_eq!(content, [b"data: 1", &long[..], b"end"].concat());
            }
        }
    }

    #[test]
    fn a_request_that_was_changed_cut_or_sealed_for_another_is_not_opened() {
        let (keys, others) = (SealedKeys::generate(0).unwrap(), SealedKeys::generate(0).unwrap());
        let next = SealedKeys::generate(1).unwrap();
        for which in 0..2 {
            let bytes = sealed(&keys, which, &[b'x'; 20_000]).bytes;
            assert_eq!(others.open(&bytes, 40_000).unwrap_err(), OpenError::Seal);
            assert_eq!(next.open(&bytes, 40_000).unwrap_err(), OpenError::UnknownKey);
            assert!(!next.are_named_by(&bytes));
            assert_eq!(
                keys.open(&bytes, 19_999).unwrap_err(),
                OpenError::TooLarge { limit: 19_999 }
            );
            for at in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                assert!(keys.open(&changed, 40_000).is_err(), "byte {at}");
                assert!(keys.open(&bytes[..at], 40_000).is_err(), "cut at {at}");
            }
        }
    }

    /// T20: the final chunk is authenticated as such, so that a cut is seen.
    #[test]
    fn t20_an_answer_without_its_final_chunk_is_never_complete() {
        let keys = SealedKeys::generate(0).unwrap();
        let sealed = sealed(&keys, 0, b"request");
        let mut answer = keys.open(&sealed.bytes, 100).unwrap().answer;
        let mut bytes = answer.begin().to_vec();
        bytes.extend(answer.content(b"first").unwrap());
        let second = bytes.len();
        bytes.extend(answer.content(b"second").unwrap());
        // The second chunk shown as if it were the last: another mark, the same bytes.
        let mut forged = bytes.clone();
        forged[second] = 0;
        let mut opener = sealed.answer;
        assert_eq!(opener.push(&forged).unwrap().as_slice(), b"first");
        assert_eq!(opener.finish().unwrap_err(), OpenError::Seal);

        let sealed = self::sealed(&keys, 1, b"request");
        let mut answer = keys.open(&sealed.bytes, 100).unwrap().answer;
        let mut bytes = answer.begin().to_vec();
        bytes.extend(answer.content(b"first").unwrap());
        let mut opener = sealed.answer;
        assert_eq!(opener.push(&bytes).unwrap().as_slice(), b"first");
        assert_eq!(
            opener.finish().unwrap_err(),
            OpenError::Format(SealedFormatError::Truncated)
        );
    }

    #[test]
    fn two_answers_to_one_request_never_share_a_key() {
        let keys = SealedKeys::generate(0).unwrap();
        let bytes = sealed(&keys, 1, b"request").bytes;
        let first = keys.open(&bytes, 100).unwrap().answer;
        let second = keys.open(&bytes, 100).unwrap().answer;
        assert_ne!(first.begin(), second.begin());
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        assert_eq!(
            format!("{:?}", SealedKeys::generate(0).unwrap()),
            "SealedKeys(..)"
        );
    }
}
