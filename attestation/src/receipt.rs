//! Receipts: a COSE_Sign1 over what an enclave answered to what, signed by a
//! key whose thumbprint the hardware signed (`docs/spec/attested-tls.md`,
//! "Receipts"). Contents are committed to with a salt, never included.

use coset::{CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::codec::{CodecError, Fields, MapBuilder};
use crate::digest::{KeyThumbprint, ManifestDigest, Nonce, Salt, StatementDigest};
use crate::hash::sha256;
use crate::pipeline::PipelineClaims;

/// EAT profile of a receipt.
pub const RECEIPT_PROFILE: &str = "tag:bastide,2026:receipt/v1";
const EXTERNAL_AAD: &[u8] = b"bastide-receipt-v1";
/// Most bytes of a receipt, by one node or by a pipeline.
const MAX_RECEIPT_BYTES: usize = 24 * 1024;

/// CWT and EAT claim keys, then private ones.
mod claim {
    pub(super) const IAT: i64 = 6;
    pub(super) const CNF: i64 = 8;
    pub(super) const EAT_NONCE: i64 = 10;
    pub(super) const EAT_PROFILE: i64 = 265;
    pub(super) const REQUEST: i64 = -75_001;
    pub(super) const RESPONSE: i64 = -75_002;
    pub(super) const MODEL: i64 = -75_003;
    pub(super) const STATEMENT: i64 = -75_004;
    pub(super) const SEQUENCE: i64 = -75_005;
    pub(super) const FINISH: i64 = -75_006;
    pub(super) const SAMPLING: i64 = -75_007;
    pub(super) const USAGE: i64 = -75_008;
    pub(super) const PREVIOUS: i64 = -75_009;
    pub(super) const PIPELINE: i64 = -75_212;
}

/// A salted SHA-256 over exact bytes. It hides a short prompt only as long as
/// the salt, which travels beside the receipt and not in it, stays private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commitment([u8; 32]);

impl Commitment {
    const REQUEST_LABEL: &[u8] = b"bastide-req-v1\0";
    const RESPONSE_LABEL: &[u8] = b"bastide-resp-v1\0";

    /// Commits to a request body's exact bytes.
    #[must_use]
    pub fn request(salt: &Salt, body: &[u8]) -> Self {
        Self(sha256(&[Self::REQUEST_LABEL, salt.as_bytes(), body]))
    }

    /// Starts a commitment to a response body that comes in pieces.
    #[must_use]
    pub fn response(salt: &Salt) -> ResponseCommitment {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(Self::RESPONSE_LABEL);
        context.update(salt.as_bytes());
        ResponseCommitment(context)
    }

    /// The hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A running commitment to a response body.
#[derive(Clone)]
pub struct ResponseCommitment(ring::digest::Context);

impl core::fmt::Debug for ResponseCommitment {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ResponseCommitment(..)")
    }
}

impl ResponseCommitment {
    /// Adds the next bytes, exactly as sent.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Ends the commitment.
    #[must_use]
    pub fn finish(self) -> Commitment {
        let mut out = [0; 32];
        out.iter_mut()
            .zip(self.0.finish().as_ref())
            .for_each(|(to, from)| *to = *from);
        Commitment(out)
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it, or a stop text came.
    Stop,
    /// The token limit was reached.
    Length,
    /// The enclave could not finish it.
    Error,
}

impl FinishReason {
    /// The word in the claim and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Error => "error",
        }
    }

    fn of(text: &str) -> Option<Self> {
        [Self::Stop, Self::Length, Self::Error]
            .into_iter()
            .find(|reason| reason.as_str() == text)
    }
}

/// What a receipt states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptClaims {
    /// Seconds since the Unix epoch, by the enclave's clock.
    pub issued_at: u64,
    /// The attest nonce of the connection that the answer went to.
    pub nonce: Nonce,
    /// Commitment to the request body.
    pub request: Commitment,
    /// Commitment to the response body up to the receipt.
    pub response: Commitment,
    /// Manifest digest of the model that answered.
    pub model: ManifestDigest,
    /// SHA-256 of the epoch statement of the connection.
    pub statement: StatementDigest,
    /// Number of this receipt in this boot, from 0.
    pub sequence: u64,
    /// Why the answer ended.
    pub finish: FinishReason,
    /// SHA-256 of the sampling parameters' deterministic CBOR.
    pub sampling: [u8; 32],
    /// Prompt tokens and completion tokens.
    pub usage: [u64; 2],
    /// SHA-256 of the receipt before; all zero for the first.
    pub previous: [u8; 32],
    /// What the stages of a pipeline sign, where one answered.
    pub pipeline: Option<PipelineClaims>,
}

