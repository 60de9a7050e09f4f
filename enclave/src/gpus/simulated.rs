//! One simulated H100, whose keys everyone knows.

use bastide_attestation::GpuNonce;
use bastide_attester::simulator::nvidia::{GpuOptions, SimulatedGpus};

use super::fault::GpuFault;
use super::judge::AppraisedGpus;
use super::source::{Appraise, GpuSource};
use crate::clock;

/// GPUs that prove nothing; they go the way of real ones.
#[derive(Debug)]
pub struct SimulatedSource(SimulatedGpus);

impl SimulatedSource {
    /// Boots one GPU.
    ///
    /// # Errors
    /// [`GpuFault::Attester`] if its keys can't be made.
    pub fn boot() -> Result<Self, GpuFault> {
        Ok(Self(SimulatedGpus::new(GpuOptions::new(clock::now()))?))
    }
}

impl GpuSource for SimulatedSource {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn attest(&mut self, nonce: &GpuNonce, appraise: &Appraise<'_>) -> Result<AppraisedGpus, GpuFault> {
        appraise(self.0.evidence(nonce)?, self.0.endorsements(clock::now())?)
    }

    fn require_unchanged(&mut self) -> Result<(), GpuFault> {
        Ok(())
    }
}
