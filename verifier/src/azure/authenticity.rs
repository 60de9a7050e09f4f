//! Whether a quote is the word of the vTPM that the hardware's report vouches
//! for. Every step starts at what the step before established; a step that
//! fails ends it, and nothing of what comes later is claimed.

use bastide_attestation::azure::{
    HclError, HclReport, PcrValues, Quote, QuoteError, QuoteSignature, RsaPublicKey, RuntimeData,
};
use bastide_attestation::sha256;
use bastide_attestation::snp::SnpReport;

use crate::crypto::Crypto;
use crate::ledger::{CheckId, Ledger, Refused};
use crate::rejection::Rejection;
use crate::snp::Authentic;

/// Why the checks on a quote are left out of recorded evidence without one.
const NO_QUOTE: &str = "no quote was given";

/// A quote as received.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QuoteSources<'a> {
    /// TPMS_ATTEST.
    pub(crate) message: &'a [u8],
    /// TPMT_SIGNATURE.
    pub(crate) signature: &'a [u8],
    /// Values of the selected PCRs, or of all 24.
    pub(crate) pcrs: &'a [[u8; 32]],
}

/// A paravisor's vTPM that an authentic SNP report vouches for. Made only by
/// [`authenticate_vtpm`].
#[derive(Debug)]
pub(crate) struct Vtpm<'a> {
    hcl_version: u32,
    runtime: RuntimeData,
    quote: Option<AuthenticQuote<'a>>,
}

impl<'a> Vtpm<'a> {
    /// Version of the HCL report.
    pub(crate) const fn hcl_version(&self) -> u32 {
        self.hcl_version
    }

    /// What the paravisor says.
    pub(crate) const fn runtime(&self) -> &RuntimeData {
        &self.runtime
    }

    /// The quote; `None` in recorded evidence that came without one.
    pub(crate) const fn quote(&self) -> Option<&AuthenticQuote<'a>> {
        self.quote.as_ref()
    }
}

/// A quote signed by the attestation key, with the PCR values that it is over.
#[derive(Debug)]
pub(crate) struct AuthenticQuote<'a> {
    quote: Quote<'a>,
    pcrs: PcrValues,
}

impl<'a> AuthenticQuote<'a> {
    /// The quote's own fields.
    pub(crate) const fn fields(&self) -> &Quote<'a> {
        &self.quote
    }

    /// The PCR values.
    pub(crate) const fn pcrs(&self) -> &PcrValues {
        &self.pcrs
    }
}

/// Reads an HCL report: its form, nothing more.
pub(crate) fn read_hcl_report<'a>(bytes: &'a [u8], ledger: &mut Ledger) -> Result<HclReport<'a>, Refused> {
    let id = CheckId::HclForm;
    let report = HclReport::parse(bytes).map_err(|error| {
        let rejection = match error {
            HclError::Version { .. } => Rejection::HclVersion,
            HclError::ReportType { .. } => Rejection::HclReportType,
            HclError::HashType { .. } => Rejection::HclHashType,
            // Sizes, reserved bytes, and whatever form a later parser learns to refuse.
            _ => Rejection::HclMalformed,
        };
        ledger.fail(id, rejection, id.expected(), error.to_string())
    })?;
    ledger.pass(
        id,
        format!(
            "version {} with {} bytes of runtime data",
            report.version(),
            report.runtime_data().len()
        ),
    );
    Ok(report)
}

/// Establishes that the vTPM is the one that `report` vouches for, and, if
/// there is a quote, that it is that vTPM's. `report` must be the one inside
/// `hcl`. Records every check that it makes and stops at the first that fails.
pub(crate) fn authenticate_vtpm<'a>(
    hcl: &HclReport<'a>,
    report: &Authentic<'_, SnpReport>,
    quote: Option<&QuoteSources<'a>>,
    crypto: &dyn Crypto,
    ledger: &mut Ledger,
) -> Result<Vtpm<'a>, Refused> {
    require_runtime_data(hcl, report.value(), ledger)?;
    let id = CheckId::AttestationKey;
    let runtime = RuntimeData::parse(hcl.runtime_data()).map_err(|error| {
        let rejection = Rejection::RuntimeDataMalformed;
        ledger.fail(id, rejection, id.expected(), error.to_string())
    })?;
    let key = &runtime.attestation_key;
    ledger.pass(id, format!("SPKI sha256:{}", key.fingerprint()));
    let quote = match quote {
        Some(quote) => Some(authenticate_quote(quote, key, crypto, ledger)?),
        None => {
            for id in [CheckId::QuoteForm, CheckId::QuoteSignature, CheckId::PcrDigest] {
                ledger.skip(id, NO_QUOTE);
            }
            None
        }
    };
    Ok(Vtpm {
        hcl_version: hcl.version(),
        runtime,
        quote,
    })
}

