//! The manifests that came with a machine's evidence: all of them authentic and
//! current, one found for each driver, VBIOS and switch, and each device's
//! measurements held against its own.

use bastide_attestation::nvidia::{DeviceFacts, Family, Nvdec0};

use crate::hexadecimal::Hex;
use crate::ledger::{CheckId, Ledger, sentence};
use crate::rejection::Rejection;

use super::device::AuthenticDevice;
use super::golden::{GoldenFault, Matched, Source, compare_gpu, compare_switch};
use super::rim::{
    AuthenticRim, ChainFault, Edition, RimFault, RimTrust, Standing, Version, authenticate_rim,
};

/// Most mismatches that a verdict names one by one.
const MAX_NAMED: usize = 8;

/// The manifests that one device's measurements matched.
#[derive(Debug)]
pub(crate) struct Matching<'r> {
    /// The driver's; none for a switch.
    pub(crate) driver: Option<&'r AuthenticRim>,
    /// The VBIOS's, or the switch's.
    pub(crate) firmware: &'r AuthenticRim,
    pub(crate) matched: Matched,
}

/// Reads every manifest that came. A bad one refuses the evidence, needed or
/// not: whoever sends along what NVIDIA did not sign is not to be relied on.
/// Gives the good ones, and whether all were.
pub(crate) fn authenticate_rims(
    files: &[Vec<u8>],
    trust: &RimTrust<'_>,
    ledger: &mut Ledger,
) -> (Vec<AuthenticRim>, bool) {
    let mut rims = Vec::with_capacity(files.len());
    let (mut altered, mut expired) = (None, None);
    for (index, file) in files.iter().enumerate() {
        match authenticate_rim(file, trust) {
            Ok(rim) => rims.push(rim),
            Err(fault @ (RimFault::SignerExpired { .. } | RimFault::NotYetValid { .. })) => {
                expired.get_or_insert((index, fault));
            }
            Err(fault) => {
                altered.get_or_insert((index, fault));
            }
        }
    }
    for (id, fault) in [
        (CheckId::RimSignature, &altered),
        (CheckId::RimValidity, &expired),
    ] {
        match fault {
            Some((index, fault)) => {
                let got = sentence(format_args!("manifest {index}: {fault}"));
                let _ = ledger.fail(id, rejection_of(fault), id.expected(), got);
            }
            // Whether a manifest with another fault is current was not asked.
            None if id == CheckId::RimValidity && altered.is_some() => {}
            None if id == CheckId::RimValidity => ledger.pass(id, standings(&rims)),
            None => ledger.pass(
                id,
                sentence(format_args!(
                    "{} manifest(s)",
                    rims.len() + usize::from(expired.is_some())
                )),
            ),
        }
    }
    let all = altered.is_none() && expired.is_none();
    (rims, all)
}

/// What it took for the manifests to be current.
fn standings(rims: &[AuthenticRim]) -> String {
    let mut text = String::new();
    for rim in rims {
        let separator = if text.is_empty() { "" } else { "; " };
        text.push_str(separator);
        text.push_str(rim.version());
        text.push_str(&standing(rim));
    }
    if text.is_empty() {
        text.push_str("no manifest");
    }
    text
}

/// ` valid until …`, and what was overlooked.
pub(crate) fn standing(rim: &AuthenticRim) -> String {
    match rim.standing() {
        Standing::Valid { until } => sentence(format_args!(" valid until {until}")),
        Standing::Grace { expired } => {
            sentence(format_args!(" expired at {expired}, within the days of grace"))
        }
        Standing::Pinned { expired } => sentence(format_args!(
            " expired at {expired}, its file pinned: sha256:{}",
            Hex(rim.sha256())
        )),
    }
}

const fn rejection_of(fault: &RimFault) -> Rejection {
    match fault {
        RimFault::Xml(_) | RimFault::Profile(_) => Rejection::RimMalformed,
        RimFault::UnknownNamespace(_) => Rejection::RimNamespace,
        RimFault::Chain(ChainFault::RootNotPinned { .. }) => Rejection::RimRootUnknown,
        RimFault::Chain(_) => Rejection::RimChain,
        RimFault::Digest | RimFault::Signature => Rejection::RimAltered,
        RimFault::NotYetValid { .. } => Rejection::RimNotYetValid,
        RimFault::SignerExpired { .. } => Rejection::RimExpired,
    }
}

