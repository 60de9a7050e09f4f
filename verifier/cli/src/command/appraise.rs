//! `bastide appraise`: judges recorded evidence offline, for auditors and
//! conformance suites. It opens no connection, and what only a live session
//! can prove is skipped by name.

use std::path::PathBuf;

use bastide_attestation::{Decision, Evidence, PolicyDigest, ReportData, UnixTime, Verdict};
use bastide_verifier::{Policy, RecordedSnp, Verifier};
use clap::Args;

mod azure;
mod gpu;

use azure::AzureArgs;
use gpu::{GpuArgs, RecordedFiles};

use super::{endorsements, explain};
use crate::console::Console;
use crate::exit;
use crate::fault::{Fault, with_causes};
use crate::policy_source::{self, PolicyArgs};
use crate::recorded::{MAX_ENVELOPE_FILE_BYTES, all, one, report};
use crate::result_signing::ResultArgs;
use crate::verdict_view::{self, Subject};
use crate::{clock, file, gate};

/// Judge recorded evidence offline
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  bastide appraise --snp-report report.bin --vek vcek.der --chain ask-ark.pem
  bastide appraise --snp-report report.bin --vek vcek.pem --chain ask.pem --chain ark.pem --crl ark.crl \\
      --policy ours.toml --at 2026-06-01T00:00:00Z --output json
  bastide appraise --snp-report report.bin --endorsements /var/lib/bastide/endorsements
  bastide appraise --azure-evidence evidence.json --chain ask-ark.pem --policy azure.toml
  bastide appraise --hcl-report hcl.bin --vek vcek.pem --chain ask-ark.pem --policy azure.toml \\
      --tpm-quote quote.msg --tpm-signature quote.sig --tpm-pcrs pcrs.bin --quote-nonce 3a1f..
  bastide appraise --gpu-report report.bin --gpu-chain chain.pem --rim driver.xml --rim vbios.xml \\
      --ocsp 1.der --ocsp 2.der --policy ours.toml
  bastide appraise --snp-report report.bin --vek vcek.der --chain ask-ark.pem --gpu-evidence gpus.json \\
      --rim driver.xml --rim vbios.xml --gpu-nonce \"$NONCE\" --policy ours.toml
  bastide appraise --evidence evidence.cmw --policy ours.toml --sign-result auditor.key
  bastide appraise --explain snp.tcb.below_floor

{}", exit::HELP))]
pub(crate) struct Arguments {
    /// Raw SNP report, 1184 bytes
    #[arg(
        long,
        value_name = "FILE",
        group = "hardware",
        required_unless_present_any = [
            "evidence", "explain", "azure_evidence", "hcl_report", "gpu_report", "gpu_evidence"
        ]
    )]
    snp_report: Option<PathBuf>,
    /// Certificate of the key that signed it (VCEK or VLEK), DER or PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "hardware",
        conflicts_with = "azure_evidence"
    )]
    vek: Option<PathBuf>,
    /// Certificates above it (ASK or ASVK, and ARK), PEM or DER; may be repeated
    #[arg(long, value_name = "FILE", requires = "hardware")]
    chain: Vec<PathBuf>,
    /// Revocation list of the root, DER or PEM
    #[arg(long, value_name = "FILE", requires = "hardware")]
    crl: Option<PathBuf>,
    /// Directory that `bastide endorsements` keeps; gives what --vek, --chain, --crl, --rim and --ocsp don't
    #[arg(long, value_name = "DIR", conflicts_with = "evidence")]
    endorsements: Option<PathBuf>,
    /// REPORT_DATA that the report must have, 64 bytes in hex
    #[arg(long, value_name = "HEX", requires = "snp_report")]
    report_data: Option<ReportData>,
    /// Evidence envelope as kept by `verify --save-evidence` or `chat --save`
    #[arg(long, value_name = "FILE", conflicts_with = "hardware")]
    evidence: Option<PathBuf>,
    #[command(flatten)]
    azure: AzureArgs,
    #[command(flatten)]
    gpus: GpuArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Judge as of this time (RFC 3339) instead of now
    #[arg(long, value_name = "TIME", value_parser = clock::parse)]
    at: Option<UnixTime>,
    #[command(flatten)]
    result: ResultArgs,
    /// Explain a code and judge nothing
    #[arg(long, value_name = "CODE", conflicts_with_all = ["hardware", "evidence", "gpu_report", "gpu_evidence", "sign_result"])]
    explain: Option<String>,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if the policy or a file can't be read. Unusable evidence is a verdict.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    if let Some(code) = &arguments.explain {
        return explain::one(code, console);
    }
    let policy = policy_source::load(&arguments.policy)?;
    let signer = arguments.result.signer()?;
    let at = arguments.at.unwrap_or_else(clock::now);
    let facts = (policy.name().to_owned(), policy.digest());
    let name = arguments
        .evidence
        .as_ref()
        .or(arguments.snp_report.as_ref())
        .or_else(|| arguments.azure.file())
        .or_else(|| arguments.gpus.file())
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let gpus = read_gpus(arguments, console);
    let evidence = match &gpus {
        Ok(gpus) => read_evidence(arguments, gpus.as_ref()),
        Err(fault) => Err(fault.clone()),
    };
    let judged = match (&evidence, &gpus) {
        (Ok(bytes), Ok(gpus)) => judge(arguments, bytes, gpus.as_ref(), policy, at, console),
        (Err(fault), _) | (_, Err(fault)) => Err(fault.clone()),
    };
    let verdict = match judged {
        Ok(verdict) => {
            gate::permit(verdict, arguments.policy.allow_simulated).unwrap_or_else(|refused| *refused)
        }
        // Evidence that can't even be read is judged, too: scripts get one object.
        Err(fault) if fault.exit == exit::MALFORMED => unreadable(&fault, &facts, at),
        Err(fault) => return Err(fault),
    };
    if console.json() {
        console.object(&verdict)?;
    } else {
        let subject = Subject {
            name: &name,
            accepted: "ACCEPTED",
            consequence: "this evidence proves nothing",
            elapsed: None,
            verbose: console.verbose(),
        };
        console.data(&verdict_view::render(&verdict, &subject, console.out()))?;
    }
    if let Some(signer) = signer {
        let evidence = evidence.as_deref().ok();
        signer.sign(&verdict, evidence, at, console)?;
    }
    Ok(verdict.decision.exit_code())
}

