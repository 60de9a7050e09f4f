//! Which devices make one machine: how many GPUs, of which family, in which
//! mode, and whether GPUs and NVSwitches name each other. Starts from devices
//! that are authentic; knows no version floor, no measurement, no revocation.
//!
//! | mode | GPUs | NVSwitches | NVLink |
//! |---|---|---|---|
//! | SPT | 1 | 0 | none |
//! | MPT | 1 to what is expected | 0, they are outside the trusted base | encrypted |
//! | PPCIE | 8 | 4 | in the clear |
//!
//! In protected PCIe mode the links are checked both ways. A GPU's report does
//! not say who the GPU itself is on NVLink; its boot ROM's certificate does.

mod fault;
mod links;

use std::collections::BTreeSet;

use bastide_attestation::nvidia::{Family, Mode, Pdi};

use super::device::AuthenticDevice;

pub(crate) use fault::TopologyFault;

/// GPUs of a machine in protected PCIe mode.
pub(crate) const PPCIE_GPUS: usize = 8;
/// NVSwitches of a machine in protected PCIe mode.
pub(crate) const PPCIE_SWITCHES: usize = 4;

/// What a machine must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopologyRules {
    /// How many GPUs are expected: exactly so many, or at most so many in MPT.
    pub(crate) gpus: u8,
    /// Modes that are allowed.
    pub(crate) modes: Vec<Mode>,
    /// Families of GPUs that are allowed. NVSwitches are not looked up here:
    /// the mode says whether there may be any.
    pub(crate) families: Vec<Family>,
}

/// Devices that make one machine. Made by [`machine`] alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The one mode of all its GPUs.
    pub(crate) mode: Mode,
    /// How many GPUs.
    pub(crate) gpus: usize,
    /// How many NVSwitches.
    pub(crate) switches: usize,
    /// Whether data between GPUs go over NVLink in the clear.
    pub(crate) nvlink_plaintext: bool,
}

/// Requires that these devices make one machine of the kind that is wanted.
///
/// # Errors
/// Every [`TopologyFault`], devices counted by their place in `devices`.
pub(crate) fn machine(
    devices: &[AuthenticDevice<'_, '_>],
    rules: &TopologyRules,
) -> Result<Machine, Vec<TopologyFault>> {
    let (mut gpus, mut switches) = (Vec::new(), Vec::new());
    for (device, authentic) in devices.iter().enumerate() {
        let serial = authentic.serial();
        if let Some(facts) = authentic.facts().gpu() {
            gpus.push(Gpu {
                device,
                serial,
                family: authentic.family(),
                mode: authentic.mode(),
                driver: &facts.driver_version,
                pdi: authentic.pdi(),
                switches: facts.switch_pdis.iter().flatten().copied().collect(),
            });
        }
        if let Some(facts) = authentic.facts().switch() {
            switches.push(Switch {
                device,
                serial,
                pdi: facts.pdi,
                certified: authentic.pdi(),
                gpus: facts.gpu_pdis.iter().flatten().copied().collect(),
            });
        }
    }
    judge(&gpus, &switches, rules)
}

/// What counts of a GPU.
#[derive(Debug, Clone)]
struct Gpu<'d> {
    device: usize,
    serial: &'d [u8],
    family: Family,
    mode: Option<Mode>,
    driver: &'d str,
    /// Who it is on NVLink, if its certificate says.
    pdi: Option<Pdi>,
    /// Switches at its links that are on.
    switches: BTreeSet<Pdi>,
}

/// What counts of an NVSwitch.
#[derive(Debug, Clone)]
struct Switch<'d> {
    device: usize,
    serial: &'d [u8],
    /// Who it is by its report.
    pdi: Pdi,
    /// Who it is by its certificate, if that says.
    certified: Option<Pdi>,
    /// GPUs at its ports.
    gpus: BTreeSet<Pdi>,
}

