//! The machine's GPUs: attested before anything is served, again every minute
//! and after every change, and named in every statement. Owns when that happens
//! and what holds in between; reports come from a [`GpuSource`], and a verifier
//! with a policy of the operator's judges them. That is for the enclave's own
//! sake: a client judges the same evidence again, by its own policy.
//!
//! | part | what it owns |
//! |---|---|
//! | `source` | who gives evidence: a trait, so that there are others than NVML |
//! | `nvml` | real GPUs, and their ready state |
//! | `simulated` | with the `simulator` feature: GPUs that prove nothing |
//! | `endorsements` | a folder of manifests and answers about revocation |
//! | `judge` | the enclave's own appraisal |
//! | `state` | what is current now, until when, and what interrupted it |
//! | `renewal` | the thread that attests again and again |
//!
//! The nonce is `binding::gpu_nonce(boot_id, gpu_epoch, seed)`. The seed is SHA-256
//! of the latest statement that the hardware signed, which nobody could know before
//! it was made; and 32 random bytes while there is none, which is at boot: the first
//! evidence is needed for the first statement.

mod endorsements;
mod fault;
mod judge;
mod nvml;
mod renewal;
#[cfg(feature = "simulator")]
mod simulated;
mod source;
mod state;

use std::path::PathBuf;
use std::sync::Arc;

use bastide_attestation::{BootId, PolicyDigest};
use bastide_attester::nvml::DEFAULT_LIBRARY;
use bastide_verifier::{Policy, shipped};

use crate::args::{AttesterChoice, GpuChoice, ServeArgs};
use crate::error::StartError;

pub use endorsements::EndorsementFolder;
pub use fault::GpuFault;
pub use judge::{AppraisedGpus, GpuJudge, GpuRefusal};
pub use nvml::NvmlGpus;
pub(crate) use renewal::Renewal;
pub use renewal::Rhythm;
#[cfg(feature = "simulator")]
pub use simulated::SimulatedSource;
pub use source::{Appraise, GpuSource};
pub(crate) use state::{GpuCounters, GpuState};

/// GPUs that nobody has attested yet, and who will judge them.
pub struct Gpus {
    source: Box<dyn GpuSource>,
    judge: GpuJudge,
    rhythm: Rhythm,
}

impl core::fmt::Debug for Gpus {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Gpus")
            .field("source", &self.source.name())
            .field("rhythm", &self.rhythm)
            .finish_non_exhaustive()
    }
}

impl Gpus {
    /// GPUs of this source, judged by this policy.
    #[must_use]
    pub fn new(source: Box<dyn GpuSource>, policy: Policy) -> Self {
        Self {
            source,
            judge: GpuJudge::new(policy),
            rhythm: Rhythm::default(),
        }
    }

    /// As they are, but attested in another rhythm.
    #[must_use]
    pub fn with_rhythm(self, rhythm: Rhythm) -> Self {
        Self { rhythm, ..self }
    }

    /// The source's name and the policy, for the configuration digest.
    pub(crate) fn configuration(&self) -> (&'static str, PolicyDigest) {
        (self.source.name(), self.judge.policy_digest())
    }

    /// Attests the GPUs once, then from a thread of their own until the renewal
    /// is dropped. Blocks as long as they do.
    pub(crate) fn start(self, boot_id: BootId) -> Result<(Arc<GpuState>, Renewal), GpuFault> {
        renewal::start(self.source, self.judge, self.rhythm, boot_id)
    }
}

/// Opens what the operator chose. Real GPUs are closed by that: they open when
/// they are attested.
///
/// # Errors
/// [`StartError`] says which flag, library, folder or policy can't be used.
pub fn open(args: &ServeArgs) -> Result<Option<Gpus>, StartError> {
    let choice = args.gpus.unwrap_or(match args.attester {
        AttesterChoice::Simulator => GpuChoice::Simulated,
        _ => GpuChoice::None,
    });
    if choice != GpuChoice::Nvml && (args.nvml_library.is_some() || args.rim_dir.is_some()) {
        return Err(StartError::Usage {
            what: "--nvml-library and --rim-dir are for real GPUs: they need --gpus nvml",
        });
    }
    let (source, shipped): (Box<dyn GpuSource>, _) = match choice {
        GpuChoice::None if args.gpu_policy.is_some() => {
            return Err(StartError::Usage {
                what: "--gpu-policy judges GPUs: it needs --gpus nvml or --gpus simulated",
            });
        }
        GpuChoice::None => return Ok(None),
        GpuChoice::Nvml => {
            let library = args
                .nvml_library
                .clone()
                .unwrap_or_else(|| PathBuf::from(DEFAULT_LIBRARY));
            let folder = args.rim_dir.clone().map(EndorsementFolder::new);
            let source = NvmlGpus::open(library, folder).map_err(StartError::Gpus)?;
            (Box::new(source), shipped::PRODUCTION)
        }
        GpuChoice::Simulated => (simulated()?, shipped::DEVELOPMENT),
    };
    let policy = policy(args, shipped)?;
    Ok(Some(Gpus::new(source, policy)))
}

fn policy(args: &ServeArgs, shipped: &str) -> Result<Policy, StartError> {
    let refused = |reason: String| StartError::GpuPolicy {
        policy: args.gpu_policy.as_ref().map_or_else(
            || "the shipped one".to_owned(),
            |path| format!("`{}`", path.display()),
        ),
        reason,
    };
    let bytes = match &args.gpu_policy {
        None => shipped.as_bytes().to_vec(),
        Some(path) => std::fs::read(path).map_err(|error| refused(error.to_string()))?,
    };
    Policy::parse(&bytes).map_err(|error| refused(error.to_string()))
}

#[cfg(feature = "simulator")]
fn simulated() -> Result<Box<dyn GpuSource>, StartError> {
    let source = SimulatedSource::boot().map_err(StartError::Gpus)?;
    Ok(Box::new(source))
}

#[cfg(not(feature = "simulator"))]
fn simulated() -> Result<Box<dyn GpuSource>, StartError> {
    Err(StartError::NoSimulator)
}
