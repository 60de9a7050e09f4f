//! The TLS signing key of one boot: Ed25519, made in aws-lc and never taken out
//! of it. It can be neither loaded, nor stored, nor shown.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

/// Ed25519: with aws-lc it signs in under half the time of P-256 and verifies in
/// two thirds, and OpenSSL, BoringSSL, Go and rustls know it. Browsers don't; they
/// can't reach the exporter either and have the sealed mode.
#[derive(Clone)]
pub(crate) struct TlsKey(Arc<Ed25519KeyPair>);

impl TlsKey {
    /// Makes a new key.
    pub(crate) fn generate() -> Result<Self, aws_lc_rs::error::Unspecified> {
        Ed25519KeyPair::generate().map(|key| Self(Arc::new(key)))
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
        let signature = self.0.try_sign(message)?;
        Ok(signature.as_ref().to_vec())
    }
}

impl fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsKey(..)")
    }
}

impl SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&self.scheme())
            .then(|| -> Box<dyn Signer> { Box::new(self.clone()) })
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.signature(message)
            .map_err(|_| rustls::Error::General("the TLS key could not sign".to_owned()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

impl rcgen::PublicKeyData for TlsKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.signature(message).map_err(|_| rcgen::Error::RingUnspecified)
    }
}
