//! The one thread that speaks with the attester: batch after batch, at the
//! lane's pace, never two at once, and never cancelled in flight. It knows
//! nothing of TLS or HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bastide_attestation::{Attester, AttesterError, GpuAttester, GpuSnapshot, StatementDigest};

use crate::lane_m::epoch::Batch;
use crate::lane_m::queue::{Queue, THREAD_ENDED, Waiter};
use crate::lane_m::{EnclaveFacts, LaneError};

const THREAD_NAME: &str = "bastide-lane-m";

/// Starts the thread. It ends when the queue is closed or the lane unattestable.
pub(super) fn spawn(
    queue: Arc<Queue>,
    attester: Arc<dyn Attester>,
    gpus: Option<Arc<dyn GpuAttester>>,
    facts: EnclaveFacts,
    pace: Duration,
) -> Result<(), LaneError> {
    let psp = Psp {
        queue,
        attester,
        gpus,
        facts,
        pace,
        epoch: 0,
        previous: StatementDigest::new([0; StatementDigest::LEN]),
    };
    std::thread::Builder::new()
        .name(THREAD_NAME.to_owned())
        .spawn(move || psp.run())
        .map(drop)
        .map_err(|error| LaneError::Thread {
            reason: error.to_string(),
        })
}

struct Psp {
    queue: Arc<Queue>,
    attester: Arc<dyn Attester>,
    gpus: Option<Arc<dyn GpuAttester>>,
    facts: EnclaveFacts,
    pace: Duration,
    epoch: u64,
    previous: StatementDigest,
}

impl Drop for Psp {
    /// Also when the attester panicked: then nobody waits in vain, and the lane
    /// says that it is over.
    fn drop(&mut self) {
        self.queue.fail(THREAD_ENDED);
    }
}

impl Psp {
    fn run(mut self) {
        let mut earliest = Instant::now();
        while let Some(waiters) = self.queue.next_batch(earliest) {
            earliest = Instant::now() + self.pace;
            self.report(waiters);
        }
    }

    /// One epoch, for exactly these.
    fn report(&mut self, waiters: Vec<Waiter>) {
        let binders: Vec<_> = waiters
            .iter()
            .map(|waiter| (waiter.binder, waiter.leaf))
            .collect();
        let batch = match Batch::new(&binders) {
            Ok(batch) => batch,
            Err(error) => {
                let ended = self.queue.report_ended(false);
                return refuse(waiters, &ended.err().unwrap_or(error));
            }
        };
        let gpus = self
            .gpus
            .as_ref()
            .map_or_else(GpuSnapshot::default, |gpus| gpus.current());
        let statement = batch.statement(&self.facts, self.epoch, self.previous, &gpus);
        // The number is spent even if no report comes: the security processor
        // may have signed one that was lost on its way.
        self.epoch += 1;
        self.previous = statement.digest();

        let report = self.attester.attest(&statement);
        if let Err(late) = self.queue.report_ended(report.is_ok()) {
            return refuse(waiters, &late);
        }
        match report {
            Ok(attestation) => {
                if let Some(gpus) = &self.gpus {
                    gpus.stated(&self.previous);
                }
                let signed = batch.signed(statement, attestation, gpus.epoch);
                for (waiter, granted) in waiters.into_iter().zip(signed) {
                    // A session that has left disturbs nobody.
                    drop(waiter.answer.send(Ok(granted)));
                }
            }
            Err(AttesterError::Unattestable { reason }) => {
                self.queue.fail(&reason);
                refuse(waiters, &LaneError::Unattestable { reason });
            }
            Err(error @ AttesterError::Transient { .. }) => self.try_again(waiters, error),
            Err(error) => refuse(waiters, &LaneError::Attester(error)),
        }
    }

    /// Each session gets one more epoch, if its time allows.
    fn try_again(&self, waiters: Vec<Waiter>, error: AttesterError) {
        let now = Instant::now();
        let (again, over): (Vec<_>, Vec<_>) = waiters
            .into_iter()
            .partition(|waiter| !waiter.retried && waiter.deadline > now);
        refuse(over, &LaneError::Attester(error));
        let again = again.into_iter().map(|waiter| Waiter {
            retried: true,
            ..waiter
        });
        self.queue.put_back(again.collect());
    }
}

fn refuse(waiters: Vec<Waiter>, error: &LaneError) {
    for waiter in waiters {
        // A session that has left needs no answer.
        drop(waiter.answer.send(Err(error.clone())));
    }
}
