//! Who waits for a report, how many may, what is stated, and whether the lane is
//! healthy. It is all that the lane's threads and the sessions share; it makes no
//! evidence. What the threads do with it lies in `turns`.

mod turns;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bastide_attestation::Binder;
use bastide_attestation::binding::LeafType;
use tokio::sync::{oneshot, watch};

use crate::lane_m::epoch::{Granted, Leaf, MAX_LEAVES};
use crate::lane_m::log::Log;
use crate::lane_m::recent::Recent;
use crate::lane_m::session_key::SessionKey;
use crate::lane_m::strict::Prepared;
use crate::lane_m::{EnclaveFacts, LaneCounters, LaneError, LaneHealth, LaneLimits};

/// How long after a report that failed a change is stated again; doubled each time
/// up to 64 s, as often as this.
const RESTATE: Duration = Duration::from_millis(500);
const RESTATE_DOUBLINGS: u32 = 7;

pub(super) const THREAD_ENDED: &str = "the attester's thread has ended";

pub(super) type Answer = Result<Granted, LaneError>;

/// One session's question.
#[derive(Debug)]
pub(super) struct Waiter {
    leaf: Leaf,
    deadline: Instant,
    /// Whether a report for it failed already.
    pub(super) retried: bool,
    /// Whether it wants GPUs asked over a root that holds its leaf.
    pub(super) strict: bool,
    pub(super) answer: oneshot::Sender<Answer>,
}

impl Waiter {
    /// Whether it gets one more epoch after a failure.
    pub(super) fn may_retry(&self) -> bool {
        !self.retried && self.deadline > Instant::now()
    }

    fn waits(&self, now: Instant) -> bool {
        !self.answer.is_closed() && self.deadline > now
    }
}

/// Answers all of these with an error.
pub(super) fn refuse(waiters: impl IntoIterator<Item = Waiter>, error: &LaneError) {
    for waiter in waiters {
        // A session that has left needs no answer.
        drop(waiter.answer.send(Err(error.clone())));
    }
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

/// What the next report is for.
#[derive(Debug)]
pub(super) enum Work {
    /// Sessions that wait: none, if a change has to be stated.
    Batch(Vec<Leaf>),
    /// A tree that the GPUs have been asked over.
    Strict(Prepared),
}

/// The next report, and what is stated in it.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) work: Work,
    pub(super) facts: EnclaveFacts,
    pub(super) generation: u64,
    pub(super) answering: u64,
}

/// How things are when a report has ended.
pub(super) struct Done {
    /// Those that it was for; none if they have been told otherwise.
    pub(super) waiters: Vec<Waiter>,
    pub(super) generation: u64,
}

/// A change that no report has come for.
#[derive(Debug, Clone, Copy)]
struct Unstated {
    /// Reports over it that failed.
    failures: u32,
    /// When one is made even if nobody waits.
    due: Instant,
}

impl Unstated {
    /// From now on.
    fn new() -> Self {
        Self {
            failures: 0,
            due: Instant::now(),
        }
    }

    /// After one more report that failed: later and later, and for ever. Whoever
    /// comes meanwhile is not held up; what they get states it as well.
    fn again(self, now: Instant) -> Self {
        let wait = RESTATE.saturating_mul(1 << self.failures.min(RESTATE_DOUBLINGS));
        Self {
            failures: self.failures.saturating_add(1),
            due: now + wait,
        }
    }
}

