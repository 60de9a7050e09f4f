//! What goes over a link of a pipeline: `docs/spec/pipeline.md`, Messages.
//!
//! Owns the types and their limits. Reading, writing and refusing is `codec`'s
//! and, message by message, `body`'s.

mod body;
mod codec;
mod error;
mod wire;

use bastide_attestation::{Nonce, Salt};
use zeroize::{Zeroize, Zeroizing};

pub use codec::{Bounds, MESSAGE_BUCKETS, rows_that_fit};
pub use error::MessageError;

/// Runs of one frame.
pub const MAX_RUNS: usize = 64;
/// Rows of one frame: that many targets with their alternatives fit in one message.
pub const MAX_ROWS: usize = 4_096;
/// Alternatives that are reported with a target.
pub const MAX_TOP_LOGPROBS: u8 = 20;
/// Bytes of an address.
pub const MAX_ADDRESS_BYTES: usize = 256;
/// Bytes of a signed part.
pub const MAX_PART_BYTES: usize = 1_024;
/// Bytes of one piece of evidence.
pub const MAX_PIECE_BYTES: usize = 65_536;

/// How often the head had joined its stages when something was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RingId(pub u32);

/// One answer of a head, unique in its boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId(pub u64);

/// How often the head has thrown away what was in flight of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u32);

/// A message and the ring that it belongs to.
#[derive(Clone, PartialEq)]
#[expect(missing_debug_implementations, reason = "it may hold a user's text")]
pub struct Envelope {
    /// The ring.
    pub ring: RingId,
    /// The message.
    pub message: Message,
}

/// One message.
#[derive(Clone, PartialEq)]
#[expect(missing_debug_implementations, reason = "it may hold a user's text")]
pub enum Message {
    /// Head to stage: be this stage of this plan, and link to the next one.
    Join(Join),
    /// Stage to head: it is, and has.
    Ready(Ready),
    /// Along the ring: a sequence begins.
    Open(Open),
    /// Along the ring: rows to compute.
    Frame(Frame),
    /// Tail to head: what a frame came to.
    Answer(Answer),
    /// Along the ring: a sequence ends.
    Finish(Finish),
    /// Stage to head: its part of a receipt.
    Part(Part),
    /// Head to stage: what is in flight of a sequence is in vain.
    Cancel {
        /// The sequence.
        sequence: SequenceId,
        /// The first epoch that counts.
        epoch: Epoch,
    },
    /// Head to stage: say that you are there.
    Ping {
        /// Comes back.
        tick: u64,
    },
    /// Stage to head: it is.
    Pong {
        /// As it came.
        tick: u64,
        /// Number of the last frame that it has done.
        done: u64,
    },
    /// Stage to head: something can't be computed.
    Fault(Fault),
    /// Head to stage: attest for this client.
    Challenge {
        /// Comes back.
        id: u64,
        /// The client's nonce.
        nonce: Nonce,
    },
    /// Stage to head: a piece of its evidence.
    Evidence(EvidencePiece),
}

/// Be this stage of this plan, and link to the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Digest of the signed plan.
    pub plan: [u8; 32],
    /// Stage that the receiver is.
    pub stage: u16,
    /// `HOST:PORT` of the next stage, at most 256 bytes; `None` for the tail.
    pub next: Option<String>,
}

/// What a stage is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Digest of the signed plan.
    pub plan: [u8; 32],
    /// Its stage.
    pub stage: u16,
    /// Digest of the weights of its range.
    pub weights: [u8; 32],
    /// SHA-256 of the engine's name: stages of other arithmetic don't fit.
    pub engine: [u8; 32],
    /// Positions that a sequence may have.
    pub max_positions: u32,
    /// Sequences that it holds at once.
    pub max_sequences: u16,
    /// What one row takes it, microseconds.
    pub row_us: u32,
}

/// How the tail chooses tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 takes the most likely token; at most 100.
    pub temperature: f32,
    /// Share of the probability that is drawn from; above 0, at most 1.
    pub top_p: f32,
    /// Seed of the noise.
    pub seed: u64,
    /// Alternatives to report with each target, 0 to 20; `None` reports no probability at all.
    pub top_logprobs: Option<u8>,
}

