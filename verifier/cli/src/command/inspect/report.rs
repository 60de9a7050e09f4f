//! The fields of an SNP report and of an epoch statement, as text. None of
//! them is authentic here.

use bastide_attestation::EpochStatement;
use bastide_attestation::UnixTime;
use bastide_attestation::snp::{Product, SnpReport};

use super::{Fields, text};

/// A report's fields by their ABI names.
pub(super) fn fields(report: &SnpReport) -> Fields {
    let product = report.cpuid().and_then(Product::of);
    let (major, minor, build) = report.current_firmware();
    let mut fields = vec![
        text("version", report.version()),
        text("guest_svn", report.guest_svn()),
        text("policy", format!("0x{:016x}", report.policy().bits())),
        text("debug", report.policy().debug()),
        text("migrate_ma", report.policy().migrate_ma()),
        text("vmpl", report.vmpl()),
        text(
            "platform_info",
            format!("0x{:016x}", report.platform_info().bits()),
        ),
        text(
            "product",
            product.map_or("not named (version 2) or unknown", Product::name),
        ),
        text("firmware", format!("{major}.{minor}.{build}")),
        text("measurement", report.measurement()),
        text("report_data", report.report_data()),
        text("host_data", report.host_data()),
        text("id_key_digest", report.id_key_digest()),
        text("author_key_digest", report.author_key_digest()),
        text("family_id", hex::encode(report.family_id())),
        text("image_id", hex::encode(report.image_id())),
        text("report_id", report.report_id()),
        text("chip_id", report.chip_id()),
    ];
    if let Some(generation) = product.map(Product::generation) {
        for (name, tcb) in [
            ("reported_tcb", report.reported_tcb(generation)),
            ("committed_tcb", report.committed_tcb(generation)),
            ("launch_tcb", report.launch_tcb(generation)),
            ("current_tcb", report.current_tcb(generation)),
        ] {
            let value = tcb.map_or_else(|| "reserved bytes are not zero".to_owned(), |tcb| tcb.to_string());
            fields.push(text(name, value));
        }
    }
    fields
}

/// A statement's fields.
pub(super) fn statement(statement: &EpochStatement) -> Fields {
    vec![
        text("boot_id", statement.boot_id),
        text("epoch", statement.epoch),
        text("previous", statement.previous),
        text("depth", statement.depth),
        text("root", statement.root),
        text("gpu_epoch", statement.gpu_epoch),
        text(
            "gpu_digest",
            statement
                .gpu_digest
                .map_or_else(|| "none".to_owned(), hex::encode),
        ),
        text("session_key", hex::encode(statement.session_key)),
        text("receipt_key", statement.receipt_key),
        text("model", statement.model),
        text("configuration", statement.configuration),
        text("time", UnixTime::from_secs(statement.time_ms / 1000)),
        text("debug", statement.debug),
        text("pipeline", statement.pipeline),
    ]
}