/// Why a receipt doesn't hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// Not a COSE_Sign1 of at most 24,576 bytes.
    #[error("a receipt is a tagged COSE_Sign1 of at most {MAX_RECEIPT_BYTES} bytes")]
    Format,
    /// The signature algorithm is not EdDSA, or headers carry something else.
    #[error("a receipt's protected header says EdDSA and nothing else")]
    Header,
    /// The claims are not strict CBOR of the defined shape.
    #[error("receipt claims: {0}")]
    Claims(#[from] CodecError),
    /// The signature does not verify.
    #[error("the receipt's signature does not verify")]
    Signature,
    /// The signing key is not the one in the epoch statement.
    #[error("the receipt was signed by key {got}, the attested key is {expected}")]
    Key {
        /// Thumbprint in the statement.
        expected: KeyThumbprint,
        /// Thumbprint of the key in the receipt.
        got: KeyThumbprint,
    },
    /// Signing failed.
    #[error("signing the receipt failed")]
    Signing,
}

/// COSE key thumbprint \[RFC 9679\] of an Ed25519 public key.
#[must_use]
pub fn ed25519_thumbprint(public_key: &[u8; 32]) -> KeyThumbprint {
    KeyThumbprint::new(sha256(&[&cose_key(public_key).encode()]))
}

/// `{1: OKP, -1: Ed25519, -2: x}` \[RFC 9053 §7.2\].
fn cose_key(public_key: &[u8; 32]) -> MapBuilder {
    MapBuilder::new().int(1, 1).int(-1, 6).bytes(-2, public_key)
}

/// A signed receipt: its exact bytes, its claims and its key. Made only by
/// signing or by verifying the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    bytes: Vec<u8>,
    claims: ReceiptClaims,
    key: KeyThumbprint,
}

impl Receipt {
    /// Makes a receipt. `sign` is called once with the bytes to be signed by
    /// the Ed25519 key whose public half is `public_key`.
    ///
    /// # Errors
    /// [`ReceiptError::Signing`] if `sign` gives no signature of that key.
    pub fn sign(
        claims: ReceiptClaims,
        public_key: &[u8; 32],
        sign: impl FnOnce(&[u8]) -> Option<[u8; 64]>,
    ) -> Result<Self, ReceiptError> {
        let sign1 = CoseSign1Builder::new()
            .protected(HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).build())
            .payload(claims.encode(public_key))
            .try_create_signature(EXTERNAL_AAD, |bytes| {
                sign(bytes).map(Vec::from).ok_or(ReceiptError::Signing)
            })?
            .build();
        let bytes = sign1.to_tagged_vec().map_err(|_| ReceiptError::Signing)?;
        // A signature by another key would be found by the client; find it here.
        Self::verify(&bytes).map_err(|_| ReceiptError::Signing)
    }

    /// Checks a receipt's form and its signature by the key it names. Whether
    /// that key is attested is asked by [`Self::signed_by`].
    ///
    /// # Errors
    /// [`ReceiptError`] names what doesn't hold.
    pub fn verify(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if bytes.len() > MAX_RECEIPT_BYTES {
            return Err(ReceiptError::Format);
        }
        let sign1 = CoseSign1::from_tagged_slice(bytes).map_err(|_| ReceiptError::Format)?;
        let again = sign1.clone().to_tagged_vec().map_err(|_| ReceiptError::Format)?;
        if again != bytes {
            return Err(ReceiptError::Format);
        }
        let expected = HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).build();
        if sign1.protected.header != expected || !sign1.unprotected.is_empty() {
            return Err(ReceiptError::Header);
        }
        let payload = sign1.payload.as_deref().ok_or(ReceiptError::Format)?;
        let (claims, public_key) = ReceiptClaims::decode(payload)?;
        sign1
            .verify_signature(EXTERNAL_AAD, |signature, message| {
                UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature)
            })
            .map_err(|_| ReceiptError::Signature)?;
        Ok(Self {
            bytes: bytes.to_vec(),
            claims,
            key: ed25519_thumbprint(&public_key),
        })
    }

    /// Requires that the attested key signed it.
    ///
    /// # Errors
    /// [`ReceiptError::Key`] if another key did.
    pub fn signed_by(&self, attested: &KeyThumbprint) -> Result<(), ReceiptError> {
        if self.key == *attested {
            Ok(())
        } else {
            Err(ReceiptError::Key {
                expected: *attested,
                got: self.key,
            })
        }
    }

    /// What it states.
    #[must_use]
    pub const fn claims(&self) -> &ReceiptClaims {
        &self.claims
    }

    /// Thumbprint of the key that signed it.
    #[must_use]
    pub const fn key(&self) -> &KeyThumbprint {
        &self.key
    }

    /// The exact bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the exact bytes, for the next receipt's `previous`.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        sha256(&[&self.bytes])
    }
}

