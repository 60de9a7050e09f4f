//! `bastide endorsements`: keeps AMD's certificates, chains and revocation
//! lists and NVIDIA's manifests, OCSP answers and lists in a directory, for
//! machines that must not or can't ask AMD and NVIDIA themselves. Verifies no
//! signature: that is for whoever appraises.

mod gpus;
mod kept;
mod sync;
mod wanted;

use std::path::PathBuf;

use bastide_attestation::UnixTime;
use bastide_endorsements::nvidia;
use bastide_endorsements::transfer::{self, TransferError};
use bastide_endorsements::{Item, ItemName, Put, Store, StoreError};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::clock;
use crate::console::Console;
use crate::escape::line;
use crate::exit;
use crate::fault::Fault;

pub(crate) use kept::{Kept, kept_for};

const SCHEMA: &str = "bastide.endorsements/v1";

/// Keep what AMD and NVIDIA issue for processors and GPUs in a directory
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  bastide endorsements sync --store ./endorsements --report report.bin
  bastide endorsements sync --store ./endorsements --gpu-report gpu.bin --gpu-chain gpu.pem
  bastide endorsements export --store ./endorsements /media/usb/endorsements
  bastide endorsements import --store /var/lib/bastide/endorsements /media/usb/endorsements
  bastide appraise --snp-report report.bin --endorsements ./endorsements

{}", exit::HELP))]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Sync(Box<sync::Arguments>),
    Export(ExportArguments),
    Import(ImportArguments),
    List(ListArguments),
}

/// Copy everything into a new folder, with a list of digests
#[derive(Debug, Args)]
#[command(after_help = "\
The list, endorsements.sha256, is of the form that `sha256sum --check` reads.

Example:
  bastide endorsements export --store ./endorsements /media/usb/endorsements")]
struct ExportArguments {
    /// Directory of endorsements
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// New or empty folder
    #[arg(value_name = "FOLDER")]
    to: PathBuf,
}

/// Check an exported folder and keep what is in it
#[derive(Debug, Args)]
#[command(after_help = "\
Every file is checked before one is kept. None gives way to one that was issued earlier.

Example:
  bastide endorsements import --store /var/lib/bastide/endorsements /media/usb/endorsements")]
struct ImportArguments {
    /// Directory of endorsements; made if it isn't there
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// Folder as `export` makes it
    #[arg(value_name = "FOLDER")]
    from: PathBuf,
}

/// Say what a directory holds
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bastide endorsements list --store ./endorsements --output json")]
struct ListArguments {
    /// Directory of endorsements
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
}

/// One endorsement, as it is shown.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    what: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued: Option<String>,
    /// Of a manifest, hex: NVIDIA publishes others under the same id.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl Row {
    fn new(name: &ItemName, outcome: &'static str) -> Self {
        Self {
            name: name.to_string(),
            what: name.describe(),
            outcome,
            issued: None,
            sha256: None,
            code: None,
            message: None,
        }
    }

    /// With when it was issued, and of a manifest its digest.
    fn of(item: &Item, outcome: &'static str) -> Self {
        Self {
            sha256: manifest_digest(item),
            ..Self::new(&item.name(), outcome).issued(item.issued())
        }
    }

    fn issued(self, at: UnixTime) -> Self {
        Self {
            issued: Some(at.to_string()),
            ..self
        }
    }

    fn fault(self, code: &'static str, message: String) -> Self {
        Self {
            code: Some(code),
            message: Some(message),
            ..self
        }
    }
}

fn manifest_digest(item: &Item) -> Option<String> {
    match item {
        Item::Nvidia(endorsement) if matches!(endorsement.name(), nvidia::Name::Rim(_)) => {
            Some(hex::encode(endorsement.sha256()))
        }
        Item::Nvidia(_) | Item::Amd(_) => None,
    }
}

const fn outcome(put: Put) -> &'static str {
    match put {
        Put::Stored => "stored",
        Put::Unchanged => "unchanged",
        Put::Older => "older",
    }
}

