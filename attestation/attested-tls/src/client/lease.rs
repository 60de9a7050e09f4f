//! How long evidence counts. Two clocks are asked: the monotonic one can't be
//! set, the other goes on while the machine sleeps. The shorter time holds.

use std::time::Duration;

use bastide_attestation::UnixTime;
use tokio::time::Instant;

/// How long evidence counts, from before its challenge was made.
pub const LEASE: Duration = Duration::from_secs(300);
/// Age at which a lease should be renewed: a minute is left for trying.
pub const RENEW_AFTER: Duration = Duration::from_secs(240);

/// A moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    steady: Instant,
    calendar: UnixTime,
}

impl Moment {
    pub(crate) fn new(calendar: UnixTime) -> Self {
        Self {
            steady: Instant::now(),
            calendar,
        }
    }

    /// The longer of the times that passed on the two clocks; `None` if the
    /// calendar was set back to before it: then nothing is known.
    pub(crate) fn age(&self, now: UnixTime) -> Option<Duration> {
        let by_calendar = now.as_secs().checked_sub(self.calendar.as_secs())?;
        Some(self.steady.elapsed().max(Duration::from_secs(by_calendar)))
    }
}

/// The time one attestation counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    began: Moment,
    clock: fn() -> UnixTime,
}

impl Lease {
    /// Begins now, before the challenge: evidence can't be older than that.
    pub(crate) fn begin(clock: fn() -> UnixTime) -> Self {
        Self {
            began: Moment::new(clock()),
            clock,
        }
    }

    /// What is left of it; `None` when it is over.
    pub(crate) fn left(&self) -> Option<Duration> {
        let age = self.began.age((self.clock)())?;
        LEASE.checked_sub(age).filter(|left| !left.is_zero())
    }

    pub(crate) fn holds(&self) -> bool {
        self.left().is_some()
    }

    /// Whether it is time to renew it.
    pub(crate) fn is_due(&self) -> bool {
        self.left().is_none_or(|left| left <= LEASE - RENEW_AFTER)
    }
}
