//! `bastide result`: reads what `--sign-result` wrote. A result that is
//! authentic and says no is still a no: its decision is the exit code.

use std::path::{Path, PathBuf};

use bastide_attestation::{Decision, Ear, EarError, TrustTier, UnixTime, sha256};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::advice;
use crate::console::Console;
use crate::escape::{brief, line};
use crate::exit;
use crate::fault::{Fault, with_causes};
use crate::file;
use crate::gate::SIMULATED_NOT_ALLOWED;
use crate::key_file;
use crate::recorded::MAX_ENVELOPE_FILE_BYTES;
use crate::result_signing::{Nonce, nonce};
use crate::tree::Tree;

const SCHEMA: &str = "bastide.result/v1";
const MAX_RESULT_FILE_BYTES: usize = 64 * 1024;
const MAX_VERDICT_BYTES: usize = 1024 * 1024;

/// Verify signed results, or show them
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  bastide result verify result.cose --key auditor.key.pub --verdict verdict.json"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Verify(VerifyArguments),
    Show(ShowArguments),
}

/// Verify a signed result; the exit code is what it decided
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  bastide result verify result.cose --key auditor.key.pub
  bastide result verify result.cose --key auditor.key.pub --verdict verdict.json \\
      --evidence evidence.cmw --nonce \"$NONCE\" --output json

{}", exit::HELP))]
struct VerifyArguments {
    /// The result
    #[arg(value_name = "RESULT")]
    result: PathBuf,
    /// Public key of who may have signed it: hex, or a file of keys; may be repeated
    #[arg(long, value_name = "KEY|FILE", required = true)]
    key: Vec<String>,
    /// The verdict that it must be of, as `--output json` printed it
    #[arg(long, value_name = "FILE")]
    verdict: Option<PathBuf>,
    /// The evidence that it must be of: the envelope, or the raw report
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    /// The nonce that it must carry, in hex
    #[arg(long, value_name = "HEX", value_parser = nonce)]
    nonce: Option<Nonce>,
    /// Accept a result that rests on simulated hardware; nothing is confidential then
    #[arg(long)]
    allow_simulated: bool,
}

/// Show what a signed result says; only its own signature is checked
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bastide result show result.cose")]
struct ShowArguments {
    /// The result
    #[arg(value_name = "RESULT")]
    result: PathBuf,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if the result doesn't hold, or a file can't be read.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    match &arguments.action {
        Action::Verify(arguments) => verify(arguments, console),
        Action::Show(arguments) => show(arguments, console),
    }
}

fn read(path: &Path) -> Result<Ear, Fault> {
    let bytes = file::read(path, MAX_RESULT_FILE_BYTES)?;
    Ear::verify(&bytes).map_err(|error| match error {
        EarError::Signature => refused("result.signature", with_causes(&error)),
        _ => Fault::malformed("result.malformed", with_causes(&error)),
    })
}

fn refused(code: &'static str, message: String) -> Fault {
    let fault = Fault::rejected(code, message);
    match advice::of(code) {
        Some(advice) => fault.with_remedy(advice.remedy),
        None => fault,
    }
}

fn show(arguments: &ShowArguments, console: &Console) -> Result<u8, Fault> {
    let result = read(&arguments.result)?;
    if console.json() {
        console.object(&json!({ "schema": SCHEMA, "verified": false, "result": object(&result) }))?;
    } else {
        let title = format!(
            "result   {}   its signature is by the key it names; whose key that is, `result verify` tells",
            console.out().warn("UNVERIFIED")
        );
        console.data(&tree(title, &result).render())?;
    }
    Ok(exit::ACCEPTED)
}

