//! `bastide pipeline show` and `verify`: what a signed plan says, and whether
//! it is the expected owner's and holds enclaves to the expected policies.

use std::path::{Path, PathBuf};

use bastide_attestation::pipeline::SignedPlan;
use bastide_attestation::{ManifestDigest, PipelineId};
use bastide_verifier::{Policy, shipped};
use clap::Args;
use serde_json::json;

use super::{SCHEMA, read, refused, unreadable};
use crate::console::Console;
use crate::exit;
use crate::fault::{Fault, with_causes};
use crate::pipeline::{owners, view};
use crate::policy_source;

/// Verify a signed plan: whose it is, and what it holds enclaves to
#[derive(Debug, Args)]
#[command(after_help = format!("\
What isn't given of pipeline, model and policies isn't compared.

Examples:
  bastide pipeline verify plan.cose --owner owner.key.pub
  bastide pipeline verify plan.cose --owner owner.key.pub --policy ours.toml --model \"$MANIFEST\" \\
      --output json

{}", exit::HELP))]
pub(super) struct Arguments {
    /// The signed plan
    #[arg(value_name = "PLAN")]
    file: PathBuf,
    /// Public key of the owner: hex, or a file of keys; may be repeated
    #[arg(long, value_name = "KEY|FILE", required = true)]
    owner: Vec<String>,
    /// A policy that stages may be held to, and no others: a file or a shipped one's name; may be repeated
    #[arg(long, value_name = "FILE|NAME")]
    policy: Vec<String>,
    /// The pipeline that it must be of, in hex
    #[arg(long, value_name = "HEX")]
    pipeline: Option<PipelineId>,
    /// The model manifest that it must be for, in hex
    #[arg(long, value_name = "HEX")]
    model: Option<ManifestDigest>,
}

/// Shows a plan.
///
/// # Errors
/// [`Fault`] if it can't be read, or its signature doesn't verify.
pub(super) fn show(path: &Path, console: &Console) -> Result<u8, Fault> {
    let signed = read(path)?;
    let title = format!(
        "plan   {}   its signature is by the key it names; whose key that is, `pipeline verify` tells",
        console.out().warn("UNVERIFIED")
    );
    print(&signed, false, title, console)
}

/// Verifies a plan.
///
/// # Errors
/// [`Fault`] if it can't be read or doesn't hold.
pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    let owners = owners(&arguments.owner)?;
    let mut allowed = Vec::new();
    for named in &arguments.policy {
        allowed.push(match shipped::by_name(named) {
            Some(text) => text.as_bytes().to_vec(),
            None => policy_source::read(named)?,
        });
    }
    let signed = read(&arguments.file)?;
    signed.owned_by(&owners).map_err(|error| unreadable(&error))?;
    let plan = signed.plan();
    let other = |what: &str, expected: &dyn core::fmt::Display, got: &dyn core::fmt::Display| {
        refused(
            "pipeline.other",
            format!("the plan is of {what} {got}, expected {expected}"),
        )
    };
    if let Some(expected) = arguments.pipeline.filter(|expected| *expected != plan.pipeline()) {
        return Err(other("pipeline", &expected, &plan.pipeline()));
    }
    if let Some(expected) = arguments.model.filter(|expected| *expected != plan.model()) {
        return Err(other("model", &expected, &plan.model()));
    }
    for (number, bytes) in plan.policies().iter().enumerate() {
        if let Err(error) = Policy::parse(bytes) {
            return Err(refused(
                "pipeline.policy",
                format!("policy {number} of the plan: {}", with_causes(&error)),
            ));
        }
        if !allowed.is_empty() && !allowed.contains(bytes) {
            return Err(refused(
                "pipeline.policy",
                format!(
                    "policy {number} of the plan is none of the {} that you named, byte for byte",
                    allowed.len()
                ),
            ));
        }
    }
    let title = format!(
        "plan   {}   signed by an owner that you named",
        console.out().good("VERIFIED")
    );
    print(&signed, true, title, console)
}

fn print(signed: &SignedPlan, verified: bool, title: String, console: &Console) -> Result<u8, Fault> {
    if console.json() {
        console.object(&json!({"schema": SCHEMA, "verified": verified, "plan": view::object(signed)}))?;
    } else {
        console.data(&view::tree(title, signed.plan(), Some(signed)).render())?;
    }
    Ok(exit::ACCEPTED)
}
