//! `bastide policy`: what an organisation does with a policy of its own, from
//! the first copy to the signatures that make it theirs.

mod diff;
mod evidence;
mod init;
mod lint;
mod pin;
mod schema;
mod sign;
mod test;
mod verify;

use clap::{Args, Subcommand};

use crate::console::Console;
use crate::fault::Fault;

/// Make, pin, check, compare, sign and verify policies
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bastide policy init --profile production -o ours.toml
  bastide policy pin ours.toml --from pins.toml
  bastide policy lint ours.toml
  bastide policy test ours.toml --evidence recorded
  bastide policy diff ours.toml new.toml --evidence recorded
  bastide policy sign ours.toml --key alice.key
  bastide policy verify ours.toml --signer alice.key.pub")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Init(init::Arguments),
    Pin(Box<pin::Arguments>),
    Lint(lint::Arguments),
    Test(test::Arguments),
    Diff(diff::Arguments),
    Sign(sign::Arguments),
    Verify(verify::Arguments),
    Schema(schema::Arguments),
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if a file can't be read or written, or isn't what it should be.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    match &arguments.action {
        Action::Init(arguments) => init::run(arguments, console),
        Action::Pin(arguments) => pin::run(arguments, console),
        Action::Lint(arguments) => lint::run(arguments, console),
        Action::Test(arguments) => test::run(arguments, console),
        Action::Diff(arguments) => diff::run(arguments, console),
        Action::Sign(arguments) => sign::run(arguments, console),
        Action::Verify(arguments) => verify::run(arguments, console),
        Action::Schema(_) => schema::run(console),
    }
}
