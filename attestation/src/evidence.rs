//! What an enclave answers to an attest request: a conceptual message wrapper
//! collection (draft-ietf-rats-msg-wrap) with evidence and endorsements, and
//! the request itself. Everything inside is kept as the bytes that came.

mod answer;
mod frame;
mod gpu;
mod platform;
mod request;

use crate::azure::MAX_HCL_REPORT_BYTES;
use crate::codec::{CodecError, Fields, MapBuilder};
use crate::merkle::InclusionProof;
use crate::snp::REPORT_BYTES;

pub use answer::{AttestAnswer, Omission, PartialEvidence, SessionSignature};
pub use frame::EnvelopeFrame;
pub use gpu::{GpuPart, GpuPartError};
pub use platform::{Platform, PlatformEvidence, TpmQuote};
pub use request::{AttestRequest, GpuFreshness, Lane};

/// Path of the attest endpoint.
pub const ATTEST_PATH: &str = "/.well-known/bastide/attest";
/// Media type of an attest request.
pub const REQUEST_MEDIA_TYPE: &str = "application/cbor";
/// Media type of an evidence envelope.
pub const ENVELOPE_MEDIA_TYPE: &str = "application/cmw+cbor";
/// Most bytes of an envelope without GPU evidence or with one GPU's.
pub const MAX_ENVELOPE_BYTES: usize = 256 * 1024;

/// Most bytes of one certificate or CRL. AMD's are at most 1.7 KB.
const MAX_ENDORSEMENT_BYTES: usize = 16 * 1024;
/// ASK or ASVK, and ARK.
const MAX_CHAIN: usize = 2;

const COLLECTION_TYPE: &str = "tag:bastide,2026:attest/v1";
const STATEMENT_TYPE: &str = "application/vnd.bastide.epoch-statement+cbor";
const PROOF_TYPE: &str = "application/vnd.bastide.inclusion-proof+cbor";
const SNP_REPORT_TYPE: &str = "application/vnd.amd.snp-attestation-report";
const HCL_REPORT_TYPE: &str = "application/vnd.bastide.azure-hcl-report";
const QUOTE_TYPE: &str = "application/vnd.bastide.tpm-quote+cbor";
const CERTIFICATE_TYPE: &str = "application/pkix-cert";
const CRL_TYPE: &str = "application/pkix-crl";
/// CMW indicator bits.
const ENDORSEMENTS: u64 = 0b10;
const EVIDENCE: u64 = 0b100;

/// Something received that nobody has verified. Only a verifier looks inside.
#[derive(Clone, PartialEq, Eq)]
pub struct Untrusted<T>(T);

impl<T> Untrusted<T> {
    /// Marks a value as not verified.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the code that is about to verify it or to show it as unverified.
    pub const fn as_unverified(&self) -> &T {
        &self.0
    }
}

impl<T> core::fmt::Debug for Untrusted<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Untrusted(..)")
    }
}

/// What the platform's endorser issued, as sent along by the enclave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endorsements {
    /// DER of the VCEK or VLEK.
    pub vek: Vec<u8>,
    /// DER of the ASK or ASVK and the ARK, in this order; may be empty, since anchors are pinned.
    pub chain: Vec<Vec<u8>>,
    /// DER of the ARK's CRL.
    pub crl: Option<Vec<u8>>,
}

/// Evidence for one session with its endorsements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Exact bytes of the epoch statement.
    pub statement: Vec<u8>,
    /// That this session's leaf is under the statement's root.
    pub proof: InclusionProof,
    /// The platform's report over the statement.
    pub platform: PlatformEvidence,
    /// Stapled endorsements.
    pub endorsements: Endorsements,
    /// The GPUs, where the statement names them.
    pub gpu: Option<GpuPart>,
}

