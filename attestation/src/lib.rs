//! The vocabulary of attestation, in RFC 9334's words: evidence, endorsements,
//! the epoch statement and how it is bound to a TLS session, verdicts and
//! receipts, each with its codec.
//!
//! | role | who |
//! |---|---|
//! | Attester | the enclave: an SEV-SNP guest (and its GPUs) |
//! | Evidence | [`Evidence`]: SNP report, epoch statement, inclusion proof |
//! | Endorser | AMD: the VCEK or VLEK chain and its CRL ([`Endorsements`]) |
//! | Verifier | `bastide-verifier`, behind the [`Appraiser`] trait |
//! | Relying Party | whoever is about to send a prompt |
//!
//! Invariants of this crate:
//! - no I/O, no clock, no random numbers, no TLS types: time, nonces and salts
//!   are arguments;
//! - bytes are hashed as they were received; what is signed or hashed is
//!   decoded strictly (re-encoding must give the input back);
//! - every REPORT_DATA in the product is made by [`binding::report_data`];
//! - nothing here panics on any input.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::panic,
        clippy::unreachable,
        clippy::as_conversions
    )
)]

pub mod azure;
pub mod binding;
pub mod codec;
pub mod encoding;
pub mod link;
pub mod nvidia;
pub mod pipeline;
pub mod sealed;
pub mod snp;

mod certificate_table;
mod credential;
mod digest;
mod ear;
mod epoch_log;
mod evidence;
mod hash;
mod json;
mod manifest;
mod merkle;
mod reader;
mod receipt;
mod result;
mod role;
mod statement;
mod time;

pub use certificate_table::{CertificateTable, CertificateTableError};
pub use credential::{
    CREDENTIAL_PROFILE, Credential, CredentialClaims, CredentialError, CredentialFault, MAX_CREDENTIAL_BYTES,
};
pub use digest::{
    Binder, BootId, ChipId, ContextDigest, DigestError, GpuNonce, HostData, IdKeyDigest, KeyThumbprint,
    LaunchMeasurement, LeafHash, ManifestDigest, Nonce, PcrValue, PipelineId, PlanDigest, PolicyDigest,
    QuoteNonce, ReportData, ReportId, RimDigest, Salt, SpkiDigest, StatementDigest, TreeHash,
};
pub use ear::{
    EAR_PROFILE, Ear, EarClaims, EarContext, EarError, MAX_EAR_BYTES, TrustTier, TrustVector,
    TrustworthinessClaim,
};
pub use epoch_log::{
    AttestedLogHead, EPOCH_LOG_MEDIA_TYPE, EPOCHS_PATH, EpochChange, EpochLogEntry, EpochLogError,
    EpochLogPage, LOG_HEAD_PATH, LogHead, LogHeadAnswer, LogHeadError, MAX_EPOCH_LOG_PAGE,
    MAX_EPOCH_LOG_PAGE_BYTES, VerifiedEpochs,
};
pub use evidence::{
    ATTEST_PATH, AttestAnswer, AttestRequest, ENVELOPE_MEDIA_TYPE, Endorsements, EnvelopeFrame, Evidence,
    EvidenceError, GpuFreshness, GpuPart, GpuPartError, Lane, MAX_ENVELOPE_BYTES, Omission, PartialEvidence,
    Platform, PlatformEvidence, REQUEST_MEDIA_TYPE, SessionSignature, TpmQuote, Untrusted,
};
pub use hash::{sha256, sha384, sha512};
pub use json::{Json, JsonError};
pub use manifest::ModelManifest;
pub use merkle::{InclusionProof, MAX_DEPTH, MerkleError, PERMITTED_DEPTHS, Tree};
pub use receipt::{
    Commitment, FinishReason, RECEIPT_PROFILE, Receipt, ReceiptClaims, ReceiptError, ResponseCommitment,
    ed25519_thumbprint,
};
pub use result::{AttestationResult, Basis, Check, Decision, SharedVerdict, Status, VERDICT_SCHEMA, Verdict};
pub use role::{
    Appraiser, Attestation, Attester, AttesterError, GpuAttester, GpuAttesterError, GpuEpoch, GpuSnapshot,
    SessionExpectation,
};
pub use statement::{EpochStatement, GpuSeedKind, MAX_STATEMENT_BYTES, StatementBytes, TimeSource};
pub use time::UnixTime;
