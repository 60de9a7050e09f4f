//! Generations on threads of their own, apart from the network's: a fixed
//! number runs, a fixed number waits, one more is refused. Those that wait are
//! taken in turn, client by client. Text comes back through a bounded channel;
//! when its receiver is gone, the generation stops.

mod generation;
mod queue;
mod worker;

use std::sync::Arc;
use std::{io, thread};

use bastide_attestation::FinishReason;
use bastide_attestation::pipeline::PipelineClaims;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use zeroize::Zeroizing;

use self::queue::Queue;
use crate::admission::Share;
use crate::api::{ApiError, Message, Parameters, TokenLogprob};
use crate::metrics::{Metrics, Refusal};

pub(crate) use self::generation::Engine;

/// Pieces that may wait for a slow client before its generation pauses.
const PIECES: usize = 256;

/// What a generation is asked.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) messages: Vec<Message>,
    pub(crate) parameters: Parameters,
    /// Most tokens of the answer where the client sets no limit.
    pub(crate) most_tokens: u32,
    /// When it is no longer wanted.
    pub(crate) until: Instant,
    /// How long that was from the start, in seconds, for the error's text.
    pub(crate) limit_seconds: u64,
    /// Whose it is.
    pub(crate) share: Share,
}

/// What is known before the first token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Started {
    pub(crate) prompt_tokens: u64,
    /// Most tokens the answer may have.
    pub(crate) most_tokens: u32,
}

/// What a running generation says.
pub(crate) enum Event {
    /// More of the answer.
    Piece(Piece),
    /// The end.
    Ended {
        finish: FinishReason,
        completion_tokens: u64,
        /// What the receipt says of the pipeline, where one answered.
        pipeline: Option<Box<PipelineClaims>>,
    },
}

/// What one token added to the answer.
pub(crate) struct Piece {
    /// Its text; empty while a character or a stop text may be incomplete.
    pub(crate) text: Zeroizing<String>,
    /// Its probabilities, if they were asked for.
    pub(crate) logprobs: Vec<TokenLogprob>,
}

/// A generation's way back.
#[derive(Debug)]
pub(crate) struct Generation {
    /// Whether it starts.
    pub(crate) started: oneshot::Receiver<Result<Started, ApiError>>,
    /// Its text. Ending without [`Event::Ended`] is a failure.
    pub(crate) events: mpsc::Receiver<Result<Event, ApiError>>,
}

struct Job {
    prompt: Prompt,
    started: oneshot::Sender<Result<Started, ApiError>>,
    events: mpsc::Sender<Result<Event, ApiError>>,
}

/// The queue of generations. Its threads end when it is dropped.
#[derive(Debug)]
pub(crate) struct Inference {
    queue: Arc<Queue<Job>>,
    metrics: Arc<Metrics>,
}

impl Inference {
    /// Starts `threads` threads on `engine`, with room for `waiting` generations.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(
        engine: &Engine,
        threads: usize,
        waiting: usize,
        metrics: &Arc<Metrics>,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(waiting, metrics.queued.clone()));
        for number in 0..threads {
            let (engine, queue, metrics) = (engine.clone(), Arc::clone(&queue), Arc::clone(metrics));
            thread::Builder::new()
                .name(format!("generation-{number}"))
                .spawn(move || worker::run(&engine, &queue, &metrics))?;
        }
        Ok(Self {
            queue,
            metrics: Arc::clone(metrics),
        })
    }

    /// Queues a generation. If the queue is full, the latest one of whoever has
    /// most in it makes room for a client that has less.
    ///
    /// # Errors
    /// [`ApiError::Overloaded`] if the queue is full.
    pub(crate) fn submit(&self, prompt: Prompt) -> Result<Generation, ApiError> {
        let (started, starts) = oneshot::channel();
        let (events, receiver) = mpsc::channel(PIECES);
        let share = prompt.share;
        let job = Job {
            prompt,
            started,
            events,
        };
        match self.queue.push(share, job, |job| job.started.is_closed()) {
            Ok(None) => {}
            Ok(Some(displaced)) => {
                self.metrics.refuse(Refusal::QueueShare);
                // Whoever asked may have gone away meanwhile.
                let _ = displaced.started.send(Err(ApiError::ShareTaken));
            }
            Err(_) => {
                self.metrics.refuse(Refusal::Queue);
                return Err(ApiError::Overloaded);
            }
        }
        Ok(Generation {
            started: starts,
            events: receiver,
        })
    }
}

impl Drop for Inference {
    fn drop(&mut self) {
        self.queue.close();
    }
}
