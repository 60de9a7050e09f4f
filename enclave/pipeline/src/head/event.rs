//! What a head is told and what it asks for.
//!
//! Owns the types at the head's border. Refuses nothing.

use std::time::Duration;

use bastide_attestation::{Nonce, Salt};
use zeroize::Zeroizing;

use crate::message::{Envelope, Epoch, Sampling, SequenceId, Target};

/// What happened.
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub enum Event {
    /// Someone wants an answer.
    Submit(Request),
    /// The link that was asked for is open and its peer is appraised.
    Up {
        /// The stage.
        stage: u16,
    },
    /// A link ended, or didn't open. Not for one that the head ended itself by
    /// [`Effect::Unlink`]: of that, nothing more may be reported.
    Down {
        /// The stage.
        stage: u16,
        /// Why.
        why: Loss,
    },
    /// A stage sent something.
    Message {
        /// The stage at the other end of the link that it came on.
        stage: u16,
        /// What.
        envelope: Envelope,
    },
    /// What a [`DraftTask`](super::DraftTask) came to; fewer ids than asked
    /// for, or none, are fine.
    Drafted {
        /// Of the task.
        sequence: SequenceId,
        /// Of the task.
        epoch: Epoch,
        /// The tokens that the draft expects next.
        ids: Zeroizing<Vec<u32>>,
        /// What drafting took.
        took: Duration,
    },
    /// A stop string was found in what was emitted. To be told before the next
    /// event, so that the receipt covers no token beyond.
    Stop {
        /// The answer.
        sequence: SequenceId,
        /// Tokens of it that count: emitted ones up to the end of the stop string.
        produced: u32,
    },
    /// Nobody wants the answer any more. Nothing of it follows.
    Cancel {
        /// The answer.
        sequence: SequenceId,
    },
    /// A client wants the evidence of every stage.
    Challenge {
        /// Comes back with each [`Effect::Evidence`].
        id: u64,
        /// The client's.
        nonce: Nonce,
    },
    /// [`Head::deadline`](super::Head::deadline) is due.
    Tick,
}

/// An answer that is wanted.
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub struct Request {
    /// A number that this head has not used since it started.
    pub sequence: SequenceId,
    /// The prompt's tokens, at least one.
    pub prompt: Zeroizing<Vec<u32>>,
    /// Tokens to produce at most, at least one.
    pub budget: u32,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// 32 random bytes: salt of the digests of the receipt's parts.
    pub salt: Salt,
}

/// What is to be done, in this order.
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub enum Effect {
    /// Open a link to this node and appraise it as this stage; then
    /// [`Event::Up`] or [`Event::Down`]. Never for stage 0.
    Link {
        /// The stage.
        stage: u16,
        /// `HOST:PORT`.
        node: String,
    },
    /// End the link, or stop opening it. Nothing more of it may be reported.
    Unlink {
        /// The stage.
        stage: u16,
    },
    /// Send this on the link to the stage, in order; for stage 0, hand it over.
    Send {
        /// The stage.
        stage: u16,
        /// What.
        envelope: Envelope,
    },
    /// The next tokens of an answer. One that ends the answer is among them.
    Emit {
        /// The answer.
        sequence: SequenceId,
        /// Tokens, at least one.
        targets: Vec<Target>,
    },
    /// The answer is complete and every stage has signed its part.
    Done {
        /// The answer.
        sequence: SequenceId,
        /// What goes into the receipt.
        record: Box<Record>,
    },
    /// There will be no more of the answer.
    Failed {
        /// The answer.
        sequence: SequenceId,
        /// A stable dotted code.
        code: &'static str,
    },
    /// What a stage answered to a challenge.
    Evidence {
        /// Of the challenge.
        id: u64,
        /// The stage.
        stage: u16,
        /// Its evidence envelope; `None` if it gave none in time.
        envelope: Option<Vec<u8>>,
    },
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// A token that ends answers.
    Eos,
    /// The budget is used up, or the model's positions are.
    Length,
    /// A stop string.
    Stop,
}

/// What an answer's receipt says of the pipeline.
#[derive(Debug, Clone)]
pub struct Record {
    /// Why it ended.
    pub finish: Finish,
    /// Tokens of the prompt.
    pub prompt: u32,
    /// Tokens that were produced, including one that ended it.
    pub produced: u32,
    /// Final rows: prompt and produced, without the last.
    pub rows: u32,
    /// Signed part of each stage, from stage 0 on.
    pub parts: Vec<Vec<u8>>,
    /// Tokens that were drafted.
    pub drafted: u32,
    /// Drafted tokens that were right.
    pub accepted: u32,
    /// Times that some were drafted: at most `largest_k` each.
    pub rounds: u32,
    /// Most tokens drafted at once.
    pub largest_k: u8,
    /// Each time the ring was made again under it, at most 16.
    pub replans: Vec<Replan>,
    /// Digest of the produced tokens at their positions: the tail's out-digest.
    pub emitted: [u8; 32],
}

/// The ring was made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replan {
    /// Positions that were final by then.
    pub position: u32,
    /// Stage that was lost.
    pub stage: u16,
    /// Why: [`Loss::code`].
    pub why: u8,
}

/// Why a stage was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Its link ended.
    Ended,
    /// Its evidence wasn't accepted, first or later.
    Refused,
    /// No link opened.
    Unreachable,
    /// It missed three pings.
    Silent,
    /// It took too long with a frame, a part or READY.
    Slow,
    /// What it sent makes no sense.
    Nonsense,
    /// It has another plan, stage, weights, engine, or fewer positions.
    Mismatch,
    /// It had lost a sequence, or rows of one.
    Forgot,
    /// The stage before couldn't link to it, or its link ended.
    NextLost,
}

impl Loss {
    /// Number in a receipt.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ended => 1,
            Self::Refused => 2,
            Self::Unreachable => 3,
            Self::Silent => 4,
            Self::Slow => 5,
            Self::Nonsense => 6,
            Self::Mismatch => 7,
            Self::Forgot => 8,
            Self::NextLost => 9,
        }
    }
}
