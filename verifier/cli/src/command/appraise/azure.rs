//! Recorded evidence of Azure VMs, as auditors have it: the JSON that an
//! attestation agent keeps, or the HCL report with the files of `tpm2_quote`.
//! Reads with limits; what the parts hold is for the verifier to judge.

use std::path::PathBuf;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bastide_attestation::azure::{
    HclReport, MAX_HCL_REPORT_BYTES, MAX_QUOTE_BYTES, PCR_COUNT, QuoteSignature,
};
use bastide_verifier::{RecordedAzure, RecordedQuote, pem_certificates};
use clap::Args;
use serde::{Deserialize, Deserializer};

use crate::fault::{Fault, with_causes};
use crate::file;

/// The whole of such evidence as numbers in JSON has about 40 KB.
const MAX_JSON_BYTES: usize = 256 * 1024;
/// Enough to say that a report is too long.
const MAX_HCL_FILE_BYTES: usize = 8 * MAX_HCL_REPORT_BYTES;
/// How a TPMS_ATTEST begins.
const TPM_GENERATED: &[u8] = b"\xffTCG";

/// URL-safe alphabet, padded or not: both are about.
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Evidence of an Azure confidential VM.
#[derive(Debug, Args)]
pub(super) struct AzureArgs {
    /// Evidence of an Azure VM as an attestation agent keeps it: JSON with HCL report, quote, PCRs and VCEK
    #[arg(long, value_name = "FILE", group = "hardware")]
    azure_evidence: Option<PathBuf>,
    /// HCL report of an Azure VM, as NV index 0x01400001 of its vTPM holds it
    #[arg(long, value_name = "FILE", group = "hardware")]
    hcl_report: Option<PathBuf>,
    /// Quote of the vTPM, as `tpm2_quote -m` writes it; alone, a file with signature and PCRs as az-snp-vtpm keeps it
    #[arg(long, value_name = "FILE", requires = "hcl_report")]
    tpm_quote: Option<PathBuf>,
    /// Its signature, as `tpm2_quote -s` writes it
    #[arg(long, value_name = "FILE", requires_all = ["tpm_quote", "tpm_pcrs"])]
    tpm_signature: Option<PathBuf>,
    /// The SHA-256 PCRs that it is over, one after the other, as `tpm2_pcrread -o` writes them
    #[arg(long, value_name = "FILE", requires_all = ["tpm_quote", "tpm_signature"])]
    tpm_pcrs: Option<PathBuf>,
    /// Nonce that the quote must have, in hex
    #[arg(long, value_name = "HEX", value_parser = nonce)]
    quote_nonce: Option<Nonce>,
}

/// Bytes in hex; a type of its own, since a list would be many arguments.
#[derive(Debug, Clone)]
struct Nonce(Vec<u8>);

fn nonce(text: &str) -> Result<Nonce, String> {
    match hex::decode(text) {
        Ok(bytes) if !bytes.is_empty() => Ok(Nonce(bytes)),
        _ => Err("expected an even number of hexadecimal digits".to_owned()),
    }
}

/// A quote's parts, read.
struct Quote {
    message: Vec<u8>,
    signature: Vec<u8>,
    pcrs: Vec<[u8; 32]>,
}

/// What the files of an Azure VM hold.
pub(super) struct AzureEvidence {
    hcl_report: Vec<u8>,
    quote: Option<Quote>,
    nonce: Option<Vec<u8>>,
    /// DER of the VCEK, where it came along.
    pub(super) vcek: Option<Vec<u8>>,
}

impl AzureEvidence {
    /// The SNP report inside; empty if there is none, which the verifier then says.
    pub(super) fn snp_report(&self) -> &[u8] {
        HclReport::parse(&self.hcl_report).map_or(&[], |report| report.snp_report().as_slice())
    }

    /// As the verifier takes it.
    pub(super) fn recorded<'a>(
        &'a self,
        vek: &'a [u8],
        chain: &'a [Vec<u8>],
        crl: Option<&'a [u8]>,
    ) -> RecordedAzure<'a> {
        RecordedAzure {
            hcl_report: &self.hcl_report,
            quote: self.quote.as_ref().map(|quote| RecordedQuote {
                message: &quote.message,
                signature: &quote.signature,
                pcrs: &quote.pcrs,
                nonce: self.nonce.as_deref(),
            }),
            vek,
            chain,
            crl,
        }
    }
}

