//! What may be appraised without a session: evidence that was recorded
//! somewhere, with its endorsements, as a caller gives it. Nothing in it was
//! verified, or even parsed. And what comes of kept evidence that is accepted:
//! a type of its own, since nobody checked a binding.

use bastide_attestation::nvidia::GpuEndorsements;
use bastide_attestation::{EpochStatement, GpuNonce, ReportData, StatementDigest, Verdict};

/// What kept evidence establishes: that hardware which meets the policy signed
/// this statement. Not that any session ended there: who kept it may have been
/// anybody's client. Made only by
/// [`Verifier::appraise_receipt_evidence`](crate::Verifier::appraise_receipt_evidence).
///
/// It is no [`AttestationResult`](bastide_attestation::AttestationResult), and
/// nothing makes one of it, so that no connection can be admitted by it:
///
/// ```compile_fail,E0308
/// use bastide_attestation::{AttestationResult, Evidence, UnixTime, Untrusted};
///
/// fn admit(_: &AttestationResult) {}
///
/// fn replay(verifier: &bastide_verifier::Verifier, kept: &Untrusted<Evidence>) {
///     admit(&verifier.appraise_receipt_evidence(kept, UnixTime::from_secs(0)).unwrap());
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedAppraisal {
    verdict: Verdict,
    statement: EpochStatement,
    statement_digest: StatementDigest,
}

impl RecordedAppraisal {
    pub(crate) const fn new(
        verdict: Verdict,
        statement: EpochStatement,
        statement_digest: StatementDigest,
    ) -> Self {
        Self {
            verdict,
            statement,
            statement_digest,
        }
    }

    /// The verdict. It is accepted, and says that the binding was skipped.
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The verdict alone.
    pub fn into_verdict(self) -> Verdict {
        self.verdict
    }

    /// The statement that the hardware signed.
    #[must_use]
    pub const fn statement(&self) -> &EpochStatement {
        &self.statement
    }

    /// SHA-256 of that statement's bytes.
    #[must_use]
    pub const fn statement_digest(&self) -> &StatementDigest {
        &self.statement_digest
    }
}

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
