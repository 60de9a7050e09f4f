//! `bastide ledger show`: all that is kept of one entry.

use clap::Args;
use serde_json::json;

use super::{Opened, time};
use crate::console::Console;
use crate::escape::brief;
use crate::exit;
use crate::fault::Fault;
use crate::ledger::LedgerFile;
use crate::ledger::record::Entry;
use crate::receipt_check;
use crate::receipt_source::verified;
use crate::tree::Tree;

/// Show all that is kept of one entry
#[derive(Debug, Args)]
#[command(after_help = "\
What is shown was decided when it was kept; `ledger verify` decides again.

Example:
  bastide ledger show 17")]
pub(super) struct Arguments {
    /// Its number, as `ledger list` shows it
    #[arg(value_name = "N")]
    number: u64,
    #[command(flatten)]
    ledger: LedgerFile,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    let opened = Opened::read(&arguments.ledger)?;
    let entry = opened.entry(arguments.number)?;
    let verdict = match entry {
        Entry::Appraisal(one) => opened.view.verdict(&one.verdict, one.at)?,
        Entry::Receipt(_) => None,
    };
    let receipt = match entry {
        Entry::Receipt(kept) => Some(verified(&kept.bytes())?),
        Entry::Appraisal(_) => None,
    };
    if console.json() {
        console.object(&json!({
            "schema": "bastide.ledger-entry/v1",
            "number": arguments.number,
            "time": time(entry.at()),
            "entry": entry,
            "verdict": verdict,
            "receipt": receipt.as_ref().map(receipt_check::object),
        }))?;
        return Ok(exit::ACCEPTED);
    }
    let mut leaves = Vec::new();
    let mut leaf = |name: &str, value: &str| leaves.push(Tree::leaf(format!("{name:<17}  {}", brief(value))));
    leaf("node", entry.node());
    match (entry, &receipt) {
        (Entry::Appraisal(one), _) => {
            leaf("decision", &one.decision);
            for (name, value) in [
                ("code", &one.code),
                ("statement", &one.statement),
                ("report", &one.report),
                ("evidence", &one.evidence),
            ] {
                if let Some(value) = value {
                    leaf(name, value);
                }
            }
            leaf("policy", &format!("{}@sha256:{}", one.policy, one.policy_digest));
        }
        (Entry::Receipt(kept), Some(receipt)) => {
            leaf("digest", &kept.digest);
            leaf("salt", if kept.salt.is_some() { "kept" } else { "not kept" });
            for (name, value) in receipt_check::facts(receipt) {
                leaf(name, &value);
            }
        }
        (Entry::Receipt(_), None) => {}
    }
    for (title, member) in [
        ("facts of the report", "snp"),
        ("facts of the paravisor and its vTPM", "azure"),
        ("facts of the statement", "session"),
    ] {
        let facts = verdict.as_ref().and_then(|verdict| verdict[member].as_object());
        if let Some(facts) = facts {
            let under = facts
                .iter()
                .map(|(name, value)| {
                    Tree::leaf(format!(
                        "{}  {}",
                        brief(name),
                        brief(value.as_str().unwrap_or_default())
                    ))
                })
                .collect();
            leaves.push(Tree::new(title, under));
        }
    }
    let title = format!("entry {}   {}", arguments.number, time(entry.at()));
    console.data(&Tree::new(title, leaves).render())?;
    Ok(exit::ACCEPTED)
}
