//! Endorsements besides the operator's files and the host's table: those of a
//! directory, and those that AMD's key server gives. The attester asks on the
//! thread of the security processor and is answered at once; what is missing is
//! fetched beside it, for a later report. An outage of the server takes nothing
//! away that is here.

mod courier;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bastide_attestation::snp::{Generation, SigningKey, VcekId, VekId};
use bastide_attester::device::{EndorsementSource, Held};
use bastide_endorsements::kds::{Kds, KdsAddress, KdsLimits, SystemPace, Wait};
use bastide_endorsements::{Endorsement, Name, Put, Store};
use tokio::sync::{Notify, mpsc, watch};

use crate::clock;
use crate::telemetry::ops;

pub use courier::Courier;

/// Most endorsements in memory. A host that changes REPORTED_TCB again and
/// again makes us forget the oldest.
const MOST_FETCHED: usize = 16;
/// Most certificates that may wait to be fetched.
const MOST_WAITING: usize = 4;

/// How often things are tried.
#[derive(Debug, Clone, Copy)]
struct Rhythm {
    /// How often is looked whether a revocation list is due.
    look: Duration,
    /// How old a list's download gets.
    renew: Duration,
    /// How long a certificate that could not be had is not asked for again.
    cooldown: Duration,
}

impl Default for Rhythm {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            look: HOUR,
            renew: HOUR.saturating_mul(24),
            cooldown: Duration::from_secs(60),
        }
    }
}

/// A line of processors and a kind of key: what chains and lists are for.
type Family = (Generation, SigningKey);

/// Brings endorsements to the attester.
pub struct Endorser {
    store: Option<Store>,
    state: Mutex<State>,
    errands: Option<Errands>,
}

#[derive(Debug, Default)]
struct State {
    /// What was fetched and could not be written to the directory.
    fetched: Vec<Endorsement>,
    /// Whom chains and lists are wanted for.
    families: Vec<Family>,
    /// What could not be had, when, and why.
    failed: Vec<(VcekId, Instant, String)>,
    /// Files that were complained about.
    complained: Vec<Name>,
}

/// The way to the courier.
#[derive(Debug)]
struct Errands {
    address: KdsAddress,
    rhythm: Rhythm,
    wanted: mpsc::Sender<VcekId>,
    /// Certificates that wait or are being fetched.
    pending: watch::Sender<Vec<VcekId>>,
    /// A family was seen for the first time.
    family: Notify,
}

impl fmt::Debug for Endorser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endorser")
            .field("store", &self.store)
            .field("errands", &self.errands)
            .finish_non_exhaustive()
    }
}

impl Endorser {
    /// From a directory alone; asks nobody.
    #[must_use]
    pub fn offline(store: Store) -> Self {
        Self {
            store: Some(store),
            state: Mutex::default(),
            errands: None,
        }
    }

    /// From a directory, if there is one, and from a server for what it lacks.
    /// Nothing is fetched before the courier runs.
    #[must_use]
    pub fn with_kds(store: Option<Store>, address: KdsAddress) -> (Arc<Self>, Courier) {
        Self::with_rhythm(store, address, KdsLimits::default(), Rhythm::default())
    }

