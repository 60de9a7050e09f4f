//! Signed attestation results: an EAR (draft-ietf-rats-ear-03) as COSE_Sign1,
//! for whoever relies on a verdict without having appraised the evidence.
//! What a verdict amounts to in AR4SI's words is in `trust`; the claims and
//! their codec are in `claims`. No evidence and no policy is in a result, only
//! their digests.
//!
//! The signature has no external data and the payload only claims that the
//! draft defines, plus private ones: other EAR software can read it.

mod claims;
mod trust;

use coset::{CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::codec::CodecError;
use crate::digest::KeyThumbprint;
use crate::receipt::ed25519_thumbprint;

pub use claims::{EAR_PROFILE, EarClaims, EarContext};
pub use trust::{TrustTier, TrustVector, TrustworthinessClaim};

/// Most bytes of a signed result.
pub const MAX_EAR_BYTES: usize = 4096;

/// Why a signed result can't be made, or doesn't hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EarError {
    /// Not a COSE_Sign1 of at most 4,096 bytes.
    #[error("a signed result is a tagged COSE_Sign1 of at most {MAX_EAR_BYTES} bytes")]
    Format,
    /// The signature algorithm is not EdDSA, or headers carry something else.
    #[error("a signed result's protected header says EdDSA and nothing else")]
    Header,
    /// The claims are not strict CBOR of the defined shape.
    #[error("claims of the result: {0}")]
    Claims(#[from] CodecError),
    /// A claim says more than the others allow.
    #[error("the result contradicts itself: {0}")]
    Contradiction(&'static str),
    /// The verdict can't be put into a result.
    #[error("no result can be made: {0}")]
    Verdict(&'static str),
    /// The signature does not verify.
    #[error("the result's signature does not verify")]
    Signature,
    /// The signing key is not the one that was asked for.
    #[error("the result was signed by key {got}, expected {expected}")]
    Key {
        /// Thumbprint that was asked for.
        expected: KeyThumbprint,
        /// Thumbprint of the key in the result.
        got: KeyThumbprint,
    },
    /// Signing failed.
    #[error("signing the result failed")]
    Signing,
}

/// A signed result: its exact bytes, its claims and its key. Made only by
/// signing or by verifying the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ear {
    bytes: Vec<u8>,
    claims: EarClaims,
    public_key: [u8; 32],
}

impl Ear {
    /// Makes a signed result. `sign` is called once with the bytes to be signed
    /// by the Ed25519 key whose public half is `public_key`.
    ///
    /// # Errors
    /// [`EarError::Signing`] if `sign` gives no signature of that key.
    pub fn sign(
        claims: &EarClaims,
        public_key: &[u8; 32],
        sign: impl FnOnce(&[u8]) -> Option<[u8; 64]>,
    ) -> Result<Self, EarError> {
        let sign1 = CoseSign1Builder::new()
            .protected(HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).build())
            .payload(claims.encode(public_key))
            .try_create_signature(&[], |bytes| sign(bytes).map(Vec::from).ok_or(EarError::Signing))?
            .build();
        let bytes = sign1.to_tagged_vec().map_err(|_| EarError::Signing)?;
        // What can't be verified is not handed out.
        Self::verify(&bytes).map_err(|error| match error {
            EarError::Signature => EarError::Signing,
            other => other,
        })
    }

    /// Checks a result's form and its signature by the key it names. Whether
    /// that is a key to rely on is asked by [`Self::signed_by`].
    ///
    /// # Errors
    /// [`EarError`] names what doesn't hold.
    pub fn verify(bytes: &[u8]) -> Result<Self, EarError> {
        if bytes.len() > MAX_EAR_BYTES {
            return Err(EarError::Format);
        }
        let sign1 = CoseSign1::from_tagged_slice(bytes).map_err(|_| EarError::Format)?;
        let again = sign1.clone().to_tagged_vec().map_err(|_| EarError::Format)?;
        if again != bytes {
            return Err(EarError::Format);
        }
        let expected = HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).build();
        if sign1.protected.header != expected || !sign1.unprotected.is_empty() {
            return Err(EarError::Header);
        }
        let payload = sign1.payload.as_deref().ok_or(EarError::Format)?;
        let (claims, public_key) = EarClaims::decode(payload)?;
        sign1
            .verify_signature(&[], |signature, message| {
                UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature)
            })
            .map_err(|_| EarError::Signature)?;
        Ok(Self {
            bytes: bytes.to_vec(),
            claims,
            public_key,
        })
    }

    /// Requires that a certain Ed25519 key signed it.
    ///
    /// # Errors
    /// [`EarError::Key`] if another key did.
    pub fn signed_by(&self, public_key: &[u8; 32]) -> Result<(), EarError> {
        if self.public_key == *public_key {
            Ok(())
        } else {
            Err(EarError::Key {
                expected: ed25519_thumbprint(public_key),
                got: self.key(),
            })
        }
    }

    /// What it states.
    #[must_use]
    pub const fn claims(&self) -> &EarClaims {
        &self.claims
    }

    /// The public key that signed it.
    #[must_use]
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// Thumbprint of the key that signed it.
    #[must_use]
    pub fn key(&self) -> KeyThumbprint {
        ed25519_thumbprint(&self.public_key)
    }

    /// The exact bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests;
