//! The threads of an engine.
//!
//! Owns a fixed set of workers that take chunks of a [`Job`] until none is
//! left. A worker spins briefly and then parks; a worker that has not started
//! when the caller runs out of chunks is called off instead of waited for, so
//! that a busy machine never stalls a token. Every worker writes to memory of
//! its own, which the caller copies: nothing is shared mutably. Buffers are
//! overwritten on [`Pool::wipe`] and on drop.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::{hint, io};

use zeroize::Zeroizing;

use crate::job::{Job, Workspace};

/// Waiting for work, awake.
const IDLE: u8 = 0;
/// Waiting for work, asleep.
const PARKED: u8 = 1;
/// A job is in the slot and may still be called off.
const POSTED: u8 = 2;
/// The worker is computing.
const RUNNING: u8 = 3;
/// The worker's chunks are in its slot.
const DONE: u8 = 4;
/// The worker must end.
const SHUTDOWN: u8 = 5;

/// Looks at the state before a worker parks: about a tenth of a millisecond, more than the gap
/// between two jobs of a token.
const SPINS: u32 = 2_000;
/// Looks at the state before a waiting caller yields its time slice.
const WAIT_SPINS: u32 = 2_000;

struct Shared {
    /// The next chunk nobody has taken.
    next: AtomicUsize,
}

#[derive(Default)]
struct Slot {
    job: Option<Job>,
    input: Option<Arc<Zeroizing<Vec<f32>>>>,
    workspace: Workspace,
    /// Chunks computed, in the order of the workspace.
    chunks: Vec<usize>,
    failed: bool,
}

struct Mailbox {
    state: AtomicU8,
    slot: Mutex<Slot>,
    shared: Arc<Shared>,
}

struct Worker {
    mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

/// The workers and the input they share.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    input: Arc<Zeroizing<Vec<f32>>>,
}

/// Computes every chunk on the calling thread.
pub(crate) fn run_alone(job: &Job, input: &[f32], out: &mut [f32], own: &mut Workspace) {
    let scores = own.scores.get(job.scores_len());
    let buffer = own.chunk.get(job.chunk_len());
    for chunk in 0..job.chunks() {
        job.compute(chunk, input, buffer, scores);
        job.scatter(chunk, buffer, out);
    }
}

impl Pool {
    /// Starts `threads - 1` workers: the caller is one of the threads.
    pub(crate) fn new(threads: NonZeroUsize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            next: AtomicUsize::new(0),
        });
        let mut pool = Self {
            shared,
            workers: Vec::new(),
            input: Arc::default(),
        };
        for index in 1..threads.get() {
            let mailbox = Arc::new(Mailbox {
                state: AtomicU8::new(IDLE),
                slot: Mutex::default(),
                shared: Arc::clone(&pool.shared),
            });
            let theirs = Arc::clone(&mailbox);
            let thread = thread::Builder::new()
                .name(format!("engine-{index}"))
                .spawn(move || work(&theirs))?;
            pool.workers.push(Worker {
                mailbox,
                thread: Some(thread),
            });
        }
        Ok(pool)
    }

    /// Computes every chunk of `job` and places the results in `out`.
    pub(crate) fn run(&mut self, job: &Job, input: &[f32], out: &mut [f32], own: &mut Workspace) {
        if self.workers.is_empty() || !job.worth_sharing() {
            return run_alone(job, input, out, own);
        }
        self.post(job, input);
        let unwinding = Unwinding(self);
        let total = job.chunks();
        let scores = own.scores.get(job.scores_len());
        let buffer = own.chunk.get(job.chunk_len());
        while let Some(chunk) = take(&self.shared, total) {
            job.compute(chunk, input, buffer, scores);
            job.scatter(chunk, buffer, out);
        }
        let sound = self.collect(job, out);
        drop(unwinding);
        if !sound {
            // A worker panicked: compute it all here, where a panic reaches the caller.
            run_alone(job, input, out, own);
        }
    }

    /// Whether no thread has anything left to do or to give back.
    #[cfg(test)]
    pub(crate) fn is_at_rest(&self) -> bool {
        self.workers
            .iter()
            .all(|worker| matches!(worker.mailbox.state.load(Ordering::Acquire), IDLE | PARKED))
    }

    /// Overwrites what the last job left in the workers' memory.
    pub(crate) fn wipe(&mut self) {
        for worker in &self.workers {
            let mut slot = worker.mailbox.lock();
            slot.workspace.wipe();
            slot.input = None;
        }
        self.input = Arc::default();
    }

    fn post(&mut self, job: &Job, input: &[f32]) {
        self.shared.next.store(0, Ordering::Relaxed);
        match Arc::get_mut(&mut self.input) {
            Some(shared) if shared.capacity() >= input.len() => {
                shared.clear();
                shared.extend_from_slice(input);
            }
            _ => self.input = Arc::new(Zeroizing::new(input.to_vec())),
        }
        for worker in &self.workers {
            {
                let mut slot = worker.mailbox.lock();
                slot.job = Some(job.clone());
                slot.input = Some(Arc::clone(&self.input));
            }
            if worker.mailbox.state.swap(POSTED, Ordering::AcqRel) == PARKED
                && let Some(thread) = &worker.thread
            {
                thread.thread().unpark();
            }
        }
    }

    /// Waits for the workers that have started; false if one of them panicked.
    fn collect(&self, job: &Job, out: &mut [f32]) -> bool {
        let mut sound = true;
        let length = job.chunk_len();
        for worker in &self.workers {
            let state = &worker.mailbox.state;
            if state
                .compare_exchange(POSTED, IDLE, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
            {
                let mut slot = worker.mailbox.lock();
                slot.job = None;
                slot.input = None;
                continue;
            }
            let mut spins = 0u32;
            while state.load(Ordering::Acquire) != DONE {
                spins += 1;
                if spins < WAIT_SPINS {
                    hint::spin_loop();
                } else {
                    thread::yield_now();
                }
            }
            let mut guard = worker.mailbox.lock();
            let slot = &mut *guard;
            sound &= !std::mem::take(&mut slot.failed);
            for (index, chunk) in slot.chunks.iter().enumerate() {
                let buffer = slot.workspace.chunk.filled((index + 1) * length);
                job.scatter(*chunk, &buffer[index * length..], out);
            }
            state.store(IDLE, Ordering::Release);
        }
        sound
    }
}

