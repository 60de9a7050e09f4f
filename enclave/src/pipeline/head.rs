//! The head: it submits prompts to the ring, turns the tokens that come back
//! into text as one node would, and gathers what the receipt says.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bastide_attestation::pipeline::{PipelineAnswer, PipelineClaims, Replan, Speculation as DraftCounts};
use bastide_attestation::{ManifestDigest, Nonce, PlanDigest, sha256};
use bastide_engine::{Model, SamplingParams, Step, TextAssembler};
use bastide_pipeline::compute::bounds;
use bastide_pipeline::head::{HeadStatus, HeadTerms, HeadTimes, Record};
use bastide_pipeline::message::{Sampling, Target};
use bastide_pipeline::node::{Answer, Ask, PipelineHead};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::place::{PipelineSettings, Place};
use super::stage::{StageParts, count_u16, count_u32};
use crate::identity::{NoRandomness, salt};

/// A running head.
pub(crate) struct HeadPart {
    head: PipelineHead,
    /// Its tokenizer turns tokens into text.
    model: Arc<Model>,
    runtime: Handle,
    plan: PlanDigest,
    signed_plan: Vec<u8>,
    draft: Option<ManifestDigest>,
}

impl std::fmt::Debug for HeadPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeadPart")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

/// An answer of the ring, as text.
pub(crate) struct PipedAnswer {
    /// Text, token by token; it is closed when the answer has ended.
    pub(crate) steps: mpsc::UnboundedReceiver<Step>,
    /// The answer: dropping it calls it off.
    pub(crate) answer: Answer,
}

impl HeadPart {
    /// Starts stage 0, the draft and the head, and has it link to the others.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub(crate) fn start(place: Place, parts: StageParts) -> io::Result<Self> {
        let Place {
            settings, drafter, ..
        } = place;
        let model = Arc::clone(&parts.model);
        let terms = terms(&settings, &model, parts.sequences);
        let plan = settings.plan.plan();
        let (stage, links) = parts.build(&settings);
        let head = PipelineHead::start(terms, stage, links, drafter)?;
        Ok(Self {
            head,
            model,
            runtime: Handle::current(),
            plan: settings.plan.digest(),
            draft: plan.draft(),
            signed_plan: settings.plan.as_bytes().to_vec(),
        })
    }

    /// The runtime that the head's task is on: generation threads wait on it.
    pub(crate) const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Starts an answer. The parameters were checked by the assembler.
    ///
    /// # Errors
    /// [`NoRandomness`], or nobody is there to answer.
    pub(crate) async fn begin(
        &self,
        prompt: Zeroizing<Vec<u32>>,
        params: &SamplingParams,
        mut text: TextAssembler,
    ) -> Result<PipedAnswer, NoAnswer> {
        let (sink, steps) = mpsc::unbounded_channel();
        let budget = text.positions().saturating_sub(prompt.len());
        let model = Arc::clone(&self.model);
        let mut produced = 0;
        // There are at most as many steps as the answer has tokens.
        let stop = Box::new(move |targets: &[Target]| {
            for target in targets {
                produced += 1;
                let step = text.push(&model, target.id, target.logprob, target.top.clone());
                if let Some(step) = step {
                    // A reader that is gone has called the answer off, or will.
                    drop(sink.send(step));
                }
                if text.finish().is_some() {
                    return Some(produced);
                }
            }
            None
        });
        let ask = Ask {
            prompt,
            budget: count_u32(budget),
            sampling: Sampling {
                temperature: params.temperature,
                top_p: params.top_p,
                seed: params.seed,
                top_logprobs: params.top_logprobs,
            },
            salt: salt().map_err(|NoRandomness| NoAnswer)?,
            stop: Some(stop),
        };
        let answer = self.head.submit(ask).await.map_err(|_| NoAnswer)?;
        Ok(PipedAnswer { steps, answer })
    }

    /// What a receipt says of an answer of this ring.
    pub(crate) fn claims(&self, record: Record) -> PipelineClaims {
        PipelineClaims {
            plan: self.plan,
            parts: record.parts,
            draft: self.draft.filter(|_| record.drafted > 0),
            speculation: DraftCounts {
                drafted: record.drafted.into(),
                accepted: record.accepted.into(),
                rounds: record.rounds.into(),
                largest: record.largest_k.into(),
            },
            emitted: record.emitted,
            replans: record
                .replans
                .into_iter()
                .map(|replan| Replan {
                    position: replan.position.into(),
                    stage: replan.stage,
                    code: replan.why,
                })
                .collect(),
        }
    }

    /// The plan, and every stage's evidence for a client's nonce.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(crate) async fn evidence(&self, nonce: Nonce) -> Result<PipelineAnswer, NoAnswer> {
        let stages = self.head.evidence(nonce).await.map_err(|_| NoAnswer)?;
        Ok(PipelineAnswer {
            plan: self.signed_plan.clone(),
            stages,
        })
    }

    /// The head's state, for metrics.
    pub(crate) async fn status(&self) -> Option<HeadStatus> {
        self.head.status().await.ok()
    }
}

/// The head has ended, or the machine gives no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the head of the pipeline can't answer")]
pub(crate) struct NoAnswer;

fn terms(settings: &PipelineSettings, model: &Model, sequences: usize) -> HeadTerms {
    let plan = settings.plan.plan();
    let mut nodes: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for known in &settings.stages {
        nodes.entry(known.stage).or_default().push(known.address.clone());
    }
    let bounds = bounds(model);
    HeadTerms {
        plan: *settings.plan.digest().as_bytes(),
        engine: sha256(&[model.engine().as_bytes()]),
        weights: plan.stages().iter().map(|stage| stage.weights).collect(),
        max_positions: count_u32(model.max_positions()),
        max_sequences: count_u16(sequences),
        width: bounds.width,
        vocabulary: bounds.vocab,
        eos: model.config().eos.clone(),
        speculation: settings.speculation,
        nodes: (0..count_u16(plan.stages().len()))
            .map(|stage| nodes.remove(&stage).unwrap_or_default())
            .collect(),
        times: HeadTimes::default(),
    }
}
