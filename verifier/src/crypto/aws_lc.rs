//! Verification by aws-lc-rs.

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, UnparsedPublicKey,
};

use super::Crypto;

/// [`Crypto`] by the `aws-lc-rs` crate.
#[derive(Debug, Clone, Copy)]
pub struct AwsLc;

impl Crypto for AwsLc {
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

    fn sha256(&self, message: &[u8]) -> [u8; 32] {
        fixed(digest(&SHA256, message).as_ref())
    }

    fn sha384(&self, message: &[u8]) -> [u8; 48] {
        fixed(digest(&SHA384, message).as_ref())
    }
}

/// A digest's bytes, of which the algorithms here have exactly N.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    out
}