fn judge(
    gpus: &[Gpu<'_>],
    switches: &[Switch<'_>],
    rules: &TopologyRules,
) -> Result<Machine, Vec<TopologyFault>> {
    let Some((first, others)) = gpus.split_first() else {
        return Err(vec![TopologyFault::NoGpu]);
    };
    let mut faults = Vec::new();
    count(gpus, rules, &mut faults);
    for gpu in gpus {
        if !rules.families.contains(&gpu.family) {
            let (device, got) = (gpu.device, gpu.family);
            faults.push(TopologyFault::ArchMismatch { device, got });
        }
        if gpu.mode.is_none() {
            faults.push(TopologyFault::ModeNotStated { device: gpu.device });
        }
    }
    let modes: BTreeSet<Mode> = gpus.iter().filter_map(|gpu| gpu.mode).collect();
    for mode in &modes {
        if !rules.modes.contains(mode) {
            faults.push(TopologyFault::ModeNotAllowed { mode: *mode });
        }
    }
    for gpu in others {
        uniform(first, gpu, &mut faults);
    }
    unique(gpus, switches, &mut faults);
    for mode in &modes {
        shape(*mode, gpus, switches, &mut faults);
    }
    match first.mode {
        Some(mode) if faults.is_empty() => Ok(Machine {
            mode,
            gpus: gpus.len(),
            switches: switches.len(),
            nvlink_plaintext: mode == Mode::Ppcie,
        }),
        _ => Err(faults),
    }
}

/// As many GPUs as are expected. Where all say that they are in MPT there may
/// be fewer: that mode has no number of its own.
fn count(gpus: &[Gpu<'_>], rules: &TopologyRules, faults: &mut Vec<TopologyFault>) {
    let (expected, got) = (usize::from(rules.gpus), gpus.len());
    let fewer = gpus.iter().all(|gpu| gpu.mode == Some(Mode::Mpt));
    if got > expected || (got < expected && !fewer) {
        faults.push(TopologyFault::GpuCountMismatch { expected, got });
    }
}

/// Family, mode and driver of one GPU are those of the first. A GPU that states
/// no mode has its own fault.
fn uniform(first: &Gpu<'_>, gpu: &Gpu<'_>, faults: &mut Vec<TopologyFault>) {
    let device = gpu.device;
    if gpu.family != first.family {
        let (expected, got) = (first.family, gpu.family);
        faults.push(TopologyFault::MixedFamily {
            device,
            expected,
            got,
        });
    }
    match (first.mode, gpu.mode) {
        (Some(expected), Some(got)) if got != expected => {
            faults.push(TopologyFault::MixedMode {
                device,
                expected,
                got,
            });
        }
        _ => {}
    }
    if gpu.driver != first.driver {
        let (expected, got) = (first.driver.to_owned(), gpu.driver.to_owned());
        faults.push(TopologyFault::MixedDriver {
            device,
            expected,
            got,
        });
    }
}

/// No device comes twice, by its leaf's serial number, and no identity on
/// NVLink is of two devices.
fn unique(gpus: &[Gpu<'_>], switches: &[Switch<'_>], faults: &mut Vec<TopologyFault>) {
    let all: Vec<_> = gpus
        .iter()
        .map(|gpu| (gpu.device, gpu.serial, gpu.pdi))
        .chain(switches.iter().map(|s| (s.device, s.serial, Some(s.pdi))))
        .collect();
    let mut before: Vec<(usize, &[u8], Option<Pdi>)> = Vec::with_capacity(all.len());
    for (device, serial, pdi) in all {
        if let Some((same_as, ..)) = before.iter().find(|(_, other, _)| *other == serial) {
            let same_as = *same_as;
            faults.push(TopologyFault::DuplicateDevice { device, same_as });
        } else if let Some(pdi) = pdi
            && let Some((same_as, ..)) = before.iter().find(|(.., other)| *other == Some(pdi))
        {
            let same_as = *same_as;
            faults.push(TopologyFault::DuplicateIdentity { device, same_as, pdi });
        }
        before.push((device, serial, pdi));
    }
}

/// What the mode itself asks for.
fn shape(mode: Mode, gpus: &[Gpu<'_>], switches: &[Switch<'_>], faults: &mut Vec<TopologyFault>) {
    let expected = match mode {
        Mode::Spt => Some(1),
        Mode::Mpt => None,
        Mode::Ppcie => Some(PPCIE_GPUS),
    };
    let got = gpus.len();
    if let Some(expected) = expected
        && expected != got
    {
        faults.push(TopologyFault::ModeGpuCount { mode, expected, got });
    }
    let got = switches.len();
    match mode {
        Mode::Spt | Mode::Mpt if got > 0 => faults.push(TopologyFault::SwitchUnexpected { mode, got }),
        Mode::Spt | Mode::Mpt => {}
        Mode::Ppcie => {
            if got < PPCIE_SWITCHES {
                faults.push(TopologyFault::SwitchEvidenceMissing { got });
            } else if got > PPCIE_SWITCHES {
                faults.push(TopologyFault::SwitchCountMismatch { got });
            }
            links::check(gpus, switches, faults);
        }
    }
}

#[cfg(test)]
mod tests;
