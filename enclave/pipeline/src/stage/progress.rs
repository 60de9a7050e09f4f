//! What is known of a stage while it computes.
//!
//! Owns the two things that don't wait for the frame at work: CANCEL is noted
//! ahead of what is queued, and PING is answered. Both are clones of handles
//! that the machine holds, for whoever reads the links. Bounded: of too many
//! notes, those of the oldest sequences go first; a CANCEL that is lost costs
//! time and nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::message::{Envelope, Epoch, Message, RingId, SequenceId};

/// Notes kept at once.
const MAX_NOTES: usize = 1_024;

#[derive(Default)]
struct Notes {
    ring: RingId,
    first: BTreeMap<SequenceId, Epoch>,
}

/// Which epochs are in vain: noted when a CANCEL is read, looked up before rows are computed.
#[derive(Clone, Default)]
#[expect(missing_debug_implementations, reason = "nothing in it is worth printing")]
pub struct Cancelled(Arc<Mutex<Notes>>);

impl Cancelled {
    /// Nothing is in vain.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a CANCEL: epochs before `epoch` don't count. A note of an older ring is dropped.
    pub fn note(&self, ring: RingId, sequence: SequenceId, epoch: Epoch) {
        let mut notes = self.lock();
        if ring < notes.ring {
            return;
        }
        notes.begin(ring);
        let first = notes.first.entry(sequence).or_default();
        *first = epoch.max(*first);
        if notes.first.len() > MAX_NOTES {
            notes.first.pop_first();
        }
    }

    /// Whether rows of this epoch are in vain.
    #[must_use]
    pub fn is_vain(&self, ring: RingId, sequence: SequenceId, epoch: Epoch) -> bool {
        let notes = self.lock();
        notes.ring == ring && notes.first.get(&sequence).is_some_and(|first| epoch < *first)
    }

    /// A sequence ended.
    pub(super) fn forget(&self, sequence: SequenceId) {
        self.lock().first.remove(&sequence);
    }

    /// A ring was joined: notes of older ones go. Notes of this one may have come before.
    pub(super) fn begin(&self, ring: RingId) {
        self.lock().begin(ring);
    }

    /// The head is gone, and its rings with it.
    pub(super) fn reset(&self) {
        *self.lock() = Notes::default();
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    fn begin(&mut self, ring: RingId) {
        if ring != self.ring {
            self.ring = ring;
            self.first.clear();
        }
    }
}

/// How far a stage is: answers PING while a frame is at work.
#[derive(Clone, Default)]
#[expect(missing_debug_implementations, reason = "nothing in it is worth printing")]
pub struct Progress(Arc<Mutex<(RingId, u64)>>);

impl Progress {
    /// The answer to a PING of `ring`: the number of the last frame that was done in that ring.
    #[must_use]
    pub fn pong(&self, ring: RingId, tick: u64) -> Envelope {
        let (joined, done) = *self.lock();
        let done = if joined == ring { done } else { 0 };
        Envelope {
            ring,
            message: Message::Pong { tick, done },
        }
    }

    /// Number of the last frame that was done.
    pub(super) fn done(&self) -> u64 {
        self.lock().1
    }

    pub(super) fn set(&self, ring: RingId, done: u64) {
        *self.lock() = (ring, done);
    }

    fn lock(&self) -> MutexGuard<'_, (RingId, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
