//! The thread that attests GPUs again and again. It alone speaks with the source;
//! whoever asks for a statement takes what it has published.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bastide_attestation::{BootId, GpuEpoch, GpuPart, TreeHash, binding};

use super::fault::GpuFault;
use super::judge::{AppraisedGpus, GpuJudge};
use super::source::GpuSource;
use super::state::{GpuState, Order};
use crate::telemetry::ops;

const THREAD_NAME: &str = "bastide-gpus";

/// How often things happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// From one GPU epoch to the next: 60 s.
    pub renew: Duration,
    /// How often is looked whether something has changed: 5 s.
    pub look: Duration,
    /// From an attestation that failed to the next: 10 s.
    pub retry: Duration,
    /// How old evidence gets: 180 s.
    pub longest: Duration,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self {
            renew: Duration::from_secs(60),
            look: Duration::from_secs(5),
            retry: Duration::from_secs(10),
            longest: Duration::from_secs(180),
        }
    }
}

/// How long ending waits for the GPUs to be closed.
const CLOSING: Duration = Duration::from_secs(2);

/// The running thread; ends it when it is dropped.
#[derive(Debug)]
pub(crate) struct Renewal(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    orders: mpsc::Sender<Order>,
    /// Disconnected when the source is gone.
    ended: Receiver<()>,
}

impl Renewal {
    /// Ends the thread, and waits a moment until its source is gone: real GPUs
    /// are closed then. One that hangs isn't waited for.
    pub(crate) fn stop(&self) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { orders, ended }) = running {
            // It may have ended by itself.
            let _ = orders.send(Order::Stop);
            // Nothing is ever sent: it ends, or time is over.
            let _ = ended.recv_timeout(CLOSING);
        }
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Renewing {
    source: Box<dyn GpuSource>,
    judge: GpuJudge,
    rhythm: Rhythm,
    boot_id: BootId,
    state: Arc<GpuState>,
}

/// Attests once, then starts the thread.
pub(super) fn start(
    source: Box<dyn GpuSource>,
    judge: GpuJudge,
    rhythm: Rhythm,
    boot_id: BootId,
) -> Result<(Arc<GpuState>, Renewal), GpuFault> {
    let state = Arc::new(GpuState::new(rhythm.longest));
    let mut renewing = Renewing {
        source,
        judge,
        rhythm,
        boot_id,
        state: Arc::clone(&state),
    };
    renewing.attest()?;
    let (orders, ordered) = mpsc::channel();
    state.obeyed_by(orders.clone());
    let (end, ended) = mpsc::channel();
    std::thread::Builder::new()
        .name(THREAD_NAME.to_owned())
        .spawn(move || {
            let _end: mpsc::Sender<()> = end;
            renewing.run(&ordered);
        })
        .map_err(GpuFault::Thread)?;
    let running = Running { orders, ended };
    Ok((state, Renewal(Mutex::new(Some(running)))))
}

impl Renewing {
    fn run(mut self, ordered: &Receiver<Order>) {
        let mut due = Instant::now() + self.rhythm.renew;
        loop {
            let until_due = due.saturating_duration_since(Instant::now());
            let event = match ordered.recv_timeout(until_due.min(self.rhythm.look)) {
                Err(RecvTimeoutError::Timeout) if Instant::now() < due => self.source.require_unchanged(),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Ok(Order::Strict { root, answer }) => {
                    let asked = self.strict(&root);
                    let told = asked.as_ref().map(Arc::clone).map_err(GpuFault::to_string);
                    // Whoever asked may be gone; nobody wants the answer then.
                    let _ = answer.try_send(told);
                    asked.map(drop)
                }
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            };
            match event {
                Ok(()) if Instant::now() < due => continue,
                Ok(()) => {}
                // No evidence from now on, and new evidence at once.
                Err(fault) => self.state.interrupt(&fault),
            }
            due = Instant::now()
                + match self.attest() {
                    Ok(()) => self.rhythm.renew,
                    Err(fault) => {
                        self.state.interrupt(&fault);
                        if self.source.is_over() {
                            return self.state.give_up(&fault);
                        }
                        self.rhythm.retry
                    }
                };
        }
    }

    /// One GPU epoch.
    fn attest(&mut self) -> Result<(), GpuFault> {
        let since = Instant::now();
        let (number, seed) = self.state.begin()?;
        let part = self.ask(number, seed)?;
        self.state.publish(GpuEpoch::new(number, part), since);
        ops!(INFO, "gpus.attested", phase = self.source.name());
        Ok(())
    }

    /// A GPU epoch for one statement alone, whose tree has this root.
    fn strict(&mut self, root: &TreeHash) -> Result<Arc<GpuEpoch>, GpuFault> {
        let number = self.state.begin_strict();
        let part = self.ask(number, *root.as_bytes())?;
        ops!(INFO, "gpus.attested", phase = "strict");
        Ok(Arc::new(GpuEpoch::strict(number, part)))
    }

    /// Evidence over the nonce of this number and this seed.
    fn ask(&mut self, number: u64, seed: [u8; 32]) -> Result<GpuPart, GpuFault> {
        let nonce = binding::gpu_nonce(&self.boot_id, number, &seed);
        let judge = &self.judge;
        let appraised: AppraisedGpus = self.source.attest(&nonce, &|evidence, endorsements| {
            Ok(judge.appraise(evidence, endorsements, &nonce)?)
        })?;
        let (evidence, endorsements) = appraised.into_parts();
        Ok(GpuPart {
            evidence: evidence.encode(),
            seed,
            endorsements,
        })
    }
}
