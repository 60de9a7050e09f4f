//! A draft model on the engine.
//!
//! Owns its KV cache of each answer, which follows what the head says the
//! tokens are: what was drafted and thrown away is cut by the longest prefix
//! that both have. Draws with the noise that the tail draws with, so that
//! where the models agree the tokens do. Refuses to draft for a model of other
//! tokens. A draft that can't go on says less; nothing depends on it.

use std::sync::Arc;

use bastide_engine::{Input, KvCache, Model, Output, Rows, Sampler};
use zeroize::Zeroizing;

use super::Bench;
use crate::head::Drafter;
use crate::message::Sampling;

/// Rows that are caught up with at once.
const ROWS: usize = 128;

/// Why a model can't draft for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DraftRefused {
    /// Their tokens differ.
    #[error(
        "the draft's tokenizer isn't the model's: their tokenizer.json have different digests; use a draft that was made for this model"
    )]
    Tokenizer,
    /// Their vocabularies are of different sizes.
    #[error(
        "the draft has a vocabulary of {draft} entries, the model has {model}; use a draft that was made for this model"
    )]
    Vocabulary {
        /// Entries of the draft's.
        draft: usize,
        /// Entries of the model's.
        model: usize,
    },
    /// Only some of the draft's layers are loaded.
    #[error("only some of the draft's layers are loaded, expected all of them")]
    Partial,
}

impl DraftRefused {
    /// A stable dotted code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Tokenizer => "pipeline.draft.tokenizer",
            Self::Vocabulary { .. } => "pipeline.draft.vocabulary",
            Self::Partial => "pipeline.draft.partial",
        }
    }
}

/// Drafts with a small model.
#[expect(
    missing_debug_implementations,
    reason = "it holds a user's text in another form"
)]
pub struct EngineDrafter {
    bench: Bench,
}

/// What the draft has of one answer.
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub struct EngineDraft {
    cache: KvCache,
    /// The tokens whose rows the cache holds. Its capacity is the cache's from
    /// the start, so that no copy is left behind by growing.
    seen: Zeroizing<Vec<u32>>,
    bench: Bench,
}

impl EngineDrafter {
    /// Drafts with `draft` for `model`, of which some layers are enough.
    ///
    /// # Errors
    /// [`DraftRefused`] if their tokens differ, or the draft isn't whole.
    pub fn new(draft: Arc<Model>, model: &Model) -> Result<Self, DraftRefused> {
        if draft.manifest().tokenizer != model.manifest().tokenizer {
            return Err(DraftRefused::Tokenizer);
        }
        let (own, other) = (draft.config().vocab, model.config().vocab);
        if own != other {
            return Err(DraftRefused::Vocabulary {
                draft: own,
                model: other,
            });
        }
        if draft.layers() != (0..draft.config().layers) {
            return Err(DraftRefused::Partial);
        }
        Ok(Self {
            bench: Bench::new(draft),
        })
    }
}

impl Drafter for EngineDrafter {
    type Sequence = EngineDraft;

    fn open(&self, positions: usize, _: &Sampling) -> EngineDraft {
        let cache = self.bench.model.new_cache(positions);
        EngineDraft {
            seen: Zeroizing::new(Vec::with_capacity(cache.capacity())),
            cache,
            bench: self.bench.clone(),
        }
    }

    fn draft(
        &mut self,
        sequence: &mut EngineDraft,
        tokens: &[u32],
        k: usize,
        sampling: &Sampling,
    ) -> Zeroizing<Vec<u32>> {
        let sampler = Sampler::new(sampling.temperature, sampling.top_p, sampling.seed);
        // The row of the last token drafted is never computed.
        let room = (sequence.cache.capacity() + 1).saturating_sub(tokens.len());
        let k = k.min(room);
        let mut drafted = Zeroizing::new(Vec::with_capacity(k));
        if tokens.is_empty() {
            return drafted;
        }
        sequence.follow(tokens);
        while drafted.len() < k {
            let rows = match drafted.last() {
                None => &tokens[sequence.seen.len()..],
                Some(last) => std::slice::from_ref(last),
            };
            let Some(id) = sequence.next(rows, &sampler) else {
                break;
            };
            drafted.push(id);
            if self.bench.model.config().eos.contains(&id) {
                break;
            }
        }
        drafted
    }
}

impl EngineDraft {
    /// Cuts what isn't a prefix of `tokens`, and so much that the last of them is still to come.
    fn follow(&mut self, tokens: &[u32]) {
        let same = self
            .seen
            .iter()
            .zip(tokens)
            .take_while(|(seen, token)| seen == token);
        let keep = same.count().min(tokens.len() - 1);
        self.seen.truncate(keep);
        self.cache.truncate(keep);
    }

    /// The token that follows `rows`, the last ones of the answer, of which there is at least one.
    fn next(&mut self, rows: &[u32], sampler: &Sampler) -> Option<u32> {
        let mut scratch = self.bench.scratch();
        let mut id = None;
        for rows in rows.chunks(ROWS) {
            let pos = self.seen.len();
            let output = self.bench.model.forward_rows(
                Input::Ids(rows),
                pos,
                Rows::Last,
                &mut self.cache,
                &mut scratch,
            );
            let Ok(Output::Logits(logits)) = output else {
                return None;
            };
            self.seen.extend_from_slice(rows);
            id = Some(sampler.target(logits, self.seen.len()));
        }
        id
    }
}

impl Drop for EngineDraft {
    fn drop(&mut self) {
        self.bench.wipe();
    }
}
