//! How fast a ring can be: the latency model.
//!
//! Owns three closed forms, for one answer at a time. They are pure: the head
//! chooses by them, and what is measured is compared with them. Times are
//! seconds, results tokens per second. Refuses nothing; a nonsensical input
//! gives a nonsensical, but finite and non-negative, output.

/// What decides the speed of a ring.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ring {
    /// One row from the head around the ring and back: all hops and all stages.
    pub round_trip: f64,
    /// What each further row of a frame adds, over all stages.
    pub row: f64,
    /// What each further row adds on the slowest stage.
    pub slowest_row: f64,
    /// What drafting one token takes.
    pub draft: f64,
}

/// Shortest time that is divided by, one microsecond.
const LEAST: f64 = 1e-6;

/// Tokens that one verification of `k` drafted tokens gives, if each is right
/// with probability `acceptance`: those accepted and the free one.
#[must_use]
pub fn expected_tokens(acceptance: f64, k: u8) -> f64 {
    let acceptance = acceptance.clamp(0.0, 1.0);
    let mut term = 1.0;
    let mut sum = 1.0;
    for _ in 0..k {
        term *= acceptance;
        sum += term;
    }
    sum
}

/// One token for each round trip.
#[must_use]
pub fn plain(ring: &Ring) -> f64 {
    1.0 / ring.round_trip.max(LEAST)
}

/// Draft `k` tokens, verify them, draft again.
#[must_use]
pub fn synchronous(ring: &Ring, acceptance: f64, k: u8) -> f64 {
    let time = ring.round_trip + f64::from(k) * (ring.draft + ring.row);
    expected_tokens(acceptance, k) / time.max(LEAST)
}

/// Drafting goes on while up to `window` drafted tokens are under way: a wrong
/// one costs a round trip, every one the slowest of draft and stage.
#[must_use]
pub fn pipelined(ring: &Ring, acceptance: f64, window: u16) -> f64 {
    let acceptance = acceptance.clamp(0.0, 1.0);
    let token = ring.draft.max(ring.slowest_row);
    let rate = 1.0 / ((1.0 - acceptance) * ring.round_trip + token).max(LEAST);
    rate.min(f64::from(window.saturating_add(1)) / ring.round_trip.max(LEAST))
}

/// The `k` from 0 to `most` for which [`synchronous`] is best.
#[must_use]
pub fn best_k(ring: &Ring, acceptance: f64, most: u8) -> u8 {
    let mut best = (0, plain(ring));
    for k in 1..=most {
        let rate = synchronous(ring, acceptance, k);
        if rate > best.1 {
            best = (k, rate);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four stages of 5.2 ms, hops of 10 ms: docs of the model's own table.
    const RING: Ring = Ring {
        round_trip: 0.0608,
        row: 0.0006,
        slowest_row: 0.00015,
        draft: 0.002,
    };

    #[test]
    fn the_model_gives_what_the_simulation_gave() {
        assert!((plain(&RING) - 16.4).abs() < 0.1);
        for (acceptance, k, simulated) in [(0.7, 6, 40.0), (0.8, 8, 53.0), (0.9, 14, 82.0)] {
            let rate = synchronous(&RING, acceptance, k);
            assert!((rate / simulated - 1.0).abs() < 0.05, "{acceptance} {rate}");
            assert!(best_k(&RING, acceptance, 16).abs_diff(k) <= 1);
        }
        for (acceptance, simulated) in [(0.7, 47.0), (0.8, 67.0), (0.9, 125.0)] {
            let rate = pipelined(&RING, acceptance, 64);
            assert!((rate / simulated - 1.0).abs() < 0.1, "{acceptance} {rate}");
        }
    }

    #[test]
    fn a_useless_draft_is_not_used_and_a_perfect_one_as_far_as_allowed() {
        assert_eq!(best_k(&RING, 0.0, 16), 0);
        assert_eq!(best_k(&RING, 1.0, 16), 16);
    }

    #[test]
    fn the_window_caps_the_pipelined_form() {
        assert!((pipelined(&RING, 1.0, 1) - 2.0 * plain(&RING)).abs() < 1e-9);
    }

    #[test]
    fn no_input_gives_an_infinite_rate() {
        let nothing = Ring {
            round_trip: 0.0,
            row: 0.0,
            slowest_row: 0.0,
            draft: 0.0,
        };
        for rate in [
            plain(&nothing),
            synchronous(&nothing, 1.0, 16),
            pipelined(&nothing, 2.0, u16::MAX),
        ] {
            assert!(rate.is_finite() && rate > 0.0);
        }
    }
}
