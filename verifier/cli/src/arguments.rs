//! The command line as it is typed. Parsing is cheap and does no I/O; each
//! command builds what it needs from its own arguments.

use clap::{Parser, Subcommand};

use crate::command::{
    appraise, chat, credential, endorsements, explain, inspect, key, ledger, measure, pipeline, policy,
    proxy, receipt, result, verify,
};
use crate::console::{Console, OutputArgs};
use crate::exit;
use crate::fault::Fault;

const ABOUT: &str = "Check what runs where, before a byte of your prompt is sent";
const EXAMPLES: &str = "\
Examples:
  bastide verify https://node.example                    judge a node; sends no prompt
  bastide proxy https://node.example --policy ours.toml  127.0.0.1:4181/v1 for any OpenAI client
  bastide chat https://node.example 'What is a bastide?'
  bastide appraise --snp-report report.bin --vek vcek.der --chain ask-ark.pem
  bastide policy init --profile production -o ours.toml
  bastide explain snp.tcb.below_floor
";

/// `bastide`.
#[derive(Debug, Parser)]
#[command(
    name = "bastide", version, about = ABOUT, propagate_version = true,
    after_help = format!("{EXAMPLES}\n{}", exit::HELP),
    max_term_width = 100, subcommand_required = true, arg_required_else_help = true
)]
pub(crate) struct Arguments {
    /// Options that every command has.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Verify(verify::Arguments),
    Appraise(Box<appraise::Arguments>),
    Chat(chat::Arguments),
    Proxy(proxy::Arguments),
    Receipt(receipt::Arguments),
    Ledger(ledger::Arguments),
    Inspect(inspect::Arguments),
    Endorsements(endorsements::Arguments),
    Policy(policy::Arguments),
    Key(key::Arguments),
    Credential(credential::Arguments),
    Pipeline(pipeline::Arguments),
    Result(result::Arguments),
    Explain(explain::Arguments),
    Measure(Box<measure::Arguments>),
}

impl Arguments {
    /// Runs the command and returns its exit code.
    ///
    /// # Errors
    /// [`Fault`] if it ended without a result of its own.
    pub(crate) fn run(self, console: &Console) -> Result<u8, Fault> {
        match self.command {
            Command::Verify(arguments) => verify::run(&arguments, console),
            Command::Appraise(arguments) => appraise::run(&arguments, console),
            Command::Chat(arguments) => chat::run(arguments, console),
            Command::Proxy(arguments) => proxy::run(arguments, console),
            Command::Receipt(arguments) => receipt::run(&arguments, console),
            Command::Ledger(arguments) => ledger::run(&arguments, console),
            Command::Inspect(arguments) => inspect::run(&arguments, console),
            Command::Endorsements(arguments) => endorsements::run(&arguments, console),
            Command::Policy(arguments) => policy::run(&arguments, console),
            Command::Key(arguments) => key::run(&arguments, console),
            Command::Credential(arguments) => credential::run(&arguments, console),
            Command::Pipeline(arguments) => pipeline::run(&arguments, console),
            Command::Result(arguments) => result::run(&arguments, console),
            Command::Explain(arguments) => explain::run(&arguments, console),
            Command::Measure(arguments) => measure::run(*arguments, console),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent_and_every_command_has_examples() {
        let mut command = Arguments::command();
        command.clone().debug_assert();
        command.build();
        let mut pending: Vec<_> = command.get_subcommands().cloned().collect();
        while let Some(mut sub) = pending.pop() {
            if sub.get_name() == "help" {
                continue;
            }
            pending.extend(sub.get_subcommands().cloned());
            let help = sub.render_long_help().to_string();
            assert!(help.contains("Example"), "`{}` has no example", sub.get_name());
        }
    }
}
