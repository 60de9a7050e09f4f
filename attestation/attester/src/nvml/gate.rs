//! GPUs accept work only after an appraisal: this crate sets the ready state to 1 here and
//! nowhere else, and back to 0 whatever fails.
//!
//! NVML forgets the ready state once nobody holds the driver, so a worker, or
//! NVIDIA's persistence daemon, has to live as long as the GPUs are used.

use core::fmt;

use bastide_attestation::GpuNonce;

use super::collect::CollectedGpus;
use super::error::GpuError;
use super::worker::Worker;

/// What failed while GPUs were to be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateFault<E> {
    /// There is no complete evidence, or NVML did not take the ready state.
    #[error("{0}")]
    Gpu(GpuError),
    /// There is evidence, and the appraisal refuses it.
    #[error("the appraisal refuses the GPUs: {0}")]
    Refused(E),
}

/// Whether GPUs could be closed after that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closing {
    /// The ready state is 0.
    Closed,
    /// NVML could not be told; GPUs are as they were.
    Failed(Box<GpuError>),
}

impl fmt::Display for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("GPUs are closed (ready state 0)"),
            Self::Failed(error) => write!(f, "GPUs could not be closed: {error}"),
        }
    }
}

/// Why GPUs were not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}; {closing}")]
pub struct GateError<E> {
    /// What failed.
    pub fault: GateFault<E>,
    /// What became of the GPUs.
    pub closing: Closing,
}

/// Opens the GPUs if `appraise` accepts their evidence over `nonce`. In order:
/// settings are those of production; ready state 0; evidence; `appraise`; nothing
/// has changed; ready state 1, and NVML gives it back.
///
/// `appraise` gets what nobody has verified: it has to hold that reports are
/// signed, over `nonce`, by as many distinct GPUs as are expected.
///
/// # Errors
/// [`GateError`] with what failed first. The ready state is then set to 0 again,
/// and the error says if that failed.
pub fn open_gate<E>(
    worker: &Worker,
    nonce: &GpuNonce,
    appraise: impl FnOnce(&CollectedGpus) -> Result<(), E>,
) -> Result<CollectedGpus, GateError<E>> {
    open(worker, nonce, appraise).map_err(|fault| GateError {
        fault,
        closing: match worker.close() {
            Ok(()) => Closing::Closed,
            Err(error) => Closing::Failed(Box::new(error)),
        },
    })
}

fn open<E>(
    worker: &Worker,
    nonce: &GpuNonce,
    appraise: impl FnOnce(&CollectedGpus) -> Result<(), E>,
) -> Result<CollectedGpus, GateFault<E>> {
    let settings = worker.settings().map_err(GateFault::Gpu)?;
    settings.require_production().map_err(GateFault::Gpu)?;
    // A process before this one may have left them open.
    worker.close().map_err(GateFault::Gpu)?;
    let collected = worker.collect(nonce).map_err(GateFault::Gpu)?;
    appraise(&collected).map_err(GateFault::Refused)?;
    worker.require_unchanged(&collected).map_err(GateFault::Gpu)?;
    worker.set_ready_state(true).map_err(GateFault::Gpu)?;
    match worker.ready_state().map_err(GateFault::Gpu)? {
        1 => Ok(collected),
        got => Err(GateFault::Gpu(GpuError::ReadyState { expected: 1, got })),
    }
}

#[cfg(test)]
mod tests;
