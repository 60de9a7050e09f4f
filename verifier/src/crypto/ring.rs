//! Verification by ring.

use ::ring::signature::{
    ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, UnparsedPublicKey,
};

use super::Crypto;

/// [`Crypto`] by the `ring` crate.
#[derive(Debug, Clone, Copy)]
pub struct Ring;

impl Crypto for Ring {
    fn rsa_pss_sha384_verify(&self, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA384, key)
            .verify(message, signature)
            .is_ok()
    }

    fn rsa_pkcs1_sha256_verify(&self, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
            .verify(message, signature)
            .is_ok()
    }

    fn p384_sha384_verify(&self, point: &[u8], message: &[u8], signature: &[u8; 96]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
            .verify(message, signature)
            .is_ok()
    }
}
