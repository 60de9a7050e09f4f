//! Evidence of every GPU: reports over one nonce, and chains, between two equal
//! snapshots of what NVML says. Judges no report.
//!
//! NVML answers for settings and versions from its own memory (0.3 µs on an H200
//! with driver 580.159.04, where a call to the driver takes 19 µs). So the second
//! snapshot holds what NVML says to be of one piece; that the GPUs' mode does not
//! change rests on the driver, which resets no GPU, as a change of mode needs,
//! while a process holds it, as this one does.

use core::fmt;

use bastide_attestation::GpuNonce;

use super::error::GpuError;
use super::library::{Failure, Library};
use super::settings::Settings;

/// Most GPUs in one guest. Systems of one guest have 8 at most as of 2026.
pub const MAX_GPUS: u32 = 16;

/// What one GPU gave.
#[derive(Clone, PartialEq, Eq)]
pub struct CollectedDevice {
    /// SPDM request and response, as NVML returned them, cut to the size that NVML gave.
    pub report: Vec<u8>,
    /// Certificates in PEM, leaf first, as NVML returned them.
    pub chain: Vec<u8>,
    /// What the driver says; not signed. A GPU's identity is its leaf's serial number.
    pub uuid: String,
    /// What the driver says; the report has it signed.
    pub vbios: String,
    /// `NVML_DEVICE_ARCH_*`: 9 is Hopper, 10 Blackwell.
    pub architecture: u32,
}

/// Shows sizes, not bytes.
impl fmt::Debug for CollectedDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectedDevice")
            .field("report", &format_args!("{} bytes", self.report.len()))
            .field("chain", &format_args!("{} bytes", self.chain.len()))
            .field("uuid", &self.uuid)
            .field("vbios", &self.vbios)
            .field("architecture", &self.architecture)
            .finish()
    }
}

/// What all GPUs gave, in NVML's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectedGpus {
    /// The driver's version; the reports have it signed.
    pub driver: String,
    /// At least one, at most [`MAX_GPUS`].
    pub devices: Vec<CollectedDevice>,
    /// Equal before and after the reports; production.
    pub settings: Settings,
}

/// What must not change while evidence is collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) settings: Settings,
    pub(super) driver: String,
    pub(super) uuids: Vec<String>,
}

impl Snapshot {
    /// Asks NVML. Settings come first: without production nothing else is asked.
    pub(super) fn take<L: Library + ?Sized>(library: &L) -> Result<Self, GpuError> {
        let settings = Settings::read(library)?;
        settings.require_production()?;
        let driver = library.driver_version()?;
        let count = library.device_count()?;
        if count == 0 {
            return Err(GpuError::NoGpus);
        }
        if count > MAX_GPUS {
            let limit = MAX_GPUS;
            return Err(GpuError::TooManyGpus { count, limit });
        }
        let uuids: Result<Vec<_>, Failure> = (0..count).map(|device| library.uuid(device)).collect();
        Ok(Self {
            settings,
            driver,
            uuids: uuids?,
        })
    }

    /// What of it differs from a later one.
    pub(super) fn require_unchanged(&self, after: &Self) -> Result<(), GpuError> {
        let same = |what, before: String, after: String| match before == after {
            true => Ok(()),
            false => Err(GpuError::Changed { what, before, after }),
        };
        same("settings", self.settings.to_string(), after.settings.to_string())?;
        same("the driver's version", self.driver.clone(), after.driver.clone())?;
        same("the list of GPUs", self.uuids.join(" "), after.uuids.join(" "))
    }
}

impl CollectedGpus {
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            settings: self.settings,
            driver: self.driver.clone(),
            uuids: self.devices.iter().map(|device| device.uuid.clone()).collect(),
        }
    }
}

/// Collects evidence of every GPU over `nonce`: a snapshot, each GPU's chain and
/// report, and the snapshot again. Blocks as long as NVML does; a [`Worker`]
/// holds it to a deadline.
///
/// # Errors
/// [`GpuError::NotProduction`] before any report is asked for; otherwise why
/// there is no complete evidence. Never a part of it.
///
/// [`Worker`]: super::worker::Worker
pub fn collect<L: Library + ?Sized>(library: &L, nonce: &GpuNonce) -> Result<CollectedGpus, GpuError> {
    let before = Snapshot::take(library)?;
    let devices = (0_u32..)
        .zip(&before.uuids)
        .map(|(index, uuid)| {
            Ok(CollectedDevice {
                chain: library.attestation_chain(index)?,
                report: report(library, index, nonce)?,
                uuid: uuid.clone(),
                vbios: library.vbios_version(index)?,
                architecture: library.architecture(index)?,
            })
        })
        .collect::<Result<Vec<_>, GpuError>>()?;
    let collected = CollectedGpus {
        driver: before.driver.clone(),
        settings: before.settings,
        devices,
    };
    require_unchanged(library, &before)?;
    Ok(collected)
}

/// Takes another snapshot, and holds that it equals `before`.
pub(super) fn require_unchanged<L: Library + ?Sized>(library: &L, before: &Snapshot) -> Result<(), GpuError> {
    // Read without its requirements, so that what changed is what is said.
    let after = Settings::read(library)?;
    if after != before.settings {
        return Err(GpuError::Changed {
            what: "settings",
            before: before.settings.to_string(),
            after: after.to_string(),
        });
    }
    before.require_unchanged(&Snapshot::take(library)?)
}

/// One report, asked for twice at most: a GPU that fails on and on can stay
/// unusable until it is reset (NVIDIA/nvtrust #87).
fn report<L: Library + ?Sized>(library: &L, device: u32, nonce: &GpuNonce) -> Result<Vec<u8>, GpuError> {
    let first = match library.attestation_report(device, nonce) {
        Ok(report) => return Ok(report),
        // Only an error of the call's own may pass. A wrong size won't.
        Err(first @ Failure::Status { .. }) => first,
        Err(failure) => return Err(failure.into()),
    };
    library
        .attestation_report(device, nonce)
        .map_err(|second| GpuError::Unhealthy {
            device,
            first,
            second,
        })
}

#[cfg(test)]
mod tests;