#[derive(Debug)]
struct State {
    waiters: VecDeque<Waiter>,
    /// Those that the report being made is for.
    in_flight: Vec<Waiter>,
    /// Those who want GPUs asked.
    strict: VecDeque<Waiter>,
    /// Those for whom GPUs are being asked, or have been.
    asking: Vec<Waiter>,
    prepared: Option<Prepared>,
    /// A change has to be stated, whoever waits.
    unstated: Option<Unstated>,
    /// The report that is being made states it.
    stating: Option<Unstated>,
    /// When the report that is being made was asked for.
    asked: Option<Instant>,
    facts: EnclaveFacts,
    /// Of all that is stated.
    generation: u64,
    /// Of what answers, and not of keys that may be replaced while it does.
    answering: u64,
    /// Why the lane is unattestable. Never cleared.
    fault: Option<String>,
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// For the thread of the PSP, that of strict trees, and the watchdog.
    changed: Condvar,
    strict_changed: Condvar,
    watched: Condvar,
    recent: Mutex<Recent>,
    log: Mutex<Log>,
    /// For sessions: something that was attested may be over.
    announced: watch::Sender<u64>,
    max_waiting: usize,
    watchdog: Duration,
    /// Sessions that wait, in a queue or for the report being made.
    places: AtomicUsize,
    epochs: AtomicU64,
    sessions: AtomicU64,
    signatures: AtomicU64,
    failures: AtomicU64,
    pace_ms: AtomicU64,
}

impl Queue {
    pub(super) fn new(limits: &LaneLimits, facts: EnclaveFacts) -> Self {
        let queue = Self {
            state: Mutex::new(State {
                waiters: VecDeque::new(),
                in_flight: Vec::new(),
                strict: VecDeque::new(),
                asking: Vec::new(),
                prepared: None,
                unstated: None,
                stating: None,
                asked: None,
                facts,
                generation: 0,
                answering: 0,
                fault: None,
                closed: false,
            }),
            changed: Condvar::new(),
            strict_changed: Condvar::new(),
            watched: Condvar::new(),
            recent: Mutex::default(),
            log: Mutex::default(),
            announced: watch::Sender::new(0),
            max_waiting: limits.max_waiting.min(MAX_LEAVES),
            watchdog: limits.watchdog,
            places: AtomicUsize::new(0),
            epochs: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            signatures: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            pace_ms: AtomicU64::new(0),
        };
        queue.set_pace(limits.pace);
        queue
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No invariant spans the statements under the lock, so a panic
        // elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The statements that reports came for. Never locked together with the state.
    pub(super) fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every statement. Never locked together with the state.
    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // For the sessions.

    /// Waits in line from now on.
    pub(super) fn join(
        queue: &Arc<Self>,
        kind: LeafType,
        binder: Binder,
        wait: Duration,
    ) -> Result<Waiting, LaneError> {
        let mut state = queue.admit()?;
        let (waiter, waiting) = queue.waiter(Leaf { kind, binder }, wait, false);
        push(&mut state.waiters, waiter);
        drop(state);
        queue.changed.notify_one();
        Ok(waiting)
    }

    /// Waits in line for the GPUs.
    pub(super) fn join_strictly(
        queue: &Arc<Self>,
        binder: Binder,
        wait: Duration,
    ) -> Result<Waiting, LaneError> {
        let mut state = queue.admit()?;
        let kind = LeafType::ServerTls;
        let (waiter, waiting) = queue.waiter(Leaf { kind, binder }, wait, true);
        push(&mut state.strict, waiter);
        drop(state);
        queue.strict_changed.notify_one();
        Ok(waiting)
    }

    /// Holds that one more may wait. What is returned keeps two sessions from
    /// taking the last place both.
    fn admit(&self) -> Result<MutexGuard<'_, State>, LaneError> {
        let state = self.lock();
        if let Some(reason) = &state.fault {
            let reason = reason.clone();
            return Err(LaneError::Unattestable { reason });
        }
        if self.places.load(Ordering::Relaxed) >= self.max_waiting {
            return Err(LaneError::Busy);
        }
        Ok(state)
    }

    fn waiter(self: &Arc<Self>, leaf: Leaf, wait: Duration, strict: bool) -> (Waiter, Waiting) {
        self.places.fetch_add(1, Ordering::Relaxed);
        let (answer, receiver) = oneshot::channel();
        let waiter = Waiter {
            leaf,
            deadline: Instant::now() + wait,
            retried: false,
            strict,
            answer,
        };
        let waiting = Waiting {
            answer: receiver,
            place: Place(Arc::clone(self)),
        };
        (waiter, waiting)
    }