/// Runs it.
///
/// # Errors
/// [`Fault`] of unavailability if something could not be fetched, of malformed
/// input if a folder isn't what an export is, of usage if one can't be used.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    match &arguments.action {
        Action::Sync(arguments) => sync::run(arguments, console),
        Action::Export(arguments) => export(arguments, console),
        Action::Import(arguments) => import(arguments, console),
        Action::List(arguments) => list(arguments, console),
    }
}

fn export(arguments: &ExportArguments, console: &Console) -> Result<u8, Fault> {
    let store = Store::open(&arguments.store).map_err(|error| unusable(&error))?;
    let exported = transfer::export(&store, &arguments.to).map_err(|error| refused(&error))?;
    let rows = exported.iter().map(|item| Row::of(item, "exported")).collect();
    show(console, "export", rows)?;
    Ok(exit::ACCEPTED)
}

fn import(arguments: &ImportArguments, console: &Console) -> Result<u8, Fault> {
    let store = Store::create(&arguments.store).map_err(|error| unusable(&error))?;
    let imported =
        transfer::import(&store, &arguments.from, clock::now()).map_err(|error| refused(&error))?;
    let rows = imported
        .iter()
        .map(|(name, put)| Row::new(name, outcome(*put)))
        .collect();
    show(console, "import", rows)?;
    Ok(exit::ACCEPTED)
}

fn list(arguments: &ListArguments, console: &Console) -> Result<u8, Fault> {
    let store = Store::open(&arguments.store).map_err(|error| unusable(&error))?;
    let entries = store.entries().map_err(|error| unusable(&error))?;
    let mut damaged = None;
    let rows = entries
        .iter()
        .map(|entry| match &entry.content {
            Ok(item) => Row::of(item, "kept"),
            Err(error) => {
                damaged.get_or_insert_with(|| unusable(error));
                Row::new(&entry.name, "damaged").fault(error.code(), error.to_string())
            }
        })
        .collect();
    show(console, "list", rows)?;
    damaged.map_or(Ok(exit::ACCEPTED), Err)
}

/// A table for people, an object for scripts.
fn show(console: &Console, action: &'static str, rows: Vec<Row>) -> Result<(), Fault> {
    if console.json() {
        return console.object(&serde_json::json!({
            "schema": SCHEMA,
            "action": action,
            "endorsements": rows,
        }));
    }
    let mut text = String::new();
    for row in rows {
        let issued = row.issued.map_or_else(String::new, |at| format!(", issued {at}"));
        text.push_str(&format!("{:<10} {}{issued}\n", row.outcome, line(&row.what)));
        if console.verbose() {
            text.push_str(&format!("{:<10} {}\n", "", line(&row.name)));
            if let Some(digest) = row.sha256 {
                text.push_str(&format!("{:<10} SHA-256 {digest}\n", ""));
            }
        }
        if let Some(message) = row.message {
            text.push_str(&format!("{:<10} {}\n", "", line(&message)));
        }
    }
    console.data(&text)
}

/// A directory that can't be used, or a file in it that is damaged.
fn unusable(error: &StoreError) -> Fault {
    match error {
        StoreError::Corrupt { .. } => Fault::malformed(error.code(), error.to_string()),
        StoreError::Io { .. } => Fault::usage(error.code(), error.to_string())
            .with_remedy("`bastide endorsements sync` and `import` make the directory"),
        _ => Fault::usage(error.code(), error.to_string()),
    }
}

fn refused(error: &TransferError) -> Fault {
    let (code, message) = (error.code(), error.to_string());
    match error {
        TransferError::Store(error) => unusable(error),
        TransferError::NotEmpty { .. } => Fault::usage(code, message),
        TransferError::Nothing { .. } => {
            Fault::usage(code, message).with_remedy("fill it with `bastide endorsements sync`")
        }
        _ => Fault::malformed(code, message).with_remedy("nothing was kept; make the export again"),
    }
}
