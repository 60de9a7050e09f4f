//! Appraisal of evidence without I/O: evidence, endorsements, policy and time
//! go in, a verdict comes out.
//!
//! The parts and their order:
//!
//! ```text
//! Untrusted<Evidence> ──authenticate──▶ Authentic<SnpReport> ──judge──▶ Appraised ──▶ AttestationResult
//!                       anchors, PSS chain,                  policy, session
//!                       raw-byte signature                   binding, model
//! ```
//!
//! Each type on that path has private fields and is made by exactly one
//! function, so that a value of it is proof that its checks passed.
//!
//! Invariants of this crate:
//! - no I/O, no clock, no random numbers: the time is an argument;
//! - trust starts at a pinned key ([`anchors`]) or at one that the policy adds,
//!   never at a chain because it came with the evidence;
//! - signatures are verified over bytes as received, never re-encoded;
//! - no claim of a report is returned before its signature passed;
//! - a check that was not made is `skip` or `unknown`, never `pass`;
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

pub mod anchors;
pub mod crypto;
pub mod shipped;
pub mod tcb_profile;

mod appraisal;
mod azure;
mod certificate;
mod crl;
mod der;
mod ecdsa;
mod facts;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hexadecimal;
mod ledger;
mod memo;
mod nvidia;
mod pem;
mod policy;
mod policy_signature;
mod pss;
mod recorded;
mod rejection;
mod session;
mod snp;

pub use appraisal::Verifier;
pub use ledger::{CheckId, Scope};
pub use pem::{PemError, pem_certificates};
pub use policy::{
    KeyExchange, Pin, Policy, PolicyError, PolicyFault, ServerCertificate, SessionRules, Window,
};
pub use policy_signature::{
    MAX_POLICY_SIGNATURES, MAX_POLICY_SIGNATURES_BYTES, POLICY_SIGNATURES_HEADER, PolicySignatureCheck,
    PolicySignatureError, PolicySignatures, PolicySigner, PolicySigners, policy_signing_input,
};
pub use recorded::{
    RecordedAppraisal, RecordedAzure, RecordedGpu, RecordedGpus, RecordedNras, RecordedQuote, RecordedSnp,
};
pub use rejection::Rejection;