/// Finds each device's manifests and compares its measurements with them.
/// Records both checks; gives what matched, device by device, if all did. That
/// one is missing is not said where a refused manifest (`all` is false) may be it.
pub(crate) fn compare<'r>(
    devices: &[AuthenticDevice<'_, '_>],
    (rims, all): (&'r [AuthenticRim], bool),
    ledger: &mut Ledger,
) -> Option<Vec<Matching<'r>>> {
    let mut matching = Vec::with_capacity(devices.len());
    let (mut unfound, mut mismatch) = (None, None);
    for (index, device) in devices.iter().enumerate() {
        let found = match of_device(device, rims) {
            Ok(found) => found,
            Err(fault) => {
                unfound.get_or_insert((index, fault));
                continue;
            }
        };
        match best(device, &found) {
            Ok(matched) => matching.push(matched),
            Err(fault) => {
                mismatch.get_or_insert((index, fault));
            }
        }
    }
    let id = CheckId::RimSelection;
    match &unfound {
        Some((_, fault)) if !all && fault.rejection == Rejection::RimMissing => return None,
        Some((index, fault)) => {
            let got = sentence(format_args!("device {index}: {}", fault.got));
            let _ = ledger.fail(id, fault.rejection, id.expected(), got);
        }
        None => ledger.pass(
            id,
            sentence(format_args!(
                "{} device(s), {} manifest(s)",
                devices.len(),
                rims.len()
            )),
        ),
    }
    let id = CheckId::GpuMeasurements;
    match (&mismatch, &unfound) {
        (Some((index, fault)), _) => {
            let rejection = match fault {
                GoldenFault::Conflict { .. } => Rejection::GpuMeasurementConflict,
                GoldenFault::Mismatch(_) => Rejection::GpuMeasurementMismatch,
            };
            let got = sentence(format_args!("device {index}: {fault}{}", named(fault)));
            let _ = ledger.fail(id, rejection, id.expected(), got);
        }
        (None, Some(_)) => return None,
        (None, None) => ledger.pass(id, counts(&matching)),
    }
    mismatch.is_none().then_some(matching)
}

/// `33 of 33`, and what was passed over.
fn counts(matching: &[Matching<'_>]) -> String {
    let count = |one: &Matching<'_>| one.matched.driver + one.matched.vbios;
    let golden = |one: &Matching<'_>| {
        one.firmware.golden().len() + one.driver.map_or(0, |driver| driver.golden().len())
    };
    let passed_over = matching
        .iter()
        .filter(|one| one.matched.nvdec0_passed_over)
        .count();
    let mut text = sentence(format_args!(
        "{} of {}",
        matching.iter().map(count).sum::<usize>(),
        matching.iter().map(golden).sum::<usize>(),
    ));
    if passed_over > 0 {
        text.push_str(&sentence(format_args!(
            "; that of a disabled NVDEC0 passed over on {passed_over} device(s)"
        )));
    }
    text
}

/// `: driver 21, VBIOS 3`, by golden index.
fn named(fault: &GoldenFault) -> String {
    let GoldenFault::Mismatch(mismatches) = fault else {
        return String::new();
    };
    let mut text = String::new();
    for (place, mismatch) in mismatches.iter().take(MAX_NAMED).enumerate() {
        let source = match mismatch.source {
            Source::Driver => "driver",
            Source::Vbios => "VBIOS",
            Source::SwitchBios => "switch BIOS",
        };
        let separator = if place == 0 { ": " } else { ", " };
        text.push_str(&sentence(format_args!("{separator}{source} {}", mismatch.index)));
    }
    if mismatches.len() > MAX_NAMED {
        text.push_str(", …");
    }
    text
}