/// The hardware vouches for the exact bytes of the runtime data: no JSON is
/// read before this holds, and none is ever written again and hashed.
fn require_runtime_data(hcl: &HclReport<'_>, report: &SnpReport, ledger: &mut Ledger) -> Result<(), Refused> {
    let id = CheckId::RuntimeData;
    let digest = sha256(&[hcl.runtime_data()]);
    let expected = format!("{} and 32 zeros", hex::encode(digest));
    let got = report.report_data();
    let rest = got.as_bytes().strip_prefix(&digest);
    if !rest.is_some_and(|rest| rest.iter().all(|byte| *byte == 0)) {
        let rejection = Rejection::RuntimeDataMismatch;
        return Err(ledger.fail(id, rejection, expected, hex::encode(got.as_bytes())));
    }
    ledger.pass_against(id, expected, "the same");
    Ok(())
}

fn authenticate_quote<'a>(
    sources: &QuoteSources<'a>,
    key: &RsaPublicKey,
    crypto: &dyn Crypto,
    ledger: &mut Ledger,
) -> Result<AuthenticQuote<'a>, Refused> {
    let (quote, signature, pcrs) = read_quote(sources, ledger)?;

    let id = CheckId::QuoteSignature;
    let signature = signature.as_bytes();
    let signed = signature.len() == key.modulus_len()
        && crypto.rsa_pkcs1_sha256_verify(&key.to_der(), sources.message, signature);
    if !signed {
        let rejection = Rejection::QuoteSignature;
        return Err(ledger.fail(id, rejection, id.expected(), "one that does not verify"));
    }
    ledger.pass(id, "verified over bytes as received");

    let id = CheckId::PcrDigest;
    let expected = format!("PCR values with digest {}", hex::encode(quote.pcr_digest));
    let digest = pcrs.digest();
    if digest != *quote.pcr_digest {
        let rejection = Rejection::PcrDigest;
        return Err(ledger.fail(id, rejection, expected, hex::encode(digest)));
    }
    ledger.pass_against(id, expected, format!("{} values with it", quote.selection.len()));
    Ok(AuthenticQuote { quote, pcrs })
}

/// Message, signature and values by their form. TPM_GENERATED and the type are
/// part of it: they keep whatever else the key may sign from being a quote.
fn read_quote<'a>(
    sources: &QuoteSources<'a>,
    ledger: &mut Ledger,
) -> Result<(Quote<'a>, QuoteSignature<'a>, PcrValues), Refused> {
    let id = CheckId::QuoteForm;
    let mut refuse = |error: QuoteError| {
        let rejection = match error {
            QuoteError::Magic { .. } | QuoteError::Type { .. } => Rejection::QuoteKind,
            QuoteError::Algorithm { .. } => Rejection::QuoteAlgorithm,
            // Lengths and values, and whatever form a later parser learns to refuse.
            _ => Rejection::QuoteMalformed,
        };
        ledger.fail(id, rejection, id.expected(), error.to_string())
    };
    let quote = Quote::parse(sources.message).map_err(&mut refuse)?;
    let signature = QuoteSignature::parse(sources.signature).map_err(&mut refuse)?;
    let pcrs = PcrValues::new(quote.selection, sources.pcrs).map_err(|error| {
        let rejection = Rejection::QuoteMalformed;
        ledger.fail(id, rejection, id.expected(), error.to_string())
    })?;
    ledger.pass(id, format!("over {} PCRs", quote.selection.len()));
    Ok((quote, signature, pcrs))
}
