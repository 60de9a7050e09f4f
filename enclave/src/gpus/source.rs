//! Who gives evidence of GPUs.

use bastide_attestation::GpuNonce;
use bastide_attestation::nvidia::{GpuEndorsements, GpuEvidence};

use super::fault::GpuFault;
use super::judge::AppraisedGpus;

/// Judges evidence over the nonce that was asked for. Nobody else makes what it
/// gives, so that a source can't leave it out.
pub type Appraise<'a> = dyn Fn(GpuEvidence, GpuEndorsements) -> Result<AppraisedGpus, GpuFault> + 'a;

/// A machine's GPUs. Every call may block.
pub trait GpuSource: Send {
    /// Which source this is, for logs and the configuration digest: `nvml`, `simulated`.
    fn name(&self) -> &'static str;

    /// Evidence of every GPU over `nonce`. GPUs accept work from now on if
    /// `appraise` accepts it, and none if anything fails.
    ///
    /// # Errors
    /// [`GpuFault`] says what failed first.
    fn attest(&mut self, nonce: &GpuNonce, appraise: &Appraise<'_>) -> Result<AppraisedGpus, GpuFault>;

    /// Whether anything has changed since they were last attested. Asked often.
    ///
    /// # Errors
    /// [`GpuFault`] says what has changed.
    fn require_unchanged(&mut self) -> Result<(), GpuFault>;

    /// Whether these GPUs can't be attested any more by this process.
    fn is_over(&self) -> bool {
        false
    }
}
