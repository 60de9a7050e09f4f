//! Real GPUs, through NVML. They accept work while their latest evidence is
//! accepted: closed when this process opens them, when an attestation fails and
//! when something changes, and opened by an attestation alone.

use std::path::PathBuf;

use bastide_attestation::GpuNonce;
use bastide_attestation::nvidia::{DeviceEvidence, GpuEvidence};
use bastide_attester::nvml::{CollectedGpus, GpuError, Health, Limits, LoadedLibrary, Worker, open_gate};

use super::endorsements::EndorsementFolder;
use super::fault::GpuFault;
use super::judge::AppraisedGpus;
use super::source::{Appraise, GpuSource};
use crate::telemetry::ops;

/// The GPUs of this guest.
#[derive(Debug)]
pub struct NvmlGpus {
    worker: Worker,
    endorsements: Option<EndorsementFolder>,
    /// What was last accepted; `None` while GPUs are closed.
    accepted: Option<CollectedGpus>,
}

impl NvmlGpus {
    /// Loads NVML, then as [`Self::new`].
    ///
    /// # Errors
    /// [`GpuFault::Gpu`] if NVML can't be loaded.
    pub fn open(library: PathBuf, endorsements: Option<EndorsementFolder>) -> Result<Self, GpuFault> {
        let worker = Worker::start(move || LoadedLibrary::open(&library), Limits::default())?;
        Ok(Self::new(worker, endorsements))
    }

    /// The GPUs of a worker. Closes them, since a process before this one may have
    /// left them open. Endorsements are read anew whenever they are needed.
    #[must_use]
    pub fn new(worker: Worker, endorsements: Option<EndorsementFolder>) -> Self {
        let gpus = Self {
            worker,
            endorsements,
            accepted: None,
        };
        gpus.close();
        gpus
    }

    fn close(&self) {
        if let Err(error) = self.worker.close() {
            // Where there is no confidential computing there is nothing to close,
            // and the gate says so in its own words.
            ops!(WARN, "gpus.not_closed", cause = error.to_string().as_str());
        }
    }

    fn judge(&self, collected: &CollectedGpus, appraise: &Appraise<'_>) -> Result<AppraisedGpus, GpuFault> {
        let device = |device: &bastide_attester::nvml::CollectedDevice| DeviceEvidence {
            report: device.report.clone(),
            chain: device.chain.clone(),
        };
        let evidence = GpuEvidence::new(collected.devices.iter().map(device).collect())?;
        let endorsements = match &self.endorsements {
            None => Default::default(),
            Some(folder) => folder.read_for(&evidence)?,
        };
        appraise(evidence, endorsements)
    }

    /// Attests closed GPUs, and opens them.
    fn first(
        &self,
        nonce: &GpuNonce,
        appraise: &Appraise<'_>,
    ) -> Result<(CollectedGpus, AppraisedGpus), GpuFault> {
        let mut appraised = None;
        let collected = open_gate(&self.worker, nonce, |collected| {
            appraised = Some(self.judge(collected, appraise)?);
            Ok::<_, GpuFault>(())
        })
        .map_err(|error| GpuFault::Gate(Box::new(error)))?;
        // INVARIANT: the gate opens after its argument has succeeded.
        let appraised = appraised.ok_or(GpuError::ReadyState { expected: 0, got: 1 })?;
        Ok((collected, appraised))
    }

    /// Attests open GPUs once more.
    fn again(
        &self,
        nonce: &GpuNonce,
        appraise: &Appraise<'_>,
    ) -> Result<(CollectedGpus, AppraisedGpus), GpuFault> {
        let collected = self.worker.collect(nonce)?;
        let appraised = self.judge(&collected, appraise)?;
        self.require_as(&collected)?;
        Ok((collected, appraised))
    }

    /// That settings, driver and GPUs are as they were, and that GPUs are open.
    fn require_as(&self, accepted: &CollectedGpus) -> Result<(), GpuFault> {
        self.worker.require_unchanged(accepted)?;
        match self.worker.ready_state()? {
            1 => Ok(()),
            got => Err(GpuError::ReadyState { expected: 1, got }.into()),
        }
    }
}

/// Nobody attests them any more.
impl Drop for NvmlGpus {
    fn drop(&mut self) {
        if self.accepted.is_some() {
            self.close();
        }
    }
}

impl GpuSource for NvmlGpus {
    fn name(&self) -> &'static str {
        "nvml"
    }

    fn attest(&mut self, nonce: &GpuNonce, appraise: &Appraise<'_>) -> Result<AppraisedGpus, GpuFault> {
        let attested = match self.accepted.take() {
            None => self.first(nonce, appraise),
            Some(_) => self.again(nonce, appraise).inspect_err(|_| self.close()),
        };
        attested.map(|(collected, appraised)| {
            self.accepted = Some(collected);
            appraised
        })
    }

    fn require_unchanged(&mut self) -> Result<(), GpuFault> {
        let Some(accepted) = &self.accepted else {
            return Ok(());
        };
        let unchanged = self.require_as(accepted);
        if unchanged.is_err() {
            self.accepted = None;
            self.close();
        }
        unchanged
    }

    fn is_over(&self) -> bool {
        matches!(self.worker.health(), Health::Unattestable { .. })
    }
}
