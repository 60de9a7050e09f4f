//! The `[gpu]` section: that the policy is for machines with GPUs, and what
//! they may be. Without it a machine that has GPUs is refused.

use bastide_attestation::RimDigest;
use bastide_attestation::nvidia::{Family, Mode};
use toml::Spanned;

use super::pinned;
use crate::anchors::{Pin, SIMULATION_KEYS};
use crate::ledger::CheckId;
use crate::nvidia::rim::RimAnchor;
use crate::nvidia::{DeviceAnchor, DriverRules, DriverVersion, TopologyRules, VbiosMinimum, VbiosRules};
use crate::policy::gpu::{GpuRules, RimExpiry};
use crate::policy::schema::{DevicePin, ExtraGpuRoot, Gpu, List, RimPin, Roots};
use crate::policy::source::{Ignored, Outcome, Source};
use crate::policy::{CrlMode, PolicyError, PolicyFault};

const SECONDS_PER_HOUR: u64 = 60 * 60;
/// Most GPUs of one machine.
const MAX_GPUS: u32 = 16;
/// Most days of grace: manifests that are older were replaced long ago.
const MAX_GRACE_DAYS: u32 = 730;
/// Most hours of an answer about revocation: NVIDIA's lists are made for 60 days.
const MAX_AGE_HOURS: u32 = 90 * 24;

/// Checks of this section that `ignore` may name.
const IGNORABLE: [CheckId; 3] = [CheckId::GpuDevice, CheckId::GpuDriver, CheckId::GpuVbios];

/// Reads the section; without it the policy is for machines without GPUs.
pub(super) fn read(
    source: Source<'_>,
    gpu: Option<&Spanned<Gpu>>,
    roots: &Roots,
    ignored: Ignored<'_>,
    allow_simulated: bool,
) -> Outcome<Option<GpuRules>> {
    let Some(section) = gpu else {
        refuse_without_section(source, roots, ignored)?;
        return Ok(None);
    };
    let gpu = section.get_ref();
    let (device_anchors, rim_anchors) = anchors(source, section, roots, allow_simulated)?;
    let count = source.number(&gpu.count, 1..=MAX_GPUS, "1 to 16 GPUs")?;
    Ok(Some(GpuRules {
        device_anchors,
        rim_anchors,
        topology: TopologyRules {
            gpus: u8::try_from(count).unwrap_or(u8::MAX),
            modes: source.filled_set(&gpu.modes, |entry| {
                source
                    .one_of(entry, &["spt", "ppcie", "mpt"])
                    .map(|name| match name {
                        "spt" => Mode::Spt,
                        "ppcie" => Mode::Ppcie,
                        _ => Mode::Mpt,
                    })
            })?,
            families: source.filled_set(&gpu.families, |entry| {
                source
                    .one_of(entry, &["hopper", "blackwell"])
                    .map(|name| match name {
                        "hopper" => Family::Hopper,
                        _ => Family::Blackwell,
                    })
            })?,
        },
        rim_expiry: rim_expiry(source, gpu)?,
        revocation: match source.one_of(&gpu.revocation, &["off", "soft", "hard"])? {
            "off" => CrlMode::Off,
            "soft" => CrlMode::Soft,
            _ => CrlMode::Hard,
        },
        revocation_max_age: max_age(source, gpu)?,
        drivers: drivers(source, gpu, ignored)?,
        vbioses: vbioses(source, gpu, ignored)?,
        devices: ignored
            .decision(
                &source,
                CheckId::GpuDevice.name(),
                "gpu.devices",
                gpu.devices.as_ref(),
            )?
            .map(|devices| pinned::read(source, devices, DevicePin::parts, |value| source.parse(value)))
            .transpose()?,
    }))
}

/// Nothing may be said of GPUs where none are asked for: whoever forgot the
/// section would believe in checks that nobody makes.
fn refuse_without_section(source: Source<'_>, roots: &Roots, ignored: Ignored<'_>) -> Outcome<()> {
    if let Some(check) = IGNORABLE.iter().find(|check| ignored.names(check.name())) {
        let message = format!(
            "`ignore` names `{}`, but there is no `[gpu]` section; add it, or remove the name",
            check.name()
        );
        return Err(PolicyError::whole(PolicyFault::Contradiction, message));
    }
    let message = "a root for GPUs, but there is no `[gpu]` section; add it, or remove the root";
    match (&roots.nvidia, roots.gpu_extra.first()) {
        (Some(nvidia), _) if *nvidia.get_ref() => {
            Err(source.fault(PolicyFault::Contradiction, nvidia, message))
        }
        (_, Some(extra)) => Err(source.fault(PolicyFault::Contradiction, extra, message)),
        _ => Ok(()),
    }
}

