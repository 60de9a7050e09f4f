//! What reports of GPUs and NVSwitches claim, alone or in an envelope.

use bastide_attestation::GpuPart;
use bastide_attestation::nvidia::{DeviceFacts, GpuEvidence, SpdmReport};

use super::{Fields, part, text};

/// First bytes of a report: SPDM 1.1, GET_MEASUREMENTS.
pub(super) const SPDM_HEAD: [u8; 2] = [0x11, 0xe0];

/// A raw report.
pub(super) fn report(bytes: &[u8]) -> Result<Fields, String> {
    let report = SpdmReport::parse(bytes).map_err(|error| error.to_string())?;
    let mut fields = vec![
        text("kind", report.kind()),
        text("nonce", report.nonce()),
        text("measurements", report.measurements().len()),
        text("opaque bytes", report.opaque_unverified().len()),
    ];
    match DeviceFacts::parse(&report) {
        Ok(facts) => {
            if let Some(gpu) = facts.gpu() {
                fields.extend([
                    text("driver", &gpu.driver_version),
                    text("VBIOS", &gpu.vbios_version),
                    text("VBIOS manifest", gpu.vbios_rim_id()),
                    text(
                        "mode",
                        gpu.mode
                            .map_or_else(|| "not stated".to_owned(), |mode| mode.to_string()),
                    ),
                ]);
                if let Some(fwid) = gpu.fwid {
                    fields.push(text("FWID", hex::encode(fwid)));
                }
            }
            if let Some(switch) = facts.switch() {
                fields.extend([
                    text("BIOS", &switch.bios_version),
                    text("BIOS manifest", switch.bios_rim_id()),
                    text("PDI", switch.pdi),
                ]);
            }
        }
        Err(error) => fields.push(text("opaque data", format!("unreadable: {error}"))),
    }
    Ok(fields)
}

/// The GPUs' part of an envelope.
pub(super) fn sent(gpu: &GpuPart) -> Fields {
    let mut fields = vec![text("nonce seed", hex::encode(gpu.seed))];
    match GpuEvidence::decode(&gpu.evidence) {
        Ok(evidence) => {
            fields.push(text("digest", hex::encode(evidence.digest())));
            for (index, device) in evidence.devices().iter().enumerate() {
                let name = format!("device {index}");
                fields.push(match report(&device.report) {
                    Ok(fields) => part(&name, fields),
                    Err(error) => text(&name, format!("unreadable: {error}")),
                });
            }
        }
        Err(error) => fields.push(text("devices", format!("unreadable: {error}"))),
    }
    for (name, items) in [
        ("manifests", &gpu.endorsements.rims),
        ("OCSP answers", &gpu.endorsements.ocsp),
        ("revocation lists", &gpu.endorsements.crls),
    ] {
        fields.push(text(name, items.len()));
    }
    fields
}
