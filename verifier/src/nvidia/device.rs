//! One device's report and chain, checked in order: form, nonce, chain,
//! signature, and only then what the report says.

use bastide_attestation::GpuNonce;
use bastide_attestation::nvidia::{DeviceFacts, Family, Fwid, MAX_CHAIN_BYTES, Mode, Pdi, SpdmReport};

use crate::certificate::common_name;
use crate::pem::pem_certificates;

use super::anchors::DeviceAnchor;
use super::chain::{ChainCertificate, DeviceTrust, verify_chain};
use super::dice::firmware_id;
use super::fault::DeviceFault;
use super::ueid::Ueid;

/// A device whose report its own key signed, under a chain that ends in a pin.
/// Made by [`authenticate_device`] alone.
///
/// What it measured is not compared with anything yet, nor is any of its
/// certificates known not to be revoked.
#[derive(Debug, Clone)]
pub(crate) struct AuthenticDevice<'t, 'a> {
    anchor: &'t DeviceAnchor,
    family: Family,
    report: SpdmReport<'a>,
    facts: DeviceFacts,
    fwid: Fwid,
    serial: Vec<u8>,
    hardware_model: String,
    pdi: Option<Pdi>,
    revocable: [ChainCertificate; 3],
}

/// Authenticates one device. Its nonce is compared with `expected_nonce` where
/// one is known; recorded evidence has none.
///
/// # Errors
/// [`DeviceFault`] names the first check that failed.
pub(crate) fn authenticate_device<'t, 'a>(
    report: &'a [u8],
    chain_pem: &[u8],
    expected_nonce: Option<GpuNonce>,
    trust: &DeviceTrust<'t>,
) -> Result<AuthenticDevice<'t, 'a>, DeviceFault> {
    if chain_pem.len() > MAX_CHAIN_BYTES {
        return Err(DeviceFault::ChainTooLarge { got: chain_pem.len() });
    }
    let report = SpdmReport::parse(report)?;
    match expected_nonce {
        // Neither is secret: there is nothing that the time taken could tell.
        Some(expected) if expected != report.nonce() => {
            return Err(DeviceFault::NonceMismatch {
                expected,
                got: report.nonce(),
            });
        }
        _ => {}
    }
    let ders = pem_certificates(chain_pem)?;
    let chain = verify_chain(&ders, trust)?;
    if chain.family.kind() != report.kind() {
        return Err(DeviceFault::KindMismatch {
            report: report.kind(),
            chain: chain.family,
        });
    }
    require_signed(&report, chain.leaf().point, trust)?;

    let facts = DeviceFacts::parse(&report)?;
    let fwid = firmware_id(&chain.leaf().certificate, chain.family)?;
    // A switch's report names no firmware of its own; its leaf does.
    if let Some(gpu) = facts.gpu() {
        match gpu.fwid {
            None => return Err(DeviceFault::FwidMissing { place: "report" }),
            Some(measured) if measured != fwid => return Err(DeviceFault::FwidMismatch),
            Some(_) => {}
        }
    }
    let boot_rom = &chain.boot_rom().certificate;
    Ok(AuthenticDevice {
        anchor: chain.anchor,
        family: chain.family,
        report,
        facts,
        fwid,
        serial: chain.leaf().certificate.serial.to_vec(),
        hardware_model: common_name(boot_rom.subject).unwrap_or_default().to_owned(),
        pdi: pdi_of(boot_rom.serial),
        revocable: chain.revocable(),
    })
}

fn require_signed(report: &SpdmReport<'_>, point: &[u8], trust: &DeviceTrust<'_>) -> Result<(), DeviceFault> {
    let signature = report.signature();
    let (halves, _) = signature.as_chunks::<48>();
    if halves.contains(&[0; 48]) {
        return Err(DeviceFault::SignatureShape);
    }
    if trust
        .crypto
        .p384_sha384_verify(point, report.signed_bytes(), signature)
    {
        Ok(())
    } else {
        Err(DeviceFault::SignatureInvalid)
    }
}

/// A boot ROM's serial number is a byte that tells the kind, then the identity
/// by which other devices know this one on NVLink: so in all real chains.
fn pdi_of(serial: &[u8]) -> Option<Pdi> {
    let (_, pdi) = serial.split_first()?;
    Pdi::try_from(pdi).ok()
}

impl<'t, 'a> AuthenticDevice<'t, 'a> {
    /// The anchor that its chain ends in.
    pub(crate) const fn anchor(&self) -> &'t DeviceAnchor {
        self.anchor
    }

    /// Its family, by its chain's names.
    pub(crate) const fn family(&self) -> Family {
        self.family
    }

    /// Its report, whose signature holds.
    pub(crate) const fn report(&self) -> &SpdmReport<'a> {
        &self.report
    }

    /// What it says in its report's opaque data.
    pub(crate) const fn facts(&self) -> &DeviceFacts {
        &self.facts
    }

    /// How it is protected: `None` for an NVSwitch, and for a GPU that doesn't say.
    pub(crate) fn mode(&self) -> Option<Mode> {
        self.facts.gpu().and_then(|gpu| gpu.mode)
    }

    /// Digest of the firmware that made its attestation key, by its leaf; a
    /// GPU's report says the same.
    pub(crate) const fn fwid(&self) -> Fwid {
        self.fwid
    }

    /// The leaf's serial number, big-endian, without leading zeros: the
    /// device's identity, by which duplicates are told.
    pub(crate) fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The leaf's serial number in decimal: the claim `ueid`.
    pub(crate) fn ueid(&self) -> Ueid {
        Ueid::of_serial(&self.serial)
    }

    /// The boot ROM's common name: the claim `hwmodel`.
    pub(crate) fn hardware_model(&self) -> &str {
        &self.hardware_model
    }

    /// Its identity on NVLink, as its boot ROM's certificate has it. Switches
    /// write it into their own reports, and GPUs' into theirs.
    pub(crate) const fn pdi(&self) -> Option<Pdi> {
        self.pdi
    }

    /// Certificates 1 to 3 with their issuers, to be looked up as revoked.
    pub(crate) const fn revocable(&self) -> &[ChainCertificate; 3] {
        &self.revocable
    }
}
