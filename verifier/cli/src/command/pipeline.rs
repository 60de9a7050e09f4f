//! `bastide pipeline`: the owner of a pipeline plans it and signs the plan;
//! whoever is given one reads it and verifies whose it is.

mod sign;
mod verify;

use std::path::{Path, PathBuf};

use bastide_attestation::pipeline::{MAX_PLAN_BYTES, SignedPlan, SignedPlanError};
use clap::{Args, Subcommand};

use crate::advice;
use crate::console::Console;
use crate::fault::{Fault, with_causes};
use crate::file;

const SCHEMA: &str = "bastide.pipeline/v1";

/// Plan, sign, show and verify pipelines of enclaves
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bastide pipeline sign plan.toml --key owner.key -o plan.cose
  bastide pipeline show plan.cose
  bastide pipeline verify plan.cose --owner owner.key.pub")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Sign(sign::Arguments),
    Show(ShowArguments),
    Verify(verify::Arguments),
}

/// Show what a signed plan says; whose it is, `pipeline verify` tells
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bastide pipeline show plan.cose")]
struct ShowArguments {
    /// The signed plan
    #[arg(value_name = "PLAN")]
    file: PathBuf,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if a file can't be read or written, or a plan doesn't hold.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    match &arguments.action {
        Action::Sign(arguments) => sign::run(arguments, console),
        Action::Show(arguments) => verify::show(&arguments.file, console),
        Action::Verify(arguments) => verify::run(arguments, console),
    }
}

/// Reads a signed plan.
///
/// # Errors
/// [`Fault`]: a rejection if its signature doesn't verify, else malformed.
pub(crate) fn read(path: &Path) -> Result<SignedPlan, Fault> {
    // One byte more is enough to say that it is too long.
    let bytes = file::read(path, MAX_PLAN_BYTES.saturating_add(1))?;
    SignedPlan::verify(&bytes).map_err(|error| unreadable(&error))
}

/// The fault of a plan that doesn't hold.
pub(crate) fn unreadable(error: &SignedPlanError) -> Fault {
    match error {
        SignedPlanError::Signature => refused("pipeline.signature", with_causes(error)),
        SignedPlanError::Owner { .. } => refused("pipeline.owner", with_causes(error)),
        _ => Fault::malformed("pipeline.malformed", with_causes(error)),
    }
}

/// A rejection with the remedy that its code has.
fn refused(code: &'static str, message: String) -> Fault {
    let fault = Fault::rejected(code, message);
    match advice::of(code) {
        Some(advice) => fault.with_remedy(advice.remedy),
        None => fault,
    }
}
