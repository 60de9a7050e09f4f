//! What is tried again, and when. AMD's server takes about one request in 10 s
//! for each address and argument, so that is the wait after a 429 that says
//! nothing; other faults begin at a second and double.

use std::time::Duration;

use super::Limits;
use super::error::Attempt;

/// After a 429 without Retry-After.
const THROTTLED: Duration = Duration::from_secs(10);
/// After the first fault of server or connection.
const FIRST: Duration = Duration::from_secs(1);
/// Longest wait, the server's own wish included.
const LONGEST: Duration = Duration::from_secs(60);

/// What to do after an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait, then try again.
    Wait(Duration),
    /// Leave it.
    GiveUp,
}

/// After `attempt`, from 1, with `left` of the total time. Up to a quarter is
/// added to each wait by `random`: nobody comes earlier than the server asks.
pub(super) fn next(failed: &Attempt, attempt: u32, limits: &Limits, left: Duration, random: u16) -> Next {
    let base = match failed {
        Attempt::Throttled { retry_after } => retry_after.unwrap_or(THROTTLED),
        Attempt::Server { retry_after, .. } => retry_after.unwrap_or_else(|| doubled(attempt)),
        Attempt::Connection { .. } | Attempt::Silent { .. } => doubled(attempt),
        Attempt::Unknown
        | Attempt::Redirected { .. }
        | Attempt::Refused { .. }
        | Attempt::TooLarge { .. }
        | Attempt::Wrong(_) => return Next::GiveUp,
    };
    let base = base.max(FIRST);
    if attempt >= limits.attempts || base > LONGEST {
        return Next::GiveUp;
    }
    let delay = base + base / 4 * u32::from(random) / u32::from(u16::MAX);
    if delay < left {
        Next::Wait(delay)
    } else {
        Next::GiveUp
    }
}

fn doubled(attempt: u32) -> Duration {
    FIRST.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endorsement::FormError;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn after(failed: &Attempt, attempt: u32, random: u16) -> Next {
        next(failed, attempt, &Limits::default(), HOUR, random)
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_429_waits_ten_seconds_or_as_long_as_it_says_and_faults_double() {
        let throttled = |retry_after| Attempt::Throttled { retry_after };
        assert_eq!(after(&throttled(None), 1, 0), Next::Wait(seconds(10)));
        assert_eq!(
            after(&throttled(None), 4, u16::MAX),
            Next::Wait(Duration::from_millis(12_500))
        );
        assert_eq!(after(&throttled(Some(seconds(3))), 1, 0), Next::Wait(seconds(3)));
        assert_eq!(
            after(&throttled(Some(seconds(0))), 1, 0),
            Next::Wait(seconds(1)),
            "a server can't make us hurry"
        );
        let server = Attempt::Server {
            status: 503,
            retry_after: None,
        };
        for (attempt, delay) in [(1, 1), (2, 2), (3, 4), (4, 8)] {
            assert_eq!(after(&server, attempt, 0), Next::Wait(seconds(delay)));
        }
    }

    #[test]
    fn attempts_total_time_and_the_servers_wish_are_limited() {
        let throttled = |retry_after| Attempt::Throttled { retry_after };
        assert_eq!(after(&throttled(None), 5, 0), Next::GiveUp);
        assert_eq!(after(&throttled(Some(seconds(61))), 1, 0), Next::GiveUp);
        assert_eq!(after(&throttled(Some(Duration::MAX)), 1, u16::MAX), Next::GiveUp);
        let limits = Limits::default();
        assert_eq!(next(&throttled(None), 1, &limits, seconds(10), 0), Next::GiveUp);
        let wrong = Attempt::Wrong(FormError::TooLarge { limit: 1 });
        for failed in [Attempt::Unknown, Attempt::Redirected { status: 302 }, wrong] {
            assert_eq!(after(&failed, 1, 0), Next::GiveUp);
        }
    }

    proptest! {
        #[test]
        fn waits_are_bounded_for_every_wish_and_number(wish: Option<u64>, attempt: u32, random: u16, left: u64) {
            let failed = Attempt::Throttled { retry_after: wish.map(Duration::from_secs) };
            let left = Duration::from_secs(left);
            if let Next::Wait(delay) = next(&failed, attempt, &Limits::default(), left, random) {
                prop_assert!(delay >= FIRST && delay <= LONGEST * 5 / 4 && delay < left);
                prop_assert!(wish.is_none_or(|wish| delay >= Duration::from_secs(wish)));
            }
        }
    }
}
