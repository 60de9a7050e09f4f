//! `bastide policy diff`: what one policy demands and another doesn't, and
//! which recorded evidence that makes a difference for.

use bastide_attestation::{Decision, UnixTime};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::evidence::EvidenceArgs;
use super::test::word;
use crate::console::Console;
use crate::escape::brief;
use crate::fault::Fault;
use crate::policy_changes::{Change, Direction, changes};
use crate::policy_document::PolicyDocument;
use crate::{clock, exit};

const SCHEMA: &str = "bastide.policy-diff/v1";

/// Compare what two policies demand
#[derive(Debug, Args)]
#[command(after_help = format!("\
Meanings are compared, not texts. Every change is loosened, tightened, changed, or wording. With
evidence it is shown which would start or stop passing.

Examples:
  bastide policy diff ours.toml new.toml
  bastide policy diff ours.toml new.toml --evidence recorded --chain ask-ark-genoa.pem
  bastide policy diff production ours.toml --deny-loosened

{}", exit::HELP))]
pub(super) struct Arguments {
    /// The policy as it is, or the name of a shipped one
    #[arg(value_name = "OLD")]
    old: String,
    /// The policy as it is to be, or the name of a shipped one
    #[arg(value_name = "NEW")]
    new: String,
    #[command(flatten)]
    evidence: EvidenceArgs,
    /// Judge as of this time (RFC 3339) instead of now
    #[arg(long, value_name = "TIME", value_parser = clock::parse)]
    at: Option<UnixTime>,
    /// A change that loosens, or isn't known not to, is a refusal, exit 10
    #[arg(long)]
    deny_loosened: bool,
}

/// One piece of evidence under both.
#[derive(Debug, Serialize)]
struct Effect {
    name: String,
    old: Decision,
    old_code: Option<&'static str>,
    new: Decision,
    new_code: Option<&'static str>,
    /// `starts_passing`, `stops_passing` or `same`.
    effect: &'static str,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if a policy or evidence can't be read.
pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    let (old, new) = (
        PolicyDocument::read(&arguments.old)?,
        PolicyDocument::read(&arguments.new)?,
    );
    let at = arguments.at.unwrap_or_else(clock::now);
    let changes = changes(&old, &new);
    let mut effects = Vec::new();
    for case in arguments.evidence.cases()? {
        let (before, after) = (case.run(&old, at)?, case.run(&new, at)?);
        let passes = |decision| decision == Decision::Accepted;
        effects.push(Effect {
            effect: match (passes(before.verdict), passes(after.verdict)) {
                (false, true) => "starts_passing",
                (true, false) => "stops_passing",
                _ => "same",
            },
            name: before.name,
            old: before.verdict,
            old_code: before.code,
            new: after.verdict,
            new_code: after.code,
        });
    }
    if console.json() {
        console.object(&json!({
            "schema": SCHEMA,
            "old_digest": old.policy.digest().to_string(),
            "new_digest": new.policy.digest().to_string(),
            "changes": changes,
            "evidence": effects,
        }))?;
    } else {
        console.data(&human(&changes, &effects, console))?;
    }
    let loosened = changes
        .iter()
        .any(|change| matches!(change.direction, Direction::Loosened | Direction::Changed));
    Ok(if arguments.deny_loosened && loosened {
        exit::REJECTED
    } else {
        exit::ACCEPTED
    })
}

fn human(changes: &[Change], effects: &[Effect], console: &Console) -> String {
    let paint = console.out();
    let mut text = String::new();
    for change in changes {
        let word = format!("{:<9}", change.direction.word());
        let word = match change.direction {
            Direction::Loosened => paint.bad(&word),
            Direction::Changed => paint.warn(&word),
            Direction::Tightened => paint.good(&word),
            Direction::Wording => paint.faint(&word),
        };
        text.push_str(&format!(
            "{word}  {}  {} → {}\n",
            brief(&change.key),
            brief(&change.old),
            brief(&change.new)
        ));
    }
    if changes.is_empty() {
        text.push_str("both demand the same\n");
    }
    let names = effects
        .iter()
        .map(|effect| brief(&effect.name).chars().count())
        .max()
        .unwrap_or(0);
    for effect in effects {
        let said = |decision, code: Option<&str>| match code {
            Some(code) => format!("{} {code}", word(decision)),
            None => word(decision).to_owned(),
        };
        let what = match effect.effect {
            "starts_passing" => paint.warn("STARTS PASSING"),
            "stops_passing" => paint.bad("STOPS PASSING"),
            _ => paint.faint("the same"),
        };
        text.push_str(&format!(
            "{:<names$}  {what}  {} → {}\n",
            brief(&effect.name),
            said(effect.old, effect.old_code),
            said(effect.new, effect.new_code)
        ));
    }
    text
}
