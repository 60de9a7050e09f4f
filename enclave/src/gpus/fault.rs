//! Why GPUs are not attested. Owns the sentences that say so; none of them
//! holds evidence.

use std::io;
use std::path::PathBuf;

use bastide_attestation::AttesterError;
use bastide_attestation::nvidia::GpuEvidenceError;
use bastide_attester::nvml::{GateError, GpuError};

use super::judge::GpuRefusal;
use crate::identity::NoRandomness;

/// Why GPUs are not attested.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpuFault {
    /// NVML, or what it says of the GPUs.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// GPUs were not opened, for the reason in it.
    #[error(transparent)]
    Gate(Box<GateError<Self>>),
    /// The policy refuses the evidence.
    #[error(transparent)]
    Refused(#[from] GpuRefusal),
    /// The evidence is more than can be sent.
    #[error(transparent)]
    Evidence(#[from] GpuEvidenceError),
    /// Simulated GPUs gave none.
    #[error(transparent)]
    Attester(#[from] AttesterError),
    /// An endorsement can't be read.
    #[error("GPU endorsements can't be read from `{}`", .path.display())]
    Endorsements {
        /// The folder or the file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An endorsement is larger than any that is published, or there are too many.
    #[error("`{}` is more than can be sent: at most {limit} {what} were expected", .path.display())]
    TooLarge {
        /// The folder or the file.
        path: PathBuf,
        /// The most.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// No random numbers for the first seed.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The thread that renews could not be started.
    #[error("the thread that attests GPUs can't be started")]
    Thread(#[source] io::Error),
    /// Nothing was renewed in time, so that the evidence is too old.
    #[error("the latest GPU evidence is older than {seconds} s")]
    Stale {
        /// The most seconds.
        seconds: u64,
    },
}

impl GpuFault {
    /// The stable dotted code: the appraisal's own where it refused.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code,
            Self::Gate(error) => match &error.fault {
                bastide_attester::nvml::GateFault::Refused(fault) => fault.code(),
                bastide_attester::nvml::GateFault::Gpu(_) => "gpus.nvml",
            },
            Self::Gpu(_) => "gpus.nvml",
            Self::Evidence(_) | Self::Attester(_) => "gpus.evidence",
            Self::Endorsements { .. } | Self::TooLarge { .. } => "gpus.endorsements",
            Self::Randomness(_) => "gpus.randomness",
            Self::Thread(_) => "gpus.thread",
            Self::Stale { .. } => "gpus.stale",
        }
    }
}
