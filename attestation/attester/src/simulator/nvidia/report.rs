//! Lays out and signs attestation reports: GET_MEASUREMENTS and the
//! MEASUREMENTS response to it \[DMTF DSP0274 1.1 §10.11\].

use aws_lc_rs::error::Unspecified;
use bastide_attestation::GpuNonce;

use super::signer::Signer;

/// SPDM 1.1 GET_MEASUREMENTS, signed, of all measurements.
const REQUEST: [u8; 4] = [0x11, 0xe0, 0x01, 0xff];
/// SPDM 1.1 MEASUREMENTS.
const RESPONSE: [u8; 4] = [0x11, 0x60, 0, 0];
const SLOT: u8 = 0;
/// Of a block: DMTF's specification.
const SPECIFICATION: u8 = 1;
/// Of a block: a digest of mutable firmware.
const VALUE_TYPE: u8 = 1;
const DIGEST_BYTES: u16 = 48;
const DMTF_BYTES: u16 = 3 + DIGEST_BYTES;

/// A report over `nonce`, signed with a device's leaf.
pub(super) fn signed(
    nonce: &GpuNonce,
    measurements: &[[u8; 48]],
    opaque: &[u8],
    leaf: &Signer,
) -> Result<Vec<u8>, Unspecified> {
    let mut report = [REQUEST.as_slice(), nonce.as_bytes(), &[SLOT], &RESPONSE].concat();
    let mut record = Vec::new();
    for (index, digest) in (1_u8..).zip(measurements) {
        record.extend([index, SPECIFICATION]);
        record.extend(DMTF_BYTES.to_le_bytes());
        record.push(VALUE_TYPE);
        record.extend(DIGEST_BYTES.to_le_bytes());
        record.extend_from_slice(digest);
    }
    let length = u32::try_from(record.len()).map_err(|_| Unspecified)?;
    let [low, middle, high, _] = length.to_le_bytes();
    report.push(u8::try_from(measurements.len()).map_err(|_| Unspecified)?);
    report.extend([low, middle, high]);
    report.extend(record);

    let mut own_nonce = [0; 32];
    aws_lc_rs::rand::fill(&mut own_nonce)?;
    report.extend(own_nonce);
    let length = u16::try_from(opaque.len()).map_err(|_| Unspecified)?;
    report.extend(length.to_le_bytes());
    report.extend_from_slice(opaque);
    let signature = leaf.sign(&report)?;
    report.extend(signature);
    Ok(report)
}
