//! A running answer, wherever it is computed: all here, or by the ring of a
//! pipeline. Both give the same text, token by token.

use std::sync::Arc;
use std::time::Duration;

use bastide_attestation::FinishReason;
use bastide_attestation::pipeline::PipelineClaims;
use bastide_engine::{
    FinishReason as EngineFinish, GenerateError, Model, OwnedGeneration, SamplingParams, Step, TextAssembler,
};
use bastide_pipeline::head::{Finish, Record};
use bastide_pipeline::node::HeadUpdate;
use tokio::time::sleep;
use zeroize::Zeroizing;

use crate::api::ApiError;
use crate::pipeline::{HeadPart, PipedAnswer};
use crate::telemetry::ops;

/// How often an answer that waits for the ring is asked whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// What computes answers.
#[derive(Debug, Clone)]
pub(crate) enum Engine {
    /// The whole model, here.
    Whole(Arc<Model>),
    /// The first layers and the text here; the ring does the rest.
    Piped(Arc<Model>, Arc<HeadPart>),
}

impl Engine {
    /// The model that is loaded here, with its tokenizer.
    pub(crate) const fn model(&self) -> &Arc<Model> {
        let (Self::Whole(model) | Self::Piped(model, _)) = self;
        model
    }

    /// Begins an answer to these tokens. Blocks for as long as that takes.
    ///
    /// # Errors
    /// What the client is told.
    pub(super) fn begin(
        &self,
        prompt: Zeroizing<Vec<u32>>,
        params: SamplingParams,
    ) -> Result<Generation, ApiError> {
        let refused = |error: GenerateError| {
            ops!(ERROR, "generation.refused", code = error.code());
            ApiError::Internal
        };
        match self {
            Self::Whole(model) => {
                let whole = model.generate_owned(&prompt, params).map_err(refused)?;
                Ok(Generation::Whole(Box::new(whole)))
            }
            Self::Piped(model, head) => {
                let text = TextAssembler::new(model, prompt.len(), params.clone()).map_err(refused)?;
                let begun = head.runtime().block_on(head.begin(prompt, &params, text));
                let answer = begun.map_err(|_| ApiError::PipelineUnavailable)?;
                Ok(Generation::Piped(Piped {
                    head: Arc::clone(head),
                    answer,
                    produced: 0,
                    record: None,
                }))
            }
        }
    }
}

/// A running answer.
pub(super) enum Generation {
    Whole(Box<OwnedGeneration>),
    Piped(Piped),
}

/// An answer of the ring.
pub(super) struct Piped {
    head: Arc<HeadPart>,
    answer: PipedAnswer,
    produced: u64,
    record: Option<Box<Record>>,
}

/// Why an answer stopped before its end.
pub(super) enum Stopped {
    /// Nobody wants it any more.
    Unwanted,
    /// It can't go on: what the client is told.
    Failed(ApiError),
}

/// How an answer ended.
pub(super) struct Ended {
    pub(super) finish: FinishReason,
    pub(super) completion_tokens: u64,
    /// What its receipt says of the pipeline.
    pub(super) pipeline: Option<Box<PipelineClaims>>,
}

impl Generation {
    /// What the next token adds, or `None` after the end; as long as `wanted`.
    pub(super) fn next_while(&mut self, wanted: &mut dyn FnMut() -> bool) -> Result<Option<Step>, Stopped> {
        match self {
            Self::Whole(whole) => whole.next_while(wanted).map_err(|error| match error {
                GenerateError::Interrupted => Stopped::Unwanted,
                error => {
                    ops!(ERROR, "generation.failed", code = error.code());
                    Stopped::Failed(ApiError::Internal)
                }
            }),
            Self::Piped(piped) => piped.next_while(wanted),
        }
    }

    /// How it ended, or has got so far.
    pub(super) fn ended(self) -> Ended {
        match self {
            Self::Whole(whole) => Ended {
                finish: match whole.finish() {
                    Some(EngineFinish::Stop) => FinishReason::Stop,
                    Some(EngineFinish::Length) => FinishReason::Length,
                    None => FinishReason::Error,
                },
                completion_tokens: u64::try_from(whole.usage().completion_tokens).unwrap_or(u64::MAX),
                pipeline: None,
            },
            Self::Piped(Piped {
                head,
                record: Some(record),
                ..
            }) => Ended {
                finish: match record.finish {
                    Finish::Eos | Finish::Stop => FinishReason::Stop,
                    Finish::Length => FinishReason::Length,
                },
                completion_tokens: record.produced.into(),
                pipeline: Some(Box::new(head.claims(*record))),
            },
            Self::Piped(piped) => Ended {
                finish: FinishReason::Error,
                completion_tokens: piped.produced,
                pipeline: None,
            },
        }
    }
}

impl Piped {
    fn next_while(&mut self, wanted: &mut dyn FnMut() -> bool) -> Result<Option<Step>, Stopped> {
        let runtime = self.head.runtime().clone();
        while self.record.is_none() {
            if !wanted() {
                return Err(Stopped::Unwanted);
            }
            let PipedAnswer { steps, answer } = &mut self.answer;
            let came = runtime.block_on(async {
                tokio::select! {
                    // The text of an answer comes before the word that it is complete.
                    biased;
                    Some(step) = steps.recv() => Came::Step(step),
                    update = answer.next() => Came::Update(update),
                    () = sleep(LOOK) => Came::Nothing,
                }
            });
            match came {
                Came::Step(step) => {
                    self.produced += 1;
                    return Ok(Some(step));
                }
                Came::Nothing | Came::Update(Some(HeadUpdate::Tokens(_))) => {}
                Came::Update(Some(HeadUpdate::Done(record))) => self.record = Some(record),
                Came::Update(Some(HeadUpdate::Failed(code))) => {
                    ops!(WARN, "generation.failed", code = code);
                    return Err(Stopped::Failed(ApiError::PipelineUnavailable));
                }
                Came::Update(None) => return Err(Stopped::Failed(ApiError::Internal)),
            }
        }
        // What came with the end.
        Ok(self.answer.steps.try_recv().ok().inspect(|_| self.produced += 1))
    }
}

enum Came {
    Step(Step),
    Update(Option<HeadUpdate>),
    Nothing,
}
