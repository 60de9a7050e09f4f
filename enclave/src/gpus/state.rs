//! What is current of the GPUs, until when, and how often that was interrupted.
//! Sessions and statements read it; the renewing thread alone writes it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bastide_attestation::{GpuAttester, GpuEpoch, GpuSnapshot, StatementDigest};

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

/// The GPUs' evidence, shared.
#[derive(Debug)]
pub(crate) struct GpuState {
    inner: Mutex<Inner>,
    /// How old evidence gets.
    longest: Duration,
}

#[derive(Debug, Default)]
struct Inner {
    /// Number of the latest GPU epoch, whatever came of it.
    number: u64,
    current: Option<(Arc<GpuEpoch>, Instant)>,
    /// The latest statement.
    seed: Option<[u8; 32]>,
    /// How often there was evidence and then none.
    interruptions: u64,
    collection: Duration,
    failures: u64,
    /// Why there will be no evidence any more.
    over: Option<String>,
}

impl Inner {
    fn interrupt(&mut self, fault: &GpuFault) {
        self.failures += 1;
        if self.current.take().is_some() {
            self.interruptions += 1;
        }
        ops!(
            ERROR,
            "gpus.not_attested",
            code = fault.code(),
            cause = fault.to_string().as_str(),
        );
    }
}

impl GpuState {
    /// Without evidence, which will then get `longest` old at most.
    pub(crate) fn new(longest: Duration) -> Self {
        Self {
            inner: Mutex::default(),
            longest,
        }
    }

    /// Evidence that is too old is gone for whoever looks.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // No invariant spans the statements under the lock.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = |(_, since): &(_, Instant)| since.elapsed() > self.longest;
        if inner.current.as_ref().is_some_and(stale) {
            inner.interrupt(&GpuFault::Stale {
                seconds: self.longest.as_secs(),
            });
        }
        inner
    }

    // For the renewing thread.

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
    }

    /// There is no evidence any more, or none yet again.
    pub(crate) fn interrupt(&self, fault: &GpuFault) {
        self.inner().interrupt(fault);
    }

    /// Nor will there be any.
    pub(crate) fn give_up(&self, fault: &GpuFault) {
        self.inner().over.get_or_insert_with(|| fault.to_string());
    }

    // For everybody else.

    /// How often evidence was lost, while there is some. What was attested under
    /// another number was attested before an event.
    pub(crate) fn standing(&self) -> Option<u64> {
        let inner = self.inner();
        inner.current.is_some().then_some(inner.interruptions)
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
    fn an_interruption_takes_evidence_away_and_counts_until_there_is_some_again() {
        let state = GpuState::new(Duration::MAX);
        let fault = GpuFault::Stale { seconds: 1 };
        // At boot nothing is lost that nobody had.
        state.interrupt(&fault);
        assert_eq!(state.standing(), None);
        let (number, seed) = state.begin().unwrap();
        state.publish(epoch(number, seed), Instant::now());
        assert_eq!(state.standing(), Some(0));
        // While the next is being made, statements name the one that is there.
        let (next, seed) = state.begin().unwrap();
        let snapshot = state.current();
        assert_eq!((snapshot.number, snapshot.epoch.unwrap().number()), (1, 1));
        state.interrupt(&fault);
        state.interrupt(&fault);
        let snapshot = state.current();
        assert_eq!(
            (snapshot.number, snapshot.epoch, state.standing()),
            (2, None, None)
        );
        state.publish(epoch(next, seed), Instant::now());
        assert_eq!(state.standing(), Some(1));
        assert_eq!(state.counters().failures, 3);
    }

    #[test]
    fn evidence_that_nobody_renews_is_none() {
        let state = GpuState::new(Duration::from_millis(20));
        let (number, seed) = state.begin().unwrap();
        state.publish(epoch(number, seed), Instant::now());
        assert!(state.current().epoch.is_some());
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!((state.current().epoch, state.standing()), (None, None));
        assert_eq!(state.counters().failures, 1);
        state.publish(epoch(number, seed), Instant::now());
        assert_eq!(state.standing(), Some(1));
    }
}
