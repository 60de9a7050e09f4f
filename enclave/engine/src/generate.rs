//! Completions, token by token.
//!
//! Owns one sequence's computation from prompt to end: its cache and its
//! sampler. What the tokens amount to is `assembler`'s. Refuses models that
//! are not whole before anything is computed. What it holds is overwritten
//! when it is dropped.

use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

use crate::assembler::{FinishReason, Step, TextAssembler, Usage};
use crate::cache::KvCache;
use crate::error::ForwardError;
use crate::model::{Input, Model, Output, Rows};
use crate::sampler::{Candidates, Sampler, logprobs};
use crate::scratch::Scratch;

/// Rows of a prompt processed together. Without effect on the result.
const PREFILL_ROWS: usize = 128;

/// How tokens are chosen and when to end.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "stop strings are a user's text")]
pub struct SamplingParams {
    /// 0 takes the most likely token; at most 100.
    pub temperature: f32,
    /// Only the most likely tokens with this share of the probability are drawn from; above 0, at most 1.
    pub top_p: f32,
    /// Same seed, prompt and parameters: same completion.
    pub seed: u64,
    /// Tokens to produce at most.
    pub max_tokens: usize,
    /// The completion ends before the first of these; at most 16, none empty. Overwritten when the
    /// completion is dropped.
    pub stop: Vec<String>,
    /// Report log-probabilities, with this many alternatives per token (0 to 20).
    pub top_logprobs: Option<u8>,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            seed: 0,
            max_tokens: 256,
            stop: Vec::new(),
            top_logprobs: None,
        }
    }
}

/// Why a completion did not start or could not go on. Carries no content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// There is nothing to complete.
    #[error("the prompt has no tokens, expected at least one")]
    EmptyPrompt,
    /// The prompt leaves no room for a token.
    #[error(
        "the prompt has {prompt_tokens} tokens, expected fewer than the model's {max_positions} positions"
    )]
    PromptTooLong {
        /// Tokens in the prompt.
        prompt_tokens: usize,
        /// Positions the model offers for prompt and completion together.
        max_positions: usize,
    },
    /// A parameter is outside its range.
    #[error("`{name}` is out of range, expected {expected}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Its range.
        expected: &'static str,
    },
    /// Only some layers are loaded.
    #[error("only some of the model's layers are loaded, expected all of them")]
    PartialModel,
    /// The caller no longer wanted it.
    #[error("the completion was called off")]
    Interrupted,
    /// The forward pass refused.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

impl GenerateError {
    /// A stable dotted code for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::EmptyPrompt => "generate.empty_prompt",
            Self::PromptTooLong { .. } => "generate.prompt_too_long",
            Self::Parameter { .. } => "generate.parameter",
            Self::PartialModel => "generate.partial_model",
            Self::Interrupted => "generate.interrupted",
            Self::Forward(error) => error.code(),
        }
    }
}

/// A completion that borrows its model.
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub struct Generation<'m> {
    model: &'m Model,
    sequence: Sequence,
}

/// A completion that shares its model, so that a thread can own it.
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub struct OwnedGeneration {
    model: Arc<Model>,
    sequence: Sequence,
}

impl Model {
    /// Starts a completion of `prompt`. Nothing is computed before the first [`Generation::next`].
    ///
    /// # Errors
    /// A [`GenerateError`] if the prompt does not fit or a parameter is out of range.
    pub fn generate(&self, prompt: &[u32], params: SamplingParams) -> Result<Generation<'_>, GenerateError> {
        Ok(Generation {
            model: self,
            sequence: Sequence::new(self, prompt, params)?,
        })
    }

    /// As [`generate`](Self::generate), for a thread that outlives the caller.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn generate_owned(
        self: &Arc<Self>,
        prompt: &[u32],
        params: SamplingParams,
    ) -> Result<OwnedGeneration, GenerateError> {
        Ok(OwnedGeneration {
            model: Arc::clone(self),
            sequence: Sequence::new(self, prompt, params)?,
        })
    }
}

