//! From what came of a machine's GPUs to the checks of a verdict: authenticity,
//! the policy's rules, manifests, measurements, revocation. Judges no session:
//! which nonce and which evidence are meant is the caller's word.

use std::collections::BTreeMap;

use bastide_attestation::UnixTime;
use bastide_attestation::nvidia::{DeviceFacts, GpuFacts};

use crate::crypto::Crypto;
use crate::facts;
use crate::ledger::{CheckId, Ledger, Refused, sentence};
use crate::memo::Memo;
use crate::policy::gpu::GpuRules;
use crate::recorded::RecordedGpus;
use crate::rejection::Rejection;
use crate::snp::{IGNORED, Pinning};

use super::authenticity::authenticate_devices;
use super::chain::DeviceTrust;
use super::device::AuthenticDevice;
use super::manifests::{authenticate_rims, compare};
use super::revocation::Freshness;
use super::revoked::Answers;
use super::rim::{RimMemo, RimTrust};
use super::second_opinion::{Judging, evaluate_nras};
use super::topology::{Machine, TopologyFault, machine};
use super::versions::{DriverFault, DriverVersion, VbiosFault, VbiosVersion};

/// Seconds by which a responder's clock may be ahead of this one.
const CLOCK_SKEW: u64 = 300;

/// What GPUs are judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GpuTrust<'t> {
    pub(crate) rules: &'t GpuRules,
    pub(crate) crypto: &'static dyn Crypto,
    pub(crate) memo: &'t Memo,
    pub(crate) rims: &'t RimMemo,
    pub(crate) now: UnixTime,
}

/// What a verdict tells of authentic devices besides its checks.
#[derive(Debug, Default)]
pub(crate) struct GpuReport {
    /// Facts of each device, in the order in which they came.
    pub(crate) devices: Vec<BTreeMap<&'static str, String>>,
    /// Roots relied on.
    pub(crate) roots: Vec<String>,
    /// Whether one of them is a simulation's.
    pub(crate) simulated: bool,
}

/// Records every check on a machine's GPUs. Those that a policy makes are all
/// made once the devices are authentic, so that a refusal names all there is.
pub(crate) fn appraise_gpus(
    gpus: &RecordedGpus<'_>,
    trust: &GpuTrust<'_>,
    ledger: &mut Ledger,
) -> Result<GpuReport, Refused> {
    let device_trust = DeviceTrust {
        anchors: &trust.rules.device_anchors,
        crypto: trust.crypto,
        now: trust.now,
        memo: trust.memo,
    };
    let devices = authenticate_devices(gpus.devices, gpus.nonce, &device_trust, ledger)?;
    let whole = evaluate_topology(&devices, trust.rules, ledger);
    evaluate_devices(&devices, trust, ledger);
    evaluate_versions(&devices, trust.rules, ledger);

    let expiry = trust.rules.rim_expiry.at(trust.now);
    let rim_trust = RimTrust {
        anchors: &trust.rules.rim_anchors,
        expiry: &expiry,
        crypto: trust.crypto,
        memo: trust.rims,
        now: trust.now,
    };
    let (rims, all) = authenticate_rims(&gpus.endorsements.rims, &rim_trust, ledger);
    let matching = compare(&devices, (&rims, all), ledger);
    let answers = Answers {
        ocsp: &gpus.endorsements.ocsp,
        crls: &gpus.endorsements.crls,
        mode: trust.rules.revocation,
        freshness: Freshness {
            now: trust.now,
            max_age: trust.rules.revocation_max_age,
            skew: CLOCK_SKEW,
        },
        crypto: trust.crypto,
    };
    answers.evaluate_devices(&devices, ledger);
    answers.evaluate_rims(&rims, ledger);
    evaluate_wires(whole.as_ref(), ledger);
    let judging = Judging {
        crypto: trust.crypto,
        now: trust.now,
        skew: CLOCK_SKEW,
    };
    evaluate_nras(gpus.nras, &devices, gpus.nonce, judging, ledger);

    let matching = matching.unwrap_or_default();
    let mut report = GpuReport {
        devices: devices
            .iter()
            .enumerate()
            .map(|(index, device)| facts::of_device(device, matching.get(index)))
            .collect(),
        ..GpuReport::default()
    };
    for device in &devices {
        let anchor = device.anchor();
        report.rely_on(
            &anchor.name,
            &anchor.root.spki.to_string(),
            anchor.simulated,
            anchor.added_by_policy,
        );
    }
    for rim in &rims {
        let anchor = rim.anchor();
        report.rely_on(
            &anchor.name,
            &anchor.root.spki.to_string(),
            anchor.simulated,
            anchor.added_by_policy,
        );
    }
    Ok(report)
}

