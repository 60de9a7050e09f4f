//! `bastide policy schema`: the JSON Schema of a policy, for editors.

use clap::Args;

use crate::console::Console;
use crate::exit;
use crate::fault::Fault;

/// JSON Schema of a policy file.
pub(super) const SCHEMA: &str = include_str!("../../../../../policies/policy.schema.json");

/// Print the JSON Schema of a policy, for editors and other tools
#[derive(Debug, Args)]
#[command(after_help = "\
The schema is about the form; what can't hold together, `policy lint` and every other command say.

Example:
  bastide policy schema > policy.schema.json")]
pub(super) struct Arguments {}

/// Runs it.
///
/// # Errors
/// [`Fault`] if stdout can't be written.
pub(super) fn run(console: &Console) -> Result<u8, Fault> {
    console.data(SCHEMA)?;
    Ok(exit::ACCEPTED)
}
