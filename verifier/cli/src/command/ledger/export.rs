//! `bastide ledger export`: everything as lines of JSON, for another program or
//! another machine. An envelope comes once, before the first line that needs it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};

use super::{Filter, Opened, time};
use crate::console::Console;
use crate::fault::Fault;
use crate::file::{self, Existing};
use crate::ledger::LedgerFile;
use crate::ledger::record::Entry;

const SCHEMA: &str = "bastide.ledger-export/v1";

/// Write entries as lines of JSON, evidence included
#[derive(Debug, Args)]
#[command(after_help = "\
Each line has `schema` and `kind`: `evidence` (an envelope, base64, with its key), `appraisal` (with the
verdict), `receipt`. Members are only ever added.

Examples:
  bastide ledger export -o ledger.jsonl
  bastide ledger export --node https://node.example --since 2026-01-01T00:00:00Z")]
pub(super) struct Arguments {
    #[command(flatten)]
    filter: Filter,
    /// Write to this file instead of stdout; it must not exist
    #[arg(short, long, value_name = "FILE")]
    output_file: Option<PathBuf>,
    #[command(flatten)]
    ledger: LedgerFile,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<(), Fault> {
    let opened = Opened::read(&arguments.ledger)?;
    let mut text = String::new();
    let mut sent = BTreeSet::new();
    for (number, entry) in opened
        .entries
        .iter()
        .filter(|(_, entry)| arguments.filter.takes(entry))
    {
        let key = match entry {
            Entry::Appraisal(one) => one.evidence.clone(),
            Entry::Receipt(kept) => opened.view.evidence_of(&kept.statement)?,
        };
        if let Some(key) = key.filter(|key| !sent.contains(key)) {
            if let Some(envelope) = opened.view.envelope(&key)? {
                push(
                    &mut text,
                    &json!({
                        "schema": SCHEMA,
                        "kind": "evidence",
                        "key": key,
                        "first_seen": time(envelope.first),
                        "accepted": envelope.accepted,
                        "envelope": STANDARD.encode(&envelope.bytes),
                    }),
                );
            }
            sent.insert(key);
        }
        let mut value = serde_json::to_value(entry)
            .map_err(|error| Fault::internal(format!("an entry is no JSON: {error}")))?;
        if let Value::Object(members) = &mut value {
            members.insert("schema".to_owned(), SCHEMA.into());
            members.insert("number".to_owned(), (*number).into());
            members.insert("time".to_owned(), time(entry.at()).into());
            if let Entry::Appraisal(one) = entry {
                members.insert(
                    "verdict".to_owned(),
                    opened.view.verdict(&one.verdict, one.at)?.unwrap_or_default(),
                );
            }
        }
        push(&mut text, &value);
        if arguments.output_file.is_none() {
            if !console.stream(&text)? {
                return Ok(());
            }
            text.clear();
        }
    }
    match &arguments.output_file {
        Some(path) => file::write(path, text.as_bytes(), Existing::Keep),
        None => Ok(()),
    }
}

fn push(text: &mut String, value: &Value) {
    text.push_str(&value.to_string());
    text.push('\n');
}