impl GpuReport {
    fn rely_on(&mut self, name: &str, spki: &str, simulated: bool, added: bool) {
        let mark = if added { " (added by the policy)" } else { "" };
        let root = sentence(format_args!("{name} sha256:{spki}{mark}"));
        if !self.roots.contains(&root) {
            self.roots.push(root);
        }
        self.simulated |= simulated;
    }
}

/// Three checks share what [`machine`] finds out.
fn evaluate_topology(
    devices: &[AuthenticDevice<'_, '_>],
    rules: &GpuRules,
    ledger: &mut Ledger,
) -> Option<Machine> {
    let whole = machine(devices, &rules.topology);
    let names = |values: &mut dyn Iterator<Item = String>| values.collect::<Vec<_>>().join(" or ");
    let expectations = [
        (
            CheckId::GpuTopology,
            sentence(format_args!(
                "{} GPU(s), with all switches of their mode",
                rules.topology.gpus
            )),
        ),
        (
            CheckId::GpuFamily,
            names(&mut rules.topology.families.iter().map(ToString::to_string)),
        ),
        (
            CheckId::GpuMode,
            names(&mut rules.topology.modes.iter().map(ToString::to_string)),
        ),
    ];
    let faults = whole.as_ref().err().map(Vec::as_slice).unwrap_or_default();
    for (id, expected) in expectations {
        let mut of_check = faults.iter().filter(|fault| sort(fault).0 == id);
        match of_check.next() {
            Some(first) => {
                let others = of_check.count();
                let got = match others {
                    0 => first.to_string(),
                    _ => sentence(format_args!("{first}; and {others} more")),
                };
                let _: Refused = ledger.fail(id, sort(first).1, expected, got);
            }
            None => ledger.pass_against(id, expected, describe(id, devices)),
        }
    }
    whole.ok()
}

/// The check that a fault fails, and its code.
const fn sort(fault: &TopologyFault) -> (CheckId, Rejection) {
    match fault {
        TopologyFault::NoGpu
        | TopologyFault::GpuCountMismatch { .. }
        | TopologyFault::ModeGpuCount { .. } => (CheckId::GpuTopology, Rejection::GpuCount),
        TopologyFault::ArchMismatch { .. } => (CheckId::GpuFamily, Rejection::GpuFamilyNotAllowed),
        TopologyFault::ModeNotStated { .. } | TopologyFault::ModeNotAllowed { .. } => {
            (CheckId::GpuMode, Rejection::GpuModeNotAllowed)
        }
        TopologyFault::MixedMode { .. }
        | TopologyFault::MixedFamily { .. }
        | TopologyFault::MixedDriver { .. } => (CheckId::GpuMode, Rejection::GpuModeMixed),
        TopologyFault::DuplicateDevice { .. } | TopologyFault::DuplicateIdentity { .. } => {
            (CheckId::GpuTopology, Rejection::GpuDuplicate)
        }
        TopologyFault::SwitchUnexpected { .. }
        | TopologyFault::SwitchEvidenceMissing { .. }
        | TopologyFault::SwitchCountMismatch { .. }
        | TopologyFault::SwitchIdentity { .. }
        | TopologyFault::SwitchesNamed { .. }
        | TopologyFault::SwitchesDiffer { .. }
        | TopologyFault::GpusNamed { .. }
        | TopologyFault::GpusDiffer { .. }
        | TopologyFault::SwitchUnknown { .. }
        | TopologyFault::SwitchUnnamed { .. }
        | TopologyFault::GpuUnknown { .. }
        | TopologyFault::GpuUnnamed { .. } => (CheckId::GpuTopology, Rejection::GpuTopology),
    }
}

/// What devices are, for a check that they pass.
fn describe(id: CheckId, devices: &[AuthenticDevice<'_, '_>]) -> String {
    let gpus = devices
        .iter()
        .filter(|device| device.facts().gpu().is_some())
        .count();
    let first = devices.iter().find(|device| device.facts().gpu().is_some());
    match (id, first) {
        (CheckId::GpuFamily, Some(gpu)) => gpu.family().to_string(),
        (CheckId::GpuMode, Some(gpu)) => gpu.mode().map_or_else(String::new, |mode| mode.to_string()),
        _ => sentence(format_args!(
            "{gpus} GPU(s), {} NVSwitch(es)",
            devices.len() - gpus
        )),
    }
}

fn evaluate_devices(devices: &[AuthenticDevice<'_, '_>], trust: &GpuTrust<'_>, ledger: &mut Ledger) {
    let pinning = Pinning {
        id: CheckId::GpuDevice,
        rejection: Rejection::GpuDeviceNotAllowed,
        what: "device",
        now: trust.now,
    };
    match &trust.rules.devices {
        None => ledger.skip(CheckId::GpuDevice, IGNORED),
        Some(pins) => pinning.evaluate_all(pins, devices.iter().map(AuthenticDevice::ueid), ledger),
    }
}