/// Why an envelope can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The envelope or a part is not strict CBOR of the defined shape.
    #[error("evidence envelope: {0}")]
    Codec(#[from] CodecError),
    /// The inclusion proof is not strict CBOR of the defined shape.
    #[error("inclusion proof: {0}")]
    Proof(CodecError),
    /// A report of another length than the format has.
    #[error("an SNP report has {REPORT_BYTES} bytes, got {got}")]
    ReportLength {
        /// Bytes that came.
        got: usize,
    },
    /// An HCL report that is too large.
    #[error("an HCL report has at most {MAX_HCL_REPORT_BYTES} bytes, got {got}")]
    HclReportLength {
        /// Bytes that came.
        got: usize,
    },
    /// The TPM quote is not strict CBOR of the defined shape.
    #[error("TPM quote: {0}")]
    Quote(CodecError),
    /// The GPUs' part is not strict CBOR of the defined shape.
    #[error(transparent)]
    Gpu(#[from] GpuPartError),
    /// A certificate or CRL that is too large.
    #[error("an endorsement has at most {MAX_ENDORSEMENT_BYTES} bytes, got {got}")]
    EndorsementLength {
        /// Bytes that came.
        got: usize,
    },
    /// A signature of a session that is none.
    #[error("a session signature has 64 bytes, got {got}")]
    SessionSignatureLength {
        /// Bytes that came.
        got: usize,
    },
    /// A part that must be there is not.
    #[error("the envelope has no {part}")]
    Missing {
        /// Name of the part.
        part: &'static str,
    },
}

impl Evidence {
    /// The envelope's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encode_without(Omission::default())
    }

    /// The envelope for a client that has a part of it already.
    #[must_use]
    pub fn encode_without(&self, omitted: Omission) -> Vec<u8> {
        self.collection(omitted).encode()
    }

    /// The collection's records, to which another may be added.
    pub(crate) fn collection(&self, omitted: Omission) -> MapBuilder {
        let Self {
            statement,
            proof,
            platform,
            endorsements,
            gpu,
        } = self;
        shared(statement, platform, endorsements, gpu.as_ref(), omitted).record(
            "proof",
            PROOF_TYPE,
            &proof.encode(),
            EVIDENCE,
        )
    }

    /// Reads an envelope. Its content is not verified.
    ///
    /// # Errors
    /// [`EvidenceError`] names the first fault; a part that was left out for a
    /// client that has it is one.
    pub fn decode(bytes: &[u8]) -> Result<Untrusted<Self>, EvidenceError> {
        let mut fields = Fields::decode(bytes, MAX_ENVELOPE_BYTES)?;
        require_collection(&mut fields)?;
        let evidence = PartialEvidence::read(fields)?;
        let endorsements = evidence
            .endorsements
            .ok_or(EvidenceError::Missing { part: "vek" })?;
        Ok(Untrusted::new(Self {
            statement: evidence.statement,
            proof: evidence.proof,
            platform: evidence.platform,
            endorsements,
            gpu: evidence.gpu,
        }))
    }
}

/// The records that all sessions of an epoch share: all but the proof.
fn shared(
    statement: &[u8],
    platform: &PlatformEvidence,
    endorsements: &Endorsements,
    gpu: Option<&GpuPart>,
    omitted: Omission,
) -> MapBuilder {
    let mut map = MapBuilder::new().text("__cmwc_t", COLLECTION_TYPE).record(
        "statement",
        STATEMENT_TYPE,
        statement,
        EVIDENCE,
    );
    map = match platform {
        PlatformEvidence::Snp(report) => map.record("snp", SNP_REPORT_TYPE, report.as_slice(), EVIDENCE),
        PlatformEvidence::AzureVtpm { hcl_report, quote } => map
            .record("hcl", HCL_REPORT_TYPE, hcl_report, EVIDENCE)
            .record("quote", QUOTE_TYPE, &quote.encode(), EVIDENCE),
    };
    if !omitted.endorsements {
        map = endorsements.add_to(map);
    }
    match gpu {
        Some(gpu) if !omitted.gpu => gpu.add_to(map),
        _ => map,
    }
}

pub(crate) fn require_collection(fields: &mut Fields<'_>) -> Result<(), EvidenceError> {
    if fields.text_ref("__cmwc_t")? == COLLECTION_TYPE {
        return Ok(());
    }
    Err(CodecError::Value {
        key: "__cmwc_t".into(),
        expected: COLLECTION_TYPE,
    }
    .into())
}

impl Endorsements {
    fn add_to(&self, map: MapBuilder) -> MapBuilder {
        let mut map = map.record("vek", CERTIFICATE_TYPE, &self.vek, ENDORSEMENTS);
        for (label, certificate) in ["ask", "ark"].into_iter().zip(&self.chain) {
            map = map.record(label, CERTIFICATE_TYPE, certificate, ENDORSEMENTS);
        }
        match &self.crl {
            Some(crl) => map.record("crl", CRL_TYPE, crl, ENDORSEMENTS),
            None => map,
        }
    }

    /// Reads the processor's endorsements, if there are some: without the VEK
    /// there is none of them.
    fn read(fields: &mut Fields<'_>) -> Result<Option<Self>, EvidenceError> {
        let missing = |part| EvidenceError::Missing { part };
        let mut part =
            |label: &'static str, media_type| fields.record_if_present(label, media_type, ENDORSEMENTS);
        let vek = part("vek", CERTIFICATE_TYPE)?;
        let ask = part("ask", CERTIFICATE_TYPE)?;
        let ark = part("ark", CERTIFICATE_TYPE)?;
        let crl = part("crl", CRL_TYPE)?;
        if ark.is_some() && ask.is_none() {
            return Err(missing("ask"));
        }
        let chain: Vec<_> = [ask, ark].into_iter().flatten().take(MAX_CHAIN).collect();
        for endorsement in chain.iter().chain(&vek).chain(&crl) {
            if endorsement.len() > MAX_ENDORSEMENT_BYTES {
                return Err(EvidenceError::EndorsementLength {
                    got: endorsement.len(),
                });
            }
        }
        match vek {
            Some(vek) => Ok(Some(Self {
                vek: vek.to_vec(),
                chain: chain.into_iter().map(<[u8]>::to_vec).collect(),
                crl: crl.map(<[u8]>::to_vec),
            })),
            None if chain.is_empty() && crl.is_none() => Ok(None),
            None => Err(missing("vek")),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
