//! Encapsulated keys that came: a request whose key came before is a replay.
//! Nothing is forgotten early to make room; when it is full, requests wait.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::api::ApiError;

/// How long a key is remembered: a lease, after which what a request names no
/// longer stands, and a little more.
pub(super) const MEMORY: Duration = Duration::from_secs(305);
/// 850 requests a second for 5 minutes; at most 25 MB.
const MOST: usize = 262_144;

/// What came, in the order in which it came.
#[derive(Debug)]
pub(super) struct Replays {
    seen: HashSet<[u8; 32]>,
    order: VecDeque<(Instant, [u8; 32])>,
    most: usize,
}

impl Default for Replays {
    fn default() -> Self {
        Self {
            seen: HashSet::new(),
            order: VecDeque::new(),
            most: MOST,
        }
    }
}

impl Replays {
    /// Remembers SHA-256 of an encapsulated key, if it comes for the first time.
    ///
    /// # Errors
    /// [`ApiError::SealedReplay`] if it came before; [`ApiError::SealedBusy`] if
    /// there is no room, and then it is not remembered and must not be answered.
    pub(super) fn first(&mut self, id: [u8; 32], now: Instant) -> Result<(), ApiError> {
        while let Some((came, old)) = self.order.front() {
            if now.saturating_duration_since(*came) < MEMORY {
                break;
            }
            self.seen.remove(old);
            self.order.pop_front();
        }
        if self.seen.contains(&id) {
            return Err(ApiError::SealedReplay);
        }
        if self.order.len() >= self.most {
            return Err(ApiError::SealedBusy);
        }
        self.seen.insert(id);
        self.order.push_back((now, id));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t20_a_repeated_key_is_refused_for_longer_than_any_lease() {
        let mut replays = Replays::default();
        let now = Instant::now();
        assert_eq!(replays.first([1; 32], now), Ok(()));
        assert_eq!(replays.first([2; 32], now), Ok(()));
        let late = now + MEMORY - Duration::from_millis(1);
        for at in [now, late] {
            assert_eq!(replays.first([1; 32], at), Err(ApiError::SealedReplay));
        }
        assert_eq!(replays.first([1; 32], now + MEMORY), Ok(()));
    }

    #[test]
    fn a_full_memory_refuses_what_is_new_and_forgets_nothing() {
        let mut replays = Replays {
            most: 2,
            ..Replays::default()
        };
        let now = Instant::now();
        assert_eq!(replays.first([1; 32], now), Ok(()));
        assert_eq!(replays.first([2; 32], now), Ok(()));
        assert_eq!(replays.first([3; 32], now), Err(ApiError::SealedBusy));
        assert_eq!(replays.first([1; 32], now), Err(ApiError::SealedReplay));
        assert_eq!(replays.first([3; 32], now + MEMORY), Ok(()));
    }
}
