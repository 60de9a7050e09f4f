//! Measurements of a device against the golden ones of its manifests. Knows no
//! report: it asks for a measurement by its index. Decides nothing else.

use crate::nvidia::rim::{AuthenticRim, Golden};

/// The measurement of NVDEC0's firmware. A GPU whose NVDEC0 is disabled (0x55
/// in the report's opaque field 11) does not load it, and measures something
/// else; NVIDIA's own verifiers pass this one index over.
const NVDEC0: u8 = 35;

/// Which manifest a measurement comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A GPU driver's.
    Driver,
    /// A GPU's VBIOS's.
    Vbios,
    /// A switch's BIOS's.
    SwitchBios,
}

/// How many measurements matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Matched {
    /// Of the driver's manifest; 0 for a switch.
    pub(crate) driver: usize,
    /// Of the VBIOS's or the switch's manifest.
    pub(crate) vbios: usize,
    /// Whether the measurement of a disabled NVDEC0 did not match, and was
    /// passed over. It is not counted.
    pub(crate) nvdec0_passed_over: bool,
}

/// One measurement that is none of the golden ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// Its index, 0 to 63.
    pub(crate) index: u8,
    /// Which manifest it should have matched.
    pub(crate) source: Source,
    /// How many values it could have had.
    pub(crate) alternatives: usize,
    /// What was measured; `None` if the report has no such measurement.
    pub(crate) measured: Option<[u8; 48]>,
}

/// Why measurements are not the golden ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GoldenFault {
    /// Both manifests claim an index, and one of them would have to yield.
    #[error("measurement {index} is active in both manifests, the driver's and the VBIOS's")]
    Conflict {
        /// The first such index.
        index: u8,
    },
    /// All that do not match, the driver's first.
    #[error("{} measurement(s) are none of the golden ones", .0.len())]
    Mismatch(Vec<Mismatch>),
}

/// Requires that a GPU's measurements match both of its manifests.
/// `measured` gives a measurement by golden index (0 to 63; that of the SPDM
/// block less one).
///
/// # Errors
/// [`GoldenFault`]: a conflict of the two manifests, or every mismatch.
pub(crate) fn compare_gpu(
    measured: &dyn Fn(u8) -> Option<[u8; 48]>,
    nvdec0_disabled: bool,
    driver: &AuthenticRim,
    vbios: &AuthenticRim,
) -> Result<Matched, GoldenFault> {
    let manifests = [(Source::Driver, driver.golden()), (Source::Vbios, vbios.golden())];
    compare(measured, nvdec0_disabled, manifests)
}

/// Requires that a switch's measurements match its one manifest; likewise.
///
/// # Errors
/// [`GoldenFault::Mismatch`] with every mismatch.
pub(crate) fn compare_switch(
    measured: &dyn Fn(u8) -> Option<[u8; 48]>,
    bios: &AuthenticRim,
) -> Result<Matched, GoldenFault> {
    compare(
        measured,
        false,
        [(Source::Driver, &[]), (Source::SwitchBios, bios.golden())],
    )
}

fn compare(
    measured: &dyn Fn(u8) -> Option<[u8; 48]>,
    nvdec0_disabled: bool,
    manifests: [(Source, &[Golden]); 2],
) -> Result<Matched, GoldenFault> {
    let [(_, first), (_, second)] = manifests;
    for golden in first {
        if second.iter().any(|other| other.index == golden.index) {
            return Err(GoldenFault::Conflict { index: golden.index });
        }
    }
    let mut counts = [0_usize; 2];
    let mut nvdec0_passed_over = false;
    let mut mismatches = Vec::new();
    for ((source, manifest), count) in manifests.into_iter().zip(&mut counts) {
        for golden in manifest {
            let measured = measured(golden.index);
            if measured.is_some_and(|value| golden.alternatives.contains(&value)) {
                *count += 1;
            } else if nvdec0_disabled && golden.index == NVDEC0 && measured.is_some() {
                nvdec0_passed_over = true;
            } else {
                let (index, alternatives) = (golden.index, golden.alternatives.len());
                mismatches.push(Mismatch {
                    index,
                    source,
                    alternatives,
                    measured,
                });
            }
        }
    }
    let [driver, vbios] = counts;
    if mismatches.is_empty() {
        Ok(Matched {
            driver,
            vbios,
            nvdec0_passed_over,
        })
    } else {
        Err(GoldenFault::Mismatch(mismatches))
    }
}

#[cfg(test)]
mod tests;
