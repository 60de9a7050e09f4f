//! `bastide inspect`: says what a file is and what it claims. It verifies
//! nothing and says so first.

use std::path::{Path, PathBuf};

use bastide_attestation::snp::{REPORT_BYTES, SnpReport};
use bastide_attestation::{EpochStatement, Evidence, PlatformEvidence, Receipt, ReceiptError};
use bastide_verifier::{Policy, pem_certificates};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::console::Console;
use crate::escape::{brief, line};
use crate::exit;
use crate::fault::{Fault, with_causes};
use crate::file;
use crate::receipt_check;
use crate::recorded::MAX_ENVELOPE_FILE_BYTES;
use crate::tree::Tree;

mod azure;
mod certificate;
mod gpu;
mod report;

const SCHEMA: &str = "bastide.inspect/v1";

/// Say what a file is and what it claims; verifies nothing
#[derive(Debug, Args)]
#[command(after_help = format!("\
It knows SNP reports, HCL reports, SPDM reports of GPUs, evidence envelopes, receipts, policies, and certificates and revocation
lists in DER or PEM.
-v and --output json show digests whole.

Examples:
  bastide inspect -v report.bin
  bastide inspect evidence.cmw --output json
  bastide inspect ask-ark.pem

{}", exit::HELP))]
pub(crate) struct Arguments {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Names and values in the order to be shown, some with parts of their own.
pub(crate) type Fields = Vec<(String, Field)>;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Field {
    /// Text.
    Text(String),
    /// Parts.
    Part(Fields),
}

/// A named text.
pub(crate) fn text(name: &str, value: impl ToString) -> (String, Field) {
    (name.to_owned(), Field::Text(value.to_string()))
}

/// Named parts.
pub(crate) fn part(name: &str, fields: Fields) -> (String, Field) {
    (name.to_owned(), Field::Part(fields))
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if the file can't be read, or is nothing that is known here.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    let bytes = file::read(&arguments.file, MAX_ENVELOPE_FILE_BYTES)?;
    let (kind, fields) = recognise(&bytes, &arguments.file)?;
    if console.json() {
        console.object(&json!({
            "schema": SCHEMA,
            "verified": false,
            "kind": kind,
            "fields": object(&fields),
        }))?;
    } else {
        let title = format!(
            "{}   {kind}   {}   these are claims; nothing was verified",
            brief(&arguments.file.display().to_string()),
            console.out().warn("UNVERIFIED")
        );
        let shown = if console.verbose() { line } else { brief };
        console.data(&Tree::new(title, leaves(&fields, shown)).render())?;
    }
    Ok(exit::ACCEPTED)
}

fn recognise(bytes: &[u8], path: &Path) -> Result<(&'static str, Fields), Fault> {
    let unknown = |detail: String| {
        let mut message = format!(
            "`{}` is neither an SNP report, an HCL report, an SPDM report, an evidence envelope, a receipt, a certificate nor a policy",
            path.display()
        );
        if !detail.is_empty() {
            message.push_str(": ");
            message.push_str(&detail);
        }
        Fault::malformed("input.unknown", message)
    };
    if bytes.len() == REPORT_BYTES {
        let report = SnpReport::parse(bytes).map_err(|error| unknown(error.to_string()))?;
        return Ok(("SNP report", report::fields(&report)));
    }
    match bytes {
        // DER: a SEQUENCE with a two-byte length.
        [0x30, 0x82, ..] => of_der(bytes).map_err(unknown),
        // CBOR tag 18: COSE_Sign1.
        [0xd2, ..] => receipt(bytes).map(|fields| ("receipt", fields)).map_err(unknown),
        [b'H', b'C', b'L', b'A', ..] => azure::hcl_report(bytes)
            .map(|fields| ("HCL report", fields))
            .map_err(unknown),
        [first, second, ..] if [*first, *second] == gpu::SPDM_HEAD => gpu::report(bytes)
            .map(|fields| ("SPDM report", fields))
            .map_err(unknown),
        // CBOR map.
        [0xa0..=0xbf, ..] => evidence(bytes)
            .map(|fields| ("evidence envelope", fields))
            .map_err(unknown),
        _ => {
            let text = std::str::from_utf8(bytes).map_err(|_| unknown(String::new()))?;
            if text.contains("-----BEGIN ") {
                return of_pem(bytes)
                    .map(|fields| ("certificates", fields))
                    .map_err(unknown);
            }
            if text.contains("bastide.policy/") {
                return policy(bytes).map(|fields| ("policy", fields)).map_err(unknown);
            }
            Err(unknown(String::new()))
        }
    }
}

fn receipt(bytes: &[u8]) -> Result<Fields, String> {
    let receipt = Receipt::verify(bytes).map_err(|error: ReceiptError| with_causes(&error))?;
    Ok(receipt_check::facts(&receipt)
        .into_iter()
        .map(|(name, value)| text(name, value))
        .collect())
}

fn evidence(bytes: &[u8]) -> Result<Fields, String> {
    let evidence = Evidence::decode(bytes).map_err(|error| with_causes(&error))?;
    let evidence = evidence.as_unverified();
    let mut fields = vec![match EpochStatement::decode(&evidence.statement) {
        Ok(statement) => part("statement", report::statement(&statement)),
        Err(error) => text("statement", format!("unreadable: {error}")),
    }];
    fields.push(part(
        "inclusion proof",
        vec![
            text("index", evidence.proof.index),
            text("path length", evidence.proof.path.len()),
        ],
    ));
    match &evidence.platform {
        PlatformEvidence::Snp(report) => fields.push(snp_report(report.as_slice())),
        PlatformEvidence::AzureVtpm { hcl_report, quote } => {
            fields.push(match azure::hcl_report(hcl_report) {
                Ok(fields) => part("HCL report", fields),
                Err(error) => text("HCL report", format!("unreadable: {error}")),
            });
            fields.push(match azure::quote(quote) {
                Ok(fields) => part("TPM quote", fields),
                Err(error) => text("TPM quote", format!("unreadable: {error}")),
            });
        }
        _ => {}
    }
    let endorsements = &evidence.endorsements;
    for (name, der) in std::iter::once(("VCEK or VLEK", &endorsements.vek))
        .chain(["ASK or ASVK", "ARK"].into_iter().zip(&endorsements.chain))
    {
        fields.push(match certificate::fields(der) {
            Ok(fields) => part(name, fields),
            Err(error) => text(name, format!("unreadable: {error}")),
        });
    }
    if let Some(crl) = &endorsements.crl {
        fields.push(match certificate::revocations(crl) {
            Ok(fields) => part("CRL", fields),
            Err(error) => text("CRL", format!("unreadable: {error}")),
        });
    }
    if let Some(gpu) = &evidence.gpu {
        fields.push(part("GPUs", gpu::sent(gpu)));
    }
    Ok(fields)
}

fn snp_report(bytes: &[u8]) -> (String, Field) {
    match SnpReport::parse(bytes) {
        Ok(report) => part("SNP report", report::fields(&report)),
        Err(error) => text("SNP report", format!("unreadable: {error}")),
    }
}

fn of_der(der: &[u8]) -> Result<(&'static str, Fields), String> {
    match certificate::fields(der) {
        Ok(fields) => Ok(("certificate", fields)),
        Err(error) => certificate::revocations(der)
            .map(|fields| ("revocation list", fields))
            .map_err(|_| error),
    }
}

fn of_pem(bytes: &[u8]) -> Result<Fields, String> {
    let found = pem_certificates(bytes).map_err(|error| error.to_string())?;
    let fields = found.iter().enumerate().map(|(at, der)| {
        let (kind, fields) = of_der(der)?;
        Ok(part(&format!("{} {kind}", at + 1), fields))
    });
    fields.collect()
}

fn policy(bytes: &[u8]) -> Result<Fields, String> {
    let policy = Policy::parse(bytes).map_err(|error| with_causes(&error))?;
    let ignored = policy.ignored();
    Ok(vec![
        text("name", policy.name()),
        text("description", policy.description()),
        text("digest", policy.digest()),
        text("allow_simulated", policy.allows_simulated()),
        text(
            "left out",
            if ignored.is_empty() {
                "nothing".to_owned()
            } else {
                ignored.join(", ")
            },
        ),
    ])
}

fn leaves(fields: &Fields, shown: fn(&str) -> String) -> Vec<Tree> {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    fields
        .iter()
        .map(|(name, field)| match field {
            Field::Text(value) => Tree::leaf(format!("{:<width$}  {}", brief(name), shown(value))),
            Field::Part(fields) => Tree::new(brief(name), leaves(fields, shown)),
        })
        .collect()
}

fn object(fields: &Fields) -> Value {
    let members = fields.iter().map(|(name, field)| {
        let value = match field {
            Field::Text(value) => Value::String(value.clone()),
            Field::Part(fields) => object(fields),
        };
        (name.replace(' ', "_").to_lowercase(), value)
    });
    Value::Object(members.collect::<Map<_, _>>())
}
