//! The one thread that calls NVML. The driver serialises its calls anyway, and a
//! call that never returns must cost one thread, not one per caller.
//!
//! Each call has a deadline. Once one passes it the worker trips: callers get an
//! error at once, nothing calls NVML again, and if the call returns after all,
//! GPUs are closed (ready state 0) and NVML is shut down. Only a new process, with
//! a new worker, attests again.

mod watch;

use core::time::Duration;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bastide_attestation::GpuNonce;

use super::collect::{self, CollectedGpus};
use super::error::GpuError;
use super::library::{Failure, Library};
use super::settings::Settings;
use watch::{Watch, Watched};

/// How long to wait for the next call to begin, between two calls of one request.
const BETWEEN_CALLS: Duration = Duration::from_millis(10);

/// How much a worker bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long one call of NVML may take. NVIDIA's own verifier waits 30 s for a report.
    pub call: Duration,
    /// How many requests may wait for another; at least one.
    pub queue: usize,
    /// How long dropping a worker waits for NVML to be shut down.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(30),
            queue: 4,
            shutdown: Duration::from_secs(2),
        }
    }
}

/// Whether evidence can still be had. Gets worse, never better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Nothing is known to be wrong.
    Healthy,
    /// A GPU gave no report, twice. Reports are not asked for any more; the ready
    /// state can still be set.
    Unhealthy {
        /// [`GpuError::Unhealthy`], as it was.
        error: GpuError,
    },
    /// A call did not return in time. NVML is not called any more.
    Unattestable {
        /// The call.
        call: &'static str,
    },
}

type Request = Box<dyn FnOnce(&dyn Library) + Send>;

/// A thread that has NVML open, and a bounded queue to it.
#[derive(Debug)]
pub struct Worker {
    /// `None` only while it is dropped.
    requests: Option<SyncSender<Request>>,
    /// Disconnected when the thread has ended.
    ended: Mutex<Receiver<()>>,
    watch: Arc<Watch>,
    limits: Limits,
}

impl Worker {
    /// Starts the thread, and opens NVML on it: `|| LoadedLibrary::open(path)`.
    ///
    /// # Errors
    /// What `open` says; [`GpuError::TimedOut`] if it doesn't return in time.
    pub fn start<L: Library>(
        open: impl FnOnce() -> Result<L, GpuError> + Send + 'static,
        limits: Limits,
    ) -> Result<Self, GpuError> {
        let watch = Arc::new(Watch::opening(limits.call));
        let (requests, queue) = mpsc::sync_channel(limits.queue.max(1));
        let (end, ended) = mpsc::sync_channel(0);
        let (opened, opening) = mpsc::sync_channel(1);
        let of_thread = Arc::clone(&watch);
        thread::Builder::new()
            .name("nvml".to_owned())
            .spawn(move || {
                let _end: SyncSender<()> = end;
                let library = match open() {
                    Ok(library) => library,
                    Err(error) => return answer(&opened, Err(error)),
                };
                let library = Watched::new(library, of_thread);
                if library.end_of_opening().is_ok() {
                    answer(&opened, Ok(()));
                    serve(&library, &queue);
                }
                library.close_if_tripped();
            })
            .map_err(|_| GpuError::WorkerEnded)?;
        let worker = Self {
            requests: Some(requests),
            ended: Mutex::new(ended),
            watch,
            limits,
        };
        worker.wait(&opening)?;
        Ok(worker)
    }

    /// What NVML says about confidential computing now.
    ///
    /// # Errors
    /// [`GpuError`], as for every request: NVML's, or the worker's own.
    pub fn settings(&self) -> Result<Settings, GpuError> {
        self.request(|library| Settings::read(library))
    }

