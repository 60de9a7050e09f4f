//! Why there is no attested key, or no answer. An answer that isn't sealed is
//! one of these reasons and never shown as an answer.

use bastide_attestation::sealed::SealedFormatError;
use bastide_attestation::{EvidenceError, Verdict};

use super::carrier::CarrierError;
use super::client::KEY_LEASE;
use super::seal::OpenError;

/// Why there is no attested key, or no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealedError {
    /// No connection to the relay or node. Nothing was sent.
    #[error("no connection to the relay or node")]
    Carrier(#[source] CarrierError),
    /// Something answered in plain where only the enclave's sealed answer counts.
    #[error("an answer that isn't sealed came, status {status}; it is not the enclave's and was thrown away")]
    Plaintext {
        /// Its status.
        status: u16,
    },
    /// There is no evidence of a sealed-mode key to be had.
    #[error("the relay or node gave no evidence of a sealed-mode key, status {status}")]
    NoKey {
        /// The status that came.
        status: u16,
    },
    /// The evidence can't be read.
    #[error("the evidence can't be read")]
    Malformed(#[source] EvidenceError),
    /// The key configuration can't be used.
    #[error("the key configuration can't be used")]
    KeyConfig(#[source] SealedFormatError),
    /// The policy refused the evidence.
    #[error("the evidence was refused")]
    Refused {
        /// Why.
        verdict: Box<Verdict>,
        /// The evidence, as an envelope of a session would have it.
        evidence: Vec<u8>,
    },
    /// The statement names another key configuration, or none.
    #[error("the attested statement does not name this key configuration")]
    KeyNotAttested,
    /// The node is the head of a pipeline. Nothing was sent.
    #[error("the node is the head of a pipeline, whose stages can't be judged in sealed mode")]
    Pipeline,
    /// The evidence no longer counts. Nothing was sent.
    #[error("the key's lease of {} s is over; ask for evidence again", KEY_LEASE.as_secs())]
    LeaseOver,
    /// The request could not be sealed. Nothing was sent.
    #[error("the request could not be sealed")]
    NotSealed,
    /// The answer was cut, changed, or sealed by another.
    #[error("the answer could not be opened")]
    Open(#[source] OpenError),
    /// The connection broke in the middle of an exchange.
    #[error("the connection broke before the exchange was complete")]
    Interrupted(#[source] hyper::Error),
    /// Nothing came in time.
    #[error("no answer within {seconds} s")]
    TimedOut {
        /// The time that was allowed, seconds.
        seconds: u64,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
}

impl SealedError {
    /// The stable dotted code; a refusal has its verdict's.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Carrier(_) => "sealed.unreachable",
            Self::Plaintext { .. } => "sealed.plaintext",
            Self::NoKey { .. } => "sealed.no_key",
            Self::Malformed(_) | Self::KeyConfig(_) => "sealed.malformed",
            Self::Refused { verdict, .. } => verdict.code.unwrap_or("sealed.refused"),
            Self::KeyNotAttested => "sealed.key_not_attested",
            Self::Pipeline => "sealed.pipeline",
            Self::LeaseOver => "sealed.lease_over",
            Self::NotSealed => "sealed.not_sealed",
            Self::Open(OpenError::Format(SealedFormatError::Truncated)) | Self::Interrupted(_) => {
                "sealed.cut"
            }
            Self::Open(_) => "sealed.tampered",
            Self::TimedOut { .. } => "sealed.timeout",
            Self::NoRandomness => "sealed.no_randomness",
        }
    }

    /// Whether the request can be sealed again, to a key asked for anew: what was
    /// sent, if anything, was not opened as far as the other end says, and would
    /// be known for a replay if it had been.
    #[must_use]
    pub const fn wants_new_key(&self) -> bool {
        matches!(self, Self::LeaseOver | Self::Plaintext { status: 422 })
    }
}
