//! `bastide explain`: a code in words, also as `--explain CODE` of the commands
//! that print codes. It needs no evidence, no node and no policy.

use clap::Args;
use serde_json::json;

use crate::advice::{self, CheckExplanation, Explanation};
use crate::console::Console;
use crate::escape::{brief, line};
use crate::exit;
use crate::fault::Fault;
use crate::nearest::nearest;

const SCHEMA: &str = "bastide.explanation/v1";

/// Explain a code: what it means, why it comes, what to do
#[derive(Debug, Args)]
#[command(after_help = "\
Names of checks are explained, too. `verify` and `appraise` do the same with --explain CODE.

Examples:
  bastide explain snp.tcb.below_floor
  bastide explain --all
  bastide explain --all --output json")]
pub(crate) struct Arguments {
    /// A code of a refusal or an error, or the name of a check
    #[arg(value_name = "CODE", required_unless_present = "all")]
    code: Option<String>,
    /// List every code
    #[arg(long, conflicts_with = "code")]
    all: bool,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] of usage if there is no such code.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    match &arguments.code {
        Some(code) => one(code, console),
        None => all(console),
    }
}

/// Explains one code or check.
///
/// # Errors
/// [`Fault`] of usage, naming the nearest, if there is no such code.
pub(crate) fn one(code: &str, console: &Console) -> Result<u8, Fault> {
    let (explanation, check) = (advice::explain(code), advice::explain_check(code));
    if explanation.is_none() && check.is_none() {
        return Err(unknown(code));
    }
    if console.json() {
        console.object(&json!({
            "schema": SCHEMA,
            "code": explanation,
            "check": check,
        }))?;
        return Ok(exit::ACCEPTED);
    }
    let mut text = String::new();
    if let Some(explanation) = explanation {
        text.push_str(&of_code(&explanation, console));
    }
    if let Some(check) = check {
        text.push_str(&of_check(&check, console));
    }
    console.data(&text)?;
    Ok(exit::ACCEPTED)
}

fn unknown(code: &str) -> Fault {
    let names = bastide_verifier::CheckId::ALL.iter().map(|check| check.name());
    let near = nearest(code, advice::all().map(|known| known.code).chain(names));
    let fault = Fault::usage("explain.unknown", format!("there is no code `{}`", line(code)));
    if near.is_empty() {
        return fault.with_remedy("`bastide explain --all` lists every code");
    }
    let near: Vec<_> = near.iter().map(|name| format!("`{name}`")).collect();
    fault.with_remedy(format!("did you mean {}?", near.join(" or ")))
}

fn of_code(explanation: &Explanation, console: &Console) -> String {
    let mut text = format!(
        "{}   {}, exit {}\n",
        console.out().strong(explanation.code),
        explanation.decision,
        explanation.exit
    );
    let keys = match explanation.policy_keys {
        [] => "none: no policy changes this".to_owned(),
        keys => keys.join(", "),
    };
    for (name, value) in [
        ("means", Some(explanation.means)),
        ("likely", explanation.likely),
        ("do", explanation.remedy),
        ("policy", Some(keys.as_str())),
    ] {
        if let Some(value) = value {
            text.push_str(&format!("  {name:<8}  {value}\n"));
        }
    }
    text
}

fn of_check(check: &CheckExplanation, console: &Console) -> String {
    let basis = match check.basis {
        bastide_attestation::Basis::HardwareProven => "signed by the hardware",
        bastide_attestation::Basis::Derived => "computed from what the hardware signed",
        bastide_attestation::Basis::Asserted => "said by measured software, or by whoever sent it",
    };
    format!(
        "{}   a check of every verdict\n  {:<8}  {}\n  {:<8}  {basis}\n",
        console.out().strong(check.check),
        "passes",
        check.passes,
        "basis"
    )
}

fn all(console: &Console) -> Result<u8, Fault> {
    if console.json() {
        for explanation in advice::all() {
            console.object(&json!({ "schema": SCHEMA, "code": explanation, "check": null }))?;
        }
        return Ok(exit::ACCEPTED);
    }
    let width = advice::all().map(|known| known.code.len()).max().unwrap_or(0);
    let mut text = String::new();
    for known in advice::all() {
        text.push_str(&format!(
            "{:<width$}  {:>2}  {}\n",
            known.code,
            known.exit,
            brief(known.means)
        ));
    }
    console.data(&text)?;
    Ok(exit::ACCEPTED)
}
