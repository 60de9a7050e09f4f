//! Facts of authentic evidence as text, for verdicts. Called only with values
//! that passed; names are the SNP ABI's in lower case.

use std::collections::BTreeMap;

use bastide_attestation::snp::SnpReport;
use bastide_attestation::{EpochStatement, TimeSource, sha384};

use crate::snp::{Authentic, key_name};

/// Facts of a report.
pub(crate) fn of_report(authentic: &Authentic<SnpReport>) -> BTreeMap<&'static str, String> {
    let report = authentic.value();
    let endorsed = authentic.endorsed();
    let (major, minor, build) = report.current_firmware();
    let mut facts = BTreeMap::from([
        ("anchor", endorsed.anchor.clone()),
        ("author_key_digest", hex::encode(report.author_key_digest())),
        ("chip_id", report.chip_id().to_string()),
        ("committed_tcb", endorsed.tcb.committed.to_string()),
        ("current_tcb", endorsed.tcb.current.to_string()),
        ("family_id", hex::encode(report.family_id())),
        ("firmware", format!("{major}.{minor}.{build}")),
        ("guest_svn", report.guest_svn().to_string()),
        ("host_data", report.host_data().to_string()),
        ("id_key_digest", hex::encode(report.id_key_digest())),
        ("image_id", hex::encode(report.image_id())),
        ("launch_tcb", endorsed.tcb.launch.to_string()),
        ("measurement", report.measurement().to_string()),
        (
            "platform_info",
            format!("0x{:016x}", report.platform_info().bits()),
        ),
        ("policy", format!("0x{:016x}", report.policy().bits())),
        ("product", endorsed.product.name().to_owned()),
        // By the signed bytes: (r, n-s) is a second valid signature of the same report.
        ("report_digest", hex::encode(sha384(&[report.signed_bytes()]))),
        ("report_data", report.report_data().to_string()),
        ("report_id", report.report_id().to_string()),
        ("reported_tcb", endorsed.tcb.reported.to_string()),
        ("signing_key", key_name(endorsed.key).to_owned()),
        ("version", report.version().to_string()),
        ("vmpl", report.vmpl().to_string()),
    ]);
    if endorsed.tcb.current != endorsed.tcb.committed {
        // The host can still go back to the committed firmware.
        facts.insert("provisional_firmware", "true".to_owned());
    }
    if let Some(provider) = &endorsed.provider {
        facts.insert("provider", provider.clone());
    }
    facts
}

/// Facts of a statement that REPORT_DATA vouches for.
pub(crate) fn of_statement(statement: &EpochStatement) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("boot_id", statement.boot_id.to_string()),
        ("configuration", statement.configuration.to_string()),
        ("depth", statement.depth.to_string()),
        ("epoch", statement.epoch.to_string()),
        ("model", statement.model.to_string()),
        ("receipt_key", statement.receipt_key.to_string()),
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
