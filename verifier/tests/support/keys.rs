//! The keys of `tests/keys`, read once.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PSS_SHA256, RSA_PSS_SHA384, RsaKeyPair,
};

use super::der::{bits, oid, sequence, tlv};

/// Which of the RSA keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RsaKey {
    Ark,
    Ask,
    Asvk,
    StrangerArk,
    StrangerAsk,
    Ak,
    StrangerAk,
}

/// Which of the elliptic keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum VekKey {
    Vek,
    Stranger,
    P256,
}

fn pkcs8(pem: &str) -> Vec<u8> {
    der::pem::decode_vec(pem.as_bytes()).expect("test keys are PEM").1
}

impl RsaKey {
    fn pair(self) -> &'static RsaKeyPair {
        static PAIRS: OnceLock<[RsaKeyPair; 7]> = OnceLock::new();
        let pairs = PAIRS.get_or_init(|| {
            [
                include_str!("../keys/ark.pem"),
                include_str!("../keys/ask.pem"),
                include_str!("../keys/asvk.pem"),
                include_str!("../keys/stranger-ark.pem"),
                include_str!("../keys/stranger-ask.pem"),
                include_str!("../keys/ak.pem"),
                include_str!("../keys/stranger-ak.pem"),
            ]
            .map(|pem| RsaKeyPair::from_pkcs8(&pkcs8(pem)).expect("test keys are RSA"))
        });
        match self {
            Self::Ark => &pairs[0],
            Self::Ask => &pairs[1],
            Self::Asvk => &pairs[2],
            Self::StrangerArk => &pairs[3],
            Self::StrangerAsk => &pairs[4],
            Self::Ak => &pairs[5],
            Self::StrangerAk => &pairs[6],
        }
    }

    /// DER RSAPublicKey.
    pub(crate) fn public(self) -> Vec<u8> {
        self.pair().public_key().as_ref().to_vec()
    }

    /// DER SubjectPublicKeyInfo.
    pub(crate) fn spki(self) -> Vec<u8> {
        rsa_spki(&self.public())
    }

    /// RSASSA-PSS, SHA-384, 48 bytes of salt.
    pub(crate) fn sign_pss(self, message: &[u8]) -> Vec<u8> {
        self.sign(&RSA_PSS_SHA384, message)
    }

    /// RSASSA-PSS, SHA-256, 32 bytes of salt.
    pub(crate) fn sign_pss_sha256(self, message: &[u8]) -> Vec<u8> {
        self.sign(&RSA_PSS_SHA256, message)
    }

    /// RSASSA-PKCS1-v1_5, SHA-384.
    pub(crate) fn sign_pkcs1(self, message: &[u8]) -> Vec<u8> {
        self.sign(&RSA_PKCS1_SHA384, message)
    }

    /// RSASSA-PKCS1-v1_5, SHA-256.
    pub(crate) fn sign_pkcs1_sha256(self, message: &[u8]) -> Vec<u8> {
        self.sign(&RSA_PKCS1_SHA256, message)
    }

    /// A signature that was made before is given again: an RSA-4096 signature
    /// takes milliseconds, and most cases differ in the report alone.
    fn sign(self, encoding: &'static dyn aws_lc_rs::signature::RsaEncoding, message: &[u8]) -> Vec<u8> {
        type Made = HashMap<(RsaKey, String, Vec<u8>), Vec<u8>>;
        static MADE: Mutex<Option<Made>> = Mutex::new(None);
        let what = (self, format!("{encoding:?}"), message.to_vec());
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        made.get_or_insert_default()
            .entry(what)
            .or_insert_with(|| {
                let mut signature = vec![0; self.pair().public_modulus_len()];
                self.pair()
                    .sign(encoding, &SystemRandom::new(), message, &mut signature)
                    .expect("test keys sign");
                signature
            })
            .clone()
    }
}

/// SubjectPublicKeyInfo of an RSAPublicKey.
pub(crate) fn rsa_spki(public: &[u8]) -> Vec<u8> {
    let rsa_encryption = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    sequence(&[sequence(&[oid(&rsa_encryption), tlv(0x05, &[])]), bits(public)])
}

impl VekKey {
    fn pair(self) -> &'static EcdsaKeyPair {
        static PAIRS: OnceLock<[EcdsaKeyPair; 3]> = OnceLock::new();
        let pairs = PAIRS.get_or_init(|| {
            let p384 = |pem| EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &pkcs8(pem));
            [
                p384(include_str!("../keys/vek.pem")),
                p384(include_str!("../keys/stranger-vek.pem")),
                EcdsaKeyPair::from_pkcs8(
                    &ECDSA_P256_SHA256_FIXED_SIGNING,
                    &pkcs8(include_str!("../keys/vek-p256.pem")),
                ),
            ]
            .map(|pair| pair.expect("test keys are elliptic"))
        });
        match self {
            Self::Vek => &pairs[0],
            Self::Stranger => &pairs[1],
            Self::P256 => &pairs[2],
        }
    }

    /// Uncompressed point.
    pub(crate) fn point(self) -> Vec<u8> {
        self.pair().public_key().as_ref().to_vec()
    }

    /// DER SubjectPublicKeyInfo.
    pub(crate) fn spki(self) -> Vec<u8> {
        let ec_public_key = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
        let curve: &[u8] = match self {
            Self::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Self::Vek | Self::Stranger => &[0x2b, 0x81, 0x04, 0x00, 0x22],
        };
        sequence(&[sequence(&[oid(&ec_public_key), oid(curve)]), bits(&self.point())])
    }

    /// R and S, big-endian.
    pub(crate) fn sign(self, message: &[u8]) -> Vec<u8> {
        self.pair()
            .sign(&SystemRandom::new(), message)
            .expect("test keys sign")
            .as_ref()
            .to_vec()
    }
}