fn read_gpus(arguments: &Arguments, console: &Console) -> Result<Option<RecordedFiles>, Fault> {
    match (arguments.gpus.read()?, &arguments.endorsements) {
        (Some(gpus), Some(folder)) => gpus.look_up(folder, console).map(Some),
        (gpus, _) => Ok(gpus),
    }
}

/// What is appraised: the envelope, the raw report, an Azure VM's, or GPUs alone.
/// Read once, so that a signed result names what was judged.
fn read_evidence(arguments: &Arguments, gpus: Option<&RecordedFiles>) -> Result<Vec<u8>, Fault> {
    if let Some(read) = arguments.azure.read() {
        return read;
    }
    match (&arguments.evidence, &arguments.snp_report) {
        (Some(path), _) => file::read(path, MAX_ENVELOPE_FILE_BYTES),
        (None, Some(path)) => report(path),
        (None, None) => gpus.map(RecordedFiles::bytes).ok_or_else(|| {
            Fault::usage(
                "usage",
                "--snp-report, --hcl-report, --azure-evidence, --gpu-report, --gpu-evidence or --evidence must be given",
            )
        }),
    }
}

fn judge(
    arguments: &Arguments,
    bytes: &[u8],
    gpus: Option<&RecordedFiles>,
    policy: Policy,
    at: UnixTime,
    console: &Console,
) -> Result<Verdict, Fault> {
    let verifier = Verifier::new(policy);
    if arguments.evidence.is_some() {
        let evidence = Evidence::decode(bytes)
            .map_err(|error| Fault::malformed("evidence.malformed", with_causes(&error)))?;
        return Ok(match verifier.appraise_receipt_evidence(&evidence, at) {
            Ok(result) => result.into_verdict(),
            Err(verdict) => *verdict,
        });
    }
    let devices = gpus.map(RecordedFiles::devices).unwrap_or_default();
    let gpus = gpus.map(|gpus| gpus.recorded(&devices));
    if let (Some(gpus), None, None) = (&gpus, &arguments.snp_report, arguments.azure.file()) {
        return Ok(verifier.appraise_recorded_gpus(gpus, at));
    }
    let azure = arguments.azure.open(bytes)?;
    let report = azure.as_ref().map_or(bytes, |azure| azure.snp_report());
    let own = azure.as_ref().and_then(|azure| azure.vcek.clone());
    if arguments.vek.is_none() && arguments.endorsements.is_none() && own.is_none() {
        return Err(Fault::usage(
            "usage",
            "--snp-report and --hcl-report need --vek FILE or --endorsements DIR",
        ));
    }
    let kept = match &arguments.endorsements {
        Some(folder) => endorsements::kept_for(report, folder, console)?,
        None => endorsements::Kept::default(),
    };
    let mut chain = Vec::new();
    let vek = match (&arguments.vek, own) {
        (_, Some(own)) => own,
        // Azure's service gives the VCEK and its chain in one answer.
        (Some(path), None) if azure.is_some() => {
            let mut found = all(path)?.into_iter();
            let vek = found.next().unwrap_or_default();
            chain.extend(found);
            vek
        }
        (Some(path), None) => one(path)?,
        // The verifier says of a report without one what is missing.
        (None, None) => kept.vek.unwrap_or_default(),
    };
    for path in &arguments.chain {
        chain.extend(all(path)?);
    }
    if chain.is_empty() {
        chain = kept.chain;
    }
    let crl = arguments.crl.as_ref().map(|path| one(path)).transpose()?;
    let crl = crl.or(kept.crl);
    if let Some(azure) = azure {
        if gpus.is_some() {
            return Err(Fault::usage(
                "usage",
                "evidence of an Azure VM is judged without GPUs; give --gpu-report or --gpu-evidence in a call of its own",
            ));
        }
        let evidence = azure.recorded(&vek, &chain, crl.as_deref());
        return Ok(verifier.appraise_recorded_azure(&evidence, at));
    }
    let evidence = RecordedSnp {
        report: bytes,
        vek: &vek,
        chain: &chain,
        crl: crl.as_deref(),
        report_data: arguments.report_data,
    };
    Ok(verifier.appraise_recorded_machine(&evidence, gpus.as_ref(), at))
}

fn unreadable(fault: &Fault, (policy, digest): &(String, PolicyDigest), at: UnixTime) -> Verdict {
    let verdict = gate::without_evidence(Decision::Malformed, fault.code, fault.message.clone(), at);
    Verdict {
        policy: policy.clone(),
        policy_digest: digest.to_string(),
        ..verdict
    }
}
