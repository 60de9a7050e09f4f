//! What a device says about itself in its report's opaque data, as typed
//! facts, and what GPUs and NVSwitches have in common there.
//!
//! Sizes are those of real reports of every driver seen, from 550 to 620.

mod gpu;
mod switch;

use super::family::DeviceKind;
use super::field::exact;
use super::opaque::{Entries, OpaqueError, OpaqueVersion};
use super::spdm::SpdmReport;

pub use gpu::{GpuFacts, LINKS_OF_A_GPU, Mode, Nvdec0};
pub use switch::SwitchFacts;

/// Numbers of the fields \[attestation-sdk, OpaqueDataType\].
mod id {
    pub(super) const DRIVER_VERSION: u16 = 3;
    pub(super) const GPU_INFO: u16 = 4;
    pub(super) const VBIOS_VERSION: u16 = 6;
    pub(super) const NVDEC0_STATUS: u16 = 11;
    pub(super) const MEASUREMENT_COUNT: u16 = 12;
    pub(super) const CPR_INFO: u16 = 13;
    pub(super) const BOARD_ID: u16 = 14;
    pub(super) const CHIP_SKU: u16 = 15;
    pub(super) const CHIP_SKU_MODIFIER: u16 = 16;
    pub(super) const PROJECT: u16 = 17;
    pub(super) const PROJECT_SKU: u16 = 18;
    pub(super) const PROJECT_SKU_MODIFIER: u16 = 19;
    pub(super) const FWID: u16 = 20;
    pub(super) const PROTECTED_PCIE_STATUS: u16 = 21;
    pub(super) const SWITCH_PDI: u16 = 22;
    pub(super) const FLOORSWEPT_PORTS: u16 = 23;
    pub(super) const POSITION_ID: u16 = 24;
    pub(super) const LOCK_STATUS: u16 = 25;
    pub(super) const GPU_PDIS: u16 = 26;
    pub(super) const SYS_ENABLE_STATUS: u16 = 33;
    pub(super) const OPAQUE_DATA_VERSION: u16 = 34;
    pub(super) const CHIP_INFO: u16 = 35;
    pub(super) const FEATURE_FLAG: u16 = 36;
    pub(super) const FSP_UCODE_SVN: u16 = 37;
}

/// What a device of either kind says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceFacts {
    /// A GPU.
    Gpu(Box<GpuFacts>),
    /// An NVSwitch.
    Switch(Box<SwitchFacts>),
}

impl DeviceFacts {
    /// Reads the opaque data of a report whose signature holds.
    ///
    /// # Errors
    /// [`OpaqueError`] names the first fault.
    pub fn parse(report: &SpdmReport<'_>) -> Result<Self, OpaqueError> {
        Self::parse_opaque(report.kind(), report.opaque_unverified())
    }

    /// Reads opaque data that are of this kind of device.
    ///
    /// # Errors
    /// [`OpaqueError`] names the first fault.
    pub fn parse_opaque(kind: DeviceKind, opaque: &[u8]) -> Result<Self, OpaqueError> {
        let entries = Entries::read(kind, opaque)?;
        match kind {
            DeviceKind::Gpu => GpuFacts::read(entries).map(|facts| Self::Gpu(Box::new(facts))),
            DeviceKind::NvSwitch => SwitchFacts::read(entries).map(|facts| Self::Switch(Box::new(facts))),
        }
    }

    /// The facts of a GPU.
    #[must_use]
    pub fn gpu(&self) -> Option<&GpuFacts> {
        match self {
            Self::Gpu(facts) => Some(facts),
            Self::Switch(_) => None,
        }
    }

    /// The facts of an NVSwitch.
    #[must_use]
    pub fn switch(&self) -> Option<&SwitchFacts> {
        match self {
            Self::Switch(facts) => Some(facts),
            Self::Gpu(_) => None,
        }
    }
}

fn optional<T>(
    entries: &mut Entries<'_>,
    id: u16,
    read: impl FnOnce(u16, &[u8]) -> Result<T, OpaqueError>,
) -> Result<Option<T>, OpaqueError> {
    entries
        .optional(id)
        .map(|entry| read(id, entry.value))
        .transpose()
}

/// The header's version, or field 34 of the legacy encoding. NVDAOD of driver
/// 620 still has a field 34, written otherwise (0x0200), which says nothing there.
fn read_version(entries: &mut Entries<'_>) -> Result<OpaqueVersion, OpaqueError> {
    let field = optional(entries, id::OPAQUE_DATA_VERSION, |id, value| {
        exact(id, value, "2 bytes").map(u16::from_le_bytes)
    })?;
    match (entries.header, field.unwrap_or_default()) {
        (Some(header), _) => Ok(header),
        (None, version @ 0..=1) => Ok(OpaqueVersion::Legacy(version)),
        (None, major) => Err(OpaqueError::VersionUnsupported {
            major,
            kind: entries.kind,
        }),
    }
}

#[cfg(test)]
mod tests;
