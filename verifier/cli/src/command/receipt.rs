//! `bastide receipt`: whether an answer's receipt holds, offline, for whoever
//! has the receipt and the evidence that was kept with it.

use std::path::PathBuf;

use bastide_attestation::{
    AttestationResult, Check, Decision, Evidence, Receipt, ReceiptError, Salt, Status, UnixTime, Verdict,
};
use bastide_verifier::Verifier;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::console::Console;
use crate::escape::brief;
use crate::fault::{Fault, with_causes};
use crate::policy_source::{self, PolicyArgs};
use crate::receipt_check::{self, Bodies};
use crate::recorded::MAX_ENVELOPE_FILE_BYTES;
use crate::tree::Tree;
use crate::verdict_view::{self, Subject};
use crate::{clock, exit, file, gate};

const SCHEMA: &str = "bastide.receipt-verdict/v1";
const MAX_RECEIPT_FILE_BYTES: usize = 64 * 1024;
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// Verify receipts, or show them
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  bastide receipt verify receipt.cose --evidence evidence.cmw --policy ours.toml"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Verify(Box<VerifyArguments>),
    Show(ShowArguments),
}

/// Judge a receipt and the evidence behind it, offline
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  bastide receipt verify receipt.cose --evidence evidence.cmw --policy ours.toml
  bastide receipt verify receipt.cose --evidence evidence.cmw --policy ours.toml --output json \\
      --salt \"$(cat salt.hex)\" --request request.body --response response.body

Without salt and bodies it is not checked what was asked and answered, and the output says so.

{}", exit::HELP))]
struct VerifyArguments {
    /// The receipt, as kept by `chat --save` or `proxy --save`
    #[arg(value_name = "RECEIPT")]
    receipt: PathBuf,
    /// The evidence envelope kept with it
    #[arg(long, value_name = "FILE")]
    evidence: PathBuf,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Judge as of this time (RFC 3339) instead of now
    #[arg(long, value_name = "TIME", value_parser = clock::parse)]
    at: Option<UnixTime>,
    /// Salt of the commitments, 32 bytes in hex
    #[arg(long, value_name = "HEX", requires_all = ["request", "response"])]
    salt: Option<Salt>,
    /// Request body, byte for byte
    #[arg(long, value_name = "FILE", requires = "salt")]
    request: Option<PathBuf>,
    /// Response body, byte for byte; for streams up to and including `data: [DONE]`
    #[arg(long, value_name = "FILE", requires = "salt")]
    response: Option<PathBuf>,
}

/// Show what a receipt says; only its own signature is checked
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bastide receipt show receipt.cose")]
struct ShowArguments {
    /// The receipt
    #[arg(value_name = "RECEIPT")]
    receipt: PathBuf,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if a file can't be read or isn't what it should be.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    match &arguments.action {
        Action::Verify(arguments) => verify(arguments, console),
        Action::Show(arguments) => show(arguments, console),
    }
}

fn read(path: &std::path::Path) -> Result<Receipt, Fault> {
    let bytes = file::read(path, MAX_RECEIPT_FILE_BYTES)?;
    Receipt::verify(&bytes).map_err(|error| match error {
        ReceiptError::Signature => Fault::rejected("receipt.signature", with_causes(&error))
            .with_remedy("do not rely on it: it was altered, or was never signed by that key"),
        _ => Fault::malformed("receipt.malformed", with_causes(&error)),
    })
}

fn show(arguments: &ShowArguments, console: &Console) -> Result<u8, Fault> {
    let receipt = read(&arguments.receipt)?;
    if console.json() {
        console.object(&json!({
            "schema": "bastide.receipt/v1",
            "verified": false,
            "receipt": receipt_check::object(&receipt),
        }))?;
        return Ok(exit::ACCEPTED);
    }
    let leaves = receipt_check::facts(&receipt)
        .iter()
        .map(|(name, value)| Tree::leaf(format!("{name:<17}  {}", brief(value))))
        .collect();
    let title = format!(
        "receipt   {}   its signature is by the key it names; whose key that is, `receipt verify` tells",
        console.out().warn("UNVERIFIED")
    );
    console.data(&Tree::new(title, leaves).render())?;
    Ok(exit::ACCEPTED)
}

