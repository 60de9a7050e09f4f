//! How long each state of a link may last. The defaults are the protocol's.

use std::time::Duration;

/// Longest that evidence is relied on.
const LEASE: Duration = Duration::from_secs(300);

/// Time limits of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkTimes {
    /// The TLS handshake. 10 s.
    pub tls: Duration,
    /// From the session to the peer's HELLO. 10 s.
    pub hello: Duration,
    /// From the peer's HELLO until evidence has gone and come and was accepted.
    /// 30 s: a lane may need 15 s for either end's.
    pub evidence: Duration,
    /// From this end's CONFIRM to the peer's OPEN. 20 s.
    pub confirm: Duration,
    /// Age of the peer's evidence at which fresh evidence is asked for. 240 s.
    pub renew_after: Duration,
    /// Age at which, without fresh evidence, nothing more is accepted for
    /// sending and the link is closed in order. 285 s.
    pub drain_after: Duration,
    /// Age at which nothing is sent or taken any more. 300 s, and never more.
    pub lease: Duration,
    /// Least time between two challenges of the peer on an open link. 30 s.
    pub renew_gap: Duration,
    /// How long an end that has closed in order waits for the other's CLOSE. 10 s.
    pub close: Duration,
    /// How long one frame may take to be written: a peer that doesn't read is
    /// as good as gone. 30 s.
    pub write: Duration,
}

impl Default for LinkTimes {
    fn default() -> Self {
        Self {
            tls: Duration::from_secs(10),
            hello: Duration::from_secs(10),
            evidence: Duration::from_secs(30),
            confirm: Duration::from_secs(20),
            renew_after: Duration::from_secs(240),
            drain_after: Duration::from_secs(285),
            lease: LEASE,
            renew_gap: Duration::from_secs(30),
            close: Duration::from_secs(10),
            write: Duration::from_secs(30),
        }
    }
}

impl LinkTimes {
    /// The same with a lease of at most 300 s, and with renewal before draining
    /// before its end.
    pub(super) fn bounded(self) -> Self {
        let lease = self.lease.min(LEASE);
        let drain_after = self.drain_after.min(lease);
        Self {
            lease,
            drain_after,
            renew_after: self.renew_after.min(drain_after),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_lease_is_longer_than_the_protocols_whatever_is_asked_for() {
        let day = Duration::from_secs(86_400);
        let asked = LinkTimes {
            renew_after: day,
            drain_after: day,
            lease: day,
            ..LinkTimes::default()
        };
        let bounded = asked.bounded();
        assert_eq!(
            (bounded.renew_after, bounded.drain_after, bounded.lease),
            (LEASE, LEASE, LEASE)
        );
        assert_eq!(LinkTimes::default().bounded(), LinkTimes::default());
    }
}
