//! A head on sockets: its handle, and the one task that owns the machine.
//!
//! Owns submitting, cancelling and asking for evidence. Refuses nothing of its
//! own: the machine says what it can't take. An answer's updates wait for a
//! slow reader without holding up anyone else: there are at most as many
//! tokens as its budget, so that what waits is bounded by what was asked for.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bastide_attestation::{Nonce, Salt};
use bastide_attested_tls::LinkPeer;
use ring::rand::{SystemRandom, generate};
use tokio::sync::{mpsc, oneshot, watch};
use zeroize::Zeroizing;

use super::drafting::Drafting;
use super::head_task::{Command, HeadInbox, HeadParts, HeadTask, Submitted};
use super::stage_node::{Local, StageLinks, StageNode};
use crate::head::{Drafter, Head, HeadStatus, HeadTerms, Record, Request};
use crate::message::{RingId, Sampling, SequenceId, Target};
use crate::stage::{Layers, Stage};

/// Answers that may be asked for before the task looks; who asks waits beyond.
const SUBMITTED: usize = 64;
/// Things that links report before the task looks; links wait beyond.
pub(super) const EVENTS: usize = 256;

/// Looks at tokens as they become final and says where the answer stops: how
/// many tokens of it count, or `None` to go on. It is given each token once, in
/// order, and runs on the head's task: it must be quick.
pub type StopCheck = Box<dyn FnMut(&[Target]) -> Option<u32> + Send>;

/// An answer that is wanted.
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub struct Ask {
    /// The prompt's tokens, at least one.
    pub prompt: Zeroizing<Vec<u32>>,
    /// Tokens to produce at most, at least one.
    pub budget: u32,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// 32 random bytes: salt of the digests of the receipt's parts.
    pub salt: Salt,
    /// Where it stops before the budget, besides the model's own end.
    pub stop: Option<StopCheck>,
}

/// What becomes of an answer.
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub enum HeadUpdate {
    /// The next tokens, at least one. None is beyond where the answer stops.
    Tokens(Vec<Target>),
    /// It is complete, and every stage has signed.
    Done(Box<Record>),
    /// There will be no more: a stable dotted code.
    Failed(&'static str),
}

/// An answer in progress. Dropping it cancels it.
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub struct Answer {
    sequence: SequenceId,
    updates: mpsc::UnboundedReceiver<HeadUpdate>,
    cancels: mpsc::UnboundedSender<SequenceId>,
    over: bool,
}

impl Answer {
    /// What comes next; `None` after [`HeadUpdate::Done`] and [`HeadUpdate::Failed`].
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<HeadUpdate> {
        if self.over {
            return None;
        }
        let update = self.updates.recv().await;
        let update = update.unwrap_or(HeadUpdate::Failed("pipeline.head_ended"));
        self.over = !matches!(update, HeadUpdate::Tokens(_));
        Some(update)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.updates.close();
        if !self.over {
            // One for each answer: their number bounds what waits.
            let _ = self.cancels.send(self.sequence);
        }
    }
}

/// A running head. Clones ask the same one; it ends when the last is dropped
/// and every answer has ended.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a connector has keys")]
pub struct PipelineHead {
    commands: mpsc::Sender<Command>,
    cancels: mpsc::UnboundedSender<SequenceId>,
    numbers: Arc<AtomicU64>,
    peers: watch::Receiver<Vec<Option<Arc<LinkPeer>>>>,
}

/// The head's task has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the head of the pipeline has ended; start the enclave again")]
pub struct HeadEnded;

/// A number to count rings from, with room for as many.
fn first_ring() -> io::Result<RingId> {
    let random = generate::<[u8; 4]>(&SystemRandom::new());
    let random = random.map_err(|_| io::Error::other("the operating system gave no random number"))?;
    Ok(RingId(u32::from_le_bytes(random.expose()) >> 1))
}

impl PipelineHead {
    /// Starts a head, its own stage and, if there is one, its draft, on three
    /// threads: drafting goes on while stage 0 computes.
    ///
    /// # Errors
    /// If the operating system gives no thread, or no random number.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start<L, D>(
        terms: HeadTerms,
        stage: Stage<L>,
        links: StageLinks,
        drafter: Option<D>,
    ) -> io::Result<Self>
    where
        L: Layers + Send + 'static,
        L::Sequence: Send,
        D: Drafter + Send + 'static,
        D::Sequence: Send,
    {
        let connector = links.connector.clone();
        let bounds = links.bounds;
        let (node, local) = StageNode::start_local(stage, links)?;
        let (drafts, drafted) = mpsc::channel(1);
        let drafting = drafter
            .map(|drafter| Drafting::start(drafter, drafts))
            .transpose()?;
        let (commands, commanded) = mpsc::channel(SUBMITTED);
        let (cancels, cancelled) = mpsc::unbounded_channel();
        let stages = terms.weights.len();
        let (peers, known) = watch::channel(vec![None; stages]);
        let max_positions = terms.max_positions;
        let Local { inlet, outlet } = local;
        let task = HeadTask::new(HeadParts {
            head: Head::new(terms).counting_from(first_ring()?),
            connector,
            bounds,
            max_positions,
            peers,
            inlet,
            drafting,
        });
        let inbox = HeadInbox {
            own: outlet,
            drafted,
            commands: commanded,
            cancels: cancelled,
        };
        tokio::spawn(task.run(node, inbox));
        Ok(Self {
            commands,
            cancels,
            numbers: Arc::new(AtomicU64::new(1)),
            peers: known,
        })
    }

    /// Asks for an answer. Waits while many are being submitted at once.
    ///
    /// # Errors
    /// [`HeadEnded`]. What the machine refuses comes as [`HeadUpdate::Failed`].
    pub async fn submit(&self, ask: Ask) -> Result<Answer, HeadEnded> {
        let sequence = SequenceId(self.numbers.fetch_add(1, Ordering::Relaxed));
        let (sink, updates) = mpsc::unbounded_channel();
        let submitted = Submitted {
            request: Request {
                sequence,
                prompt: ask.prompt,
                budget: ask.budget,
                sampling: ask.sampling,
                salt: ask.salt,
            },
            stop: ask.stop,
            sink,
        };
        self.command(Command::Submit(Box::new(submitted))).await?;
        Ok(Answer {
            sequence,
            updates,
            cancels: self.cancels.clone(),
            over: false,
        })
    }

    /// The evidence envelope of each stage for a client's nonce, from stage 0
    /// on; `None` for a stage that gave none in time.
    ///
    /// # Errors
    /// [`HeadEnded`].
    pub async fn evidence(&self, nonce: Nonce) -> Result<Vec<Option<Vec<u8>>>, HeadEnded> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Challenge(nonce, reply)).await?;
        answer.await.map_err(|_| HeadEnded)
    }

    /// The head's state, for metrics.
    ///
    /// # Errors
    /// [`HeadEnded`].
    pub async fn status(&self) -> Result<HeadStatus, HeadEnded> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Status(reply)).await?;
        answer.await.map_err(|_| HeadEnded)
    }

    /// Who the stages are, by the evidence that they linked with; `None` for
    /// stage 0, and for one that isn't linked.
    #[must_use]
    pub fn peers(&self) -> Vec<Option<Arc<LinkPeer>>> {
        self.peers.borrow().clone()
    }

    async fn command(&self, command: Command) -> Result<(), HeadEnded> {
        self.commands.send(command).await.map_err(|_| HeadEnded)
    }
}
