//! `bastide policy lint`: what in a policy is worth a second look.

use std::path::{Path, PathBuf};

use bastide_attestation::UnixTime;
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;

use crate::console::Console;
use crate::escape::brief;
use crate::fault::Fault;
use crate::policy_document::PolicyDocument;
use crate::policy_lint::{self, IDS, Warning};
use crate::policy_source::{self, signatures_of};
use crate::{clock, exit};

const SCHEMA: &str = "bastide.policy-lint/v1";

/// Warn about what in a policy is worth a second look
#[derive(Debug, Args)]
#[command(after_help = format!("\
A policy with a fault is refused, as everywhere. Warnings are about what is allowed: choices that
are weak, checks that are left out, pins that are about to end.

Examples:
  bastide policy lint ours.toml
  bastide policy lint ours.toml --deny-warnings --allow lint.ignored --allow lint.crl
  bastide policy lint ours.toml --at 2027-01-31T00:00:00Z

{}", exit::HELP))]
pub(super) struct Arguments {
    /// The policy, or the name of a shipped one
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    /// Look at it as of this time (RFC 3339) instead of now
    #[arg(long, value_name = "TIME", value_parser = clock::parse)]
    at: Option<UnixTime>,
    /// A warning is a refusal, exit 10
    #[arg(long)]
    deny_warnings: bool,
    /// Do not warn about this; may be repeated
    #[arg(long, value_name = "WARNING", value_parser = PossibleValuesParser::new(IDS), hide_possible_values = true)]
    allow: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if the policy has a fault or can't be read.
pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    let named = arguments.policy.display().to_string();
    let document = PolicyDocument::read(&named)?;
    let at = arguments.at.unwrap_or_else(clock::now);
    let mut warnings = policy_lint::lint(&document, at);
    warnings.extend(signatures(&arguments.policy, &document)?);
    warnings.retain(|warning| !arguments.allow.iter().any(|allowed| allowed == warning.id));
    let refused = arguments.deny_warnings && !warnings.is_empty();
    if console.json() {
        console.object(&json!({
            "schema": SCHEMA,
            "policy": document.policy.name(),
            "policy_digest": document.policy.digest().to_string(),
            "at": at.to_string(),
            "warnings": warnings,
        }))?;
    } else {
        let mut text = String::new();
        for Warning { id, line, message } in &warnings {
            let id = console.out().warn(id);
            text.push_str(&format!("{}:{line}: {id}  {message}\n", brief(&named)));
        }
        if warnings.is_empty() {
            text.push_str("nothing to warn about\n");
        }
        console.data(&text)?;
    }
    Ok(if refused { exit::REJECTED } else { exit::ACCEPTED })
}

/// Whether a file is signed at all; by whom it must be, only `policy verify` is told.
fn signatures(path: &Path, document: &PolicyDocument) -> Result<Vec<Warning>, Fault> {
    let beside = signatures_of(path);
    if !beside.exists() {
        return Ok(vec![Warning {
            id: "lint.unsigned",
            line: 1,
            message: "nobody signed it: whoever can write the file can change what you trust".to_owned(),
        }]);
    }
    let signatures = policy_source::read_signatures(&beside)?;
    Ok(signatures
        .signers()
        .filter(|signer| !signatures.is_valid(signer, document.text().as_bytes()))
        .map(|signer| Warning {
            id: "lint.stale_signature",
            line: 1,
            message: format!("the signature of {signer} is over another version of it"),
        })
        .collect())
}
