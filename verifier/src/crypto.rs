//! The signature verifications that SNP and a vTPM's quotes need, behind one
//! small trait, so that native builds use aws-lc-rs and wasm32 uses ring.
//! Verifies and hashes; holds no key and signs nothing.

#[cfg(feature = "aws-lc")]
mod aws_lc;
mod ring;

#[cfg(feature = "aws-lc")]
pub use aws_lc::AwsLc;
pub use ring::Ring;

/// Signature verification. Implementations answer `false` for anything they
/// can't use, a misshapen key included.
pub trait Crypto: Send + Sync + core::fmt::Debug {
    /// RSASSA-PSS with SHA-384, MGF1 with SHA-384 and a 48-byte salt
    /// \[RFC 8017 §8.1\], keys of 2048 to 8192 bits. `key` is a DER
    /// RSAPublicKey, `message` is not hashed yet.
    #[must_use]
    fn rsa_pss_sha384_verify(&self, key: &[u8], message: &[u8], signature: &[u8]) -> bool;

    /// RSASSA-PKCS1-v1_5 with SHA-256 \[RFC 8017 §8.2\], keys of 2048 to 8192
    /// bits. `key` is a DER RSAPublicKey, `message` is not hashed yet.
    #[must_use]
    fn rsa_pkcs1_sha256_verify(&self, key: &[u8], message: &[u8], signature: &[u8]) -> bool;

    /// ECDSA on P-384 with SHA-384 \[FIPS 186-5\]. `point` is uncompressed
    /// (97 bytes), `message` is not hashed yet, `signature` is R and S,
    /// big-endian, 48 bytes each.
    #[must_use]
    fn p384_sha384_verify(&self, point: &[u8], message: &[u8], signature: &[u8; 96]) -> bool;

    /// SHA-256 of a whole message. For messages that are long enough for the
    /// implementation to matter.
    #[must_use]
    fn sha256(&self, message: &[u8]) -> [u8; 32] {
        bastide_attestation::sha256(&[message])
    }

    /// SHA-384 of a whole message; likewise.
    #[must_use]
    fn sha384(&self, message: &[u8]) -> [u8; 48] {
        bastide_attestation::sha384(&[message])
    }
}

/// The implementation that this build verifies with: aws-lc-rs with the
/// `aws-lc` feature (the default), ring without.
#[must_use]
pub fn provider() -> &'static dyn Crypto {
    #[cfg(feature = "aws-lc")]
    return &AwsLc;
    #[cfg(not(feature = "aws-lc"))]
    return &Ring;
}

#[cfg(test)]
mod tests {
    use super::{Crypto, Ring};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digests_are_the_same_whoever_makes_them(message: Vec<u8>) {
            prop_assert_eq!(Ring.sha256(&message), bastide_attestation::sha256(&[&message]));
            #[cfg(feature = "aws-lc")]
            {
                prop_assert_eq!(super::AwsLc.sha256(&message), Ring.sha256(&message));
                prop_assert_eq!(super::AwsLc.sha384(&message), Ring.sha384(&message));
            }
        }
    }
}