    /// Evidence of every GPU over `nonce`; see [`collect`](collect::collect).
    ///
    /// # Errors
    /// As [`settings`](Self::settings). After [`GpuError::Unhealthy`] that error
    /// again, without asking.
    pub fn collect(&self, nonce: &GpuNonce) -> Result<CollectedGpus, GpuError> {
        if let Health::Unhealthy { error } = self.health() {
            return Err(error);
        }
        let (nonce, watch) = (*nonce, Arc::clone(&self.watch));
        self.request(move |library| {
            // Two requests may have waited while the first found a GPU unhealthy.
            if let Health::Unhealthy { error } = watch.health() {
                return Err(error);
            }
            let collected = collect::collect(library, &nonce);
            if let Err(error @ GpuError::Unhealthy { .. }) = &collected {
                watch.set_unhealthy(error);
            }
            collected
        })
    }

    /// Holds that settings, driver and GPUs are still as when `collected` was.
    ///
    /// # Errors
    /// [`GpuError::Changed`]; as [`settings`](Self::settings).
    pub fn require_unchanged(&self, collected: &CollectedGpus) -> Result<(), GpuError> {
        let before = collected.snapshot();
        self.request(move |library| collect::require_unchanged(library, &before))
    }

    /// Whether GPUs accept work: 1 if so.
    ///
    /// # Errors
    /// As [`settings`](Self::settings).
    pub fn ready_state(&self) -> Result<u32, GpuError> {
        self.request(|library| Ok(library.ready_state()?))
    }

    /// Lets GPUs accept work, or not. Opening is [`open_gate`](super::gate::open_gate)'s.
    ///
    /// # Errors
    /// As [`settings`](Self::settings).
    pub(super) fn set_ready_state(&self, accepting: bool) -> Result<(), GpuError> {
        self.request(move |library| Ok(library.set_ready_state(accepting)?))
    }

    /// Closes the GPUs: no new CUDA context opens. Needs no appraisal.
    ///
    /// # Errors
    /// As [`settings`](Self::settings).
    pub fn close(&self) -> Result<(), GpuError> {
        self.set_ready_state(false)
    }

    /// Whether evidence can still be had.
    #[must_use]
    pub fn health(&self) -> Health {
        self.watch.health()
    }

    fn request<T: Send + 'static>(
        &self,
        request: impl FnOnce(&dyn Library) -> Result<T, GpuError> + Send + 'static,
    ) -> Result<T, GpuError> {
        self.watch.require_attestable()?;
        let (answers, answered) = mpsc::sync_channel(1);
        let request: Request = Box::new(move |library| answer(&answers, request(library)));
        let requests = self.requests.as_ref().ok_or(GpuError::WorkerEnded)?;
        requests.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) => GpuError::Busy {
                waiting: self.limits.queue.max(1),
            },
            TrySendError::Disconnected(_) => GpuError::WorkerEnded,
        })?;
        self.wait(&answered)
    }

    /// Waits for an answer, as long as every call returns in time.
    fn wait<T>(&self, answered: &Receiver<Result<T, GpuError>>) -> Result<T, GpuError> {
        let mut patience = self.limits.call;
        loop {
            match answered.recv_timeout(patience) {
                Ok(Err(GpuError::Call(Failure::Abandoned { call }))) => {
                    self.watch.require_attestable()?;
                    return Err(GpuError::Call(Failure::Abandoned { call }));
                }
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Timeout) => {
                    patience = self.watch.look()?.unwrap_or(BETWEEN_CALLS);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.watch.require_attestable()?;
                    return Err(GpuError::WorkerEnded);
                }
            }
        }
    }
}

/// Waits for NVML to be shut down, if nothing hangs; leaves the thread alone otherwise.
impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.requests.take());
        if self.watch.require_attestable().is_ok() {
            let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
            // An error either way: the thread has ended, or it takes too long.
            let _: Result<(), RecvTimeoutError> = ended.recv_timeout(self.limits.shutdown);
        }
    }
}

/// Serves requests until nobody can send any, or a call took too long.
fn serve<L: Library>(library: &Watched<L>, queue: &Receiver<Request>) {
    while let Ok(request) = queue.recv() {
        request(library);
        if library.tripped() {
            return;
        }
    }
}

/// Whoever asked may be gone; then nobody wants the answer.
fn answer<T>(answers: &SyncSender<T>, answer: T) {
    drop(answers.try_send(answer));
}

#[cfg(test)]
mod tests;
