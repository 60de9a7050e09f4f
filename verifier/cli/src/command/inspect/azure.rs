//! The parts of an HCL report and of a vTPM's quote, as text. None of them is
//! authentic here.

use bastide_attestation::TpmQuote;
use bastide_attestation::azure::{HclReport, PcrValues, Quote, RuntimeData};

use super::{Fields, part, snp_report, text};

/// An HCL report's parts.
pub(super) fn hcl_report(bytes: &[u8]) -> Result<Fields, String> {
    let report = HclReport::parse(bytes).map_err(|error| error.to_string())?;
    let mut fields = vec![text("version", report.version()), snp_report(report.snp_report())];
    fields.push(match RuntimeData::parse(report.runtime_data()) {
        Ok(data) => {
            let flag =
                |flag: Option<bool>| flag.map_or_else(|| "not said".to_owned(), |flag| flag.to_string());
            let key = data.attestation_key.fingerprint();
            part(
                "runtime data",
                vec![
                    text("attestation key", format!("SPKI sha256:{key}")),
                    text("secure boot", flag(data.secure_boot)),
                    text("console enabled", flag(data.console_enabled)),
                ],
            )
        }
        Err(error) => text("runtime data", format!("unreadable: {error}")),
    });
    Ok(fields)
}

/// A quote's fields and the PCR values beside it.
pub(super) fn quote(quote: &TpmQuote) -> Result<Fields, String> {
    let read = Quote::parse(&quote.message).map_err(|error| error.to_string())?;
    let pcrs = PcrValues::new(read.selection, &quote.pcrs).map_err(|error| error.to_string())?;
    let mut fields = vec![
        text("nonce", hex::encode(read.extra_data)),
        text("firmware", format!("0x{:016x}", read.firmware_version)),
        text("resets", read.reset_count),
        text("restarts", read.restart_count),
        text("PCR digest", hex::encode(read.pcr_digest)),
    ];
    fields.extend(
        pcrs.iter()
            .map(|(index, value)| text(&format!("PCR {index}"), hex::encode(value))),
    );
    Ok(fields)
}
