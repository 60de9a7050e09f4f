//! The `bastide` command: what a person uses to check a node before anything
//! is sent to it, to talk to it, and to judge recorded evidence and receipts.
//!
//! | module | what it owns |
//! |---|---|
//! | `command` | one file for each subcommand |
//! | `gate` | the only way to a node |
//! | `proxy` | the local API server in front of attested nodes |
//! | `answer_stream`, `receipt_check` | when an answer counts as complete |
//! | `ledger`, `receipt_source` | what is kept of nodes and answers, and found again |
//! | `pipeline` | plans of pipelines, and the stages behind a head |
//! | `policy_source`, `key_file`, `result_signing` | which policy counts, and whose signatures |
//! | `policy_document`, `policy_edit`, `policy_lint`, `policy_changes`, `policy_cases` | policies as texts to pin in, check, compare and test |
//! | `verdict_view`, `tree`, `escape`, `paint`, `console` | what people see |
//!
//! It refuses to send a byte of a prompt anywhere but over an
//! `AttestedConnection`, to log a prompt, and to print text of a peer unescaped.
#![forbid(unsafe_code)]

mod advice;
mod answer_stream;
mod answered;
mod arguments;
mod clock;
mod command;
mod console;
mod conversation;
mod escape;
mod exit;
mod fault;
mod file;
mod gate;
mod key_file;
mod ledger;
mod nearest;
mod paint;
mod pipeline;
mod policy_cases;
mod policy_changes;
mod policy_document;
mod policy_edit;
mod policy_lint;
mod policy_source;
mod progress;
mod proxy;
mod receipt_check;
mod receipt_source;
mod recorded;
mod result_signing;
mod saved;
mod text_diff;
mod tree;
mod verdict_view;

use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::Arguments;
use crate::console::Console;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are asked for; everything else is a usage error. A closed pipe is neither.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() {
                exit::USAGE
            } else {
                exit::ACCEPTED
            });
        }
    };
    let console = Console::new(&arguments.output);
    ExitCode::from(arguments.run(&console).unwrap_or_else(|fault| {
        console.fault(&fault);
        fault.exit
    }))
}
