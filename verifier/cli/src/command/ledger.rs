//! `bastide ledger`: what was kept of nodes and answers: listed, shown,
//! compared, exported, and judged again offline.

mod diff;
mod export;
mod list;
mod show;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::console::Console;
use crate::exit;
use crate::fault::Fault;
use crate::ledger::LedgerFile;
use crate::ledger::record::Entry;
use crate::ledger::store::{Store, View, WAIT};

/// What nodes proved and answered: list, compare, export, judge again
#[derive(Debug, Args)]
#[command(after_help = "\
`verify`, `chat` and `proxy` write the ledger unless --no-ledger is given. It holds evidence, verdicts
and receipts, and never a prompt or an answer.

Examples:
  bastide ledger diff --node https://node.example
  bastide ledger verify --policy ours.toml")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(list::Arguments),
    Show(show::Arguments),
    Diff(diff::Arguments),
    Export(export::Arguments),
    Verify(verify::Arguments),
}

/// Runs it.
///
/// # Errors
/// [`Fault`] if the ledger can't be read.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    match &arguments.action {
        Action::List(arguments) => list::run(arguments, console),
        Action::Show(arguments) => show::run(arguments, console),
        Action::Diff(arguments) => diff::run(arguments, console),
        Action::Export(arguments) => export::run(arguments, console).map(|()| exit::ACCEPTED),
        Action::Verify(arguments) => verify::run(arguments, console),
    }
}

/// A ledger that was opened and looked through for damage.
struct Opened {
    path: PathBuf,
    view: View,
    entries: Vec<(u64, Entry)>,
}

impl Opened {
    fn read(file: &LedgerFile) -> Result<Self, Fault> {
        let path = file.path()?;
        let view = Store::open_checked(&path, WAIT)?.view(&path)?;
        let entries = view.entries()?;
        Ok(Self { path, view, entries })
    }

    /// The entry of a number.
    fn entry(&self, number: u64) -> Result<&Entry, Fault> {
        self.entries
            .iter()
            .find(|(at, _)| *at == number)
            .map(|(_, entry)| entry)
            .ok_or_else(|| {
                Fault::usage(
                    "ledger.no_entry",
                    format!("the ledger has no entry {number}; `bastide ledger list` lists them"),
                )
            })
    }
}

/// Which entries.
#[derive(Debug, Clone, Args)]
struct Filter {
    /// Entries of this node alone, as it was named
    #[arg(long, value_name = "URL")]
    node: Option<bastide_attested_tls::NodeAddress>,
    /// Entries of this time (RFC 3339) and later alone
    #[arg(long, value_name = "TIME", value_parser = crate::clock::parse)]
    since: Option<bastide_attestation::UnixTime>,
}

impl Filter {
    fn takes(&self, entry: &Entry) -> bool {
        let node = self
            .node
            .as_ref()
            .is_none_or(|node| node.to_string() == entry.node());
        node && self.since.is_none_or(|since| entry.at() >= since.as_secs())
    }
}

/// A time as everywhere else.
fn time(at: u64) -> String {
    bastide_attestation::UnixTime::from_secs(at).to_string()
}
