//! `bastide ledger diff`: what has changed since a node was last judged.

use std::collections::BTreeSet;

use bastide_attestation::{EpochStatement, Evidence};
use clap::Args;
use serde_json::{Value, json};

use super::{Filter, Opened, time};
use crate::console::Console;
use crate::escape::{brief, line};
use crate::exit;
use crate::fault::Fault;
use crate::ledger::LedgerFile;
use crate::ledger::changes::{Change, Said, between, has_facts};
use crate::ledger::record::{Appraisal, Entry};
use crate::tree::Tree;

const SCHEMA: &str = "bastide.ledger-diff/v1";

/// Say what changed since last time: code, firmware, chip, model, configuration, keys, GPUs, roots
#[derive(Debug, Args)]
#[command(after_help = "\
The latest appraisal of each node is compared with the one before it that showed another report. Two
entries can be named instead. Refusals that came before any fact of a report was established are passed over.

Examples:
  bastide ledger diff
  bastide ledger diff --node https://node.example --exit-code
  bastide ledger diff --from 12 --to 40 --output json")]
pub(super) struct Arguments {
    #[command(flatten)]
    filter: Filter,
    /// Compare this entry …
    #[arg(long, value_name = "N", requires = "to")]
    from: Option<u64>,
    /// … with this one
    #[arg(long, value_name = "N", requires = "from")]
    to: Option<u64>,
    /// Exit with 10 if anything differs
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    ledger: LedgerFile,
}

/// One appraisal with what it said.
struct Side<'a> {
    number: u64,
    entry: &'a Appraisal,
    verdict: Value,
    statement: Option<EpochStatement>,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    let opened = Opened::read(&arguments.ledger)?;
    let mut differs = false;
    if let (Some(from), Some(to)) = (arguments.from, arguments.to) {
        let pair = (named(&opened, from)?, named(&opened, to)?);
        differs |= show(Some(&pair.0), &pair.1, console)?;
    } else {
        let nodes: BTreeSet<_> = opened
            .entries
            .iter()
            .filter(|(_, entry)| arguments.filter.takes(entry))
            .map(|(_, entry)| entry.node())
            .collect();
        if nodes.is_empty() {
            return Err(
                Fault::usage("ledger.no_entry", "the ledger has no appraisal of such a node")
                    .with_remedy("`bastide ledger list` lists what it has"),
            );
        }
        for node in nodes {
            differs |= latest(&opened, node, arguments, console)?;
        }
    }
    Ok(if differs && arguments.exit_code {
        exit::REJECTED
    } else {
        exit::ACCEPTED
    })
}

fn named(opened: &Opened, number: u64) -> Result<Side<'_>, Fault> {
    match opened.entry(number)? {
        Entry::Appraisal(entry) => side(opened, number, entry)?.ok_or_else(|| {
            Fault::usage(
                "ledger.no_entry",
                format!("entry {number} has no facts: nothing about the node was established"),
            )
        }),
        Entry::Receipt(_) => Err(Fault::usage(
            "ledger.no_entry",
            format!("entry {number} is a receipt; name two appraisals"),
        )),
    }
}

/// What an appraisal said, if facts of the hardware were established.
fn side<'a>(opened: &Opened, number: u64, entry: &'a Appraisal) -> Result<Option<Side<'a>>, Fault> {
    let verdict = opened.view.verdict(&entry.verdict, entry.at)?;
    let Some(verdict) = verdict.filter(has_facts) else {
        return Ok(None);
    };
    let envelope = match &entry.evidence {
        Some(key) => opened.view.envelope(key)?,
        None => None,
    };
    let statement = envelope
        .and_then(|envelope| Evidence::decode(&envelope.bytes).ok())
        .and_then(|evidence| EpochStatement::decode(&evidence.as_unverified().statement).ok());
    Ok(Some(Side {
        number,
        entry,
        verdict,
        statement,
    }))
}

fn latest(opened: &Opened, node: &str, arguments: &Arguments, console: &Console) -> Result<bool, Fault> {
    let mut after = None;
    let of_node = opened
        .entries
        .iter()
        .rev()
        .filter_map(|(number, entry)| match entry {
            Entry::Appraisal(one) if one.node == node && arguments.filter.takes(entry) => {
                Some((*number, one))
            }
            _ => None,
        });
    for (number, entry) in of_node {
        match &after {
            None => after = side(opened, number, entry)?,
            Some(after) if after.entry.report != entry.report || after.entry.verdict != entry.verdict => {
                if let Some(before) = side(opened, number, entry)? {
                    return show(Some(&before), after, console);
                }
            }
            Some(_) => {}
        }
    }
    match &after {
        Some(after) => show(None, after, console),
        None => {
            console.note(&format!("{}: nothing was ever established about it", line(node)));
            Ok(false)
        }
    }
}

impl Side<'_> {
    fn said(&self) -> Said<'_> {
        Said {
            verdict: &self.verdict,
            statement: self.statement.as_ref(),
        }
    }
}

fn show(before: Option<&Side<'_>>, after: &Side<'_>, console: &Console) -> Result<bool, Fault> {
    let changes = before.map_or_else(Vec::new, |before| between(&before.said(), &after.said()));
    if console.json() {
        let end = |side: &Side<'_>| json!({"number": side.number, "time": time(side.entry.at)});
        console.object(&json!({
            "schema": SCHEMA,
            "node": after.entry.node,
            "before": before.map(end),
            "after": end(after),
            "changes": changes,
        }))?;
    } else {
        console.data(&human(before, after, &changes, console))?;
    }
    Ok(!changes.is_empty())
}

fn human(before: Option<&Side<'_>>, after: &Side<'_>, changes: &[Change], console: &Console) -> String {
    let paint = console.out();
    let node = paint.strong(&line(&after.entry.node));
    let Some(before) = before else {
        return format!(
            "{node}   one report is kept, of {}: nothing to compare it with\n",
            time(after.entry.at)
        );
    };
    let span = format!(
        "{} (entry {}) → {} (entry {})",
        time(before.entry.at),
        before.number,
        time(after.entry.at),
        after.number
    );
    if changes.is_empty() {
        return format!("{node}   {}   {span}\n", paint.good("unchanged"));
    }
    let mut topics: Vec<(&str, Vec<Tree>)> = Vec::new();
    for change in changes {
        let value = |value: &Option<String>| value.as_deref().map_or_else(|| "none".to_owned(), brief);
        let leaf = Tree::new(
            line(&change.name),
            vec![
                Tree::leaf(format!("was  {}", value(&change.before))),
                Tree::leaf(format!("is   {}", value(&change.after))),
            ],
        );
        match topics.last_mut() {
            Some((topic, leaves)) if *topic == change.topic.as_str() => leaves.push(leaf),
            _ => topics.push((change.topic.as_str(), vec![leaf])),
        }
    }
    let branches = topics
        .into_iter()
        .map(|(topic, leaves)| Tree::new(paint.strong(topic), leaves))
        .collect();
    let title = format!("{node}   {}   {span}", paint.warn("changed"));
    Tree::new(title, branches).render()
}
