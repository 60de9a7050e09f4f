//! What the enclave knows of one connection: what evidence is bound to it,
//! whether and until when it may be used, and until when it may stay open. A
//! lease ends before its time when what was attested changes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bastide_attestation::{Nonce, StatementDigest};
use bastide_attested_tls::{SessionBinding, Standing};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Limits, Node};
use crate::admission::Guest;
use crate::api::ApiError;
use crate::metrics::Refusal;

/// Time to write an answer's last bytes to a slow client.
const FLUSH: Duration = Duration::from_secs(5);

/// A connection's permission to be used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    /// The nonce it was attested for.
    pub(crate) nonce: Nonce,
    /// The statement that answered it.
    pub(crate) statement: StatementDigest,
    /// What has to stay true.
    pub(crate) standing: Standing,
    until: Instant,
}

/// When a connection's time is over, and how it then ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// At once, whatever is under way.
    Cut(Instant),
    /// After the running answer, if there is one.
    Close(Instant),
}

impl Deadline {
    const fn at(self) -> Instant {
        let (Self::Cut(at) | Self::Close(at)) = self;
        at
    }

    /// The earlier of the two.
    fn or_before(self, other: Self) -> Self {
        if other.at() <= self.at() { other } else { self }
    }
}

/// One connection. Requests come one after the other over HTTP/1.1, and
/// several at once over HTTP/2.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) node: Arc<Node>,
    pub(crate) binding: SessionBinding,
    pub(crate) guest: Guest,
    state: Mutex<State>,
    changed: Notify,
    /// The lane's latest change that the deadline takes into account.
    seen: AtomicU64,
}

#[derive(Debug)]
struct State {
    lease: Option<Lease>,
    /// Requests that are being answered.
    running: usize,
    /// When the last of their times is over.
    busy_until: Instant,
    idle_since: Instant,
    begun: u64,
    /// No further request is wanted, though nobody was told yet.
    ending: bool,
    closing_since: Option<Instant>,
}

