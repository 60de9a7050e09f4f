//! One generation thread: takes a job, turns messages into tokens and tokens
//! into pieces. A panic ends the job it happened in and not the thread.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bastide_engine::{ChatMessage, Role, SamplingParams, Step, TemplateError};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::generation::{Ended, Engine, Generation, Stopped};
use super::queue::Queue;
use super::{Event, Job, Piece, Prompt, Started};
use crate::api::{ApiError, Message, Parameters, Speaker, TokenLogprob, TokenWord};
use crate::identity::random;
use crate::metrics::Metrics;
use crate::telemetry::ops;

/// Runs jobs until the queue is closed.
pub(super) fn run(engine: &Engine, queue: &Queue<Job>, metrics: &Metrics) {
    while let Some(job) = queue.pop() {
        if job.started.is_closed() {
            continue;
        }
        metrics.running.inc();
        // The hook has logged where; the client sees its channel end.
        let _ = catch_unwind(AssertUnwindSafe(|| generate(engine, job, metrics)));
        metrics.running.dec();
    }
}

fn generate(engine: &Engine, job: Job, metrics: &Metrics) {
    let Job {
        prompt,
        started,
        events,
    } = job;
    let (until, limit_seconds) = (prompt.until, prompt.limit_seconds);
    let (mut generation, start) = match begin(engine, prompt) {
        Ok(begun) => begun,
        Err(error) => {
            // A receiver that is gone needs no error.
            let _ = started.send(Err(error));
            return;
        }
    };
    metrics.prompt_tokens.inc_by(start.prompt_tokens);
    if started.send(Ok(start)).is_err() {
        return;
    }
    // Also asked between the parts of a long prompt.
    let mut wanted = || Instant::now() < until && !events.is_closed();
    let stopped = loop {
        match generation.next_while(&mut wanted) {
            Ok(Some(step)) => {
                if events.blocking_send(Ok(Event::Piece(piece(step)))).is_err() {
                    break Some(ApiError::Internal);
                }
            }
            Ok(None) => break None,
            // For a client that is gone the answer goes nowhere.
            Err(Stopped::Unwanted) => {
                break Some(ApiError::TimeLimit {
                    seconds: limit_seconds,
                });
            }
            Err(Stopped::Failed(error)) => break Some(error),
        }
    };
    let Ended {
        finish,
        completion_tokens,
        pipeline,
    } = generation.ended();
    metrics.completion_tokens.inc_by(completion_tokens);
    let last = match stopped {
        None => Ok(Event::Ended {
            finish,
            completion_tokens,
            pipeline,
        }),
        Some(error) => Err(error),
    };
    // Whoever asked may have gone away meanwhile.
    let _ = events.blocking_send(last);
}

fn begin(engine: &Engine, prompt: Prompt) -> Result<(Generation, Started), ApiError> {
    let model = engine.model();
    let Prompt {
        messages,
        parameters,
        most_tokens,
        ..
    } = prompt;
    let messages: Vec<ChatMessage> = messages.into_iter().map(chat_message).collect();
    let tokens = Zeroizing::new(model.render_chat(&messages).map_err(|error| {
        match error {
            TemplateError::Failed { .. } => {
                ops!(ERROR, "template.failed", code = error.code());
                ApiError::Internal
            }
            // Said by the model's template about the order of roles, or about
            // characters that the vocabulary lacks.
            _ => ApiError::Template,
        }
    })?);
    let context = model.max_positions();
    let room = u32::try_from(context.saturating_sub(tokens.len())).unwrap_or(u32::MAX);
    let wanted = parameters
        .max_tokens
        .unwrap_or_else(|| most_tokens.min(room).max(1));
    if wanted > room {
        return Err(ApiError::ContextLength {
            context,
            prompt: tokens.len(),
            answer: usize::try_from(wanted).unwrap_or(usize::MAX),
        });
    }
    let prompt_tokens = count(tokens.len());
    let generation = engine.begin(tokens, sampling(parameters, wanted)?)?;
    let start = Started {
        prompt_tokens,
        most_tokens: wanted,
    };
    Ok((generation, start))
}

fn chat_message(mut message: Message) -> ChatMessage {
    ChatMessage {
        role: match message.speaker {
            Speaker::System => Role::System,
            Speaker::User => Role::User,
            Speaker::Assistant => Role::Assistant,
        },
        // Moved, not copied; the engine zeroes it.
        content: core::mem::take(&mut *message.content),
    }
}

fn sampling(mut parameters: Parameters, max_tokens: u32) -> Result<SamplingParams, ApiError> {
    let seed = match parameters.seed {
        Some(seed) => u64::from_be_bytes(seed.to_be_bytes()),
        None => u64::from_be_bytes(random().map_err(|_| ApiError::Internal)?),
    };
    Ok(SamplingParams {
        temperature: parameters.temperature,
        top_p: parameters.top_p,
        seed,
        max_tokens: usize::try_from(max_tokens).unwrap_or(usize::MAX),
        stop: parameters
            .stop
            .iter_mut()
            .map(|text| core::mem::take(&mut **text))
            .collect(),
        top_logprobs: parameters.logprobs,
    })
}

fn piece(mut step: Step) -> Piece {
    let logprobs = step
        .tokens
        .iter_mut()
        .map(|token| TokenLogprob {
            chosen: word(core::mem::take(&mut token.bytes), token.logprob),
            top_logprobs: token
                .top
                .iter_mut()
                .map(|(_, bytes, logprob)| word(core::mem::take(bytes), *logprob))
                .collect(),
        })
        .collect();
    Piece {
        text: core::mem::take(&mut step.text),
        logprobs,
    }
}

fn word(bytes: Vec<u8>, logprob: f32) -> TokenWord {
    TokenWord {
        token: Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()),
        logprob,
        bytes: Zeroizing::new(bytes),
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