    pub(super) fn health(&self) -> LaneHealth {
        let fault = self.lock().fault.clone();
        fault.map_or(LaneHealth::Healthy, LaneHealth::Unattestable)
    }

    pub(super) fn counters(&self) -> LaneCounters {
        LaneCounters {
            epochs: self.epochs.load(Ordering::Relaxed),
            sessions: self.sessions.load(Ordering::Relaxed),
            signatures: self.signatures.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            waiting: u64::try_from(self.places.load(Ordering::Relaxed)).unwrap_or(u64::MAX),
            pace: Duration::from_millis(self.pace_ms.load(Ordering::Relaxed)),
        }
    }

    /// A session was given its evidence.
    pub(super) fn served(&self) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// A session was given a signature.
    pub(super) fn signed(&self) {
        self.signatures.fetch_add(1, Ordering::Relaxed);
    }

    // For whoever changes what is stated.

    pub(super) fn facts(&self) -> EnclaveFacts {
        self.lock().facts.clone()
    }

    /// That of all that is stated, and that of what answers.
    pub(super) fn generation(&self) -> (u64, u64) {
        let state = self.lock();
        (state.generation, state.answering)
    }

    /// The key of lane K, while the lane is healthy and this is the generation.
    pub(super) fn session_key(&self, generation: u64) -> Option<SessionKey> {
        let state = self.lock();
        (state.fault.is_none() && state.generation == generation).then(|| state.facts.session_key.clone())
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.announced.subscribe()
    }

    pub(super) fn restate(&self, change: impl FnOnce(&mut EnclaveFacts)) -> u64 {
        let mut state = self.lock();
        let mut facts = state.facts.clone();
        change(&mut facts);
        facts.boot_id = state.facts.boot_id;
        if facts == state.facts {
            return state.generation;
        }
        let answers = !facts.answers_as(&state.facts);
        state.facts = facts;
        let generation = state.next_generation(answers);
        drop(state);
        self.begin_generation();
        generation
    }

    /// What was stated of GPUs is over.
    pub(super) fn interrupt(&self) {
        self.lock().next_generation(true);
        self.begin_generation();
    }

    fn begin_generation(&self) {
        self.changed.notify_one();
        self.announce();
    }

    /// Whoever was attested should look whether that is over.
    pub(super) fn announce(&self) {
        self.announced
            .send_modify(|number| *number = number.wrapping_add(1));
    }

    /// Nobody will ask any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake();
    }

    fn wake(&self) {
        self.changed.notify_all();
        self.strict_changed.notify_all();
        self.watched.notify_all();
    }
}

/// Waits in line. Where many have left, half go at least, so that this costs each
/// who joins no more than a constant.
fn push(line: &mut VecDeque<Waiter>, waiter: Waiter) {
    if line.len() >= 2 * MAX_LEAVES {
        line.retain(|waiter| !waiter.answer.is_closed());
    }
    line.push_back(waiter);
}

impl EnclaveFacts {
    /// Whether what answers is the same.
    fn answers_as(&self, other: &Self) -> bool {
        let of = |facts: &Self| {
            let flags = (facts.debug, facts.pipeline);
            (facts.receipt_key, facts.model, facts.configuration, flags)
        };
        of(self) == of(other)
    }
}

impl State {
    /// Whatever was stated before is over, and somebody should say so.
    fn next_generation(&mut self, answers: bool) -> u64 {
        self.generation += 1;
        self.answering += u64::from(answers);
        self.unstated = Some(Unstated::new());
        self.generation
    }

    fn fail(&mut self, reason: String) {
        let reason = self.fault.get_or_insert(reason).clone();
        let error = LaneError::Unattestable { reason };
        self.prepared = None;
        refuse(self.waiters.drain(..), &error);
        refuse(self.in_flight.drain(..), &error);
        refuse(self.strict.drain(..), &error);
        refuse(self.asking.drain(..), &error);
    }
}
