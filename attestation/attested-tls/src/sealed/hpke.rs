//! HPKE (RFC 9180) in base mode, as far as RFC 9458 uses it: DHKEM(X25519) and
//! X-Wing, HKDF-SHA256, two AEADs. Every primitive is aws-lc-rs's, the one that
//! TLS rests on here; this file only puts them together. Why not a crate:
//! `docs/adr`, "Sealed mode without an HPKE crate". Held against another
//! implementation in `tests/sealed`.

use aws_lc_rs::aead::{AES_128_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use aws_lc_rs::{digest, hmac};
use bastide_attestation::sealed::{Aead, Kem, RequestHeader};
use zeroize::Zeroizing;

const NONCE_BYTES: usize = 12;
const HASH_BYTES: usize = 32;
const HKDF_SHA256: [u8; 2] = [0x00, 0x01];
const ML_KEM_PUBLIC_BYTES: usize = 1184;
const ML_KEM_CIPHERTEXT_BYTES: usize = 1088;
/// The label of X-Wing's combiner: `\.//^\`.
const X_WING_LABEL: &[u8] = b"\\.//^\\";

type Secret = Zeroizing<[u8; HASH_BYTES]>;

/// A cryptographic operation failed: a key that is none, a tag that is another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic operation failed")]
pub(super) struct Failed;

impl From<aws_lc_rs::error::Unspecified> for Failed {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self
    }
}

/// A receiver's private key, with its public half.
pub(super) struct ReceiverKey {
    secret: ReceiverSecret,
    public: Vec<u8>,
}

enum ReceiverSecret {
    X25519(PrivateKey),
    XWing {
        ml_kem: Box<DecapsulationKey>,
        x25519: PrivateKey,
    },
}

impl ReceiverKey {
    /// Draws a key.
    pub(super) fn generate(kem: Kem) -> Result<Self, Failed> {
        let x25519 = PrivateKey::generate(&X25519)?;
        let public = x25519.compute_public_key()?;
        Ok(match kem {
            Kem::X25519 => Self {
                secret: ReceiverSecret::X25519(x25519),
                public: public.as_ref().to_vec(),
            },
            Kem::XWing => {
                let ml_kem = DecapsulationKey::generate(&ML_KEM_768)?;
                let encapsulation = ml_kem.encapsulation_key()?;
                let public = [encapsulation.key_bytes()?.as_ref(), public.as_ref()].concat();
                Self {
                    secret: ReceiverSecret::XWing {
                        ml_kem: Box::new(ml_kem),
                        x25519,
                    },
                    public,
                }
            }
        })
    }

    /// The public half.
    pub(super) fn public(&self) -> &[u8] {
        &self.public
    }

    /// The KEM's Decap.
    fn decapsulate(&self, encapsulated: &[u8]) -> Result<Secret, Failed> {
        match &self.secret {
            ReceiverSecret::X25519(secret) => {
                let shared = diffie_hellman(secret, encapsulated)?;
                Ok(dhkem_secret(&shared, encapsulated, &self.public))
            }
            ReceiverSecret::XWing { ml_kem, x25519 } => {
                let (ciphertext, ephemeral) = encapsulated
                    .split_at_checked(ML_KEM_CIPHERTEXT_BYTES)
                    .ok_or(Failed)?;
                let (_, own) = self.public.split_at_checked(ML_KEM_PUBLIC_BYTES).ok_or(Failed)?;
                let lattice = ml_kem.decapsulate(Ciphertext::from(ciphertext))?;
                let curve = diffie_hellman(x25519, ephemeral)?;
                Ok(x_wing_secret(lattice.as_ref(), &curve, ephemeral, own))
            }
        }
    }
}

/// The KEM's Encap: the shared secret and what the receiver needs to find it.
fn encapsulate(kem: Kem, public: &[u8]) -> Result<(Secret, Vec<u8>), Failed> {
    let ephemeral = PrivateKey::generate(&X25519)?;
    let ephemeral_public = ephemeral.compute_public_key()?;
    let ephemeral_public = ephemeral_public.as_ref();
    match kem {
        Kem::X25519 => {
            let shared = diffie_hellman(&ephemeral, public)?;
            Ok((
                dhkem_secret(&shared, ephemeral_public, public),
                ephemeral_public.to_vec(),
            ))
        }
        Kem::XWing => {
            let (ml_kem, x25519) = public.split_at_checked(ML_KEM_PUBLIC_BYTES).ok_or(Failed)?;
            let ml_kem = EncapsulationKey::new(&ML_KEM_768, ml_kem).map_err(|_| Failed)?;
            let (ciphertext, lattice) = ml_kem.encapsulate()?;
            let curve = diffie_hellman(&ephemeral, x25519)?;
            Ok((
                x_wing_secret(lattice.as_ref(), &curve, ephemeral_public, x25519),
                [ciphertext.as_ref(), ephemeral_public].concat(),
            ))
        }
    }
}

