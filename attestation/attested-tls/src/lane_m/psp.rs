//! The one thread that speaks with the attester: batch after batch, at the
//! lane's pace, never two at once, and never cancelled in flight. It knows
//! nothing of TLS or HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bastide_attestation::{
    Attester, AttesterError, EpochLogEntry, GpuAttester, GpuEpoch, GpuSnapshot, StatementDigest,
};

use crate::lane_m::epoch::{Batch, Report};
use crate::lane_m::pace::Pacer;
use crate::lane_m::queue::{Queue, THREAD_ENDED, Turn, Waiter, Work, refuse};
use crate::lane_m::recent::{LastSent, Stated};
use crate::lane_m::{LaneError, LaneLimits, MAX_TIME, Standing};

const THREAD_NAME: &str = "bastide-lane-m";

/// Starts the thread. It ends when the queue is closed or the lane unattestable.
pub(super) fn spawn(
    queue: Arc<Queue>,
    attester: Arc<dyn Attester>,
    gpus: Option<Arc<dyn GpuAttester>>,
    limits: &LaneLimits,
) -> Result<(), LaneError> {
    let psp = Psp {
        queue,
        attester,
        gpus,
        pacer: Pacer::new(limits.pace.min(MAX_TIME)),
        epoch: 0,
        previous: StatementDigest::new([0; StatementDigest::LEN]),
        last_sent: LastSent::default(),
    };
    let probe = limits.probe;
    std::thread::Builder::new()
        .name(THREAD_NAME.to_owned())
        .spawn(move || psp.run(probe))
        .map(drop)
        .map_err(|error| LaneError::Thread {
            reason: error.to_string(),
        })
}

struct Psp {
    queue: Arc<Queue>,
    attester: Arc<dyn Attester>,
    gpus: Option<Arc<dyn GpuAttester>>,
    pacer: Pacer,
    epoch: u64,
    previous: StatementDigest,
    last_sent: LastSent,
}

impl Drop for Psp {
    /// Also when the attester panicked: then nobody waits in vain, and the lane
    /// says that it is over.
    fn drop(&mut self) {
        self.queue.fail(THREAD_ENDED);
    }
}

/// How a report ended.
struct Ended {
    came: bool,
    took: Duration,
}

impl Psp {
    fn run(mut self, probe: u32) {
        let mut earliest = Instant::now();
        for _ in 0..probe {
            let Some(turn) = self.queue.probe() else { return };
            let ended = self.report(turn);
            earliest = Instant::now();
            if ended.is_none_or(|ended| !ended.came || Pacer::is_stall(ended.took)) {
                break;
            }
        }
        if probe > 0 {
            earliest += self.pacer.pace();
        }
        while let Some(turn) = self.queue.next(earliest) {
            let began = Instant::now();
            self.report(turn);
            earliest = began + self.pacer.pace();
        }
    }

    /// One epoch, for exactly those of this turn. `None` if nobody was asked.
    fn report(&mut self, turn: Turn) -> Option<Ended> {
        let Turn {
            work,
            facts,
            generation,
            answering,
        } = turn;
        let prepared = match work {
            Work::Batch(leaves) => Batch::new(&leaves).map(|batch| (batch, self.current_gpus())),
            // What the GPUs said before an event is no evidence after it.
            Work::Strict(prepared) if prepared.generation != generation => Err(LaneError::Gpus {
                reason: "something changed while they were asked; try again".to_owned(),
            }),
            Work::Strict(prepared) => Ok((prepared.batch, strict_snapshot(prepared.gpus))),
        };
        let (batch, gpus) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                refuse(self.queue.ended(false).waiters, &error);
                return None;
            }
        };
        let made = Instant::now();
        let statement = batch.statement(&facts, self.epoch, self.previous, &gpus);
        // The number is spent even if no report comes: the security processor
        // may have signed one that was lost on its way.
        self.epoch += 1;
        self.previous = statement.digest();

        let report = self.attester.attest(&statement);
        let ended = Ended {
            came: report.is_ok(),
            took: made.elapsed(),
        };
        self.pacer.took(ended.took);
        self.queue.set_pace(self.pacer.pace());
        let logged = EpochLogEntry {
            statement: statement.as_bytes().to_vec(),
            report: report
                .as_ref()
                .ok()
                .map(|attestation| EpochLogEntry::report_digest(&attestation.platform)),
        };
        self.queue.log().append(logged);
        let standing = Standing {
            generation,
            answering,
            gpu_epoch: gpus.number,
        };
        match report {
            Ok(attestation) => {
                if let Some(gpus) = &self.gpus {
                    gpus.stated(&self.previous);
                }
                let sent = self
                    .last_sent
                    .digests(&attestation.endorsements, gpus.epoch.as_ref());
                let stated = Stated { made, standing, sent };
                self.queue.recent().add(self.previous, stated);
                let done = self.queue.ended(true);
                // Given up on by the watchdog, who has told them.
                if done.waiters.is_empty() {
                    return Some(ended);
                }
                if done.generation != generation {
                    self.again(done.waiters);
                    return Some(ended);
                }
                let signed = batch.signed(Report {
                    statement,
                    digest: self.previous,
                    attestation,
                    gpu: gpus.epoch,
                    standing,
                    sent,
                });
                for (waiter, granted) in done.waiters.into_iter().zip(signed) {
                    // A session that has left disturbs nobody.
                    drop(waiter.answer.send(Ok(granted)));
                }
            }
            Err(AttesterError::Unattestable { reason }) => {
                // Those of this turn are told with all the others.
                self.queue.fail(&reason);
                self.queue.ended(false);
            }
            Err(error) => {
                let transient = matches!(error, AttesterError::Transient { .. });
                let waiters = self.queue.ended(false).waiters;
                let (again, over) = waiters
                    .into_iter()
                    .partition(|waiter| transient && !waiter.strict && waiter.may_retry());
                refuse(over, &LaneError::Attester(error));
                self.retry(again);
            }
        }
        Some(ended)
    }

    fn current_gpus(&self) -> GpuSnapshot {
        self.gpus
            .as_ref()
            .map_or_else(GpuSnapshot::default, |gpus| gpus.current())
    }

    /// Each session gets one more epoch after a failure, if its time allows.
    fn retry(&self, waiters: Vec<Waiter>) {
        let mut again = waiters;
        for waiter in &mut again {
            waiter.retried = true;
        }
        self.queue.put_back(again);
    }

    /// What was stated is over already: sessions wait for what is now, as long as
    /// their time allows. GPUs are not asked twice for anybody.
    fn again(&self, waiters: Vec<Waiter>) {
        let (strict, again) = waiters.into_iter().partition(|waiter| waiter.strict);
        let error = LaneError::Gpus {
            reason: "something changed while the report was made; try again".to_owned(),
        };
        refuse(strict, &error);
        self.queue.put_back(again);
    }
}

fn strict_snapshot(gpus: Arc<GpuEpoch>) -> GpuSnapshot {
    GpuSnapshot {
        number: gpus.number(),
        epoch: Some(gpus),
    }
}
