//! One range of layers, as the head and the stage before see it.
//!
//! Owns what a stage is asked of, what it computes with and what it wants
//! done. The machine itself is `machine`'s: it does no I/O and reads no clock.
//! Refuses what does not come from where it must, is of another ring, plan or
//! stage, or does not fit its model.

mod digest;
mod fault;
mod frame;
mod machine;
mod progress;

use std::ops::Range;

use bastide_attestation::Nonce;

use crate::message::{Envelope, Payload, RingId, Run, Sampling, Target};

pub use digest::{RowsDigest, row_digest};
pub use fault::StageFault;
pub use machine::Stage;
pub use progress::{Cancelled, Progress};

/// A range of layers that computes. The engine's implementation is the real
/// one; tests have a small one.
pub trait Layers {
    /// KV cache and sampler of one sequence.
    type Sequence;

    /// Memory for a sequence of at most `positions` positions.
    fn open(&self, positions: usize, sampling: &Sampling) -> Self::Sequence;

    /// Computes the rows of one frame: for each run, its sequence, cut to
    /// `pos` first. Runs of several sequences are computed together.
    ///
    /// # Errors
    /// [`Refused`], and no sequence is changed.
    fn run(
        &mut self,
        runs: &mut [(Run, &mut Self::Sequence)],
        payload: &Payload,
    ) -> Result<Computed, Refused>;

    /// Positions that the sequence has.
    fn len(&self, sequence: &Self::Sequence) -> usize;

    /// The layers.
    fn layers(&self) -> Range<usize>;
}

/// What rows came to.
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub enum Computed {
    /// Activations of every row, for the next stage.
    Rows(Payload),
    /// For each run, the targets that were wanted.
    Targets(Vec<Vec<Target>>),
}

/// The engine refused rows: they don't fit its model. Carries no content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the layers refused the rows: {code}")]
pub struct Refused {
    /// The engine's stable code.
    pub code: &'static str,
}

/// What a stage signs when a sequence ends; plan, stage, layers, weights,
/// statement and key are known to who signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartContent {
    /// Digest of the rows that came.
    pub input: [u8; 32],
    /// Digest of the rows that were handed on.
    pub output: [u8; 32],
    /// Final rows.
    pub rows: u32,
}

/// Signs parts of receipts with the enclave's receipt key.
pub trait SignParts {
    /// A signed part of at most 1,024 bytes; `None` if signing failed.
    fn sign(&self, content: &PartContent) -> Option<Vec<u8>>;
}

/// Whose link a message came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The head's own link; at stage 0, the head itself.
    Head,
    /// The link of the stage before.
    Previous,
}

/// What a stage is: it answers a JOIN with this, and refuses what is not for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageTerms {
    /// Digest of the signed plan.
    pub plan: [u8; 32],
    /// Its number, from 0.
    pub stage: u16,
    /// Stages of the plan.
    pub stages: u16,
    /// Digest of the weights of its range.
    pub weights: [u8; 32],
    /// SHA-256 of the engine's name.
    pub engine: [u8; 32],
    /// Positions that a sequence may have.
    pub max_positions: u32,
    /// Sequences that it holds at once.
    pub max_sequences: u16,
    /// The model's hidden size.
    pub width: u32,
    /// What one row takes it, microseconds.
    pub row_us: u32,
}

impl StageTerms {
    /// Whether it is the last stage.
    #[must_use]
    pub fn is_tail(&self) -> bool {
        self.stage.checked_add(1) == Some(self.stages)
    }
}

/// What a stage wants done, in this order.
#[derive(Clone, PartialEq)]
#[expect(missing_debug_implementations, reason = "it may hold a user's text")]
pub enum StageEffect {
    /// Send on the head's link.
    ToHead(Envelope),
    /// Send on the link to the next stage.
    ToNext(Envelope),
    /// Open a link to the next stage, and say [`Stage::next_linked`] or [`Stage::next_lost`].
    LinkNext {
        /// What to say with it.
        ring: RingId,
        /// `HOST:PORT`, from the head; whoever answers must prove what it is.
        address: String,
    },
    /// Close the link to the next stage, or give up opening it; nothing more is said of it.
    UnlinkNext,
    /// Make evidence for a client, and say [`Stage::evidence`].
    Attest {
        /// Comes back.
        id: u64,
        /// The client's nonce.
        nonce: Nonce,
    },
}

#[cfg(test)]
mod tests;