fn anchors(
    source: Source<'_>,
    section: &Spanned<Gpu>,
    roots: &Roots,
    allow_simulated: bool,
) -> Outcome<(Vec<DeviceAnchor>, Vec<RimAnchor>)> {
    let (mut devices, mut rims) = (Vec::new(), Vec::new());
    if roots.nvidia.as_ref().is_some_and(|nvidia| *nvidia.get_ref()) {
        devices.push(DeviceAnchor::nvidia());
        rims.push(RimAnchor::nvidia());
    }
    for root in &roots.gpu_extra {
        let (device, rim) = extra(source, root, allow_simulated)?;
        let nvidia = (DeviceAnchor::nvidia(), RimAnchor::nvidia());
        let keys: Vec<_> = devices
            .iter()
            .chain([&nvidia.0])
            .map(|other| other.root.spki)
            .chain(rims.iter().chain([&nvidia.1]).map(|other| other.root.spki))
            .collect();
        let known = devices.iter().any(|other| other.name == device.name)
            || keys.contains(&device.root.spki)
            || keys.contains(&rim.root.spki);
        if known {
            let message = "this name or key is pinned already";
            return Err(source.fault(PolicyFault::Duplicate, root, message));
        }
        devices.push(device);
        rims.push(rim);
    }
    if devices.is_empty() {
        let message = "GPUs are asked for, but no root for them is given; say `roots.nvidia = true`, or add a `roots.gpu_extra`";
        return Err(source.fault(PolicyFault::Contradiction, section, message));
    }
    Ok((devices, rims))
}

fn extra(
    source: Source<'_>,
    entry: &Spanned<ExtraGpuRoot>,
    allow_simulated: bool,
) -> Outcome<(DeviceAnchor, RimAnchor)> {
    let root = entry.get_ref();
    source.require_name(&root.name)?;
    if root.simulated && !allow_simulated {
        let message = "a simulated root, but `allow_simulated` is false";
        return Err(source.fault(PolicyFault::Contradiction, entry, message));
    }
    let (device, rim) = (source.digest(&root.device_spki)?, source.digest(&root.rim_spki)?);
    if device == rim {
        let message = "one key is pinned here for two purposes";
        return Err(source.fault(PolicyFault::Duplicate, entry, message));
    }
    if !root.simulated && [device, rim].iter().any(|key| SIMULATION_KEYS.contains(key)) {
        let message = "the private half of this key is public: such a root must say `simulated = true`";
        return Err(source.fault(PolicyFault::Contradiction, entry, message));
    }
    let key_alone = |spki| Pin {
        spki,
        certificate: None,
    };
    let name = root.name.get_ref();
    Ok((
        DeviceAnchor {
            name: name.clone(),
            root: key_alone(device),
            simulated: root.simulated,
            added_by_policy: true,
        },
        RimAnchor {
            name: format!("{name}, manifests"),
            root: key_alone(rim),
            simulated: root.simulated,
            added_by_policy: true,
        },
    ))
}

fn rim_expiry(source: Source<'_>, gpu: &Gpu) -> Outcome<RimExpiry> {
    let mode = source.one_of(&gpu.rim_expiry, &["strict", "grace", "pinned"])?;
    let only_with = |wanted: &str, key: &str| {
        format!("`{key}` counts with `rim_expiry = \"{wanted}\"` alone; remove one of the two")
    };
    if let Some(days) = gpu.rim_grace_days.as_ref().filter(|_| mode != "grace") {
        let message = only_with("grace", "rim_grace_days");
        return Err(source.fault(PolicyFault::Contradiction, days, message));
    }
    if let Some(rims) = gpu.rims.as_ref().filter(|_| mode != "pinned") {
        let message = only_with("pinned", "rims");
        return Err(source.fault(PolicyFault::Contradiction, rims, message));
    }
    let missing = |key: &str| {
        let message = format!("`gpu.{key}` is missing, which `rim_expiry = \"{mode}\"` needs");
        source.fault(PolicyFault::Missing, &gpu.rim_expiry, message)
    };
    match mode {
        "strict" => Ok(RimExpiry::Strict),
        "grace" => {
            let days = gpu
                .rim_grace_days
                .as_ref()
                .ok_or_else(|| missing("rim_grace_days"))?;
            let days = source.number(days, 1..=MAX_GRACE_DAYS, "1 to 730 days of grace")?;
            Ok(RimExpiry::Grace {
                days: u16::try_from(days).unwrap_or(0),
            })
        }
        _ => {
            let rims = gpu.rims.as_ref().ok_or_else(|| missing("rims"))?;
            let rims = pinned::read(source, rims, RimPin::parts, |value| {
                source.digest::<RimDigest>(value)
            })?;
            Ok(RimExpiry::Pinned { rims })
        }
    }
}

