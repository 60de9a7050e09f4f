//! What the lane's threads do with the queue: the security processor's takes the
//! next turn and ends it, that of strict trees likewise, the watchdog gives up.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Done, Queue, State, Turn, Waiter, Work, refuse};
use crate::lane_m::LaneError;
use crate::lane_m::epoch::{Leaf, MAX_LEAVES};
use crate::lane_m::strict::Prepared;

impl Queue {
    // For the PSP's thread.

    /// Waits until someone asks, or a change has to be stated (anew, where the report
    /// over it failed), and `earliest` has come; then takes a strict tree that is ready, or else as many as an epoch
    /// holds. `None` when nobody will ask any more, or may.
    pub(in crate::lane_m) fn next(&self, earliest: Instant) -> Option<Turn> {
        let mut state = self.lock();
        loop {
            if state.closed || state.fault.is_some() {
                return None;
            }
            if state.waiters.is_empty() && state.prepared.is_none() {
                let due = state
                    .unstated
                    .map(|unstated| unstated.due.saturating_duration_since(Instant::now()));
                match due {
                    None => {
                        state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                        continue;
                    }
                    Some(left) if !left.is_zero() => {
                        let woken = self.changed.wait_timeout(state, left);
                        (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
                        continue;
                    }
                    Some(_) => {}
                }
            }
            let early = earliest.saturating_duration_since(Instant::now());
            if !early.is_zero() {
                let woken = self.changed.wait_timeout(state, early);
                (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let now = Instant::now();
            if let Some(prepared) = state.prepared.take() {
                state.in_flight = core::mem::take(&mut state.asking);
                self.strict_changed.notify_one();
                return Some(self.turn(&mut state, Work::Strict(prepared), now));
            }
            // Those who left or whose time is over need no leaf.
            state.waiters.retain(|waiter| waiter.waits(now));
            let take = state.waiters.len().min(MAX_LEAVES);
            if take > 0 || state.unstated.is_some_and(|unstated| unstated.due <= now) {
                state.stating = state.unstated.take();
                state.in_flight = state.waiters.drain(..take).collect();
                let leaves = state.in_flight.iter().map(|waiter| waiter.leaf).collect();
                return Some(self.turn(&mut state, Work::Batch(leaves), now));
            }
        }
    }

    /// A report for nobody, at once.
    pub(in crate::lane_m) fn probe(&self) -> Option<Turn> {
        let mut state = self.lock();
        if state.closed || state.fault.is_some() {
            return None;
        }
        Some(self.turn(&mut state, Work::Batch(Vec::new()), Instant::now()))
    }

    fn turn(&self, state: &mut State, work: Work, now: Instant) -> Turn {
        state.asked = Some(now);
        self.watched.notify_one();
        Turn {
            work,
            facts: state.facts.clone(),
            generation: state.generation,
            answering: state.answering,
        }
    }

    /// A report came, or failed. Those that it was for are told by the caller,
    /// unless the watchdog has told them.
    pub(in crate::lane_m) fn ended(&self, came: bool) -> Done {
        let mut state = self.lock();
        // However late the timer is.
        self.bite(&mut state);
        state.asked = None;
        // A change after it has a report of its own before it.
        if let (Some(unstated), false) = (state.stating.take(), came) {
            state
                .unstated
                .get_or_insert_with(|| unstated.again(Instant::now()));
        }
        let counter = if came && state.fault.is_none() {
            &self.epochs
        } else {
            &self.failures
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Done {
            waiters: core::mem::take(&mut state.in_flight),
            generation: state.generation,
        }
    }

    /// Puts sessions back at the front, in their order.
    pub(in crate::lane_m) fn put_back(&self, waiters: Vec<Waiter>) {
        let mut state = self.lock();
        if let Some(reason) = state.fault.clone() {
            return refuse(waiters, &LaneError::Unattestable { reason });
        }
        for waiter in waiters.into_iter().rev() {
            state.waiters.push_front(waiter);
        }
    }

    pub(in crate::lane_m) fn set_pace(&self, pace: Duration) {
        let pace = u64::try_from(pace.as_millis()).unwrap_or(u64::MAX);
        self.pace_ms.store(pace, Ordering::Relaxed);
    }

    /// Makes the lane unattestable for good and answers everyone who waits.
    pub(in crate::lane_m) fn fail(&self, reason: &str) {
        self.lock().fail(reason.to_owned());
        self.wake();
    }

    // For the thread of strict trees.

    /// Waits until someone wants GPUs asked, nobody's are, and `earliest` has come.
    /// `None` when nobody will ask any more, or may.
    pub(in crate::lane_m) fn next_strict(&self, earliest: Instant) -> Option<(Vec<Leaf>, u64)> {
        let mut state = self.lock();
        loop {
            if state.closed || state.fault.is_some() {
                return None;
            }
            if state.strict.is_empty() || !state.asking.is_empty() {
                state = self
                    .strict_changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let early = earliest.saturating_duration_since(Instant::now());
            if !early.is_zero() {
                let woken = self.strict_changed.wait_timeout(state, early);
                (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let now = Instant::now();
            state.strict.retain(|waiter| waiter.waits(now));
            let take = state.strict.len().min(MAX_LEAVES);
            if take > 0 {
                state.asking = state.strict.drain(..take).collect();
                let leaves = state.asking.iter().map(|waiter| waiter.leaf).collect();
                return Some((leaves, state.generation));
            }
        }
    }

    /// GPUs have answered over a root, or not.
    pub(in crate::lane_m) fn prepared(&self, prepared: Result<Prepared, LaneError>) {
        let mut state = self.lock();
        match prepared {
            Ok(prepared) if state.fault.is_none() => state.prepared = Some(prepared),
            // Everybody has been told.
            Ok(_) => {}
            Err(error) => refuse(state.asking.drain(..), &error),
        }
        drop(state);
        self.changed.notify_one();
    }

    // For the watchdog.

    /// Gives a report up that takes too long; returns when the lane is over.
    pub(in crate::lane_m) fn watch(&self) {
        let mut state = self.lock();
        while !state.closed && state.fault.is_none() {
            let left = state
                .asked
                .map(|asked| self.watchdog.saturating_sub(asked.elapsed()));
            state = match left {
                None => self.watched.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => {
                    self.bite(&mut state);
                    continue;
                }
                Some(left) => {
                    let woken = self.watched.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        drop(state);
        self.wake();
    }

    fn bite(&self, state: &mut State) {
        if state.asked.is_some_and(|asked| asked.elapsed() >= self.watchdog) {
            state.fail(format!(
                "the security processor did not answer within {} s",
                self.watchdog.as_secs()
            ));
        }
    }
}
