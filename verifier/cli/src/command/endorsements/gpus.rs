//! Which of NVIDIA's endorsements a command line asks for, and of whom: those
//! of devices' reports, or manifests by their ids.

use std::path::{Path, PathBuf};

use bastide_attestation::nvidia::{GpuEvidence, MAX_CHAIN_BYTES, MAX_REPORT_BYTES};
use bastide_endorsements::fetch::Address;
use bastide_endorsements::nvidia::{Addresses, RimId, SourceError, Sources};
use clap::Args;

use crate::fault::Fault;
use crate::file;

/// Which GPUs and NVSwitches.
#[derive(Debug, Args)]
#[command(next_help_heading = "GPUs and NVSwitches")]
pub(super) struct Gpus {
    /// Attestation report of a GPU or NVSwitch, as NVML or NSCQ gives it; may be repeated, each with its --gpu-chain
    #[arg(long, value_name = "FILE", requires = "gpu_chain")]
    gpu_report: Vec<PathBuf>,
    /// Certificates of that device, PEM, leaf first
    #[arg(long, value_name = "PEM", requires = "gpu_report")]
    gpu_chain: Vec<PathBuf>,
    /// Manifest by its id, such as `NV_GPU_DRIVER_GH100_550.90.07`; may be repeated
    #[arg(long, value_name = "ID")]
    rim_id: Vec<RimId>,
    /// NVIDIA's RIM service, or a mirror that answers as it does
    #[arg(long, value_name = "URL", default_value_t = Addresses::default().rim)]
    rim_url: Address,
    /// NVIDIA's OCSP responder, or another that passes questions on to it
    #[arg(long, value_name = "URL", default_value_t = Addresses::default().ocsp)]
    ocsp_url: Address,
    /// NVIDIA's server of revocation lists, or a mirror
    #[arg(long, value_name = "URL", default_value_t = Addresses::default().crl)]
    crl_url: Address,
}

impl Gpus {
    /// Adds what the options ask for.
    ///
    /// # Errors
    /// [`Fault`] of usage if reports and chains are not in pairs, of malformed
    /// input if one is none.
    pub(super) fn add_to(&self, sources: &mut Sources) -> Result<(), Fault> {
        if self.gpu_report.len() != self.gpu_chain.len() {
            return Err(Fault::usage(
                "usage",
                format!(
                    "expected a --gpu-chain for each --gpu-report, got {} and {}",
                    self.gpu_chain.len(),
                    self.gpu_report.len()
                ),
            ));
        }
        for (report, chain) in self.gpu_report.iter().zip(&self.gpu_chain) {
            let report_bytes = file::read(report, MAX_REPORT_BYTES)?;
            let chain_bytes = file::read(chain, MAX_CHAIN_BYTES)?;
            sources.add_device(&report_bytes, &chain_bytes).map_err(|error| {
                let message = match error {
                    SourceError::Report { .. } | SourceError::Opaque { .. } | SourceError::Rim { .. } => {
                        format!("`{}`: {error}", report.display())
                    }
                    _ => format!("`{}`: {error}", chain.display()),
                };
                Fault::malformed("evidence.malformed", message)
            })?;
        }
        for id in &self.rim_id {
            sources.add_rim(id.clone());
        }
        Ok(())
    }

    /// Whom to ask.
    pub(super) fn addresses(&self) -> Addresses {
        Addresses {
            rim: self.rim_url.clone(),
            ocsp: self.ocsp_url.clone(),
            crl: self.crl_url.clone(),
        }
    }
}

/// Adds what the GPUs of an envelope need.
///
/// # Errors
/// [`Fault`] of malformed input if it isn't GPUs' evidence.
pub(super) fn add_evidence(sources: &mut Sources, path: &Path, evidence: &[u8]) -> Result<(), Fault> {
    let malformed = |error: &dyn std::fmt::Display| {
        Fault::malformed("evidence.malformed", format!("`{}`: {error}", path.display()))
    };
    let evidence = GpuEvidence::decode(evidence).map_err(|error| malformed(&error))?;
    sources.add(&evidence).map_err(|error| malformed(&error))
}
