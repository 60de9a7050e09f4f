//! `bastide ledger list`: one line for each entry.

use clap::Args;
use serde_json::json;

use super::{Filter, Opened, time};
use crate::console::Console;
use crate::escape::{brief, line};
use crate::exit;
use crate::fault::Fault;
use crate::ledger::LedgerFile;
use crate::ledger::record::Entry;

/// List entries, oldest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bastide ledger list
  bastide ledger list --node https://node.example --receipts --output json")]
pub(super) struct Arguments {
    #[command(flatten)]
    filter: Filter,
    /// Receipts alone
    #[arg(long, conflicts_with = "appraisals")]
    receipts: bool,
    /// Appraisals alone
    #[arg(long)]
    appraisals: bool,
    /// The latest N alone
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    #[command(flatten)]
    ledger: LedgerFile,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    let opened = Opened::read(&arguments.ledger)?;
    let wanted: Vec<_> = opened
        .entries
        .iter()
        .filter(|(_, entry)| arguments.takes(entry))
        .collect();
    let from = wanted
        .len()
        .saturating_sub(arguments.last.unwrap_or(wanted.len()));
    for (number, entry) in wanted.into_iter().skip(from) {
        if console.json() {
            console.object(&json!({
                "schema": "bastide.ledger-entry/v1",
                "number": number,
                "time": time(entry.at()),
                "entry": entry,
            }))?;
        } else {
            console.data(&format!("{}\n", human(*number, entry, console)))?;
        }
    }
    Ok(exit::ACCEPTED)
}

impl Arguments {
    fn takes(&self, entry: &Entry) -> bool {
        let kind = match entry {
            Entry::Appraisal(_) => !self.receipts,
            Entry::Receipt(_) => !self.appraisals,
        };
        kind && self.filter.takes(entry)
    }
}

fn human(number: u64, entry: &Entry, console: &Console) -> String {
    let paint = console.out();
    let head = format!("{number:>7}  {}  {}", time(entry.at()), line(entry.node()));
    match entry {
        Entry::Appraisal(one) => {
            let word = match (one.decision.as_str(), one.simulated) {
                ("accepted", false) => paint.good("accepted"),
                ("accepted", true) => paint.warn("accepted (simulated)"),
                (word, _) => paint.bad(&line(word)),
            };
            let code = one
                .code
                .as_deref()
                .map_or_else(String::new, |code| format!("  {}", line(code)));
            let report = one
                .report
                .as_deref()
                .map_or_else(String::new, |report| format!("  report {}", brief(report)));
            format!("{head}  {word}{code}  policy {}{report}", brief(&one.policy))
        }
        Entry::Receipt(kept) => format!(
            "{head}  receipt {} of key {}  {}",
            kept.sequence,
            brief(&kept.key),
            brief(&kept.digest)
        ),
    }
}
