//! What may be appraised without a session: evidence that was recorded
//! somewhere, with its endorsements, as a caller gives it. Nothing in here was
//! verified, or even parsed.

use bastide_attestation::nvidia::GpuEndorsements;
use bastide_attestation::{GpuNonce, ReportData};

/// An SNP report with its endorsements, recorded somewhere, unverified.
#[derive(Debug, Clone, Copy)]
pub struct RecordedSnp<'a> {
    /// The raw report, 1,184 bytes.
    pub report: &'a [u8],
    /// DER of the VCEK or VLEK; empty if there is none.
    pub vek: &'a [u8],
    /// DER of the ARK and the ASK or ASVK, in any order, others among them.
    pub chain: &'a [Vec<u8>],
    /// DER of the ARK's revocation list.
    pub crl: Option<&'a [u8]>,
    /// What REPORT_DATA must be, if the caller knows.
    pub report_data: Option<ReportData>,
}

/// An HCL report of an Azure VM with its endorsements, recorded somewhere, unverified.
#[derive(Debug, Clone, Copy)]
pub struct RecordedAzure<'a> {
    /// The HCL report, as NV index 0x01400001 of the vTPM holds it.
    pub hcl_report: &'a [u8],
    /// The vTPM's quote, if there is one.
    pub quote: Option<RecordedQuote<'a>>,
    /// DER of the VCEK; empty if there is none.
    pub vek: &'a [u8],
    /// DER of the ARK and the ASK, in any order, others among them.
    pub chain: &'a [Vec<u8>],
    /// DER of the ARK's revocation list.
    pub crl: Option<&'a [u8]>,
}

/// A quote recorded somewhere, unverified.
#[derive(Debug, Clone, Copy)]
pub struct RecordedQuote<'a> {
    /// TPMS_ATTEST.
    pub message: &'a [u8],
    /// TPMT_SIGNATURE.
    pub signature: &'a [u8],
    /// Values of the selected SHA-256 PCRs in ascending order, or of all 24.
    pub pcrs: &'a [[u8; 32]],
    /// What the quote's nonce must be, if the caller knows.
    pub nonce: Option<&'a [u8]>,
}

/// One device's report and certificates, recorded somewhere, unverified.
#[derive(Debug, Clone, Copy)]
pub struct RecordedGpu<'a> {
    /// The raw SPDM report of a GPU or NVSwitch, cut to the length that NVML gave.
    pub report: &'a [u8],
    /// Its attestation certificate chain: five certificates in PEM, leaf first.
    pub chain: &'a [u8],
}

/// A machine's GPUs and NVSwitches with their endorsements, recorded somewhere,
/// unverified.
#[derive(Debug, Clone, Copy)]
pub struct RecordedGpus<'a> {
    /// The devices.
    pub devices: &'a [RecordedGpu<'a>],
    /// Manifests, OCSP answers and revocation lists, in any order.
    pub endorsements: &'a GpuEndorsements,
    /// What every device must have answered, if the caller knows.
    pub nonce: Option<GpuNonce>,
    /// What NVIDIA's remote service said of them, if it was asked.
    pub nras: Option<RecordedNras<'a>>,
}

/// What NVIDIA's Remote Attestation Service (NRAS) answered, kept somewhere,
/// unverified. It can only refuse: nothing is accepted because it says so.
#[derive(Debug, Clone, Copy)]
pub struct RecordedNras<'a> {
    /// The detached EAT bundle, JSON.
    pub token: &'a [u8],
    /// The JSON Web Key Set that the service published at that time. Whoever
    /// gives it vouches for it.
    pub jwks: &'a [u8],
}