/// X25519. A peer's point of small order, which gives zeros, is refused (RFC 9180 §7.1.4).
fn diffie_hellman(own: &PrivateKey, peer: &[u8]) -> Result<Secret, Failed> {
    agreement::agree(own, UnparsedPublicKey::new(&X25519, peer), Failed, |shared| {
        let shared: [u8; HASH_BYTES] = shared.try_into().map_err(|_| Failed)?;
        if shared == [0; HASH_BYTES] {
            return Err(Failed);
        }
        Ok(Zeroizing::new(shared))
    })
}

/// DHKEM's ExtractAndExpand (RFC 9180 §4.1).
fn dhkem_secret(shared: &[u8; HASH_BYTES], encapsulated: &[u8], public: &[u8]) -> Secret {
    let [kem0, kem1] = Kem::X25519.id().to_be_bytes();
    let suite = [b'K', b'E', b'M', kem0, kem1];
    let prk = labeled_extract(&suite, &[], b"eae_prk", shared);
    let mut secret = Secret::default();
    labeled_expand(
        &suite,
        &prk,
        b"shared_secret",
        &[encapsulated, public],
        secret.as_mut_slice(),
    );
    secret
}

/// X-Wing's combiner.
fn x_wing_secret(lattice: &[u8], curve: &[u8; HASH_BYTES], ciphertext: &[u8], public: &[u8]) -> Secret {
    let mut hash = digest::Context::new(&digest::SHA3_256);
    for part in [lattice, curve.as_slice(), ciphertext, public, X_WING_LABEL] {
        hash.update(part);
    }
    let mut secret = Secret::default();
    fill(secret.as_mut_slice(), hash.finish().as_ref());
    secret
}

