//! What is current of the GPUs, until when, and how often that was interrupted.
//! Sessions and statements read it; the renewing thread alone writes it.

use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bastide_attestation::{GpuAttester, GpuAttesterError, GpuEpoch, GpuSnapshot, StatementDigest, TreeHash};
use bastide_attested_tls::LaneSignal;

use super::fault::GpuFault;
use crate::identity::{NoRandomness, random};
use crate::telemetry::ops;

/// What the GPUs have done so far.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct GpuCounters {
    /// Number of the latest GPU epoch.
    pub(crate) epoch: u64,
    /// Age of the current evidence; `None` if there is none.
    pub(crate) age: Option<Duration>,
    /// How long the latest collection took, the appraisal included.
    pub(crate) collection: Duration,
    /// Attestations that failed, and changes that were found.
    pub(crate) failures: u64,
}

/// The longest that one answer over a root is waited for: NVML's own limit, for
/// as many calls as it makes at worst, and the appraisal.
const STRICT: Duration = Duration::from_secs(60);

/// What the renewing thread can be told.
#[derive(Debug)]
pub(super) enum Order {
    /// To end.
    Stop,
    /// To ask the GPUs over this root, now.
    Strict {
        root: TreeHash,
        answer: SyncSender<Result<Arc<GpuEpoch>, String>>,
    },
}

/// The GPUs' evidence, shared.
#[derive(Debug)]
pub(crate) struct GpuState {
    inner: Mutex<Inner>,
    /// How old evidence gets.
    longest: Duration,
    /// Who has to know of events.
    signal: OnceLock<LaneSignal>,
    /// The renewing thread.
    orders: OnceLock<mpsc::Sender<Order>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Number of the latest GPU epoch, whatever came of it.
    number: u64,
    current: Option<(Arc<GpuEpoch>, Instant)>,
    /// The latest statement.
    seed: Option<[u8; 32]>,
    collection: Duration,
    failures: u64,
    /// Why there will be no evidence any more.
    over: Option<String>,
}

impl Inner {
    /// Whether there was evidence, which is none any more.
    fn interrupt(&mut self, fault: &GpuFault) -> bool {
        self.failures += 1;
        let lost = self.current.take().is_some();
        ops!(
            ERROR,
            "gpus.not_attested",
            code = fault.code(),
            cause = fault.to_string().as_str(),
        );
        lost
    }
}

impl GpuState {
    /// Without evidence, which will then get `longest` old at most.
    pub(crate) fn new(longest: Duration) -> Self {
        Self {
            inner: Mutex::default(),
            longest,
            signal: OnceLock::new(),
            orders: OnceLock::new(),
        }
    }

    /// Evidence that is too old is gone for whoever looks.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // No invariant spans the statements under the lock.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = |(_, since): &(_, Instant)| since.elapsed() > self.longest;
        if inner.current.as_ref().is_some_and(stale) {
            let seconds = self.longest.as_secs();
            self.interrupted(inner.interrupt(&GpuFault::Stale { seconds }));
        }
        inner
    }

    /// INVARIANT: under the lock, so that nobody sees GPUs attested again in the
    /// generation of before an event.
    fn interrupted(&self, lost: bool) {
        if lost && let Some(signal) = self.signal.get() {
            signal.interrupted();
        }
    }

    /// Tells the lane of every event from now on.
    pub(crate) fn tell(&self, signal: LaneSignal) {
        // One lane, once.
        let _ = self.signal.set(signal);
    }

    // For the renewing thread.

    /// Takes orders for it.
    pub(super) fn obeyed_by(&self, orders: mpsc::Sender<Order>) {
        // One thread, once.
        let _ = self.orders.set(orders);
    }

    /// Begins a GPU epoch over a root: its number.
    pub(super) fn begin_strict(&self) -> u64 {
        let mut inner = self.inner();
        inner.number += 1;
        inner.number
    }

    /// Begins a GPU epoch: its number, and the seed of its nonce.
    pub(crate) fn begin(&self) -> Result<(u64, [u8; 32]), NoRandomness> {
        let mut inner = self.inner();
        inner.number += 1;
        let seed = match inner.seed {
            Some(seed) => seed,
            None => random()?,
        };
        Ok((inner.number, seed))
    }

    /// Evidence that was asked for at `since`.
    pub(crate) fn publish(&self, epoch: GpuEpoch, since: Instant) {
        let mut inner = self.inner();
        inner.collection = since.elapsed();
        inner.current = Some((Arc::new(epoch), since));
        drop(inner);
        if let Some(signal) = self.signal.get() {
            signal.renewed();
        }
    }

    /// There is no evidence any more, or none yet again.
    pub(crate) fn interrupt(&self, fault: &GpuFault) {
        let mut inner = self.inner();
        self.interrupted(inner.interrupt(fault));
    }

    /// Nor will there be any.
    pub(crate) fn give_up(&self, fault: &GpuFault) {
        self.inner().over.get_or_insert_with(|| fault.to_string());
    }

    // For everybody else.

    /// Number of the GPU epoch of the current evidence, if there is some.
    pub(crate) fn attested(&self) -> Option<u64> {
        let inner = self.inner();
        inner.current.as_ref().map(|(epoch, _)| epoch.number())
    }

    /// Why there will be no evidence any more.
    pub(crate) fn over(&self) -> Option<String> {
        self.inner().over.clone()
    }

    pub(crate) fn counters(&self) -> GpuCounters {
        let inner = self.inner();
        GpuCounters {
            epoch: inner.number,
            age: inner.current.as_ref().map(|(_, since)| since.elapsed()),
            collection: inner.collection,
            failures: inner.failures,
        }
    }
}

