//! `bastide policy init`: where a policy of one's own begins.

use std::path::PathBuf;

use bastide_verifier::shipped;
use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::console::Console;
use crate::exit;
use crate::fault::Fault;
use crate::file::{self, Existing};

/// Print a commented policy to start from
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bastide policy init > ours.toml
  bastide policy init --profile production -o ours.toml
  bastide policy init --profile development -o simulated.toml")]
pub(super) struct Arguments {
    /// Which shipped policy to start from
    #[arg(
        long, value_name = "NAME", default_value = "production",
        value_parser = PossibleValuesParser::new(shipped::NAMES)
    )]
    profile: String,
    /// Write to this file instead of stdout; an existing file is never overwritten
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] of usage if the file exists or can't be written.
pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    let text = shipped::by_name(&arguments.profile)
        .ok_or_else(|| Fault::internal("a shipped policy has no text"))?;
    match &arguments.file {
        None => console.data(text)?,
        Some(path) => {
            file::write(path, text.as_bytes(), Existing::Keep)?;
            console.note(&crate::escape::line(&format!(
                "wrote {}; read it, then pin what you trust",
                path.display()
            )));
        }
    }
    Ok(exit::ACCEPTED)
}