/// The methods of both kinds of completion.
macro_rules! completion {
    ($($kind:tt)+) => {
        impl $($kind)+ {
            /// The next token's text, or `None` after the end. The first call processes the prompt.
            ///
            /// # Errors
            /// [`GenerateError::Forward`] if the prompt holds an id outside the vocabulary.
            #[expect(clippy::should_implement_trait, reason = "a step may fail, and its text is wiped, not collected")]
            pub fn next(&mut self) -> Result<Option<Step>, GenerateError> {
                self.sequence.step(&self.model, &mut || true)
            }

            /// As [`next`](Self::next), as long as `wanted` says so. It is asked before each token and
            /// before each part of the prompt. An interrupted completion can be gone on with: what was
            /// computed is computed again, and the result is the same.
            ///
            /// # Errors
            /// [`GenerateError::Interrupted`] if it is no longer wanted, else as [`next`](Self::next).
            pub fn next_while(
                &mut self,
                wanted: &mut dyn FnMut() -> bool,
            ) -> Result<Option<Step>, GenerateError> {
                self.sequence.step(&self.model, wanted)
            }

            /// Why the completion ended; `None` while it has not.
            pub fn finish(&self) -> Option<FinishReason> {
                self.sequence.text.finish()
            }

            /// Tokens counted so far.
            pub fn usage(&self) -> Usage {
                self.sequence.text.usage()
            }
        }

        impl Drop for $($kind)+ {
            fn drop(&mut self) {
                self.model.wipe_workers();
            }
        }
    };
}

completion!(Generation<'_>);
completion!(OwnedGeneration);

/// One sequence, between two tokens.
struct Sequence {
    prompt: Zeroizing<Vec<u32>>,
    sampler: Sampler,
    candidates: Candidates,
    cache: KvCache,
    scratch: Scratch,
    text: TextAssembler,
    /// The last token produced, which the next pass processes.
    last: u32,
}

impl Sequence {
    fn new(model: &Model, prompt: &[u32], params: SamplingParams) -> Result<Self, GenerateError> {
        if model.layers() != (0..model.config().layers) {
            return Err(GenerateError::PartialModel);
        }
        let sampler = Sampler::new(params.temperature, params.top_p, params.seed);
        let text = TextAssembler::new(model, prompt.len(), params)?;
        Ok(Self {
            prompt: Zeroizing::new(prompt.to_vec()),
            sampler,
            candidates: Candidates::default(),
            cache: model.new_cache(text.positions()),
            scratch: Scratch::new(),
            text,
            last: 0,
        })
    }

    fn step(
        &mut self,
        model: &Model,
        wanted: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Step>, GenerateError> {
        if self.text.finish().is_some() {
            return Ok(None);
        }
        if !wanted() {
            return Err(GenerateError::Interrupted);
        }
        let produced = self.text.usage().completion_tokens;
        let pos = self.prompt.len() + produced;
        let logits = if produced == 0 {
            // Of a prompt that was interrupted, nothing is relied on.
            self.cache.truncate(0);
            prefill(model, &self.prompt, &mut self.cache, &mut self.scratch, wanted)?
        } else {
            let input = Input::Ids(std::slice::from_ref(&self.last));
            model.forward_rows(input, pos - 1, Rows::Last, &mut self.cache, &mut self.scratch)?
        };
        let Output::Logits(logits) = logits else {
            return Err(GenerateError::PartialModel);
        };
        let id = self.sampler.choose(logits, pos, &mut self.candidates);
        self.last = id;
        let (logprob, top) = match self.text.top_logprobs() {
            Some(count) => logprobs(logits, id, usize::from(count)),
            None => (0.0, Vec::new()),
        };
        Ok(self.text.push(model, id, logprob, top))
    }
}

impl Drop for Sequence {
    fn drop(&mut self) {
        self.last.zeroize();
    }
}

/// Processes the prompt and returns the logits after its last token.
fn prefill<'s>(
    model: &Model,
    prompt: &[u32],
    cache: &mut KvCache,
    scratch: &'s mut Scratch,
    wanted: &mut dyn FnMut() -> bool,
) -> Result<Output<'s>, GenerateError> {
    let whole = prompt.len().saturating_sub(1) / PREFILL_ROWS * PREFILL_ROWS;
    let (head, tail) = prompt.split_at(whole);
    for (index, rows) in head.chunks(PREFILL_ROWS).enumerate() {
        if !wanted() {
            return Err(GenerateError::Interrupted);
        }
        model.forward_rows(Input::Ids(rows), index * PREFILL_ROWS, Rows::Last, cache, scratch)?;
    }
    if !wanted() {
        return Err(GenerateError::Interrupted);
    }
    Ok(model.forward_rows(Input::Ids(tail), whole, Rows::Last, cache, scratch)?)
}