    fn with_rhythm(
        store: Option<Store>,
        address: KdsAddress,
        limits: KdsLimits,
        rhythm: Rhythm,
    ) -> (Arc<Self>, Courier) {
        let (wanted, orders) = mpsc::channel(MOST_WAITING);
        let endorser = Arc::new(Self {
            store,
            state: Mutex::default(),
            errands: Some(Errands {
                address: address.clone(),
                rhythm,
                wanted,
                pending: watch::Sender::default(),
                family: Notify::new(),
            }),
        });
        let pace = SystemPace::new(say_wait as fn(&Wait<'_>));
        let kds = Kds::new(address, limits, pace);
        let courier = Courier::new(Arc::clone(&endorser), kds, orders, rhythm);
        (endorser, courier)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for certificates that are on their way. `false` if nobody is asked
    /// for any. What was on its way when it was missed may be here, or known not
    /// to be had, before anybody waits: then there is nothing to wait for.
    pub async fn arrival(&self) -> bool {
        let Some(errands) = &self.errands else {
            return false;
        };
        let mut pending = errands.pending.subscribe();
        // The sender is ours, so that it can't be gone.
        let _ = pending.wait_for(Vec::is_empty).await;
        true
    }

    /// The newest of directory and memory.
    fn find(&self, name: &Name) -> Option<Endorsement> {
        let kept = match self.store.as_ref().map(|store| store.get(name)) {
            None | Some(Ok(None)) => None,
            Some(Ok(Some(kept))) => Some(kept),
            Some(Err(error)) => {
                let mut state = self.state();
                if !state.complained.contains(name) {
                    state.complained.push(*name);
                    ops!(
                        WARN,
                        "endorsements.damaged",
                        code = error.code(),
                        cause = error.to_string().as_str()
                    );
                }
                None
            }
        };
        let state = self.state();
        let fetched = state.fetched.iter().find(|fetched| fetched.name() == name);
        match (kept, fetched) {
            (Some(kept), Some(fetched)) if fetched.issued() > kept.issued() => Some(fetched.clone()),
            (Some(kept), _) => Some(kept),
            (None, fetched) => fetched.cloned(),
        }
    }

    /// Keeps what was fetched: in the directory, or in memory if that can't be.
    fn keep(&self, endorsement: Endorsement) {
        if let Some(store) = &self.store {
            match store.put(&endorsement, clock::now()) {
                Ok(Put::Stored | Put::Unchanged | Put::Older) => {
                    self.state().complained.retain(|name| name != endorsement.name());
                    return;
                }
                Err(error) => {
                    ops!(
                        WARN,
                        "endorsements.not_kept",
                        code = error.code(),
                        cause = error.to_string().as_str()
                    );
                }
            }
        }
        let mut state = self.state();
        state
            .fetched
            .retain(|fetched| fetched.name() != endorsement.name());
        if state.fetched.len() == MOST_FETCHED {
            state.fetched.remove(0);
        }
        state.fetched.push(endorsement);
    }

    /// A certificate came, or could not be had.
    fn settle(&self, id: &VcekId, outcome: Result<Endorsement, String>) {
        match outcome {
            Ok(endorsement) => self.keep(endorsement),
            Err(reason) => {
                let mut state = self.state();
                state.failed.retain(|(failed, ..)| failed != id);
                if state.failed.len() == MOST_FETCHED {
                    state.failed.remove(0);
                }
                state.failed.push((*id, Instant::now(), reason));
            }
        }
        if let Some(errands) = &self.errands {
            errands
                .pending
                .send_modify(|pending| pending.retain(|waiting| waiting != id));
        }
    }
}

impl EndorsementSource for Endorser {
    fn at_hand(&self, wanted: &VekId) -> Held {
        let family = (wanted.generation(), wanted.key());
        if let Some(errands) = &self.errands {
            let mut state = self.state();
            if !state.families.contains(&family) {
                state.families.push(family);
                errands.family.notify_one();
            }
        }
        let mut held = Held::default();
        for name in Name::all_for(wanted) {
            let Some(found) = self.find(&name) else { continue };
            let objects = found.into_objects();
            match name {
                Name::Vcek(_) => held.vek = objects.into_iter().next(),
                Name::Chain(..) => held.chain = objects,
                Name::Crl(..) => held.crl = objects.into_iter().next(),
            }
        }
        held
    }

    fn missing(&self, wanted: &VekId) -> Option<String> {
        let (Some(errands), VekId::Vcek(id)) = (&self.errands, wanted) else {
            return None;
        };
        let server = &errands.address;
        let failed = |(failed, at, reason): &(VcekId, Instant, String)| {
            let recent = failed == id && at.elapsed() < errands.rhythm.cooldown;
            recent.then(|| format!("{server} did not give it: {reason}; it is asked again in a minute"))
        };
        if let Some(reason) = self.state().failed.iter().find_map(failed) {
            return Some(reason);
        }
        let on_its_way = format!("it is being fetched from {server}");
        // Under one lock, so that it isn't ordered twice.
        let mut full = false;
        errands.pending.send_if_modified(|pending| {
            if pending.contains(id) {
                return false;
            }
            full = errands.wanted.try_send(*id).is_err();
            if !full {
                pending.push(*id);
            }
            !full
        });
        if full {
            return Some(format!("{server} is asked for others first; try again later"));
        }
        Some(on_its_way)
    }
}

/// Nothing in these words came from a client: they are about our own download.
fn say_wait(wait: &Wait<'_>) {
    ops!(WARN, "endorsements.waiting", cause = wait.to_string().as_str());
}

#[cfg(test)]
mod tests;