impl GpuAttester for GpuState {
    fn current(&self) -> GpuSnapshot {
        let inner = self.inner();
        inner.current.as_ref().map_or_else(
            || GpuSnapshot {
                number: inner.number,
                epoch: None,
            },
            |(epoch, _)| GpuSnapshot {
                number: epoch.number(),
                epoch: Some(Arc::clone(epoch)),
            },
        )
    }

    fn stated(&self, statement: &StatementDigest) {
        self.inner().seed = Some(*statement.as_bytes());
    }

    fn strict(&self, root: &TreeHash) -> Result<Arc<GpuEpoch>, GpuAttesterError> {
        let unavailable = |reason: String| GpuAttesterError::Unavailable { reason };
        if self.attested().is_none() {
            return Err(unavailable("they are not attested at the moment".to_owned()));
        }
        let (answer, answered) = mpsc::sync_channel(1);
        let order = Order::Strict { root: *root, answer };
        let told = self.orders.get().map(|orders| orders.send(order));
        let Some(Ok(())) = told else {
            return Err(unavailable("nobody asks them any more".to_owned()));
        };
        answered
            .recv_timeout(STRICT)
            .map_err(|_| unavailable(format!("they did not answer within {} s", STRICT.as_secs())))?
            .map_err(unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::{GpuFault, GpuState};
    use bastide_attestation::nvidia::GpuEndorsements;
    use bastide_attestation::{GpuAttester as _, GpuEpoch, GpuPart, StatementDigest};
    use std::time::{Duration, Instant};

    fn epoch(number: u64, seed: [u8; 32]) -> GpuEpoch {
        let part = GpuPart {
            evidence: vec![1, 2],
            seed,
            endorsements: GpuEndorsements::default(),
        };
        GpuEpoch::new(number, part)
    }

    #[test]
    fn the_latest_statement_is_the_seed_and_random_bytes_are_while_there_is_none() {
        let (one, two) = (GpuState::new(Duration::MAX), GpuState::new(Duration::MAX));
        let (number, seed) = one.begin().unwrap();
        assert_eq!(number, 1);
        assert_ne!(seed, two.begin().unwrap().1);
        assert_ne!(seed, one.begin().unwrap().1);
        one.stated(&StatementDigest::new([5; 32]));
        one.stated(&StatementDigest::new([6; 32]));
        assert_eq!(one.begin().unwrap(), (3, [6; 32]));
    }

    #[test]
    fn an_interruption_takes_evidence_away_until_there_is_some_again() {
        let state = GpuState::new(Duration::MAX);
        let fault = GpuFault::Stale { seconds: 1 };
        // At boot nothing is lost that nobody had.
        state.interrupt(&fault);
        assert_eq!(state.attested(), None);
        let (number, seed) = state.begin().unwrap();
        state.publish(epoch(number, seed), Instant::now());
        assert_eq!(state.attested(), Some(1));
        // While the next is being made, statements name the one that is there.
        let (next, seed) = state.begin().unwrap();
        let snapshot = state.current();
        assert_eq!((snapshot.number, snapshot.epoch.unwrap().number()), (1, 1));
        state.interrupt(&fault);
        state.interrupt(&fault);
        let snapshot = state.current();
        assert_eq!(
            (snapshot.number, snapshot.epoch, state.attested()),
            (2, None, None)
        );
        state.publish(epoch(next, seed), Instant::now());
        assert_eq!(state.attested(), Some(2));
        assert_eq!(state.counters().failures, 3);
    }

    #[test]
    fn evidence_that_nobody_renews_is_none() {
        let state = GpuState::new(Duration::from_millis(20));
        let (number, seed) = state.begin().unwrap();
        state.publish(epoch(number, seed), Instant::now());
        assert!(state.current().epoch.is_some());
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!((state.current().epoch, state.attested()), (None, None));
        assert_eq!(state.counters().failures, 1);
        state.publish(epoch(number, seed), Instant::now());
        assert_eq!(state.attested(), Some(1));
    }
}