fn max_age(source: Source<'_>, gpu: &Gpu) -> Outcome<u64> {
    let off = gpu.revocation.get_ref() == "off";
    match (&gpu.revocation_max_age_hours, off) {
        (Some(hours), false) => {
            let hours = source.number(hours, 1..=MAX_AGE_HOURS, "1 to 2160 hours")?;
            Ok(u64::from(hours) * SECONDS_PER_HOUR)
        }
        (None, true) => Ok(0),
        (Some(hours), true) => {
            let message = "how old an answer may be, but `revocation = \"off\"`; remove one of the two";
            Err(source.fault(PolicyFault::Contradiction, hours, message))
        }
        (None, false) => {
            let message = "`gpu.revocation_max_age_hours` is missing; say how old an answer may be";
            Err(source.fault(PolicyFault::Missing, &gpu.revocation, message))
        }
    }
}

fn drivers(source: Source<'_>, gpu: &Gpu, ignored: Ignored<'_>) -> Outcome<Option<DriverRules>> {
    let check = CheckId::GpuDriver.name();
    let Some(entries) = ignored.decision(&source, check, "gpu.drivers", gpu.drivers.as_ref())? else {
        refuse_orphan(source, gpu.deny_drivers.as_ref(), "deny_drivers", "drivers")?;
        return Ok(None);
    };
    let minimum = source.distinct(
        entries.get_ref(),
        |entry| {
            source.sentence(&entry.get_ref().reason, "the reason for this minimum")?;
            source.parse(&entry.get_ref().minimum)
        },
        |one: &DriverVersion, other| one.branch() == other.branch(),
    )?;
    let deny = denied(source, gpu.deny_drivers.as_ref())?;
    Ok(Some(DriverRules { minimum, deny }))
}

fn vbioses(source: Source<'_>, gpu: &Gpu, ignored: Ignored<'_>) -> Outcome<Option<VbiosRules>> {
    let check = CheckId::GpuVbios.name();
    let Some(entries) = ignored.decision(&source, check, "gpu.vbioses", gpu.vbioses.as_ref())? else {
        refuse_orphan(source, gpu.deny_vbioses.as_ref(), "deny_vbioses", "vbioses")?;
        return Ok(None);
    };
    let minimum = source.distinct(
        entries.get_ref(),
        |entry| {
            let entry = entry.get_ref();
            source.sentence(&entry.reason, "the reason for this minimum")?;
            let project = entry.project.as_ref();
            Ok(VbiosMinimum {
                project: project
                    .map(|project| source.sentence(project, "the name of a project"))
                    .transpose()?,
                minimum: source.parse(&entry.minimum)?,
            })
        },
        |one, other| one.project == other.project && one.minimum.generation() == other.minimum.generation(),
    )?;
    let deny = denied(source, gpu.deny_vbioses.as_ref())?;
    Ok(Some(VbiosRules { minimum, deny }))
}

fn denied<T>(source: Source<'_>, entries: Option<&List<String>>) -> Outcome<Vec<T>>
where
    T: core::str::FromStr<Err: core::fmt::Display> + PartialEq,
{
    entries.map_or_else(
        || Ok(Vec::new()),
        |entries| source.set(entries.get_ref(), |entry| source.parse(entry)),
    )
}

fn refuse_orphan(source: Source<'_>, entries: Option<&List<String>>, key: &str, of: &str) -> Outcome<()> {
    match entries {
        None => Ok(()),
        Some(entries) => {
            let message =
                format!("`{key}` counts beside `gpu.{of}`, which `ignore` leaves out; remove one of the two");
            Err(source.fault(PolicyFault::Contradiction, entries, message))
        }
    }
}
