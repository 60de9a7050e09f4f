//! Brings a directory up to date from a server: what is missing or damaged is
//! fetched, revocation lists are fetched anew, and what is there stays when the
//! server can't be had.

use bastide_attestation::UnixTime;

use crate::fetch::{FetchError, Pace};
use crate::kds::Kds;
use crate::name::Name;
use crate::store::{Put, Store, StoreError};

/// What to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// Only what the directory lacks.
    Missing,
    /// That, and revocation lists.
    Lists,
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
}

/// Why one endorsement is not up to date.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The server didn't give it.
    #[error("{source}{}", if *.kept { "; the older copy stays" } else { "" })]
    Fetch {
        /// Why.
        #[source]
        source: FetchError,
        /// Whether the directory has a copy from before.
        kept: bool,
    },
    /// The directory can't be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SyncError {
    /// The stable dotted code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Fetch { source, .. } => source.code(),
            Self::Store(error) => error.code(),
        }
    }
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
}

/// Brings `names` up to date, one after the other. A failure with one doesn't
/// keep the others from being fetched.
pub async fn sync<P: Pace>(
    store: &Store,
    kds: &Kds<P>,
    names: &[Name],
    refresh: Refresh,
    now: UnixTime,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for name in names {
        outcomes.push(one(store, kds, *name, refresh, now).await);
    }
    outcomes
}

async fn one<P: Pace>(store: &Store, kds: &Kds<P>, name: Name, refresh: Refresh, now: UnixTime) -> Outcome {
    let (kept, damaged) = match store.get(&name) {
        Ok(found) => (found.is_some(), None),
        Err(error) => (false, Some(error)),
    };
    let wanted = match refresh {
        Refresh::Missing => !kept,
        Refresh::Lists => !kept || matches!(name, Name::Crl(..)),
        Refresh::All => true,
    };
    let result = if wanted {
        match kds.fetch(&name).await {
            Ok(endorsement) => store
                .put(&endorsement, now)
                .map(Synced::Fetched)
                .map_err(SyncError::Store),
            Err(source) => Err(SyncError::Fetch { source, kept }),
        }
    } else {
        Ok(Synced::Kept)
    };
    Outcome {
        name,
        damaged,
        result,
    }
}
