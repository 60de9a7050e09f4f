//! Brings a directory up to date from NVIDIA's services: what is missing or
//! damaged is fetched, answers and lists are renewed before they run out, and
//! what is there stays when a service can't be had.

use bastide_attestation::UnixTime;
use bastide_attestation::nvidia::{GpuEndorsements, GpuEvidence};

use super::endorsement::Endorsement;
use super::kept::{collect, find};
use super::name::Name;
use super::services::Services;
use super::sources::{SourceError, Sources, Wanted};
use crate::fetch::{FetchError, Pace};
use crate::store::{Put, Store, StoreError};
use crate::sync::SyncError;

/// What to fetch, each more than the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refresh {
    /// Only what the directory lacks.
    Missing,
    /// That, and answers and lists after half the time for which they hold.
    Due,
    /// That, and manifests: NVIDIA signs them anew under the same id.
    Published,
    /// Everything.
    All,
}

/// What became of one endorsement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced {
    /// It was there and was not asked for.
    Kept,
    /// It was fetched.
    Fetched(Put),
    /// It was fetched, and is a manifest in place of another under the same id.
    Updated {
        /// SHA-256 of the one before.
        before: [u8; 32],
    },
}

/// One endorsement's outcome.
#[derive(Debug)]
pub struct Outcome {
    /// Which.
    pub name: Name,
    /// A file that was there and unusable, and why; it is fetched again.
    pub damaged: Option<StoreError>,
    /// What became of it.
    pub result: Result<Synced, SyncError>,
    /// The newest there is of it, whatever became of the rest.
    pub endorsement: Option<Endorsement>,
}

/// Brings what is asked for up to date, one after the other: manifests, then
/// answers and lists, also about who signed the manifests. A failure with one
/// doesn't keep the others from being fetched.
pub async fn sync<P: Pace>(
    store: &Store,
    services: &Services<P>,
    sources: &Sources,
    refresh: Refresh,
    now: UnixTime,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for wanted in sources.rims() {
        outcomes.push(bring(store, services, &wanted, refresh, now).await);
    }
    let manifests = outcomes.iter().filter_map(|outcome| outcome.endorsement.as_ref());
    for wanted in sources.others(manifests) {
        outcomes.push(bring(store, services, &wanted, refresh, now).await);
    }
    outcomes
}

/// What is to be sent along with a machine's evidence, and how each was come by.
#[derive(Debug)]
pub struct Gathered {
    /// What there is; a verifier decides whether it is enough.
    pub endorsements: GpuEndorsements,
    /// What became of each.
    pub outcomes: Vec<Outcome>,
}

/// Gathers what goes with a machine's evidence: from the directory what is there
/// and, as far as `refresh` asks for it, from the services what is missing or
/// due. An outage of a service takes nothing away that is in the directory, and
/// a directory that can't be written nothing that was fetched.
///
/// # Errors
/// [`SourceError`] if it can't be said what the evidence needs.
pub async fn gpu_endorsements<P: Pace>(
    store: &Store,
    services: &Services<P>,
    evidence: &GpuEvidence,
    refresh: Refresh,
    now: UnixTime,
) -> Result<Gathered, SourceError> {
    let sources = Sources::of(evidence)?;
    let outcomes = sync(store, services, &sources, refresh, now).await;
    let found = outcomes.iter().filter_map(|outcome| outcome.endorsement.clone());
    Ok(Gathered {
        endorsements: collect(found),
        outcomes,
    })
}

async fn bring<P: Pace>(
    store: &Store,
    services: &Services<P>,
    wanted: &Wanted,
    refresh: Refresh,
    now: UnixTime,
) -> Outcome {
    let name = wanted.name();
    let (kept, damaged) = match find(store, &name) {
        Ok(found) => (found, None),
        Err(error) => (None, Some(error)),
    };
    let needed = kept.as_ref().is_none_or(|kept| match name {
        Name::Rim(_) => refresh >= Refresh::Published,
        Name::Ocsp(_) | Name::Crl(_) => {
            refresh == Refresh::All || (refresh >= Refresh::Due && kept.is_due(now))
        }
    });
    let (result, endorsement) = if needed {
        let fetched = services.fetch(wanted).await;
        settle(store, kept, fetched, now)
    } else {
        (Ok(Synced::Kept), kept)
    };
    Outcome {
        name,
        damaged,
        result,
        endorsement,
    }
}

/// Keeps what was fetched, and says which one counts from now on.
fn settle(
    store: &Store,
    kept: Option<Endorsement>,
    fetched: Result<Endorsement, FetchError>,
    now: UnixTime,
) -> (Result<Synced, SyncError>, Option<Endorsement>) {
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(source) => {
            let error = SyncError::Fetch {
                source,
                kept: kept.is_some(),
            };
            return (Err(error), kept);
        }
    };
    match store.put_item(&fetched.clone().into(), now) {
        Ok(Put::Older) => (Ok(Synced::Fetched(Put::Older)), kept),
        Ok(Put::Stored) => {
            let replaced = kept.filter(|kept| matches!(kept.name(), Name::Rim(_)));
            let synced = replaced.map_or(Synced::Fetched(Put::Stored), |kept| Synced::Updated {
                before: kept.sha256(),
            });
            (Ok(synced), Some(fetched))
        }
        Ok(put) => (Ok(Synced::Fetched(put)), Some(fetched)),
        // What is from the future would hide what is newer.
        Err(error @ StoreError::Future { .. }) => (Err(error.into()), kept),
        Err(error) => {
            let older = kept.filter(|kept| kept.issued() > fetched.issued());
            (Err(error.into()), Some(older.unwrap_or(fetched)))
        }
    }
}