fn verify(arguments: &VerifyArguments, console: &Console) -> Result<u8, Fault> {
    let policy = policy_source::load(&arguments.policy)?;
    let receipt = read(&arguments.receipt)?;
    let envelope = file::read(&arguments.evidence, MAX_ENVELOPE_FILE_BYTES)?;
    let evidence = Evidence::decode(&envelope)
        .map_err(|error| Fault::malformed("evidence.malformed", with_causes(&error)))?;
    let body = |path: &Option<PathBuf>| match path {
        Some(path) => file::read(path, MAX_BODY_BYTES).map(Some),
        None => Ok(None),
    };
    let (request, response) = (body(&arguments.request)?, body(&arguments.response)?);
    let bodies = match (&arguments.salt, &request, &response) {
        (Some(salt), Some(request), Some(response)) => Some(Bodies {
            salt,
            request,
            response,
        }),
        _ => None,
    };

    let at = arguments.at.unwrap_or_else(clock::now);
    let attested = Verifier::new(policy)
        .appraise_receipt_evidence(&evidence, at)
        .and_then(|result| {
            let verdict = gate::permit(result.verdict, arguments.policy.allow_simulated)?;
            Ok(AttestationResult { verdict, ..result })
        });
    let (verdict, checks) = match attested {
        Ok(result) => {
            let checks = receipt_check::checks(&receipt, &result, None, bodies.as_ref());
            (result.verdict, checks)
        }
        // Nothing is attested: there is nothing to hold the receipt against.
        Err(verdict) => (*verdict, Vec::new()),
    };
    let outcome = Outcome::of(&verdict, &checks);
    if console.json() {
        console.object(&json!({
            "schema": SCHEMA,
            "verdict": outcome.decision,
            "code": outcome.code,
            "checks": checks,
            "receipt": receipt_check::object(&receipt),
            "evidence": verdict,
        }))?;
    } else {
        console.data(&human(verdict, checks, &outcome, &receipt, arguments, console))?;
    }
    Ok(outcome.decision.exit_code())
}

/// What receipt and evidence come to together.
struct Outcome {
    decision: Decision,
    code: Option<&'static str>,
}

impl Outcome {
    fn of(verdict: &Verdict, checks: &[Check]) -> Self {
        let failed = checks.iter().find(|check| check.status == Status::Fail);
        match (verdict.decision, failed) {
            (Decision::Accepted, None) => Self {
                decision: Decision::Accepted,
                code: None,
            },
            (Decision::Accepted, Some(check)) => Self {
                decision: Decision::Rejected,
                code: Some(check.id),
            },
            (decision, _) => Self {
                decision,
                code: verdict.code,
            },
        }
    }
}

fn human(
    mut verdict: Verdict,
    checks: Vec<Check>,
    outcome: &Outcome,
    receipt: &Receipt,
    arguments: &VerifyArguments,
    console: &Console,
) -> String {
    if outcome.decision != verdict.decision {
        verdict.reason = None;
    }
    verdict.decision = outcome.decision;
    verdict.code = outcome.code;
    verdict.checks.extend(checks);
    let subject = Subject {
        name: &arguments.receipt.display().to_string(),
        accepted: "VERIFIED",
        consequence: "this receipt proves nothing",
        elapsed: None,
        verbose: console.verbose(),
    };
    let mut text = verdict_view::render(&verdict, &subject, console.out());
    if outcome.decision != Decision::Accepted {
        return text;
    }
    let claims = receipt.claims();
    let [prompt, completion] = claims.usage;
    text.push_str(&format!(
        "Receipt {} of its boot, {}: {prompt} prompt and {completion} completion tokens, finish {}, model {}\n",
        claims.sequence,
        UnixTime::from_secs(claims.issued_at),
        claims.finish.as_str(),
        brief(&claims.model.to_string())
    ));
    text
}
