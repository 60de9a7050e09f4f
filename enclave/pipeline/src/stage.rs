//! One range of layers, as the head and the stage before see it.
//!
//! Owns what a stage is asked of and what it computes with.

use std::ops::Range;

use bastide_attestation::Salt;

use crate::message::{Payload, Run, Sampling, Target};

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

/// Salted digest of rows, `docs/spec/pipeline.md`, Receipts.
#[must_use]
pub fn row_digest(salt: &Salt, pos: u64, bytes: &[u8]) -> [u8; 32] {
    bastide_attestation::sha256(&[b"bastide-row-v1\0", salt.as_bytes(), &pos.to_be_bytes(), bytes])
}