fn fill(to: &mut [u8], from: &[u8]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Secret {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    let mut out = Secret::default();
    fill(out.as_mut_slice(), context.sign().as_ref());
    out
}

/// HKDF-Extract (RFC 5869 §2.2).
pub(super) fn extract(salt: &[u8], secret: &[u8]) -> Secret {
    hmac_sha256(salt, &[secret])
}

/// HKDF-Expand (RFC 5869 §2.3) for what HPKE and OHTTP ask for: one block at most.
pub(super) fn expand(prk: &[u8; HASH_BYTES], info: &[&[u8]], out: &mut [u8]) {
    debug_assert!(out.len() <= HASH_BYTES, "one block of HKDF");
    let parts: Vec<&[u8]> = info.iter().copied().chain([&[1_u8][..]]).collect();
    fill(out, hmac_sha256(prk, &parts).as_slice());
}

fn labeled_extract(suite: &[u8], salt: &[u8], label: &[u8], secret: &[u8]) -> Secret {
    hmac_sha256(salt, &[b"HPKE-v1", suite, label, secret])
}

fn labeled_expand(suite: &[u8], prk: &[u8; HASH_BYTES], label: &[u8], info: &[&[u8]], out: &mut [u8]) {
    let length = u16::try_from(out.len()).unwrap_or(u16::MAX).to_be_bytes();
    let labeled = [&length[..], b"HPKE-v1", suite, label];
    let parts: Vec<&[u8]> = labeled.into_iter().chain(info.iter().copied()).collect();
    expand(prk, &parts, out);
}

/// An AEAD key with its base nonce: chunk number `n` has the nonce XOR `n`.
pub(super) struct ChunkKey {
    key: LessSafeKey,
    base: [u8; NONCE_BYTES],
    sequence: u64,
}

impl ChunkKey {
    pub(super) fn new(aead: Aead, key: &[u8], base: [u8; NONCE_BYTES]) -> Result<Self, Failed> {
        let algorithm = match aead {
            Aead::Aes128Gcm => &AES_128_GCM,
            Aead::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        Ok(Self {
            key: LessSafeKey::new(UnboundKey::new(algorithm, key)?),
            base,
            sequence: 0,
        })
    }

    /// The next nonce; none is used twice, and 2^64 of them are never used up.
    fn nonce(&mut self) -> Result<Nonce, Failed> {
        let mut nonce = self.base;
        let number = self.sequence.to_be_bytes();
        self.sequence = self.sequence.checked_add(1).ok_or(Failed)?;
        nonce
            .iter_mut()
            .rev()
            .zip(number.iter().rev())
            .for_each(|(to, byte)| *to ^= byte);
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    /// Seals the next chunk in place.
    pub(super) fn seal(&mut self, aad: &[u8], chunk: &mut Vec<u8>) -> Result<(), Failed> {
        let nonce = self.nonce()?;
        Ok(self.key.seal_in_place_append_tag(nonce, Aad::from(aad), chunk)?)
    }

    /// Opens the next chunk; what it held is zeroed when dropped.
    pub(super) fn open(&mut self, aad: &[u8], chunk: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, Failed> {
        let mut chunk = Zeroizing::new(chunk);
        let nonce = self.nonce()?;
        let length = self
            .key
            .open_in_place(nonce, Aad::from(aad), chunk.as_mut_slice())?
            .len();
        chunk.truncate(length);
        Ok(chunk)
    }
}

/// A context of HPKE: seals or opens chunks in order, and exports secrets.
pub(super) struct Context {
    pub(super) chunks: ChunkKey,
    exporter: Secret,
    suite: [u8; 10],
}

impl Context {
    /// SetupBaseS: the context and the encapsulated key.
    pub(super) fn sender(
        header: &RequestHeader,
        public: &[u8],
        info: &[u8],
    ) -> Result<(Self, Vec<u8>), Failed> {
        let (shared, encapsulated) = encapsulate(header.kem, public)?;
        Ok((Self::schedule(header, &shared, info)?, encapsulated))
    }

    /// SetupBaseR.
    pub(super) fn receiver(
        header: &RequestHeader,
        key: &ReceiverKey,
        encapsulated: &[u8],
        info: &[u8],
    ) -> Result<Self, Failed> {
        Self::schedule(header, &*key.decapsulate(encapsulated)?, info)
    }

    /// KeySchedule in base mode (RFC 9180 §5.1).
    fn schedule(header: &RequestHeader, shared: &[u8; HASH_BYTES], info: &[u8]) -> Result<Self, Failed> {
        let [kem0, kem1] = header.kem.id().to_be_bytes();
        let [kdf0, kdf1] = HKDF_SHA256;
        let [aead0, aead1] = header.aead.id().to_be_bytes();
        let suite = [b'H', b'P', b'K', b'E', kem0, kem1, kdf0, kdf1, aead0, aead1];
        let psk_id_hash = labeled_extract(&suite, &[], b"psk_id_hash", &[]);
        let info_hash = labeled_extract(&suite, &[], b"info_hash", info);
        let context: [&[u8]; 3] = [&[0], psk_id_hash.as_slice(), info_hash.as_slice()];
        let secret = labeled_extract(&suite, shared, b"secret", &[]);
        let mut key = Zeroizing::new(vec![0; header.aead.key_bytes()]);
        labeled_expand(&suite, &secret, b"key", &context, &mut key);
        let mut base = [0; NONCE_BYTES];
        labeled_expand(&suite, &secret, b"base_nonce", &context, &mut base);
        let mut exporter = Secret::default();
        labeled_expand(&suite, &secret, b"exp", &context, exporter.as_mut_slice());
        Ok(Self {
            chunks: ChunkKey::new(header.aead, &key, base)?,
            exporter,
            suite,
        })
    }

    /// Context.Export, for one block at most.
    pub(super) fn export(&self, label: &[u8], out: &mut [u8]) {
        labeled_expand(&self.suite, &self.exporter, b"sec", &[label], out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9180 appendix A.1.1: base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM.
    #[test]
    fn the_known_answers_of_rfc_9180_come_out() {
        let secret = hex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8");
        let secret = PrivateKey::from_private_key(&X25519, &secret).unwrap();
        let public = secret.compute_public_key().unwrap().as_ref().to_vec();
        assert_eq!(
            public,
            hex("3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d")
        );
        let key = ReceiverKey {
            secret: ReceiverSecret::X25519(secret),
            public,
        };
        let encapsulated = hex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431");
        assert_eq!(
            key.decapsulate(&encapsulated).unwrap().to_vec(),
            hex("fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc")
        );
        let header = RequestHeader {
            key: 0,
            kem: Kem::X25519,
            aead: Aead::Aes128Gcm,
        };
        let info = hex("4f6465206f6e2061204772656369616e2055726e");
        let mut context = Context::receiver(&header, &key, &encapsulated, &info).unwrap();
        let sealed = hex("f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a9\
             6d8770ac83d07bea87e13c512a");
        assert_eq!(
            context.chunks.open(b"Count-0", sealed).unwrap().as_slice(),
            b"Beauty is truth, truth beauty"
        );
        let mut exported = [0; 32];
        context.export(b"", &mut exported);
        assert_eq!(
            exported.to_vec(),
            hex("3853fe2b4035195a573ffc53856e77058e15d9ea064de3e59f4961d0095250ee")
        );
    }

    #[test]
    fn a_point_of_small_order_is_refused() {
        let own = PrivateKey::generate(&X25519).unwrap();
        assert_eq!(diffie_hellman(&own, &[0; 32]).unwrap_err(), Failed);
        let mut one = [0; 32];
        one[0] = 1;
        assert_eq!(diffie_hellman(&own, &one).unwrap_err(), Failed);
    }

    #[test]
    fn chunks_open_in_their_order_only() {
        let mut sealer = ChunkKey::new(Aead::ChaCha20Poly1305, &[1; 32], [2; 12]).unwrap();
        let mut opener = ChunkKey::new(Aead::ChaCha20Poly1305, &[1; 32], [2; 12]).unwrap();
        let (mut first, mut second) = (b"first".to_vec(), b"second".to_vec());
        sealer.seal(b"", &mut first).unwrap();
        sealer.seal(b"final", &mut second).unwrap();
        assert_eq!(opener.open(b"", second.clone()).unwrap_err(), Failed);
        let mut opener = ChunkKey::new(Aead::ChaCha20Poly1305, &[1; 32], [2; 12]).unwrap();
        assert_eq!(opener.open(b"", first).unwrap().as_slice(), b"first");
        assert_eq!(opener.open(b"", second).unwrap_err(), Failed);
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }
}
