//! What simulated devices measure: the one source of both what their reports
//! say and what their manifests want. Indices count from 0, as manifests do.

use bastide_attestation::sha384;

const LABEL: &[u8] = b"bastide-simulated-nvidia-measurement-v1\0";

/// The measurement of NVDEC0's firmware.
pub(super) const NVDEC0: u8 = 35;
/// Measurements that a manifest has a place for.
pub(super) const PLACES: u8 = 64;

/// What is measured, and has a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Firmware {
    /// A GPU's driver.
    Driver,
    /// A GPU's VBIOS.
    Vbios,
    /// A switch's BIOS.
    SwitchBios,
}

impl Firmware {
    /// Whether a measurement is of this firmware, as in NVIDIA's manifests.
    pub(super) const fn covers(self, index: u8) -> bool {
        match self {
            Self::Driver => matches!(index, 7 | 21..=40),
            Self::Vbios => matches!(index, 0..=6 | 8..=12),
            Self::SwitchBios => index < 31,
        }
    }

    /// The measurement that this version has at an index; zero for one that is
    /// not taken of it.
    pub(super) fn digest(self, version: &str, index: u8) -> [u8; 48] {
        if !self.covers(index) {
            return [0; 48];
        }
        let firmware: &[u8] = match self {
            Self::Driver => b"driver\0",
            Self::Vbios => b"vbios\0",
            Self::SwitchBios => b"switch-bios\0",
        };
        sha384(&[LABEL, firmware, version.as_bytes(), &[0, index]])
    }
}
