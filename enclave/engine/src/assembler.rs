//! What the tokens of a completion amount to.
//!
//! Owns its text, its log-probabilities, its count and the reason it ended,
//! whoever computes the tokens: this process, or the tail of a pipeline. Runs
//! no model. Refuses prompts that do not fit and parameters outside their
//! ranges, and tokens after the end. What it holds is overwritten when it is
//! dropped.

use zeroize::{Zeroize, Zeroizing};

use crate::generate::{GenerateError, SamplingParams};
use crate::model::Model;
use crate::stream::TextStream;

/// Stop strings accepted.
const MAX_STOPS: usize = 16;
/// Bytes accepted in one stop string.
const MAX_STOP_BYTES: usize = 1_024;
/// Alternatives reported per token at most.
const MAX_TOP_LOGPROBS: u8 = 20;

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended its turn, or a stop string was reached.
    Stop,
    /// `max_tokens` or the model's positions are used up.
    Length,
}

/// Tokens counted so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Tokens in the prompt.
    pub prompt_tokens: usize,
    /// Tokens produced, including the one that ended the turn.
    pub completion_tokens: usize,
}

/// What one token added.
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub struct Step {
    /// New text; empty while a character or a possible stop string is incomplete.
    pub text: Zeroizing<String>,
    /// The token's log-probabilities, if asked for. Empty for a token that ends the turn.
    pub tokens: Vec<TokenLogprob>,
}

/// A token with the probability the model gave it, before temperature and top-p.
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub struct TokenLogprob {
    /// The token.
    pub id: u32,
    /// The bytes it stands for; perhaps not whole characters.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// The most likely tokens: id, bytes, natural logarithm of the probability; most likely first.
    pub top: Vec<(u32, Vec<u8>, f32)>,
}

impl Drop for TokenLogprob {
    fn drop(&mut self) {
        self.id.zeroize();
        self.bytes.zeroize();
        for (id, bytes, logprob) in &mut self.top {
            id.zeroize();
            bytes.zeroize();
            logprob.zeroize();
        }
    }
}

/// A completion between two of its tokens.
#[expect(missing_debug_implementations, reason = "it holds a user's text")]
pub struct TextAssembler {
    prompt_tokens: usize,
    top_logprobs: Option<u8>,
    text: TextStream,
    produced: usize,
    /// Tokens to produce at most, within the model's positions.
    budget: usize,
    finish: Option<FinishReason>,
}

impl TextAssembler {
    /// A completion of a prompt of `prompt_tokens` tokens. Of `model`, its tokenizer is used and how
    /// many positions it has; a range of its layers is enough.
    ///
    /// # Errors
    /// A [`GenerateError`] if the prompt does not fit or a parameter is out of range.
    pub fn new(model: &Model, prompt_tokens: usize, params: SamplingParams) -> Result<Self, GenerateError> {
        let (top_logprobs, max_tokens) = (params.top_logprobs, params.max_tokens);
        // Made before anything can be refused, so that the strings are overwritten in any case.
        let valid = check_parameters(&params);
        let text = TextStream::new(params.stop);
        valid?;
        let max_positions = model.max_positions();
        if prompt_tokens == 0 {
            return Err(GenerateError::EmptyPrompt);
        }
        if prompt_tokens >= max_positions {
            return Err(GenerateError::PromptTooLong {
                prompt_tokens,
                max_positions,
            });
        }
        let budget = max_tokens.min(max_positions - prompt_tokens);
        Ok(Self {
            prompt_tokens,
            top_logprobs,
            text,
            produced: 0,
            budget,
            finish: (budget == 0).then_some(FinishReason::Length),
        })
    }

    /// Positions that prompt and completion may need.
    pub fn positions(&self) -> usize {
        self.prompt_tokens + self.budget
    }

    /// Alternatives to report with each token; `None` if no probability is wanted.
    pub fn top_logprobs(&self) -> Option<u8> {
        self.top_logprobs
    }

    /// Why the completion ended; `None` while it has not.
    pub fn finish(&self) -> Option<FinishReason> {
        self.finish
    }

    /// Tokens counted so far.
    pub fn usage(&self) -> Usage {
        Usage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.produced,
        }
    }

    /// The next token, with its natural-log probability and the most likely alternatives, which are
    /// dropped unless they are wanted. `None` if it ends the turn and nothing was held back; after the
    /// end, always.
    pub fn push(&mut self, model: &Model, id: u32, logprob: f32, top: Vec<(u32, f32)>) -> Option<Step> {
        if self.finish.is_some() {
            return None;
        }
        self.produced += 1;
        if model.config().eos.contains(&id) {
            self.finish = Some(FinishReason::Stop);
            let text = self.text.finish();
            return (!text.is_empty()).then(|| Step {
                text,
                tokens: Vec::new(),
            });
        }
        let tokens = match self.top_logprobs {
            Some(_) => vec![report(model, id, logprob, top)],
            None => Vec::new(),
        };
        let tokenizer = model.tokenizer();
        let bytes = tokenizer
            .token_bytes(id)
            .filter(|_| !tokenizer.is_special(id))
            .unwrap_or_default();
        let added = self.text.push(bytes);
        let mut text = added.text;
        if added.stopped {
            self.finish = Some(FinishReason::Stop);
        } else if self.produced == self.budget {
            self.finish = Some(FinishReason::Length);
            let rest = self.text.finish();
            let mut whole = Zeroizing::new(String::with_capacity(text.len() + rest.len()));
            whole.push_str(&text);
            whole.push_str(&rest);
            text = whole;
        }
        Some(Step { text, tokens })
    }
}

fn report(model: &Model, id: u32, logprob: f32, top: Vec<(u32, f32)>) -> TokenLogprob {
    let bytes = |id: u32| model.tokenizer().token_bytes(id).unwrap_or_default().to_vec();
    let top = top
        .into_iter()
        .map(|(id, logprob)| (id, bytes(id), logprob))
        .collect();
    TokenLogprob {
        id,
        bytes: bytes(id),
        logprob,
        top,
    }
}

fn check_parameters(params: &SamplingParams) -> Result<(), GenerateError> {
    let refuse = |name, expected| Err(GenerateError::Parameter { name, expected });
    if !(0.0..=100.0).contains(&params.temperature) {
        return refuse("temperature", "between 0 and 100");
    }
    if !(params.top_p > 0.0 && params.top_p <= 1.0) {
        return refuse("top_p", "above 0 and at most 1");
    }
    if params.stop.len() > MAX_STOPS
        || params
            .stop
            .iter()
            .any(|s| s.is_empty() || s.len() > MAX_STOP_BYTES)
    {
        return refuse("stop", "at most 16 strings of 1 to 1024 bytes");
    }
    if params.top_logprobs.is_some_and(|count| count > MAX_TOP_LOGPROBS) {
        return refuse("top_logprobs", "between 0 and 20");
    }
    Ok(())
}