impl ReceiptClaims {
    fn encode(&self, public_key: &[u8; 32]) -> Vec<u8> {
        let claims = MapBuilder::new()
            .uint(claim::IAT, self.issued_at)
            .map(claim::CNF, MapBuilder::new().map(1, cose_key(public_key)))
            .bytes(claim::EAT_NONCE, self.nonce.as_bytes())
            .text(claim::EAT_PROFILE, RECEIPT_PROFILE)
            .bytes(claim::REQUEST, self.request.as_bytes())
            .bytes(claim::RESPONSE, self.response.as_bytes())
            .bytes(claim::MODEL, self.model.as_bytes())
            .bytes(claim::STATEMENT, self.statement.as_bytes())
            .uint(claim::SEQUENCE, self.sequence)
            .text(claim::FINISH, self.finish.as_str())
            .bytes(claim::SAMPLING, &self.sampling)
            .uints(claim::USAGE, &self.usage)
            .bytes(claim::PREVIOUS, &self.previous);
        match &self.pipeline {
            Some(pipeline) => claims.map(claim::PIPELINE, pipeline.encode()),
            None => claims,
        }
        .encode()
    }

    fn decode(bytes: &[u8]) -> Result<(Self, [u8; 32]), CodecError> {
        let wrong = |key: i64, expected| CodecError::Value {
            key: key.into(),
            expected,
        };
        let mut fields = Fields::decode(bytes, MAX_RECEIPT_BYTES)?;
        if fields.text(claim::EAT_PROFILE)? != RECEIPT_PROFILE {
            return Err(wrong(claim::EAT_PROFILE, RECEIPT_PROFILE));
        }
        let mut confirmation = fields.map(claim::CNF)?;
        let mut key = confirmation.map(1)?;
        confirmation.finish()?;
        let public_key: [u8; 32] = key.array(-2)?;
        if key.uint(1)? != 1 || key.uint(-1)? != 6 {
            return Err(wrong(claim::CNF, "an Ed25519 COSE key"));
        }
        key.finish()?;
        let claims = Self {
            issued_at: fields.uint(claim::IAT)?,
            nonce: Nonce::new(fields.array(claim::EAT_NONCE)?),
            request: Commitment(fields.array(claim::REQUEST)?),
            response: Commitment(fields.array(claim::RESPONSE)?),
            model: ManifestDigest::new(fields.array(claim::MODEL)?),
            statement: StatementDigest::new(fields.array(claim::STATEMENT)?),
            sequence: fields.uint(claim::SEQUENCE)?,
            finish: FinishReason::of(&fields.text(claim::FINISH)?)
                .ok_or_else(|| wrong(claim::FINISH, "`stop`, `length` or `error`"))?,
            sampling: fields.array(claim::SAMPLING)?,
            usage: fields.uints(claim::USAGE)?,
            previous: fields.array(claim::PREVIOUS)?,
            pipeline: match fields.has(claim::PIPELINE) {
                true => Some(PipelineClaims::decode(fields.map(claim::PIPELINE)?)?),
                false => None,
            },
        };
        fields.finish()?;
        Ok((claims, public_key))
    }
}

#[cfg(test)]
mod tests;
