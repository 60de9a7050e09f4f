//! `bastide policy`: where a policy of one's own begins.

use std::path::PathBuf;

use bastide_verifier::shipped;
use clap::{Args, Subcommand, ValueEnum};

use crate::console::Console;
use crate::exit;
use crate::fault::Fault;
use crate::file::{self, Existing};

/// Make policies
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bastide policy init --profile production -o ours.toml")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Init(InitArguments),
}

/// Print a commented policy to start from
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bastide policy init > ours.toml
  bastide policy init --profile production -o ours.toml
  bastide policy init --profile development -o simulated.toml")]
struct InitArguments {
    /// Which shipped policy to start from
    #[arg(long, value_name = "NAME", default_value = "production")]
    profile: Profile,
    /// Write to this file instead of stdout; an existing file is never overwritten
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// Hardware only; you pin launch measurements and models
    Production,
    /// Also lists the simulator's roots; nothing it accepts is confidential
    Development,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] of usage if the file exists or can't be written.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    let Action::Init(arguments) = &arguments.action;
    let text = match arguments.profile {
        Profile::Production => shipped::PRODUCTION,
        Profile::Development => shipped::DEVELOPMENT,
    };
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
