//! `bastide policy test`: replays recorded evidence under a policy and holds
//! each verdict against what was expected.

use std::path::PathBuf;

use bastide_attestation::{Decision, UnixTime};
use clap::Args;
use serde_json::json;

use super::evidence::EvidenceArgs;
use crate::console::Console;
use crate::escape::{brief, line};
use crate::fault::Fault;
use crate::policy_cases::{self, Outcome};
use crate::policy_document::PolicyDocument;
use crate::{clock, exit};

const SCHEMA: &str = "bastide.policy-test/v1";

/// Replay recorded evidence under a policy
#[derive(Debug, Args)]
#[command(after_help = format!("\
Evidence is an envelope (`*.cmw`, as `--save` keeps it) or a folder with report.bin and vcek.der or
vlek.der; folders are searched. What it must come to stands beside it, `accepted` or a code: in
`NAME.expect` for NAME.cmw, in `expect` in a folder. Or in a file of tests:

  schema = \"bastide.policy-tests/v1\"
  [[tests]]
  name = \"our node of June\"
  evidence = \"june/evidence.cmw\"
  at = 2026-06-01T00:00:00Z
  expect = \"accepted\"

Exit 10 if an expectation is not met. Without expectations the table is all there is.

Examples:
  bastide policy test ours.toml --evidence recorded --chain ask-ark-genoa.pem
  bastide policy test ours.toml --tests tests.toml

{}", exit::HELP))]
pub(super) struct Arguments {
    /// The policy, or the name of a shipped one
    #[arg(value_name = "POLICY")]
    policy: String,
    #[command(flatten)]
    evidence: EvidenceArgs,
    /// File of tests; may be repeated
    #[arg(long, value_name = "FILE", required_unless_present = "evidence")]
    tests: Vec<PathBuf>,
    /// What the paths in a file of tests are relative to, instead of where it lies
    #[arg(long, value_name = "DIR", requires = "tests")]
    root: Option<PathBuf>,
    /// Judge as of this time (RFC 3339) instead of now, where a test doesn't say
    #[arg(long, value_name = "TIME", value_parser = clock::parse)]
    at: Option<UnixTime>,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if policy, tests or evidence can't be read.
pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    let document = PolicyDocument::read(&arguments.policy)?;
    let at = arguments.at.unwrap_or_else(clock::now);
    let mut cases = arguments.evidence.cases()?;
    for path in &arguments.tests {
        cases.extend(policy_cases::of_file(path, arguments.root.as_deref())?);
    }
    let outcomes = cases
        .iter()
        .map(|case| case.run(&document, at))
        .collect::<Result<Vec<_>, _>>()?;
    let failed = outcomes
        .iter()
        .filter(|outcome| outcome.met == Some(false))
        .count();
    if console.json() {
        console.object(&json!({
            "schema": SCHEMA,
            "policy": document.policy.name(),
            "policy_digest": document.policy.digest().to_string(),
            "at": at.to_string(),
            "results": outcomes,
        }))?;
    } else {
        console.data(&table(&outcomes, console))?;
        let expected = outcomes.iter().filter(|outcome| outcome.met.is_some()).count();
        console.note(&format!(
            "{} pieces of evidence, {expected} with an expectation, {failed} of those not met",
            outcomes.len()
        ));
    }
    Ok(if failed == 0 {
        exit::ACCEPTED
    } else {
        exit::REJECTED
    })
}

/// What was decided, in a word.
pub(super) const fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Accepted => "accepted",
        Decision::Rejected => "rejected",
        Decision::Unsupported => "unsupported",
        Decision::Malformed => "malformed",
        Decision::Undecided => "undecided",
    }
}

fn table(outcomes: &[Outcome], console: &Console) -> String {
    let paint = console.out();
    let width = |wide: fn(&Outcome) -> usize| outcomes.iter().map(wide).max().unwrap_or(0);
    let names = width(|outcome| brief(&outcome.name).chars().count()).max("evidence".len());
    let codes = width(|outcome| outcome.code.unwrap_or("–").chars().count()).max("code".len());
    let mut text = format!(
        "{:<names$}  {:<11}  {:<codes$}  expected\n",
        "evidence", "verdict", "code"
    );
    for outcome in outcomes {
        let expected = match (&outcome.expected, outcome.met) {
            (Some(_), Some(true)) => paint.good("✔ as expected"),
            (Some(expected), _) => paint.bad(&format!("✘ NOT MET: {}", line(expected))),
            (None, _) => "–".to_owned(),
        };
        text.push_str(&format!(
            "{:<names$}  {:<11}  {:<codes$}  {expected}\n",
            brief(&outcome.name),
            word(outcome.verdict),
            outcome.code.unwrap_or("–")
        ));
    }
    text
}