impl AzureArgs {
    /// The file that is judged, if it is one of an Azure VM's.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        self.azure_evidence.as_ref().or(self.hcl_report.as_ref())
    }

    /// That file's bytes.
    ///
    /// # Errors
    /// [`Fault`] if it can't be read or is too large.
    pub(super) fn read(&self) -> Option<Result<Vec<u8>, Fault>> {
        match (&self.azure_evidence, &self.hcl_report) {
            (Some(path), _) => Some(file::read(path, MAX_JSON_BYTES)),
            (None, Some(path)) => Some(file::read(path, MAX_HCL_FILE_BYTES)),
            (None, None) => None,
        }
    }

    /// What [`AzureArgs::read`] read, and the files beside it; `None` if this
    /// is about no Azure VM.
    ///
    /// # Errors
    /// [`Fault`] if a file can't be read, or isn't what it should be.
    pub(super) fn open(&self, bytes: &[u8]) -> Result<Option<AzureEvidence>, Fault> {
        if self.file().is_none() {
            return Ok(None);
        }
        let nonce = self.quote_nonce.as_ref().map(|nonce| nonce.0.clone());
        let evidence = if self.azure_evidence.is_some() {
            let document = Document::read(bytes)?;
            AzureEvidence {
                quote: document.quote()?,
                vcek: Some(document.vcek()?),
                hcl_report: document.hcl_report.0,
                nonce,
            }
        } else {
            AzureEvidence {
                quote: self.quote()?,
                vcek: None,
                hcl_report: bytes.to_vec(),
                nonce,
            }
        };
        if evidence.quote.is_none() && evidence.nonce.is_some() {
            return Err(Fault::usage("usage", "--quote-nonce needs a quote"));
        }
        Ok(Some(evidence))
    }

    fn quote(&self) -> Result<Option<Quote>, Fault> {
        let Some(path) = &self.tpm_quote else {
            return Ok(None);
        };
        let message = file::read(path, MAX_QUOTE_BYTES)?;
        let (Some(signature), Some(pcrs)) = (&self.tpm_signature, &self.tpm_pcrs) else {
            if message.starts_with(TPM_GENERATED) {
                let message = "--tpm-quote is a quote alone: give --tpm-signature and --tpm-pcrs too";
                return Err(Fault::usage("usage", message));
            }
            return one_file(&message).map(Some);
        };
        Ok(Some(Quote {
            message,
            signature: file::read(signature, MAX_QUOTE_BYTES)?,
            pcrs: pcr_values(&file::read(pcrs, MAX_QUOTE_BYTES)?)?,
        }))
    }
}

fn malformed(what: &str) -> Fault {
    Fault::malformed("evidence.malformed", what)
}

/// Values one after the other.
fn pcr_values(bytes: &[u8]) -> Result<Vec<[u8; 32]>, Fault> {
    let (values, rest) = bytes.as_chunks();
    if rest.is_empty() && values.len() <= PCR_COUNT {
        return Ok(values.to_vec());
    }
    Err(malformed(&format!(
        "PCRs: expected at most {PCR_COUNT} values of 32 bytes one after the other, got {} bytes",
        bytes.len()
    )))
}

/// Signature, message and PCR values, each after its length or number in 8
/// bytes, little-endian.
fn one_file(bytes: &[u8]) -> Result<Quote, Fault> {
    let parts = || {
        let (signature, rest) = counted(bytes, 1)?;
        let (message, rest) = counted(rest, 1)?;
        let (pcrs, rest) = counted(rest, 32)?;
        rest.is_empty().then_some((signature, message, pcrs))
    };
    let (signature, message, pcrs) = parts().ok_or_else(|| {
        malformed("a quote in one file: expected signature, message and PCRs, each after its length")
    })?;
    Ok(Quote {
        message: message.to_vec(),
        signature: framed(signature)?,
        pcrs: pcr_values(pcrs)?,
    })
}

fn counted(bytes: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    let number = usize::try_from(u64::from_le_bytes(*number)).ok()?;
    rest.split_at_checked(number.checked_mul(size)?)
}

/// A bare RSA signature in the frame that a TPM gives it.
fn framed(signature: &[u8]) -> Result<Vec<u8>, Fault> {
    QuoteSignature::encode(signature)
        .map_err(|error| Fault::malformed("evidence.malformed", with_causes(&error)))
}

/// Bytes as numbers, or as text in hex.
struct HexBytes(Vec<u8>);
/// Bytes as numbers, or as text in base64url.
struct Base64Bytes(Vec<u8>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Either {
    Numbers(Vec<u8>),
    Text(String),
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Either::deserialize(deserializer)? {
            Either::Numbers(bytes) => Ok(Self(bytes)),
            Either::Text(text) => hex::decode(text)
                .map(Self)
                .map_err(|_| serde::de::Error::custom("expected bytes in hex")),
        }
    }
}

impl<'de> Deserialize<'de> for Base64Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Either::deserialize(deserializer)? {
            Either::Numbers(bytes) => Ok(Self(bytes)),
            Either::Text(text) => BASE64_URL
                .decode(text)
                .map(Self)
                .map_err(|_| serde::de::Error::custom("expected bytes in base64url")),
        }
    }
}