/// A sequence begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// The sequence.
    pub sequence: SequenceId,
    /// Its epoch from here on.
    pub epoch: Epoch,
    /// Positions that it may need.
    pub positions: u32,
    /// Salt of the digests of its rows.
    pub salt: Salt,
    /// How the tail chooses.
    pub sampling: Sampling,
}

/// Consecutive rows of one sequence in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The sequence.
    pub sequence: SequenceId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Position of the first row.
    pub pos: u32,
    /// Rows, at least 1.
    pub rows: u16,
    /// How many of the last rows need a target.
    pub wanted: u16,
    /// Positions of the sequence that are final.
    pub committed: u32,
}

/// Rows to compute. The rows of the runs follow one another in the payload.
#[derive(Clone, PartialEq)]
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub struct Frame {
    /// Counts from 1 in each ring.
    pub number: u64,
    /// Whose rows; at most 64 runs, each of another sequence. None are left
    /// where a stage has dropped them all: the frame still goes round, so that
    /// the head hears of every number.
    pub runs: Vec<Run>,
    /// The rows.
    pub payload: Payload,
}

/// The rows of a frame.
#[derive(Clone, PartialEq)]
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub enum Payload {
    /// Token ids, for stage 0: one a row. On the wire their width is 1.
    Ids(Zeroizing<Vec<u32>>),
    /// Activations: `width` values a row.
    Activations {
        /// The model's hidden size.
        width: u32,
        /// `rows × width` values.
        values: Zeroizing<Vec<f32>>,
    },
}

/// The token that follows a row.
#[derive(Clone, PartialEq)]
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub struct Target {
    /// The token.
    pub id: u32,
    /// Natural logarithm of its probability at temperature 1; 0 if not asked for.
    pub logprob: f32,
    /// The most likely tokens, most likely first, if asked for; at most 20.
    pub top: Vec<(u32, f32)>,
}

impl Drop for Target {
    fn drop(&mut self) {
        self.id.zeroize();
        self.logprob.zeroize();
        for (id, logprob) in &mut self.top {
            id.zeroize();
            logprob.zeroize();
        }
    }
}

/// Targets of one run.
#[derive(Clone, PartialEq)]
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub struct Targets {
    /// The sequence.
    pub sequence: SequenceId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Position of the row that the first target follows; one past the run's last row where none was wanted.
    pub pos: u32,
    /// As many as were wanted.
    pub targets: Vec<Target>,
}

/// What a frame came to.
#[derive(Clone, PartialEq)]
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub struct Answer {
    /// The frame.
    pub number: u64,
    /// One for each run that was computed.
    pub runs: Vec<Targets>,
}

/// A sequence ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finish {
    /// The sequence.
    pub sequence: SequenceId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Rows that are final.
    pub rows: u32,
    /// Whether a signed part is wanted.
    pub sign: bool,
}

/// A stage's part of a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The sequence.
    pub sequence: SequenceId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The stage.
    pub stage: u16,
    /// The signed part, at most 1,024 bytes.
    pub signed: Vec<u8>,
}

/// Why a stage could not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultCode {
    /// A frame beyond what its cache holds.
    Gap,
    /// No room for the sequence.
    Full,
    /// A sequence that was never opened.
    Unknown,
    /// The engine refused the rows.
    Forward,
    /// The link to the next stage ended, or did not open.
    NextLost,
    /// The part could not be signed.
    Signing,
}

/// Something can't be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Why.
    pub code: FaultCode,
    /// The sequence; 0 where the fault is not of one.
    pub sequence: SequenceId,
    /// Its epoch.
    pub epoch: Epoch,
}

/// A piece of a stage's evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidencePiece {
    /// Of the challenge.
    pub id: u64,
    /// Which piece, from 0.
    pub part: u16,
    /// How many there are.
    pub parts: u16,
    /// Bytes of the envelope, at most 65,536; empty if the stage can't attest.
    pub bytes: Vec<u8>,
}

#[cfg(test)]
pub(crate) mod tests;
