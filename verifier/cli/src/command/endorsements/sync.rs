//! `bastide endorsements sync`: the only action that opens a connection.

use std::path::PathBuf;

use bastide_attestation::snp::SigningKey;
use bastide_endorsements::fetch::{Attempt, FetchError, Limits, Service, SystemPace, Wait};
use bastide_endorsements::kds::{Kds, KdsAddress};
use bastide_endorsements::nvidia::{self, Services, Sources};
use bastide_endorsements::sync::{Outcome, Refresh, SyncError, Synced, sync};
use bastide_endorsements::{Item, Name, Put, Store};
use clap::Args;

use super::gpus::Gpus;
use super::wanted::Wanted;
use super::{Row, outcome, show, unusable};
use crate::command::block_on;
use crate::console::Console;
use crate::fault::Fault;
use crate::{clock, escape, exit, progress};

/// Fetch what reports need from AMD's key server and NVIDIA's services
#[derive(Debug, Args)]
#[command(after_help = format!("\
What the directory has is not fetched again, except AMD's revocation lists and NVIDIA's manifests, which
are signed anew under the same id, and NVIDIA's OCSP answers and lists after half the time for which they
hold. Of each the newest stays. AMD's server answers each address about once in 10 s; waits are said on
stderr.

Examples:
  bastide endorsements sync --store ./endorsements --report report.bin
  bastide endorsements sync --store ./endorsements --product genoa
  bastide endorsements sync --store ./endorsements --product turin --hwid 0123456789abcdef \\
      --tcb fmc=1,boot_loader=1,tee=1,snp=4,microcode=81
  bastide endorsements sync --store ./endorsements --evidence evidence.cmw --kds http://mirror.example/amd
  bastide endorsements sync --store ./endorsements --gpu-report gpu.bin --gpu-chain gpu.pem

{}", exit::HELP))]
pub(super) struct Arguments {
    /// Directory of endorsements; made if it isn't there
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    gpus: Gpus,
    /// Key server, or a mirror that answers as it does
    #[arg(long, value_name = "URL", default_value_t = KdsAddress::default())]
    kds: KdsAddress,
    /// Fetch nothing that the directory has, however old it is
    #[arg(long, conflicts_with = "all")]
    missing_only: bool,
    /// Fetch everything anew
    #[arg(long, visible_alias = "force")]
    all: bool,
}

/// Runs it.
///
/// # Errors
/// [`Fault`] of unavailability if something could not be fetched; what could
/// be is kept.
pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<u8, Fault> {
    let mut sources = Sources::default();
    arguments.gpus.add_to(&mut sources)?;
    let names = arguments.wanted.names(&mut sources)?;
    let by_provider = |name: &Name| matches!(name, Name::Chain(_, SigningKey::Vlek));
    if names.iter().any(by_provider) {
        console.note(
            "a VLEK's certificate is handed out by its cloud provider alone; its chain and list are fetched",
        );
    }
    let (refresh, refresh_nvidia) = match (arguments.missing_only, arguments.all) {
        (true, _) => (Refresh::Missing, nvidia::Refresh::Missing),
        (_, true) => (Refresh::All, nvidia::Refresh::All),
        _ => (Refresh::Lists, nvidia::Refresh::Published),
    };
    let store = Store::create(&arguments.store).map_err(|error| unusable(&error))?;
    let said = *console;
    let pace = || SystemPace::new(move |wait: &Wait<'_>| said.note(&escape::line(&wait.to_string())));
    let kds = Kds::new(arguments.kds.clone(), Limits::default(), pace());
    let addresses = arguments.gpus.addresses();
    let nvidia = format!("asking {} and {}", addresses.rim, addresses.ocsp);
    let services = Services::new(addresses, Limits::default(), pace());
    let amd = format!("asking {}", arguments.kds);
    let now = clock::now();
    let (of_amd, of_nvidia) = block_on(async {
        let of_amd = progress::shown(console, &amd, sync(&store, &kds, &names, refresh, now)).await;
        let work = nvidia::sync(&store, &services, &sources, refresh_nvidia, now);
        Ok((of_amd, progress::shown(console, &nvidia, work).await))
    })?;
    let damaged_of_amd = of_amd.iter().filter_map(|outcome| outcome.damaged.as_ref());
    let damaged = of_nvidia.iter().filter_map(|outcome| outcome.damaged.as_ref());
    for error in damaged_of_amd.chain(damaged) {
        console.warn(&escape::line(&format!("fetched again: {error}")));
    }
    let fault_of_amd = of_amd.iter().find_map(|outcome| outcome.result.as_ref().err());
    let fault_of_nvidia = of_nvidia.iter().find_map(|outcome| outcome.result.as_ref().err());
    let failed = fault_of_amd.map(fault).or_else(|| fault_of_nvidia.map(fault));
    let rows = of_amd
        .iter()
        .map(row)
        .chain(of_nvidia.iter().map(row_nvidia))
        .collect();
    show(console, "sync", rows)?;
    failed.map_or(Ok(exit::ACCEPTED), Err)
}

fn row(outcome_of: &Outcome) -> Row {
    let name = &outcome_of.name.into();
    match &outcome_of.result {
        Ok(Synced::Kept) => Row::new(name, "kept"),
        Ok(Synced::Fetched(Put::Stored)) => Row::new(name, "fetched"),
        Ok(Synced::Fetched(put)) => Row::new(name, outcome(*put)),
        Err(error) => Row::new(name, "failed").fault(error.code(), error.to_string()),
    }
}

fn row_nvidia(outcome_of: &nvidia::Outcome) -> Row {
    let became = match &outcome_of.result {
        Ok(nvidia::Synced::Kept) => "kept",
        Ok(nvidia::Synced::Fetched(Put::Stored)) => "fetched",
        Ok(nvidia::Synced::Fetched(put)) => outcome(*put),
        Ok(nvidia::Synced::Updated { .. }) => "updated",
        Err(_) => "failed",
    };
    let row = match outcome_of.endorsement.clone() {
        Some(endorsement) => Row::of(&Item::Nvidia(endorsement), became),
        None => Row::new(&outcome_of.name.clone().into(), became),
    };
    match &outcome_of.result {
        Ok(_) => row,
        Err(error) => row.fault(error.code(), error.to_string()),
    }
}

fn fault(error: &SyncError) -> Fault {
    match error {
        SyncError::Fetch { source, .. } => not_had(source, error.code(), error.to_string()),
        SyncError::Store(error) => unusable(error),
        _ => Fault::unavailable(error.code(), error.to_string()),
    }
}

fn not_had(source: &FetchError, code: &'static str, message: String) -> Fault {
    let remedy = match (&source.last, source.service) {
        (Attempt::Unknown, Service::Kds) => {
            "see that the report is of this machine, and its product and TCB version are right"
        }
        (Attempt::Unknown, _) => {
            "try again in some days, or run a driver and a VBIOS whose manifests are published"
        }
        (Attempt::Wrong(_) | Attempt::Redirected { .. }, Service::Kds) => {
            "see whether a proxy or mirror stands between, and name AMD's own server with --kds"
        }
        (Attempt::Wrong(_) | Attempt::Redirected { .. }, _) => {
            "see whether a proxy or mirror stands between, and name NVIDIA's own services"
        }
        _ => "try again later, or import an export from a machine that has reached the server",
    };
    Fault::unavailable(code, message).with_remedy(remedy)
}
