//! What the enclave knows of one connection: what evidence is bound to it,
//! whether and until when it may be used, and until when it may stay open.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bastide_attestation::{Nonce, StatementDigest};
use bastide_attested_tls::SessionBinding;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{GpuStanding, Limits, Node};
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
    /// How it was with the GPUs when they were stated.
    pub(crate) gpus: GpuStanding,
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

/// One connection. Requests come one after the other: HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) node: Arc<Node>,
    pub(crate) binding: SessionBinding,
    pub(crate) guest: Guest,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    lease: Option<Lease>,
    busy_until: Option<Instant>,
    idle_since: Instant,
    begun: u64,
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
                busy_until: None,
                idle_since: Instant::now(),
                begun: 0,
                closing_since: None,
            }),
            changed: Notify::new(),
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
        self.changed.notified().await;
    }

    /// The lease, while it lasts and nothing has happened to the GPUs since.
    ///
    /// # Errors
    /// [`ApiError::GpusNotAttested`] while nobody could get a lease for that
    /// reason, else [`ApiError::AttestationRequired`].
    pub(crate) fn require_lease(&self) -> Result<Lease, ApiError> {
        let standing = self.node.require_gpus()?;
        self.state()
            .lease
            .filter(|lease| Instant::now() < lease.until && lease.gpus == standing)
            .ok_or(ApiError::AttestationRequired)
    }

    /// Starts or renews the lease.
    pub(crate) fn attested(&self, nonce: Nonce, statement: StatementDigest, gpus: GpuStanding) {
        let until = Instant::now() + self.node.limits.lease;
        self.change(|state| {
            state.lease = Some(Lease {
                nonce,
                statement,
                gpus,
                until,
            });
        });
    }

    /// Marks the start of a request, which ends when the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        let until = Instant::now() + self.node.limits.request;
        self.change(|state| {
            state.busy_until = Some(until);
            state.begun += 1;
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

    /// How many requests have begun, and whether the latest is not over.
    pub(crate) fn requests(&self) -> (u64, bool) {
        let state = self.state();
        (state.begun, state.busy_until.is_some())
    }

    /// Marks that no further request is wanted.
    pub(crate) fn closing(&self) {
        self.change(|state| state.closing_since = Some(Instant::now()));
    }

    /// When this connection's time is over.
    pub(crate) fn deadline(&self) -> Deadline {
        self.state().deadline(&self.node.limits)
    }
}

impl State {
    fn deadline(&self, limits: &Limits) -> Deadline {
        let idle_until = self.idle_since + limits.idle;
        match (self.busy_until, self.closing_since, self.lease) {
            (Some(until), ..) => Deadline::Cut(until + FLUSH),
            (None, Some(since), _) => Deadline::Cut(since.max(self.idle_since) + FLUSH),
            (None, None, None) => Deadline::Cut(self.idle_since + limits.attest),
            (None, None, Some(lease)) if lease.until < idle_until => Deadline::Close(lease.until),
            (None, None, Some(_)) => Deadline::Cut(idle_until),
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
            state.busy_until = None;
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
    use crate::server::{GpuStanding, Limits};
    use bastide_attestation::{Nonce, StatementDigest};
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
                gpus: GpuStanding::Without,
                until,
            })
        };
        let mut state = State {
            lease: None,
            busy_until: None,
            idle_since: now,
            begun: 0,
            closing_since: None,
        };
        assert_eq!(state.deadline(&limits), Deadline::Cut(now + 15 * second));
        state.lease = lease(now + 300 * second);
        assert_eq!(state.deadline(&limits), Deadline::Cut(now + 60 * second));
        state.lease = lease(now + 10 * second);
        assert_eq!(state.deadline(&limits), Deadline::Close(now + 10 * second));
        state.closing_since = Some(now + second);
        assert_eq!(state.deadline(&limits), Deadline::Cut(now + second + FLUSH));
        state.busy_until = Some(now + 120 * second);
        assert_eq!(state.deadline(&limits), Deadline::Cut(now + 120 * second + FLUSH));
    }
}
