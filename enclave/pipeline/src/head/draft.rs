//! Asking a draft model.
//!
//! Owns the task and the trait. Refuses nothing: what a draft says is only
//! ever compared with what the tail says.

use zeroize::Zeroizing;

use crate::message::{Epoch, Sampling, SequenceId};

/// What a draft is asked.
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub struct DraftTask {
    /// The answer.
    pub sequence: SequenceId,
    /// Its epoch; comes back.
    pub epoch: Epoch,
    /// Every token so far: the prompt, what is final, and what was drafted
    /// before. They share a prefix with the last task of the sequence.
    pub tokens: Zeroizing<Vec<u32>>,
    /// How many to draft, at least 1.
    pub k: usize,
    /// How tokens are chosen: with the same noise, a draft agrees more often.
    pub sampling: Sampling,
}

/// A draft model.
pub trait Drafter {
    /// Its memory of one answer.
    type Sequence;

    /// Memory for an answer of at most `positions` positions.
    fn open(&self, positions: usize, sampling: &Sampling) -> Self::Sequence;

    /// Up to `k` tokens that are expected after `tokens`.
    fn draft(
        &mut self,
        sequence: &mut Self::Sequence,
        tokens: &[u32],
        k: usize,
        sampling: &Sampling,
    ) -> Zeroizing<Vec<u32>>;
}
