//! `bastide pipeline sign`: what the owner wrote, with every policy in it,
//! under the owner's key.

use std::path::PathBuf;

use bastide_attestation::pipeline::{MAX_PLAN_BYTES, SignedPlan, SignedPlanError};
use clap::Args;
use serde_json::json;

use super::SCHEMA;
use crate::console::Console;
use crate::escape;
use crate::exit;
use crate::fault::{Fault, with_causes};
use crate::file::{self, Existing};
use crate::key_file::SigningKey;
use crate::pipeline::{file as plan_file, view};

/// Sign a plan with the key of the pipeline's owner
#[derive(Debug, Args)]
#[command(after_help = "\
The policies that the plan names go into it byte for byte, so that every enclave holds its peers to
exactly these. Sign on the machine that has the owner's key, not on a node.

Examples:
  bastide key new -o owner.key
  bastide pipeline sign plan.toml --key owner.key
  bastide pipeline sign plan.toml --key owner.key -o plan-2.cose --output json")]
pub(super) struct Arguments {
    /// The plan, as `pipeline plan` writes it
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
    /// Secret key of the owner, as `bastide key new` makes it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where the signed plan goes; never overwritten
    #[arg(short = 'o', long = "out", value_name = "FILE", default_value = "plan.cose")]
    file: PathBuf,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if plan, policy or key can't be used.
pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    let key = SigningKey::read(&arguments.key)?;
    let plan = plan_file::read(&arguments.plan)?;
    let owner = *key.public().as_bytes();
    let signed =
        SignedPlan::sign(&plan, &owner, |message| key.sign(message)).map_err(|error| match error {
            SignedPlanError::Signing => Fault::usage(
                "pipeline.plan",
                format!(
                    "the plan and its policies are more than the {MAX_PLAN_BYTES} bytes of a signed plan"
                ),
            )
            .with_remedy("use one policy for several stages, or shorter ones"),
            _ => Fault::internal(with_causes(&error)),
        })?;
    file::write(&arguments.file, signed.as_bytes(), Existing::Keep)?;
    if console.json() {
        console.object(&json!({
            "schema": SCHEMA,
            "verified": true,
            "file": arguments.file.display().to_string(),
            "plan": view::object(&signed),
        }))?;
    } else {
        let title = format!("plan   {}", console.out().good("SIGNED"));
        console.data(&view::tree(title, signed.plan(), Some(&signed)).render())?;
        console.note(&escape::line(&format!(
            "wrote {}; give it to every enclave of the pipeline, and to clients",
            arguments.file.display()
        )));
    }
    Ok(exit::ACCEPTED)
}
