//! Who may come in before anything is attested: limits of the whole node and
//! of one client on handshakes, connections and attests, in memory that is
//! bounded whoever comes. It knows addresses and counts, never content.
//!
//! | module | what it owns |
//! |---|---|
//! | `limits` | the numbers, and what counts as one client |
//! | `bucket` | a rate with a burst |
//! | `clients` | the table of clients, and which of them may be forgotten |
//!
//! Behind the host's relay, or on vsock, all clients have the relay's address:
//! there a connection is a client of its own, limits of one client apply to
//! what one connection can do, and the node's limits to all of them together.

mod bucket;
mod clients;
mod limits;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use limits::{AdmissionLimits, ClientKey, Rate};

use tokio::sync::{Semaphore, SemaphorePermit};

use bucket::Bucket;
use clients::{Clients, Seat};

use crate::metrics::{Metrics, Refusal};

/// Bodies of one connection that are read at the same time. Over HTTP/2 more may
/// be announced: they wait in its flow control.
const BODIES: usize = 4;

/// Who shares with whom: generations are dealt out between these in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Share {
    /// Everybody at an address; an IPv6 network of 64 bits.
    Address([u8; 16]),
    /// One connection.
    Connection(u64),
}

/// The limits, and what is in use of them.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: AdmissionLimits,
    connections: usize,
    metrics: Arc<Metrics>,
    next: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    connections: usize,
    handshakes: usize,
    attests: Bucket,
    clients: Clients,
}

impl Admission {
    /// Nobody is here yet. `connections` is how many the node holds at once.
    pub(crate) fn new(limits: AdmissionLimits, connections: usize, metrics: &Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                connections: 0,
                handshakes: 0,
                attests: Bucket::default(),
                clients: Clients::new(limits.clients),
            }),
            limits,
            connections,
            metrics: Arc::clone(metrics),
            next: AtomicU64::new(0),
        })
    }

    /// Lets a connection in, or refuses it before its first byte is read. The
    /// guest holds its places until it is dropped.
    ///
    /// # Errors
    /// Which limit was reached; it is counted.
    pub(crate) fn arrive(self: &Arc<Self>, peer: Option<IpAddr>, now: Instant) -> Result<Guest, Refusal> {
        let address = peer.and_then(|peer| self.limits.client_key.address(peer));
        let seat = self.seat(address, now).inspect_err(|refusal| {
            self.metrics.refuse(*refusal);
        })?;
        Ok(Guest {
            admission: Arc::clone(self),
            share: address.map_or_else(
                || Share::Connection(self.next.fetch_add(1, Ordering::Relaxed)),
                Share::Address,
            ),
            seat,
            handshaking: Mutex::new(true),
            attests: Mutex::new(Bucket::default()),
            bodies: Semaphore::new(BODIES),
        })
    }

    fn seat(&self, address: Option<[u8; 16]>, now: Instant) -> Result<Option<Seat>, Refusal> {
        let limits = &self.limits;
        let mut state = self.state();
        if state.connections >= self.connections {
            return Err(Refusal::Connections);
        }
        if state.handshakes >= limits.handshakes {
            return Err(Refusal::Handshakes);
        }
        let seat = match address {
            Some(address) => Some(state.clients.arrive(address, limits, now)?),
            None => None,
        };
        state.connections += 1;
        state.handshakes += 1;
        Ok(seat)
    }

    /// Counts an attest against every limit that it falls under.
    fn attest(&self, guest: &Guest, now: Instant) -> Result<(), TooFast> {
        let limits = &self.limits;
        let refused = |refusal, wait| {
            self.metrics.refuse(refusal);
            TooFast { refusal, wait }
        };
        let own = guest
            .lock_attests()
            .take(limits.connection_attests, now)
            .map_err(|wait| refused(Refusal::ConnectionAttests, wait));
        own?;
        let mut state = self.state();
        if let Some(seat) = guest.seat {
            let taken = state.clients.attest(seat, limits, now);
            taken.map_err(|wait| refused(Refusal::ClientAttests, wait))?;
        }
        let taken = state.attests.take(limits.attests, now);
        taken.map_err(|wait| refused(Refusal::Attests, wait))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a few additions that can't panic: what is there is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attest that came too soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooFast {
    /// Which limit was reached.
    pub(crate) refusal: Refusal,
    /// When another will be let through.
    pub(crate) wait: Duration,
}

/// A connection that was let in. Dropping it gives its places back.
#[derive(Debug)]
pub(crate) struct Guest {
    admission: Arc<Admission>,
    share: Share,
    seat: Option<Seat>,
    handshaking: Mutex<bool>,
    attests: Mutex<Bucket>,
    bodies: Semaphore,
}

impl Guest {
    /// Whom its generations are dealt out with.
    pub(crate) const fn share(&self) -> Share {
        self.share
    }

    /// Says that the handshake is over, however it ended.
    pub(crate) fn handshaken(&self) {
        let mut handshaking = self.handshaking.lock().unwrap_or_else(PoisonError::into_inner);
        if !core::mem::replace(&mut *handshaking, false) {
            return;
        }
        let mut state = self.admission.state();
        state.handshakes = state.handshakes.saturating_sub(1);
        if let Some(seat) = self.seat {
            state.clients.handshaken(seat);
        }
    }

    /// Counts an attest, the first or a renewal.
    ///
    /// # Errors
    /// [`TooFast`] says which limit was reached; no report is to be made then.
    pub(crate) fn attest(&self) -> Result<(), TooFast> {
        self.admission.attest(self, Instant::now())
    }

    /// Waits for a place to read a request's body in, so that one connection
    /// holds no more of them than a few. Nobody else waits for it.
    pub(crate) async fn body_place(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed: there is always a place in the end.
        self.bodies.acquire().await.ok()
    }

    fn lock_attests(&self) -> MutexGuard<'_, Bucket> {
        self.attests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.handshaken();
        let mut state = self.admission.state();
        state.connections = state.connections.saturating_sub(1);
        if let Some(seat) = self.seat {
            state.clients.leave(seat);
        }
    }
}

#[cfg(test)]
mod tests;
