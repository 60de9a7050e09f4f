//! Who waits for a report, how many may, and whether the lane is healthy. It
//! is all that the PSP's thread and the sessions share; it makes no evidence.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bastide_attestation::Binder;
use bastide_attestation::binding::LeafType;
use tokio::sync::oneshot;

use crate::lane_m::epoch::{Granted, MAX_LEAVES};
use crate::lane_m::{LaneCounters, LaneError, LaneHealth, LaneLimits};

pub(super) const THREAD_ENDED: &str = "the attester's thread has ended";

pub(super) type Answer = Result<Granted, LaneError>;

/// One session's question.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) binder: Binder,
    pub(super) leaf: LeafType,
    pub(super) deadline: Instant,
    /// Whether a report for it failed already.
    pub(super) retried: bool,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// What a session holds while it waits.
pub(super) struct Waiting {
    pub(super) answer: oneshot::Receiver<Answer>,
    pub(super) place: Place,
}

/// One of the places to wait in; given up when dropped.
pub(super) struct Place(Arc<Queue>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct State {
    waiters: VecDeque<Waiter>,
    /// When the report that is being made was asked for.
    asked: Option<Instant>,
    /// Why the lane is unattestable. Never cleared.
    fault: Option<String>,
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    max_waiting: usize,
    watchdog: Duration,
    /// Sessions that wait, in the queue or for the report being made.
    places: AtomicUsize,
    epochs: AtomicU64,
    sessions: AtomicU64,
    failures: AtomicU64,
}

impl Queue {
    pub(super) fn new(limits: &LaneLimits) -> Self {
        Self {
            state: Mutex::new(State {
                waiters: VecDeque::new(),
                asked: None,
                fault: None,
                closed: false,
            }),
            changed: Condvar::new(),
            max_waiting: limits.max_waiting.min(MAX_LEAVES),
            watchdog: limits.watchdog,
            places: AtomicUsize::new(0),
            epochs: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No invariant spans the statements under the lock, so a panic
        // elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // For the sessions.

    /// Waits in line from now on.
    pub(super) fn join(
        queue: &Arc<Self>,
        binder: Binder,
        leaf: LeafType,
        wait: Duration,
    ) -> Result<Waiting, LaneError> {
        let mut state = queue.lock();
        if let Some(reason) = queue.fault(&mut state) {
            return Err(LaneError::Unattestable { reason });
        }
        // Under the lock, so that no two sessions take the last place.
        if queue.places.load(Ordering::Relaxed) >= queue.max_waiting {
            return Err(LaneError::Busy);
        }
        if state.waiters.len() >= 2 * MAX_LEAVES {
            // Many have left while one report was made. Half go at least, so
            // that this costs each who joins no more than a constant.
            state.waiters.retain(|waiter| !waiter.answer.is_closed());
        }
        let (answer, receiver) = oneshot::channel();
        state.waiters.push_back(Waiter {
            binder,
            leaf,
            deadline: Instant::now() + wait,
            retried: false,
            answer,
        });
        queue.places.fetch_add(1, Ordering::Relaxed);
        drop(state);
        queue.changed.notify_one();
        Ok(Waiting {
            answer: receiver,
            place: Place(Arc::clone(queue)),
        })
    }

    pub(super) fn health(&self) -> LaneHealth {
        self.fault(&mut self.lock())
            .map_or(LaneHealth::Healthy, LaneHealth::Unattestable)
    }

    pub(super) fn counters(&self) -> LaneCounters {
        LaneCounters {
            epochs: self.epochs.load(Ordering::Relaxed),
            sessions: self.sessions.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            waiting: u64::try_from(self.places.load(Ordering::Relaxed)).unwrap_or(u64::MAX),
        }
    }

    /// Nobody will ask any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    // For the PSP's thread.

    /// Waits until someone asks and `earliest` has come, then takes as many as
    /// an epoch holds. `None` when nobody will ask any more, or may.
    pub(super) fn next_batch(&self, earliest: Instant) -> Option<Vec<Waiter>> {
        let mut state = self.lock();
        loop {
            if state.closed || state.fault.is_some() {
                return None;
            }
            if state.waiters.is_empty() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let early = earliest.saturating_duration_since(Instant::now());
            if !early.is_zero() {
                let woken = self.changed.wait_timeout(state, early);
                (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            // Those who left or whose time is over need no leaf.
            let now = Instant::now();
            state
                .waiters
                .retain(|waiter| !waiter.answer.is_closed() && waiter.deadline > now);
            let take = state.waiters.len().min(MAX_LEAVES);
            if take > 0 {
                state.asked = Some(now);
                return Some(state.waiters.drain(..take).collect());
            }
        }
    }

    /// A report came, or failed. Returns whether its sessions may have it:
    /// not when the watchdog had given up on it.
    pub(super) fn report_ended(&self, came: bool) -> Result<(), LaneError> {
        let mut state = self.lock();
        let fault = self.fault(&mut state);
        state.asked = None;
        let counter = if came && fault.is_none() {
            &self.epochs
        } else {
            &self.failures
        };
        counter.fetch_add(1, Ordering::Relaxed);
        match fault {
            Some(reason) => Err(LaneError::Unattestable { reason }),
            None => Ok(()),
        }
    }

    /// A session was given its evidence.
    pub(super) fn served(&self) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// Puts sessions back at the front, in their order.
    pub(super) fn put_back(&self, waiters: Vec<Waiter>) {
        let mut state = self.lock();
        for waiter in waiters.into_iter().rev() {
            state.waiters.push_front(waiter);
        }
    }

    /// Makes the lane unattestable for good and answers everyone who waits.
    pub(super) fn fail(&self, reason: &str) {
        self.lock().fail(reason.to_owned());
    }

    /// Why the lane is unattestable, if it is. The watchdog bites here: the
    /// thread it watches can't be asked.
    fn fault(&self, state: &mut State) -> Option<String> {
        if state.fault.is_none() && state.asked.is_some_and(|asked| asked.elapsed() > self.watchdog) {
            state.fail(format!(
                "the security processor did not answer within {} s",
                self.watchdog.as_secs()
            ));
        }
        state.fault.clone()
    }
}

impl State {
    fn fail(&mut self, reason: String) {
        let reason = self.fault.get_or_insert(reason).clone();
        for waiter in self.waiters.drain(..) {
            // Whoever has left needs no answer.
            drop(waiter.answer.send(Err(LaneError::Unattestable {
                reason: reason.clone(),
            })));
        }
    }
}
