//! The thread that drafts, so that drafting goes on while frames are under way.
//!
//! Owns the draft's memory of each answer, and overwrites it when the answer
//! has ended. Refuses nothing: what a draft says is only compared.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::head::{DraftTask, Drafter};
use crate::message::{Epoch, SequenceId};

/// What the thread is asked.
enum Ask {
    /// Draft; the number is of positions that the answer may have.
    Draft(Box<DraftTask>, usize),
    /// An answer has ended.
    Forget(SequenceId),
}

/// What a task came to.
pub(super) struct Drafted {
    pub(super) sequence: SequenceId,
    pub(super) epoch: Epoch,
    pub(super) ids: Zeroizing<Vec<u32>>,
    pub(super) took: Duration,
}

/// The head's end of the thread, which ends when it is dropped.
pub(super) struct Drafting {
    asks: Sender<Ask>,
    busy: bool,
}

impl Drafting {
    /// Starts the thread. Results come on `drafted`, one for each task.
    pub(super) fn start<D>(drafter: D, drafted: mpsc::Sender<Drafted>) -> io::Result<Self>
    where
        D: Drafter + Send + 'static,
        D::Sequence: Send,
    {
        let (asks, asked) = channel();
        thread::Builder::new()
            .name("pipeline-draft".to_owned())
            .spawn(move || run(drafter, &asked, &drafted))?;
        Ok(Self { asks, busy: false })
    }

    /// Whether it can take a task: one at a time.
    pub(super) const fn is_idle(&self) -> bool {
        !self.busy
    }

    pub(super) fn draft(&mut self, task: DraftTask, positions: usize) {
        // A thread that has ended leaves the head without drafts, not without answers.
        self.busy = true;
        drop(self.asks.send(Ask::Draft(Box::new(task), positions)));
    }

    /// The result of the task has come.
    pub(super) const fn done(&mut self) {
        self.busy = false;
    }

    /// There is one such order for each answer, so that they are bounded as those are.
    pub(super) fn forget(&self, sequence: SequenceId) {
        drop(self.asks.send(Ask::Forget(sequence)));
    }
}

fn run<D: Drafter>(mut drafter: D, asked: &Receiver<Ask>, drafted: &mpsc::Sender<Drafted>) {
    let mut answers: HashMap<SequenceId, D::Sequence> = HashMap::new();
    while let Ok(ask) = asked.recv() {
        match ask {
            Ask::Forget(sequence) => drop(answers.remove(&sequence)),
            Ask::Draft(task, positions) => {
                let began = Instant::now();
                let DraftTask {
                    sequence,
                    epoch,
                    ref tokens,
                    k,
                    ref sampling,
                } = *task;
                let memory = answers
                    .entry(sequence)
                    .or_insert_with(|| drafter.open(positions, sampling));
                let ids = drafter.draft(memory, tokens, k, sampling);
                let took = began.elapsed();
                let result = Drafted {
                    sequence,
                    epoch,
                    ids,
                    took,
                };
                if drafted.blocking_send(result).is_err() {
                    return;
                }
            }
        }
    }
}
