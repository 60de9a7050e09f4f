//! Nodes that may be a stage, and which is tried next.
//!
//! Owns the order and the back-off. Refuses a node that failed until its time
//! has come: longer each time, and longest one that isn't what it should be.

use std::time::Duration;

use super::event::Loss;
use super::terms::HeadTimes;

/// A node that may be a stage.
struct Candidate {
    node: String,
    failures: u32,
    not_before: Duration,
}

/// All that may be one stage, in order of preference.
pub(super) struct Candidates {
    all: Vec<Candidate>,
    chosen: Option<usize>,
}

impl Candidates {
    pub(super) fn new(nodes: Vec<String>) -> Self {
        let all = nodes
            .into_iter()
            .map(|node| Candidate {
                node,
                failures: 0,
                not_before: Duration::ZERO,
            })
            .collect();
        Self { all, chosen: None }
    }

    /// Place of the one that is tried or linked to.
    pub(super) fn chosen(&self) -> Option<usize> {
        self.chosen
    }

    /// The one that is tried or linked to.
    pub(super) fn node(&self) -> Option<&str> {
        self.all
            .get(self.chosen?)
            .map(|candidate| candidate.node.as_str())
    }

    /// Chooses the first whose time has come.
    pub(super) fn choose(&mut self, now: Duration) -> Option<&str> {
        self.chosen = self.all.iter().position(|candidate| candidate.not_before <= now);
        self.node()
    }

    /// When there is one to choose.
    pub(super) fn due(&self) -> Option<Duration> {
        self.all.iter().map(|candidate| candidate.not_before).min()
    }

    /// The chosen one was lost. `proven`: it had been a good stage for a while.
    pub(super) fn fail(&mut self, why: Loss, proven: bool, now: Duration, times: &HeadTimes) {
        let others = self.all.len() > 1;
        let chosen = self.chosen.take();
        let Some(candidate) = chosen.and_then(|chosen| self.all.get_mut(chosen)) else {
            return;
        };
        if proven {
            candidate.failures = 0;
        }
        let wait = back_off(candidate.failures, times);
        candidate.failures = candidate.failures.saturating_add(1);
        let wait = match why {
            // Where there is no other, it is asked again: what couldn't be appraised may be soon.
            Loss::Refused | Loss::Mismatch | Loss::Nonsense if others => wait.max(times.set_aside),
            _ => wait,
        };
        candidate.not_before = now.saturating_add(wait);
    }
}

/// Doubles with each failure, to a bound.
pub(super) fn back_off(failures: u32, times: &HeadTimes) -> Duration {
    let factor = 1u32.checked_shl(failures).unwrap_or(u32::MAX);
    times.back_off.saturating_mul(factor).min(times.back_off_most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spare_comes_first_and_the_same_node_again_after_its_time() {
        let times = HeadTimes::default();
        let mut nodes = Candidates::new(vec!["a".into(), "b".into()]);
        let now = Duration::from_secs(5);
        assert_eq!(nodes.choose(now), Some("a"));
        nodes.fail(Loss::Ended, false, now, &times);
        assert_eq!(nodes.choose(now), Some("b"));
        nodes.fail(Loss::Refused, false, now, &times);
        assert_eq!(nodes.choose(now), None);
        assert_eq!(nodes.due(), Some(now + times.back_off));
        assert_eq!(nodes.choose(now + times.back_off), Some("a"));
        let later = now + times.set_aside;
        nodes.fail(Loss::Ended, false, later, &times);
        assert_eq!(nodes.choose(later), Some("b"));
    }

    #[test]
    fn the_only_node_is_not_set_aside() {
        let times = HeadTimes::default();
        let mut nodes = Candidates::new(vec!["a".into()]);
        nodes.choose(Duration::ZERO);
        nodes.fail(Loss::Refused, false, Duration::ZERO, &times);
        assert_eq!(nodes.due(), Some(times.back_off));
    }

    #[test]
    fn waiting_doubles_up_to_a_bound_and_starts_again_after_good_service() {
        let times = HeadTimes::default();
        let mut nodes = Candidates::new(vec!["a".into()]);
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        for failure in 0..40 {
            nodes.choose(now);
            nodes.fail(Loss::Ended, failure == 39, now, &times);
            let due = nodes.due().unwrap();
            waits.push(due - now);
            now = due;
        }
        assert_eq!(
            waits[..3],
            [times.back_off, times.back_off * 2, times.back_off * 4]
        );
        assert_eq!(waits[38], times.back_off_most);
        assert_eq!(waits[39], times.back_off);
    }
}
