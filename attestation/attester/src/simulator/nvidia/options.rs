//! Which GPUs to simulate, and what shall be wrong with them.

use bastide_attestation::nvidia::Mode;
use bastide_attestation::{AttesterError, UnixTime};

use super::measurement::PLACES;
use crate::simulator::unavailable;

/// Most GPUs of one machine.
const MAX_GPUS: usize = 8;
/// Most characters of a driver's version.
const MAX_VERSION: usize = 32;

/// Encoding of GPUs' opaque data. Switches have the legacy one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// Type, length, value: drivers before 620.
    #[default]
    Legacy,
    /// NVDAOD 2.0.0.
    Nvdaod,
}

/// What is wrong with the evidence, on purpose; by default nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GpuFaults {
    /// The first GPU measures something else at this index, counted from 0 as
    /// manifests do.
    pub wrong_measurement: Option<u8>,
    /// NVDEC0 is off in every GPU, and its measurement (35) another than the
    /// manifest's. Real GPUs have it off, too: that is no reason to refuse.
    pub nvdec_disabled: bool,
    /// The certificate of the manifests' signer expired the day before.
    pub expired_rim_signer: bool,
    /// This certificate of the first GPU's chain, 1 to 3, is revoked. 1 is the
    /// GPU's own; the others are shared.
    pub revoked: Option<usize>,
    /// The first GPU reports once more, in the place of the last. Needs two.
    pub duplicate_device: bool,
}

/// Which GPUs to simulate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuOptions {
    /// How many GPUs: 1 to 8, with protected PCIe 8.
    pub count: usize,
    /// [`Mode::Spt`], or [`Mode::Ppcie`], which adds four NVSwitches.
    pub mode: Mode,
    /// Encoding of opaque data.
    pub encoding: Encoding,
    /// Version of the driver. From 580 on, reports state the mode twice.
    pub driver: String,
    /// Version of the VBIOS: five pairs of upper-case hexadecimal digits.
    pub vbios: String,
    /// Version of the switches' BIOS, likewise.
    pub switch_bios: String,
    /// Which machine: the same number gives the same devices, with new keys.
    pub machine: u8,
    /// Present time: the signer of manifests has been valid for 30 days.
    pub now: UnixTime,
    /// What is wrong.
    pub faults: GpuFaults,
}

impl GpuOptions {
    /// One GPU, alone in its machine, with nothing wrong.
    #[must_use]
    pub fn new(now: UnixTime) -> Self {
        Self {
            count: 1,
            mode: Mode::Spt,
            encoding: Encoding::Legacy,
            driver: "580.159.03".to_owned(),
            vbios: "96.00.9F.00.01".to_owned(),
            switch_bios: "96.10.6D.00.01".to_owned(),
            machine: 0,
            now,
            faults: GpuFaults::default(),
        }
    }

    /// Eight GPUs and four NVSwitches with protected PCIe.
    #[must_use]
    pub fn protected_pcie(now: UnixTime) -> Self {
        Self {
            count: MAX_GPUS,
            mode: Mode::Ppcie,
            ..Self::new(now)
        }
    }

    /// PROJECT, PROJECT_SKU and CHIP_SKU of real boards of the kind.
    pub(super) const fn board(&self) -> (&'static str, &'static str, &'static str) {
        match self.mode {
            Mode::Ppcie => ("G520", "0280", "895"),
            _ => ("1010", "0200", "882"),
        }
    }

    /// Refuses what cannot be.
    pub(super) fn require(&self) -> Result<(), AttesterError> {
        match self.mode {
            Mode::Spt if (1..=MAX_GPUS).contains(&self.count) => {}
            Mode::Ppcie if self.count == MAX_GPUS => {}
            Mode::Spt => return Err(unavailable("1 to 8 GPUs can be simulated")),
            Mode::Ppcie => return Err(unavailable("a machine with protected PCIe has 8 GPUs")),
            Mode::Mpt => {
                return Err(unavailable(
                    "GPUs of the Hopper family have no MPT mode to simulate",
                ));
            }
        }
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !(1..=MAX_VERSION).contains(&self.driver.len()) || !self.driver.bytes().all(word) {
            return Err(unavailable(
                "a driver's version has 1 to 32 letters, digits, `.`, `_` and `-`",
            ));
        }
        if !is_bios_version(&self.vbios) || !is_bios_version(&self.switch_bios) {
            return Err(unavailable("a BIOS version is one as `96.00.9F.00.01`"));
        }
        if self.faults.revoked.is_some_and(|index| !(1..=3).contains(&index)) {
            return Err(unavailable("certificates 1 to 3 of a GPU's chain can be revoked"));
        }
        if self.faults.wrong_measurement.is_some_and(|index| index >= PLACES) {
            return Err(unavailable("a GPU has measurements 0 to 63"));
        }
        if self.faults.duplicate_device && self.count < 2 {
            return Err(unavailable("a duplicate device needs two GPUs"));
        }
        Ok(())
    }
}

fn is_bios_version(version: &str) -> bool {
    let bytes = version.bytes().enumerate();
    version.len() == 14
        && bytes.into_iter().all(|(at, byte)| match at % 3 {
            2 => byte == b'.',
            _ => matches!(byte, b'0'..=b'9' | b'A'..=b'F'),
        })
}
