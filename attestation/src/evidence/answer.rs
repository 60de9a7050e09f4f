//! What an enclave answers to a client that knows a statement of it already:
//! evidence without what came with that statement, or no evidence but a
//! signature of the session key that the statement names.

use ring::signature::{ED25519, UnparsedPublicKey};

use super::{
    COLLECTION_TYPE, EVIDENCE, Endorsements, Evidence, EvidenceError, GpuPart, HCL_REPORT_TYPE,
    MAX_ENVELOPE_BYTES, PROOF_TYPE, PlatformEvidence, QUOTE_TYPE, SNP_REPORT_TYPE, STATEMENT_TYPE, TpmQuote,
    Untrusted, require_collection,
};
use crate::azure::MAX_HCL_REPORT_BYTES;
use crate::binding::session_message;
use crate::codec::{Fields, MapBuilder};
use crate::digest::{Binder, StatementDigest};
use crate::hash::sha256;
use crate::merkle::InclusionProof;
use crate::statement::EpochStatement;

const SESSION: &str = "session";
const SESSION_TYPE: &str = "application/vnd.bastide.session-signature";

/// What is left out of an envelope because the client has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Omission {
    /// The processor's endorsements.
    pub endorsements: bool,
    /// The GPUs' evidence and endorsements.
    pub gpu: bool,
}

/// Evidence of which a part may have been left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialEvidence {
    pub(super) statement: Vec<u8>,
    pub(super) proof: InclusionProof,
    pub(super) platform: PlatformEvidence,
    pub(super) endorsements: Option<Endorsements>,
    pub(super) gpu: Option<GpuPart>,
}

/// An answer to an attest request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttestAnswer {
    /// A fresh report (lane M).
    Evidence(Box<PartialEvidence>),
    /// A signature over this session by the key that the known statement names (lane K).
    Session(SessionSignature),
}

/// Lane K: an Ed25519 signature over a session's binder and a known statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionSignature([u8; 64]);

impl core::fmt::Debug for SessionSignature {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SessionSignature(..)")
    }
}

impl SessionSignature {
    /// Takes a signature over [`session_message`].
    #[must_use]
    pub const fn new(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The signature's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// Whether the holder of `session_key` signed this session. What that is
    /// worth is decided by where the key is known from, and since when.
    #[must_use]
    pub fn verifies(&self, session_key: &[u8; 32], binder: &Binder, statement: &StatementDigest) -> bool {
        UnparsedPublicKey::new(&ED25519, session_key)
            .verify(&session_message(binder, statement), &self.0)
            .is_ok()
    }
}

impl PartialEvidence {
    /// Fills in what was left out from evidence that the client has appraised.
    /// Nothing is taken on trust: the whole is appraised like any other.
    ///
    /// # Errors
    /// [`EvidenceError::Missing`] if something was left out that `known` does not
    /// hold either.
    pub fn complete(self, known: Option<&Evidence>) -> Result<Untrusted<Evidence>, EvidenceError> {
        let endorsements = self
            .endorsements
            .or_else(|| known.map(|known| known.endorsements.clone()))
            .ok_or(EvidenceError::Missing { part: "vek" })?;
        let gpu = match (self.gpu, known.and_then(|known| known.gpu.as_ref())) {
            (Some(gpu), _) => Some(gpu),
            (None, None) => None,
            // Only the evidence that this statement names.
            (None, Some(gpu)) => {
                let statement = EpochStatement::decode(&self.statement).ok();
                let named = statement.and_then(|statement| statement.gpu_digest);
                named
                    .is_some_and(|named| sha256(&[&gpu.evidence]) == named)
                    .then(|| gpu.clone())
            }
        };
        Ok(Untrusted::new(Evidence {
            statement: self.statement,
            proof: self.proof,
            platform: self.platform,
            endorsements,
            gpu,
        }))
    }

    /// The rest of a collection whose type was read.
    pub(crate) fn read(mut fields: Fields<'_>) -> Result<Self, EvidenceError> {
        let missing = |part| EvidenceError::Missing { part };
        let mut part =
            |label: &'static str, media_type: &str| fields.record_if_present(label, media_type, EVIDENCE);
        let statement = part("statement", STATEMENT_TYPE)?.ok_or_else(|| missing("statement"))?;
        let proof = part("proof", PROOF_TYPE)?.ok_or_else(|| missing("proof"))?;
        // One platform or the other: what belongs to neither is unknown below.
        let (report, hcl) = match part("hcl", HCL_REPORT_TYPE)? {
            Some(report) => (
                report,
                Some(part("quote", QUOTE_TYPE)?.ok_or_else(|| missing("quote"))?),
            ),
            None => (part("snp", SNP_REPORT_TYPE)?.ok_or_else(|| missing("snp"))?, None),
        };
        let endorsements = Endorsements::read(&mut fields)?;
        let gpu = GpuPart::read(&mut fields)?;
        fields.finish()?;
        let got = report.len();
        let platform = match hcl {
            None => PlatformEvidence::Snp(Box::new(
                report
                    .try_into()
                    .map_err(|_| EvidenceError::ReportLength { got })?,
            )),
            Some(_) if got > MAX_HCL_REPORT_BYTES => return Err(EvidenceError::HclReportLength { got }),
            Some(quote) => PlatformEvidence::AzureVtpm {
                hcl_report: report.to_vec(),
                quote: TpmQuote::decode(quote).map_err(EvidenceError::Quote)?,
            },
        };
        Ok(Self {
            statement: statement.to_vec(),
            proof: InclusionProof::decode(proof).map_err(EvidenceError::Proof)?,
            platform,
            endorsements,
            gpu,
        })
    }
}

impl AttestAnswer {
    /// Lane K's envelope. Lane M's is [`Evidence::encode_without`].
    #[must_use]
    pub fn encode_session(signature: &SessionSignature) -> Vec<u8> {
        MapBuilder::new()
            .text("__cmwc_t", COLLECTION_TYPE)
            .record(SESSION, SESSION_TYPE, &signature.0, EVIDENCE)
            .encode()
    }

    /// Reads an answer. Nothing in it is verified.
    ///
    /// # Errors
    /// [`EvidenceError`] names the first fault; a signature beside evidence is one.
    pub fn decode(bytes: &[u8]) -> Result<Self, EvidenceError> {
        let mut fields = Fields::decode(bytes, MAX_ENVELOPE_BYTES)?;
        require_collection(&mut fields)?;
        let Some(signature) = fields.record_if_present(SESSION, SESSION_TYPE, EVIDENCE)? else {
            return PartialEvidence::read(fields).map(|evidence| Self::Evidence(Box::new(evidence)));
        };
        fields.finish()?;
        let got = signature.len();
        let signature = signature
            .try_into()
            .map_err(|_| EvidenceError::SessionSignatureLength { got })?;
        Ok(Self::Session(SessionSignature(signature)))
    }
}

#[cfg(test)]
mod tests;
