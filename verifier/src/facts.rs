//! Facts of authentic evidence as text, for verdicts. Called only with values
//! that passed; names are the SNP ABI's in lower case.

use std::collections::BTreeMap;

use bastide_attestation::snp::SnpReport;
use bastide_attestation::{EpochStatement, TimeSource, sha384};

use crate::azure::{PCR_NAMES, Vtpm};
use crate::hexadecimal as hex;
use crate::ledger::sentence;
use crate::nvidia::{AuthenticDevice, Matching, kind, standing};
use crate::snp::{Authentic, key_name};

/// Facts of a report.
pub(crate) fn of_report(authentic: &Authentic<'_, SnpReport>) -> BTreeMap<&'static str, String> {
    let report = authentic.value();
    let endorsed = authentic.endorsed();
    let (major, minor, build) = report.current_firmware();
    let mut facts = BTreeMap::from([
        ("anchor", endorsed.anchor.name.clone()),
        ("author_key_digest", hex::encode(report.author_key_digest())),
        ("chip_id", hex::encode(report.chip_id().as_bytes())),
        (
            "committed_tcb",
            sentence(format_args!("{}", endorsed.tcb.committed)),
        ),
        ("current_tcb", sentence(format_args!("{}", endorsed.tcb.current))),
        ("family_id", hex::encode(report.family_id())),
        ("firmware", format!("{major}.{minor}.{build}")),
        ("guest_svn", report.guest_svn().to_string()),
        ("host_data", hex::encode(report.host_data().as_bytes())),
        ("id_key_digest", hex::encode(report.id_key_digest())),
        ("image_id", hex::encode(report.image_id())),
        ("launch_tcb", sentence(format_args!("{}", endorsed.tcb.launch))),
        ("measurement", hex::encode(report.measurement().as_bytes())),
        (
            "platform_info",
            format!("0x{:016x}", report.platform_info().bits()),
        ),
        ("policy", format!("0x{:016x}", report.policy().bits())),
        ("product", endorsed.product.name().to_owned()),
        // By the signed bytes: (r, n-s) is a second valid signature of the same report.
        ("report_digest", hex::encode(sha384(&[report.signed_bytes()]))),
        ("report_data", hex::encode(report.report_data().as_bytes())),
        ("report_id", hex::encode(report.report_id().as_bytes())),
        (
            "reported_tcb",
            sentence(format_args!("{}", endorsed.tcb.reported)),
        ),
        ("signing_key", key_name(endorsed.key).to_owned()),
        ("version", report.version().to_string()),
        ("vmpl", report.vmpl().to_string()),
    ]);
    if endorsed.tcb.current != endorsed.tcb.committed {
        // The host can still go back to the committed firmware.
        facts.insert("provisional_firmware", "true".to_owned());
    }
    if let Some(provider) = endorsed.provider {
        facts.insert("provider", provider.to_owned());
    }
    if let Some((launch, current)) = report.mitigation_vectors() {
        facts.insert("launch_mit_vector", format!("0x{launch:016x}"));
        facts.insert("current_mit_vector", format!("0x{current:016x}"));
    }
    facts
}

/// Facts of a paravisor that the report vouches for, and of its vTPM's quote.
pub(crate) fn of_vtpm(vtpm: &Vtpm<'_>) -> BTreeMap<&'static str, String> {
    let runtime = vtpm.runtime();
    let mut facts = BTreeMap::from([
        (
            "attestation_key",
            format!("sha256:{}", runtime.attestation_key.fingerprint()),
        ),
        ("hcl_version", vtpm.hcl_version().to_string()),
    ]);
    for (name, flag) in [
        ("secure_boot", runtime.secure_boot),
        ("console_enabled", runtime.console_enabled),
    ] {
        if let Some(flag) = flag {
            facts.insert(name, flag.to_string());
        }
    }
    if let Some(quote) = vtpm.quote() {
        let fields = quote.fields();
        facts.extend([
            ("vtpm_firmware", format!("0x{:016x}", fields.firmware_version)),
            ("vtpm_clock_ms", fields.clock.to_string()),
            ("vtpm_resets", fields.reset_count.to_string()),
            ("vtpm_restarts", fields.restart_count.to_string()),
            ("quote_nonce", hex::encode(fields.extra_data)),
        ]);
        let values = quote.pcrs().iter();
        facts.extend(values.filter_map(|(index, value)| {
            let name = PCR_NAMES.get(usize::from(index))?;
            Some((*name, hex::encode(value)))
        }));
    }
    facts
}

/// Facts of a statement that the hardware vouches for.
pub(crate) fn of_statement(statement: &EpochStatement) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("boot_id", hex::encode(statement.boot_id.as_bytes())),
        ("configuration", hex::encode(statement.configuration.as_bytes())),
        ("depth", statement.depth.to_string()),
        ("epoch", statement.epoch.to_string()),
        ("model", hex::encode(statement.model.as_bytes())),
        ("receipt_key", hex::encode(statement.receipt_key.as_bytes())),
        ("time_ms", statement.time_ms.to_string()),
        (
            "time_source",
            match statement.time_source {
                TimeSource::Host => "host",
                TimeSource::SecureTsc => "secure_tsc",
            }
            .to_owned(),
        ),
    ])
}

/// Facts of an authentic GPU or NVSwitch, and of the manifests that it matched.
pub(crate) fn of_device(
    device: &AuthenticDevice<'_, '_>,
    matching: Option<&Matching<'_>>,
) -> BTreeMap<&'static str, String> {
    let mut facts = BTreeMap::from([
        ("kind", kind(device.facts()).to_owned()),
        ("family", device.family().to_string()),
        ("ueid", device.ueid().to_string()),
        ("hwmodel", device.hardware_model().to_owned()),
        ("fwid", hex::encode(device.fwid())),
        // By the signed bytes: (r, n-s) is a second valid signature of the same report.
        (
            "report_digest",
            hex::encode(sha384(&[device.report().signed_bytes()])),
        ),
        ("nonce", device.report().nonce().to_string()),
    ]);
    if let Some(gpu) = device.facts().gpu() {
        facts.extend([
            ("driver", gpu.driver_version.clone()),
            ("vbios", gpu.vbios_version.clone()),
            ("vbios_rim_id", gpu.vbios_rim_id()),
        ]);
        if let Some(id) = gpu.driver_rim_id(device.family()) {
            facts.insert("driver_rim_id", id);
        }
        if let Some(mode) = gpu.mode {
            facts.insert("mode", mode.to_string());
        }
    }
    if let Some(switch) = device.facts().switch() {
        facts.insert("bios", switch.bios_version.clone());
    }
    if let Some(pdi) = device.pdi() {
        facts.insert("pdi", pdi.to_string());
    }
    if let Some(matching) = matching {
        let matched = matching.matched.driver + matching.matched.vbios;
        facts.insert("measurements_matched", matched.to_string());
        facts.insert("firmware_rim_sha256", hex::encode(matching.firmware.sha256()));
        facts.insert(
            "firmware_rim",
            standing(matching.firmware).trim_start().to_owned(),
        );
        if let Some(driver) = matching.driver {
            facts.insert("driver_rim_sha256", hex::encode(driver.sha256()));
            facts.insert("driver_rim", standing(driver).trim_start().to_owned());
        }
    }
    facts
}