/// Takes a job back when the caller panics over it; after a collected one there
/// is nothing to do. Without this its threads would wait, spinning, to have
/// their results taken.
struct Unwinding<'a>(&'a Pool);

impl Drop for Unwinding<'_> {
    fn drop(&mut self) {
        for worker in &self.0.workers {
            let mailbox = &worker.mailbox;
            let at_rest = || matches!(mailbox.state.load(Ordering::Acquire), IDLE | PARKED);
            if at_rest() {
                continue;
            }
            while !(exchange(mailbox, POSTED, IDLE) || exchange(mailbox, DONE, IDLE) || at_rest()) {
                thread::yield_now();
            }
            let mut slot = mailbox.lock();
            slot.job = None;
            slot.input = None;
            slot.failed = false;
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.mailbox.state.store(SHUTDOWN, Ordering::Release);
            if let Some(thread) = worker.thread.take() {
                thread.thread().unpark();
                // A worker catches its panics; there is nothing to learn from the result.
                let _ = thread.join();
            }
        }
    }
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the next chunk, if there is one.
fn take(shared: &Shared, total: usize) -> Option<usize> {
    // Relaxed is enough: only the number matters, the mailbox orders the data.
    Some(shared.next.fetch_add(1, Ordering::Relaxed)).filter(|chunk| *chunk < total)
}

/// A worker's life.
fn work(mailbox: &Mailbox) {
    let mut spins = 0u32;
    loop {
        match mailbox.state.load(Ordering::Acquire) {
            SHUTDOWN => return,
            POSTED => {
                if exchange(mailbox, POSTED, RUNNING) {
                    run_posted(mailbox);
                    // A shutdown that came meanwhile must not be lost.
                    exchange(mailbox, RUNNING, DONE);
                }
                spins = 0;
            }
            PARKED => thread::park(),
            _ if spins < SPINS => {
                spins += 1;
                hint::spin_loop();
            }
            IDLE => {
                spins = 0;
                exchange(mailbox, IDLE, PARKED);
            }
            _ => thread::yield_now(),
        }
    }
}

fn exchange(mailbox: &Mailbox, from: u8, to: u8) -> bool {
    mailbox
        .state
        .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
}

fn run_posted(mailbox: &Mailbox) {
    let mut guard = mailbox.lock();
    let slot = &mut *guard;
    slot.chunks.clear();
    let (Some(job), Some(input)) = (slot.job.take(), slot.input.take()) else {
        return;
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let (total, length) = (job.chunks(), job.chunk_len());
        slot.chunks.reserve(total);
        let scores = slot.workspace.scores.get(job.scores_len());
        let buffer = slot.workspace.chunk.get(total * length);
        while let Some(chunk) = take(&mailbox.shared, total) {
            let index = slot.chunks.len();
            job.compute(chunk, &input, &mut buffer[index * length..][..length], scores);
            slot.chunks.push(chunk);
        }
    }));
    if outcome.is_err() {
        slot.failed = true;
        slot.chunks.clear();
    }
}
