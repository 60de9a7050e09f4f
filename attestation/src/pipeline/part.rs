//! A stage's part of an answer: what came in, what went out, over which
//! weights, signed by the receipt key that the stage's statement names. Digests
//! are salted by the head, and give no text away.

use crate::codec::{CodecError, Fields, MapBuilder};
use crate::digest::{KeyThumbprint, PlanDigest, StatementDigest};
use crate::receipt::ed25519_thumbprint;

use super::cose::{self, Fault};
use super::plan::{LayerRange, MAX_STAGES};

/// Most bytes of a signed part.
pub const MAX_PART_BYTES: usize = 1_024;
const EXTERNAL_AAD: &[u8] = b"bastide-pipeline-part-v1";

/// What a stage states of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartClaims {
    /// Digest of the plan.
    pub plan: PlanDigest,
    /// The stage, below [`MAX_STAGES`].
    pub stage: u16,
    /// Its layers.
    pub layers: LayerRange,
    /// Digest of the weights of those layers.
    pub weights: [u8; 32],
    /// SHA-256 of the stage's epoch statement.
    pub statement: StatementDigest,
    /// Digest of the rows that came.
    pub input: [u8; 32],
    /// Digest of the rows that were handed on; of the tail, of its targets.
    pub output: [u8; 32],
    /// How many rows.
    pub rows: u32,
}

/// Why bytes are no part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// Not a COSE_Sign1 of at most 1,024 bytes.
    #[error("a stage's part is a tagged COSE_Sign1 of at most {MAX_PART_BYTES} bytes")]
    Format,
    /// Another algorithm than EdDSA, or something else in the headers.
    #[error("a part's protected header says EdDSA and nothing else")]
    Header,
    /// The claims are not strict CBOR of the defined shape.
    #[error("claims of a part: {0}")]
    Claims(#[from] CodecError),
    /// The signature does not verify.
    #[error("the part's signature does not verify")]
    Signature,
    /// Signing failed.
    #[error("signing the part failed")]
    Signing,
}

impl From<Fault> for PartError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Format => Self::Format,
            Fault::Header => Self::Header,
        }
    }
}

/// A part whose signature verifies under the key that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPart {
    bytes: Vec<u8>,
    claims: PartClaims,
    key: KeyThumbprint,
}

impl SignedPart {
    /// Signs a part. `sign` is called once with the bytes to be signed by the
    /// Ed25519 receipt key whose public half is `public_key`.
    ///
    /// # Errors
    /// [`PartError::Signing`] if `sign` gives no signature of that key, or a
    /// claim is out of its range.
    pub fn sign(
        claims: &PartClaims,
        public_key: &[u8; 32],
        sign: impl FnOnce(&[u8]) -> Option<[u8; 64]>,
    ) -> Result<Self, PartError> {
        let bytes =
            cose::sign(claims.encode(public_key), None, EXTERNAL_AAD, sign).ok_or(PartError::Signing)?;
        Self::verify(&bytes).map_err(|_| PartError::Signing)
    }

    /// Reads a part strictly and verifies its signature by the key it names.
    /// Whether that key is attested is the evidence's to say.
    ///
    /// # Errors
    /// [`PartError`] names what doesn't hold.
    pub fn verify(bytes: &[u8]) -> Result<Self, PartError> {
        let sign1 = cose::read(bytes, MAX_PART_BYTES)?;
        sign1.has_header(None)?;
        let (claims, public_key) = PartClaims::decode(sign1.payload())?;
        if !sign1.is_signed_by(&public_key, EXTERNAL_AAD) {
            return Err(PartError::Signature);
        }
        Ok(Self {
            bytes: bytes.to_vec(),
            claims,
            key: ed25519_thumbprint(&public_key),
        })
    }

    /// What it states.
    #[must_use]
    pub const fn claims(&self) -> &PartClaims {
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
}

impl PartClaims {
    fn encode(&self, public_key: &[u8; 32]) -> Vec<u8> {
        MapBuilder::new()
            .bytes(1, self.plan.as_bytes())
            .uint(2, self.stage.into())
            .uints(3, &[self.layers.first().into(), self.layers.end().into()])
            .bytes(4, &self.weights)
            .bytes(5, self.statement.as_bytes())
            .bytes(6, &self.input)
            .bytes(7, &self.output)
            .uint(8, self.rows.into())
            .bytes(9, public_key)
            .encode()
    }

    fn decode(bytes: &[u8]) -> Result<(Self, [u8; 32]), CodecError> {
        let mut fields = Fields::decode(bytes, MAX_PART_BYTES)?;
        let plan = PlanDigest::new(fields.array(1)?);
        let stage = u16::try_from(fields.uint(2)?)
            .ok()
            .filter(|stage| usize::from(*stage) < MAX_STAGES)
            .ok_or_else(|| value(2, "a stage from 0 to 15"))?;
        let [first, end] = fields.uints(3)?;
        let claims = Self {
            plan,
            stage,
            layers: LayerRange::of(first, end)
                .ok_or_else(|| value(3, "first layer and one past the last"))?,
            weights: fields.array(4)?,
            statement: StatementDigest::new(fields.array(5)?),
            input: fields.array(6)?,
            output: fields.array(7)?,
            rows: u32::try_from(fields.uint(8)?).map_err(|_| value(8, "at most 2^32 - 1 rows"))?,
        };
        let public_key = fields.array(9)?;
        fields.finish()?;
        Ok((claims, public_key))
    }
}

fn value(key: i64, expected: &'static str) -> CodecError {
    CodecError::Value {
        key: key.into(),
        expected,
    }
}

#[cfg(test)]
pub(crate) mod tests;
