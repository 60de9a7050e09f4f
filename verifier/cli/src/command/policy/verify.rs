//! `bastide policy verify`: whether enough of the named people signed exactly
//! this policy, as every command asks with `--policy-signer`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::console::Console;
use crate::escape;
use crate::exit;
use crate::fault::Fault;
use crate::policy_source::{self, signatures_of};

const SCHEMA: &str = "bastide.policy-verified/v1";

/// Verify the signatures of a policy
#[derive(Debug, Args)]
#[command(after_help = format!("\
Every command that takes --policy asks the same with --policy-signer and --policy-threshold.

Examples:
  bastide policy verify ours.toml --signer alice.key.pub
  bastide policy verify ours.toml --signer keys.txt --threshold 2

{}", exit::HELP))]
pub(super) struct Arguments {
    /// The policy
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    /// Public key of a signer: hex, or a file of keys; may be repeated
    #[arg(long, value_name = "KEY|FILE", required = true)]
    signer: Vec<String>,
    /// How many of them must have signed; all of them if not given
    #[arg(long, value_name = "K")]
    threshold: Option<usize>,
    /// The signature file; the policy's name and `.sig` if not given
    #[arg(long, value_name = "FILE")]
    signatures: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] of rejection if too few signed; otherwise if a file has a fault.
pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    let named = arguments.policy.display().to_string();
    let signers = policy_source::signers(&arguments.signer, arguments.threshold)?;
    let bytes = policy_source::read(&named)?;
    let signatures = arguments
        .signatures
        .clone()
        .unwrap_or_else(|| signatures_of(&arguments.policy));
    let check = policy_source::verify(&bytes, &arguments.policy, &signatures, &signers)?;
    let policy = policy_source::parse(&bytes, &named)?;

    let rows = [
        ("valid", &check.valid),
        ("invalid", &check.invalid),
        ("missing", &check.missing),
    ];
    if console.json() {
        let mut object = json!({
            "schema": SCHEMA,
            "policy": policy.name(),
            "policy_digest": policy.digest().to_string(),
            "threshold": signers.threshold(),
        });
        if let Some(members) = object.as_object_mut() {
            for (name, keys) in rows {
                let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
                members.insert(name.to_owned(), keys.into());
            }
        }
        console.object(&object)?;
        return Ok(exit::ACCEPTED);
    }
    let paint = console.out();
    let mut text = format!(
        "policy {}@sha256:{}   {}   {} of {} signers, {} asked for\n",
        escape::line(policy.name()),
        policy.digest(),
        paint.good("SIGNED"),
        check.valid.len(),
        check.signers(),
        signers.threshold()
    );
    for (name, keys) in rows {
        for key in keys {
            text.push_str(&format!("  {name:<8} {key}\n"));
        }
    }
    console.data(&text)?;
    Ok(exit::ACCEPTED)
}
