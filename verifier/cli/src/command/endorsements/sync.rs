//! `bastide endorsements sync`: the only action that opens a connection.

use std::path::PathBuf;

use bastide_attestation::snp::SigningKey;
use bastide_endorsements::kds::{Attempt, Kds, KdsAddress, KdsLimits, SystemPace, Wait};
use bastide_endorsements::sync::{Outcome, Refresh, SyncError, Synced, sync};
use bastide_endorsements::{Name, Put, Store};
use clap::Args;

use super::wanted::Wanted;
use super::{Row, outcome, show, unusable};
use crate::command::block_on;
use crate::console::Console;
use crate::fault::Fault;
use crate::{clock, escape, exit, progress};

/// Fetch what reports need from AMD's key server
#[derive(Debug, Args)]
#[command(after_help = format!("\
What the directory has is not fetched again, except revocation lists, of which the newest stays.
AMD's server answers each address about once in 10 s; waits are said on stderr.

Examples:
  bastide endorsements sync --store ./endorsements --report report.bin
  bastide endorsements sync --store ./endorsements --product genoa
  bastide endorsements sync --store ./endorsements --product turin --hwid 0123456789abcdef \\
      --tcb fmc=1,boot_loader=1,tee=1,snp=4,microcode=81
  bastide endorsements sync --store ./endorsements --evidence evidence.cmw --kds http://mirror.example/amd

{}", exit::HELP))]
pub(super) struct Arguments {
    /// Directory of endorsements; made if it isn't there
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    #[command(flatten)]
    wanted: Wanted,
    /// Key server, or a mirror that answers as it does
    #[arg(long, value_name = "URL", default_value_t = KdsAddress::default())]
    kds: KdsAddress,
    /// Fetch nothing that the directory has, revocation lists included
    #[arg(long, conflicts_with = "all")]
    missing_only: bool,
    /// Fetch everything anew
    #[arg(long)]
    all: bool,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] of unavailability if something could not be fetched; what could
/// be is kept.
pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    let names = arguments.wanted.names()?;
    let by_provider = |name: &Name| matches!(name, Name::Chain(_, SigningKey::Vlek));
    if names.iter().any(by_provider) {
        console.note(
            "a VLEK's certificate is handed out by its cloud provider alone; its chain and list are fetched",
        );
    }
    let refresh = match (arguments.missing_only, arguments.all) {
        (true, _) => Refresh::Missing,
        (_, true) => Refresh::All,
        _ => Refresh::Lists,
    };
    let store = Store::create(&arguments.store).map_err(|error| unusable(&error))?;
    let said = *console;
    let pace = SystemPace::new(move |wait: &Wait<'_>| said.note(&escape::line(&wait.to_string())));
    let kds = Kds::new(arguments.kds.clone(), KdsLimits::default(), pace);
    let what = format!("asking {}", arguments.kds);
    let outcomes = block_on(async {
        let work = sync(&store, &kds, &names, refresh, clock::now());
        Ok(progress::shown(console, &what, work).await)
    })?;
    let mut failed = None;
    for outcome in &outcomes {
        if let Some(error) = &outcome.damaged {
            console.warn(&escape::line(&format!("fetched again: {error}")));
        }
        if let Err(error) = &outcome.result {
            failed.get_or_insert_with(|| fault(error));
        }
    }
    show(console, "sync", outcomes.iter().map(row).collect())?;
    failed.map_or(Ok(exit::ACCEPTED), Err)
}

fn row(outcome_of: &Outcome) -> Row {
    let name = &outcome_of.name;
    match &outcome_of.result {
        Ok(Synced::Kept) => Row::new(name, "kept"),
        Ok(Synced::Fetched(Put::Stored)) => Row::new(name, "fetched"),
        Ok(Synced::Fetched(put)) => Row::new(name, outcome(*put)),
        Err(error) => Row::new(name, "failed").fault(error.code(), error.to_string()),
    }
}

fn fault(error: &SyncError) -> Fault {
    match error {
        SyncError::Kds { source, .. } => {
            let remedy = match source.last {
                Attempt::Unknown => {
                    "see that the report is of this machine, and its product and TCB version are right"
                }
                Attempt::Wrong(_) | Attempt::Redirected { .. } => {
                    "see whether a proxy or mirror stands between, and name AMD's own server with --kds"
                }
                _ => "try again later, or import an export from a machine that has reached the server",
            };
            Fault::unavailable(error.code(), error.to_string()).with_remedy(remedy)
        }
        SyncError::Store(error) => unusable(error),
        _ => Fault::unavailable(error.code(), error.to_string()),
    }
}