/// The manifests that could be a device's.
struct Candidates<'r> {
    driver: Option<Vec<&'r AuthenticRim>>,
    firmware: Vec<&'r AuthenticRim>,
}

struct Unfound {
    rejection: Rejection,
    got: String,
}

fn of_device<'r>(
    device: &AuthenticDevice<'_, '_>,
    rims: &'r [AuthenticRim],
) -> Result<Candidates<'r>, Unfound> {
    let product = product(device);
    match device.facts() {
        DeviceFacts::Gpu(gpu) => {
            let driver_id = gpu.driver_rim_id(device.family()).unwrap_or_default();
            let driver = Version::Driver(&gpu.driver_version);
            let vbios = Version::Vbios(&gpu.vbios_version);
            Ok(Candidates {
                driver: Some(find(rims, &product, Edition::Gpu, driver, &driver_id)?),
                firmware: find(rims, &product, Edition::Gpu, vbios, &gpu.vbios_rim_id())?,
            })
        }
        DeviceFacts::Switch(switch) => {
            let version = Version::Vbios(&switch.bios_version);
            let id = sentence(format_args!("the BIOS {} of an NVSwitch", switch.bios_version));
            Ok(Candidates {
                driver: None,
                firmware: find(rims, &product, Edition::Switch, version, &id)?,
            })
        }
    }
}

/// The product that a device's manifests are for.
fn product(device: &AuthenticDevice<'_, '_>) -> String {
    match device.family() {
        Family::Hopper => "GH100".to_owned(),
        Family::Ls10 => "LS10".to_owned(),
        Family::Blackwell => device
            .facts()
            .gpu()
            .and_then(|gpu| gpu.chip_info.clone())
            .unwrap_or_else(|| "GB100".to_owned()),
    }
}

fn find<'r>(
    rims: &'r [AuthenticRim],
    product: &str,
    edition: Edition,
    version: Version<'_>,
    id: &str,
) -> Result<Vec<&'r AuthenticRim>, Unfound> {
    let found: Vec<_> = rims
        .iter()
        .filter(|rim| rim.require_for(product, edition, version).is_ok())
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    // One of the right version for another chip: NVIDIA's service gives such to
    // whoever asks by the wrong name.
    let text = match version {
        Version::Driver(text) | Version::Vbios(text) => text,
    };
    match rims.iter().find(|rim| rim.version().eq_ignore_ascii_case(text)) {
        Some(other) => Err(Unfound {
            rejection: Rejection::RimOther,
            got: match other.require_for(product, edition, version) {
                Err(fault) => fault.to_string(),
                Ok(()) => sentence(format_args!("none for {id}")),
            },
        }),
        None => Err(Unfound {
            rejection: Rejection::RimMissing,
            got: sentence(format_args!("none for {id}")),
        }),
    }
}

/// The first pair of manifests that all measurements match, else what the first
/// pair says. More than one pair comes only with manifests of several boards.
fn best<'r>(device: &AuthenticDevice<'_, '_>, found: &Candidates<'r>) -> Result<Matching<'r>, GoldenFault> {
    let report = device.report();
    let measured = |index: u8| report.measurement(index.checked_add(1)?).copied();
    let disabled = device
        .facts()
        .gpu()
        .is_some_and(|gpu| gpu.nvdec0 == Nvdec0::Disabled);
    let mut first = None;
    for firmware in &found.firmware {
        let drivers: Vec<Option<&AuthenticRim>> = match &found.driver {
            Some(drivers) => drivers.iter().copied().map(Some).collect(),
            None => vec![None],
        };
        for driver in drivers {
            let compared = match driver {
                Some(driver) => compare_gpu(&measured, disabled, driver, firmware),
                None => compare_switch(&measured, firmware),
            };
            match compared {
                Ok(matched) => {
                    return Ok(Matching {
                        driver,
                        firmware,
                        matched,
                    });
                }
                Err(fault) => {
                    first.get_or_insert(fault);
                }
            }
        }
    }
    // INVARIANT: there is at least one of each kind; without any, nothing matches.
    Err(first.unwrap_or(GoldenFault::Mismatch(Vec::new())))
}