fn verify(arguments: &VerifyArguments, console: &Console) -> Result<u8, Fault> {
    let mut keys = Vec::new();
    for named in &arguments.key {
        keys.extend(key_file::public_keys(named)?);
    }
    let result = read(&arguments.result)?;
    if !keys.iter().any(|key| result.signed_by(key.as_bytes()).is_ok()) {
        let ids: Vec<_> = keys.iter().map(|key| key_file::id(key).to_string()).collect();
        return Err(refused(
            "result.key",
            format!(
                "the result was signed by key {}, expected {}",
                result.key(),
                ids.join(" or ")
            ),
        ));
    }
    let claims = result.claims();
    if let Some(path) = &arguments.verdict {
        let bytes = file::read(path, MAX_VERDICT_BYTES)?;
        // `--output json` ends the object with one newline, which isn't the verdict's.
        let verdict = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let digest = sha256(&[verdict]);
        if digest != *claims.verdict() {
            return Err(refused(
                "result.verdict",
                digests("verdict", Some(claims.verdict()), &digest),
            ));
        }
    }
    if let Some(path) = &arguments.evidence {
        let digest = sha256(&[&file::read(path, MAX_ENVELOPE_FILE_BYTES)?]);
        if claims.evidence() != Some(&digest) {
            return Err(refused(
                "result.evidence",
                digests("evidence", claims.evidence(), &digest),
            ));
        }
    }
    if let Some(Nonce(nonce)) = &arguments.nonce
        && claims.nonce() != Some(nonce.as_slice())
    {
        let got = claims.nonce().map_or_else(|| "none".to_owned(), hex::encode);
        return Err(refused(
            "result.nonce",
            format!("expected nonce {}, got {got}", hex::encode(nonce)),
        ));
    }
    if claims.simulated() && claims.decision() == Decision::Accepted && !arguments.allow_simulated {
        return Err(refused(
            SIMULATED_NOT_ALLOWED,
            "the result rests on a simulation root, and --allow-simulated was not given".to_owned(),
        ));
    }
    if console.json() {
        console.object(&json!({ "schema": SCHEMA, "verified": true, "result": object(&result) }))?;
    } else {
        let paint = console.out();
        let word = match (claims.decision(), claims.status()) {
            (Decision::Accepted, TrustTier::Affirming) => paint.good("ACCEPTED"),
            (Decision::Accepted, TrustTier::Warning | TrustTier::None) => {
                paint.warn("ACCEPTED, with claims left open")
            }
            (Decision::Accepted, TrustTier::Contraindicated) => paint.warn("SIMULATED"),
            (Decision::Rejected, _) => paint.bad("REFUSED"),
            (Decision::Unsupported, _) => paint.bad("UNSUPPORTED"),
            (Decision::Malformed, _) => paint.bad("MALFORMED"),
            (Decision::Undecided, _) => paint.bad("UNDECIDED"),
        };
        let title = format!("result   {}   it says {word}", paint.good("VERIFIED"));
        console.data(&tree(title, &result).render())?;
    }
    Ok(claims.decision().exit_code())
}

fn digests(what: &str, expected: Option<&[u8; 32]>, got: &[u8; 32]) -> String {
    let expected = expected.map_or_else(|| "none, for there was none".to_owned(), hex::encode);
    format!(
        "the result is of another {what}: expected SHA-256 {expected}, got {}",
        hex::encode(got)
    )
}

/// Names and values in a stable order.
fn facts(result: &Ear) -> Vec<(&'static str, String)> {
    let claims = result.claims();
    let mut facts = vec![
        ("decision", serde_word(claims.decision())),
        ("status", claims.status().as_str().to_owned()),
        ("policy", claims.policy_id().to_owned()),
        ("issued_at", UnixTime::from_secs(claims.issued_at()).to_string()),
        (
            "appraised_at",
            UnixTime::from_secs(claims.appraised_at()).to_string(),
        ),
        ("verdict", hex::encode(claims.verdict())),
        ("simulated", claims.simulated().to_string()),
        ("verifier", claims.build().to_owned()),
        ("key", result.key().to_string()),
        ("public_key", hex::encode(result.public_key())),
    ];
    if let Some(code) = claims.code() {
        facts.insert(1, ("code", code.to_owned()));
    }
    if let Some(evidence) = claims.evidence() {
        facts.push(("evidence", hex::encode(evidence)));
    }
    if let Some(nonce) = claims.nonce() {
        facts.push(("nonce", hex::encode(nonce)));
    }
    facts
}

/// The word that a verdict's JSON has for a decision.
fn serde_word(decision: Decision) -> String {
    match serde_json::to_value(decision) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

fn object(result: &Ear) -> Value {
    let mut members: serde_json::Map<_, _> = facts(result)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    members.insert("simulated".to_owned(), result.claims().simulated().into());
    let vector: serde_json::Map<_, _> = result
        .claims()
        .vector()
        .claims()
        .into_iter()
        .map(|(_, name, claim)| (name.to_owned(), claim.value().into()))
        .collect();
    members.insert("trustworthiness_vector".to_owned(), vector.into());
    members.into()
}

fn tree(title: String, result: &Ear) -> Tree {
    let mut leaves: Vec<_> = facts(result)
        .iter()
        .map(|(name, value)| Tree::leaf(format!("{name:<12}  {}", brief(value))))
        .collect();
    let vector = result
        .claims()
        .vector()
        .claims()
        .into_iter()
        .map(|(_, name, claim)| {
            let tier = claim.tier().as_str();
            Tree::leaf(line(&format!("{name:<17}  {:>2}  {tier}", claim.value())))
        })
        .collect();
    leaves.push(Tree::new("trustworthiness (AR4SI)", vector));
    Tree::new(title, leaves)
}