/// The two forms that Trustee's agents have written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: Option<u32>,
    #[serde(alias = "report")]
    hcl_report: Base64Bytes,
    #[serde(alias = "quote")]
    tpm_quote: Option<DocumentQuote>,
    /// PEM, or DER in base64url.
    vcek: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentQuote {
    message: HexBytes,
    signature: HexBytes,
    pcrs: Vec<HexBytes>,
}

impl Document {
    fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let document: Self =
            serde_json::from_slice(bytes).map_err(|error| malformed(&format!("Azure evidence: {error}")))?;
        match document.version {
            None | Some(1) => Ok(document),
            Some(version) => Err(malformed(&format!(
                "Azure evidence: expected version 1, got {version}"
            ))),
        }
    }

    fn vcek(&self) -> Result<Vec<u8>, Fault> {
        if self.vcek.contains("-----BEGIN ") {
            let found = pem_certificates(self.vcek.as_bytes())
                .map_err(|error| malformed(&format!("Azure evidence: vcek: {error}")))?;
            return match <[Vec<u8>; 1]>::try_from(found) {
                Ok([only]) => Ok(only),
                Err(_) => Err(malformed("Azure evidence: vcek: expected one PEM block")),
            };
        }
        BASE64_URL
            .decode(self.vcek.trim())
            .map_err(|_| malformed("Azure evidence: vcek: expected PEM, or DER in base64url"))
    }

    fn quote(&self) -> Result<Option<Quote>, Fault> {
        let Some(quote) = &self.tpm_quote else {
            return Ok(None);
        };
        let pcrs: Vec<u8> = quote.pcrs.iter().flat_map(|pcr| pcr.0.clone()).collect();
        if quote.pcrs.iter().any(|pcr| pcr.0.len() != 32) {
            return Err(malformed("Azure evidence: pcrs: expected values of 32 bytes"));
        }
        Ok(Some(Quote {
            message: quote.message.0.clone(),
            signature: framed(&quote.signature.0)?,
            pcrs: pcr_values(&pcrs)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_of_json_are_read_and_nothing_else() {
        let new = r#"{"version":1,"hcl_report":"AQI=","tpm_quote":{"message":"ff","signature":"0a","pcrs":[]},"vcek":"MAA"}"#;
        let old = r#"{"report":[1,2],"quote":{"message":[255],"signature":[10],"pcrs":[]},"vcek":"MAA="}"#;
        for text in [new, old] {
            let document = Document::read(text.as_bytes()).unwrap_or_else(|fault| panic!("{fault:?}"));
            assert_eq!(document.hcl_report.0, [1, 2]);
            assert_eq!(document.vcek().ok(), Some(vec![0x30, 0]));
            let quote = document.quote().ok().flatten().unwrap();
            assert_eq!((quote.message, quote.pcrs), (vec![0xff], vec![]));
        }
        for (from, to) in [
            ("\"version\":1", "\"version\":2"),
            ("\"version\":1", "\"more\":1"),
            ("\"version\":1", "\"version\":1,\"version\":1"),
            ("\"hcl_report\"", "\"report\":[],\"hcl_report\""),
            ("AQI=", "AQ+="),
            ("\"ff\"", "\"fg\""),
            ("\"ff\"", "[256]"),
        ] {
            assert!(new.contains(from));
            assert!(Document::read(new.replace(from, to).as_bytes()).is_err(), "{to}");
        }
        let short = new.replace("[]", "[\"00\"]");
        assert!(Document::read(short.as_bytes()).is_ok_and(|document| document.quote().is_err()));
    }

    #[test]
    fn a_quote_in_one_file_is_taken_apart_whole() {
        let part = |number: u64, bytes: &[u8]| [&number.to_le_bytes(), bytes].concat();
        let file = [part(2, &[1, 2]), part(1, &[3]), part(1, &[4; 32])].concat();
        let quote = one_file(&file).unwrap_or_else(|fault| panic!("{fault:?}"));
        assert_eq!(quote.message, [3]);
        assert_eq!(quote.signature, [0, 0x14, 0, 0x0b, 0, 2, 1, 2]);
        assert_eq!(quote.pcrs, [[4; 32]]);
        for length in 0..file.len() {
            assert!(one_file(&file[..length]).is_err(), "{length}");
        }
        assert!(one_file(&[file.as_slice(), &[0]].concat()).is_err());
        assert!(one_file(&u64::MAX.to_le_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes: Vec<u8>) {
            let _ = one_file(&bytes);
            let _ = pcr_values(&bytes);
            let _ = Document::read(&bytes);
        }
    }
}