/// Records drivers and VBIOSes against their minima; the first GPU that falls
/// short is named.
fn evaluate_versions(devices: &[AuthenticDevice<'_, '_>], rules: &GpuRules, ledger: &mut Ledger) {
    let gpus = || {
        devices
            .iter()
            .enumerate()
            .filter_map(|(index, device)| device.facts().gpu().map(|gpu| (index, gpu)))
    };
    let judged: [(CheckId, Option<Judged>); 2] = [
        (
            CheckId::GpuDriver,
            rules.drivers.as_ref().map(|rules| {
                judge_all(
                    gpus(),
                    |gpu| match gpu.driver_version.parse::<DriverVersion>() {
                        Ok(version) => rules.judge(&version).map_err(|fault| {
                            let rejection = match fault {
                                DriverFault::Denied { .. } => Rejection::GpuDriverDenied,
                                DriverFault::BranchUnknown { .. } | DriverFault::BelowMinimum { .. } => {
                                    Rejection::GpuDriverBelow
                                }
                            };
                            (rejection, fault.to_string())
                        }),
                        Err(error) => Err((Rejection::GpuDriverBelow, error.to_string())),
                    },
                    |gpu| &gpu.driver_version,
                )
            }),
        ),
        (
            CheckId::GpuVbios,
            rules.vbioses.as_ref().map(|rules| {
                judge_all(
                    gpus(),
                    |gpu| match gpu.vbios_version.parse::<VbiosVersion>() {
                        Ok(version) => rules.judge(&gpu.project, version).map_err(|fault| {
                            let rejection = match fault {
                                VbiosFault::Denied { .. } => Rejection::GpuVbiosDenied,
                                VbiosFault::GenerationUnknown { .. } | VbiosFault::BelowMinimum { .. } => {
                                    Rejection::GpuVbiosBelow
                                }
                            };
                            (rejection, fault.to_string())
                        }),
                        Err(error) => Err((Rejection::GpuVbiosBelow, error.to_string())),
                    },
                    |gpu| &gpu.vbios_version,
                )
            }),
        ),
    ];
    for (id, judged) in judged {
        match judged {
            None => ledger.skip(id, IGNORED),
            Some(Ok(versions)) => ledger.pass(id, versions),
            Some(Err((rejection, got))) => {
                let _: Refused = ledger.fail(id, rejection, id.expected(), got);
            }
        }
    }
}

/// The versions that are accepted, as text, or a code and what fell short.
type Judged = Result<String, (Rejection, String)>;

fn judge_all<'g>(
    gpus: impl Iterator<Item = (usize, &'g GpuFacts)>,
    judge: impl Fn(&GpuFacts) -> Result<(), (Rejection, String)>,
    version: impl Fn(&'g GpuFacts) -> &'g String,
) -> Judged {
    let mut versions: Vec<&str> = Vec::new();
    for (index, gpu) in gpus {
        judge(gpu)
            .map_err(|(rejection, got)| (rejection, sentence(format_args!("device {index}: {got}"))))?;
        let version = version(gpu);
        if !versions.contains(&version.as_str()) {
            versions.push(version);
        }
    }
    Ok(versions.join(", "))
}

/// What lies between GPUs, and between GPUs and processor: what no report shows.
fn evaluate_wires(whole: Option<&Machine>, ledger: &mut Ledger) {
    match whole {
        Some(machine) if machine.nvlink_plaintext => ledger.not_provable(
            CheckId::GpuNvlink,
            "protected PCIe: what GPUs exchange over NVLink is in the clear on the board",
        ),
        Some(machine) if machine.gpus > 1 => {
            ledger.pass(CheckId::GpuNvlink, "NVLink is encrypted in this mode (MPT)");
        }
        Some(_) => ledger.pass(CheckId::GpuNvlink, "one GPU: nothing goes between GPUs"),
        None => ledger.skip(CheckId::GpuNvlink, "the devices do not make one machine"),
    }
    ledger.not_provable(
        CheckId::GpuSettings,
        "no report shows them: the measured enclave asserts that it opened the GPUs after it appraised them",
    );
    ledger.not_provable(
        CheckId::SameMachine,
        "the hardware links no GPU to a processor: the measured enclave asserts that it asked its own driver",
    );
}

/// Kind of a device, for facts.
pub(crate) const fn kind(facts: &DeviceFacts) -> &'static str {
    match facts {
        DeviceFacts::Gpu(_) => "gpu",
        DeviceFacts::Switch(_) => "nvswitch",
    }
}