impl Session {
    /// A connection whose handshake has just ended: PENDING.
    pub(crate) fn new(node: Arc<Node>, binding: SessionBinding, guest: Guest) -> Arc<Self> {
        Arc::new(Self {
            node,
            binding,
            guest,
            state: Mutex::new(State {
                lease: None,
                running: 0,
                busy_until: Instant::now(),
                idle_since: Instant::now(),
                begun: 0,
                ending: false,
                closing_since: None,
            }),
            changed: Notify::new(),
            seen: AtomicU64::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment: a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_one();
    }

    /// Resolves when the deadline may have changed.
    pub(crate) async fn changed(&self) {
        let seen = self.seen.load(Ordering::Acquire);
        let mut changes = self.node.lane.changes();
        tokio::select! {
            () = self.changed.notified() => {}
            // The node has the lane, so there is always somebody to tell.
            _ = changes.wait_for(|change| *change != seen) => {}
        }
    }

    /// The lease, while it lasts and nothing that was attested has changed.
    ///
    /// # Errors
    /// [`ApiError::GpusNotAttested`] while nobody could get a lease for that
    /// reason, else [`ApiError::AttestationRequired`].
    pub(crate) fn require_lease(&self) -> Result<Lease, ApiError> {
        let lease = self.state().lease;
        let lease = lease.filter(|lease| Instant::now() < lease.until);
        match lease {
            Some(lease) => self.node.require_current(lease.standing).map(|()| lease),
            None => Err(self
                .node
                .require_gpus()
                .err()
                .unwrap_or(ApiError::AttestationRequired)),
        }
    }

    /// Starts or renews the lease, which ends at `latest` at the latest.
    pub(crate) fn attested(
        &self,
        nonce: Nonce,
        statement: StatementDigest,
        standing: Standing,
        latest: Option<std::time::Instant>,
    ) {
        let mut until = Instant::now() + self.node.limits.lease;
        if let Some(latest) = latest {
            until = until.min(Instant::from_std(latest));
        }
        self.change(|state| {
            state.lease = Some(Lease {
                nonce,
                statement,
                standing,
                until,
            });
        });
    }

    /// Marks the start of a request, which ends when the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        let until = Instant::now() + self.node.limits.request;
        self.change(|state| {
            state.begun += 1;
            state.running += 1;
            // Whoever goes on asking after it was told not to gains no time by it.
            if state.closing_since.is_none() {
                state.busy_until = state.busy_until.max(until);
            }
        });
        InFlight {
            session: Arc::clone(self),
            until,
        }
    }

    /// Counts an attest of this connection against its limits.
    ///
    /// # Errors
    /// [`ApiError::AttestLimited`] where this client asks too often,
    /// [`ApiError::AttestBusy`] where all of them together do.
    pub(crate) fn admit_attest(&self) -> Result<(), ApiError> {
        self.guest.attest().map_err(|fast| match fast.refusal {
            Refusal::Attests => ApiError::AttestBusy,
            _ => ApiError::AttestLimited {
                // Rounded up: earlier would be in vain.
                seconds: u32::try_from(fast.wait.as_secs())
                    .map_or(u32::MAX, |seconds| seconds.saturating_add(1)),
            },
        })
    }

    /// How many requests have begun, and whether one is not over.
    pub(crate) fn requests(&self) -> (u64, bool) {
        let state = self.state();
        (state.begun, state.running > 0)
    }

    /// Asks for the connection to end after the requests that are there: one of
    /// them was refused in a way that ends it.
    pub(crate) fn end(&self) {
        self.change(|state| state.ending = true);
    }

    /// Marks that the peer was told that no further request is wanted.
    pub(crate) fn closing(&self) {
        let now = Instant::now();
        let request = self.node.limits.request;
        self.change(|state| {
            if state.running == 0 {
                // A request may be half way here.
                state.busy_until = now + request;
            }
            state.closing_since = Some(now);
        });
    }

    /// When this connection's time is over.
    pub(crate) fn deadline(&self) -> Deadline {
        // Before the lease is looked at: what comes later wakes `changed`.
        let change = *self.node.lane.changes().borrow();
        self.seen.store(change, Ordering::Release);
        let mut state = self.state();
        if let Some(lease) = &mut state.lease
            && self.node.require_current(lease.standing).is_err()
        {
            // Over, but for the answers under way.
            lease.until = lease.until.min(Instant::now());
        }
        state.deadline(&self.node.limits)
    }
}

impl State {
    fn deadline(&self, limits: &Limits) -> Deadline {
        if let Some(since) = self.closing_since {
            let until = match self.running {
                0 => since.max(self.idle_since),
                _ => self.busy_until,
            };
            return Deadline::Cut(until + FLUSH);
        }
        if self.ending {
            return Deadline::Close(self.idle_since);
        }
        let cut = Deadline::Cut(self.busy_until + FLUSH);
        match (self.lease, self.running) {
            (None, 0) => Deadline::Cut(self.idle_since + limits.attest),
            // Whoever is still being attested then may get the answer, and asks no more.
            (None, _) => Deadline::Close(self.idle_since + 2 * limits.attest).or_before(cut),
            // A request may be on its way: it is answered if it comes before the goodbye.
            (Some(lease), 0) => Deadline::Close(lease.until.min(self.idle_since + limits.idle)),
            (Some(lease), _) => Deadline::Close(lease.until).or_before(cut),
        }
    }
}

/// A running request.
#[derive(Debug)]
pub(crate) struct InFlight {
    session: Arc<Session>,
    until: Instant,
}

impl InFlight {
    /// When the request's time is over.
    pub(crate) const fn until(&self) -> Instant {
        self.until
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.session.change(|state| {
            state.running = state.running.saturating_sub(1);
            // A PENDING connection's clock runs from its handshake, whatever it asks.
            if state.lease.is_some() {
                state.idle_since = Instant::now();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Deadline, FLUSH, Lease, State};
    use crate::server::Limits;
    use bastide_attestation::{Nonce, StatementDigest};
    use bastide_attested_tls::Standing;
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn each_state_of_a_connection_has_its_deadline() {
        let limits = Limits::default();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let lease = |until| {
            Some(Lease {
                nonce: Nonce::new([0; 32]),
                statement: StatementDigest::new([0; 32]),
                standing: Standing::default(),
                until,
            })
        };
        let mut state = State {
            lease: None,
            running: 0,
            busy_until: now,
            idle_since: now,
            begun: 0,
            ending: false,
            closing_since: None,
        };
        assert_eq!(state.deadline(&limits), Deadline::Cut(now + 15 * second));
        state.lease = lease(now + 300 * second);
        assert_eq!(state.deadline(&limits), Deadline::Close(now + 60 * second));
        state.lease = lease(now + 10 * second);
        assert_eq!(state.deadline(&limits), Deadline::Close(now + 10 * second));
        // A running answer outlasts neither its own time nor, unless it is there
        // already, the lease.
        state.running = 1;
        state.busy_until = now + 120 * second;
        assert_eq!(state.deadline(&limits), Deadline::Close(now + 10 * second));
        state.lease = lease(now + 300 * second);
        assert_eq!(state.deadline(&limits), Deadline::Cut(now + 120 * second + FLUSH));
        state.closing_since = Some(now + second);
        assert_eq!(state.deadline(&limits), Deadline::Cut(now + 120 * second + FLUSH));
        state.running = 0;
        assert_eq!(state.deadline(&limits), Deadline::Cut(now + second + FLUSH));
    }

    /// Requests that overlap leave no gap in which a clock could run out.
    #[test]
    fn a_connection_that_is_never_idle_is_closed_all_the_same() {
        let limits = Limits::default();
        let now = Instant::now();
        let mut state = State {
            lease: None,
            running: 2,
            busy_until: now + Duration::from_secs(3600),
            idle_since: now,
            begun: 2,
            ending: false,
            closing_since: None,
        };
        assert_eq!(state.deadline(&limits), Deadline::Close(now + 2 * limits.attest));
        state.ending = true;
        assert_eq!(state.deadline(&limits), Deadline::Close(now));
    }
}
