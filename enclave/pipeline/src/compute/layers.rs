//! A range of layers on the engine.
//!
//! Owns the KV caches and samplers of the sequences. A frame is one pass over
//! all its runs. At the tail the token of position p + 1 is chosen by the
//! noise of (seed, p + 1), as on one node.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bastide_engine::{Input, KvCache, Model, Output, Sampler, Scratch, Segment, logprobs};
use zeroize::Zeroizing;

use super::Bench;
use crate::message::{Payload, Run, Sampling, Target};
use crate::stage::{Computed, Layers, Refused};

/// Passes that are timed; the least disturbed one counts.
const TIMED: usize = 16;

/// The layers that a model was loaded with.
#[expect(
    missing_debug_implementations,
    reason = "it holds a user's text in another form"
)]
pub struct EngineLayers {
    bench: Bench,
}

/// One sequence on them.
#[expect(
    missing_debug_implementations,
    reason = "it holds a user's text in another form"
)]
pub struct EngineSequence {
    cache: KvCache,
    sampler: Sampler,
    top_logprobs: Option<u8>,
    bench: Bench,
}

impl EngineLayers {
    /// Computes with the layers that `model` holds.
    pub fn new(model: Arc<Model>) -> Self {
        Self {
            bench: Bench::new(model),
        }
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.bench.model
    }

    /// What one row takes these layers on this machine, microseconds, at least 1: the shortest of some
    /// passes over a row.
    pub fn measure_row_us(&self) -> u32 {
        let model = &*self.bench.model;
        let values = vec![1.0; model.config().hidden];
        let input = if model.layers().start == 0 {
            Input::Ids(&[0])
        } else {
            Input::Hidden(&values)
        };
        let (mut cache, mut scratch) = (model.new_cache(TIMED), Scratch::new());
        let times = (0..TIMED.min(model.max_positions())).filter_map(|pos| {
            let begin = Instant::now();
            model.forward(input, pos, &mut cache, &mut scratch).ok()?;
            Some(begin.elapsed().as_micros())
        });
        let least = times.min().unwrap_or(u128::MAX);
        u32::try_from(least).unwrap_or(u32::MAX).max(1)
    }
}

impl Layers for EngineLayers {
    type Sequence = EngineSequence;

    fn open(&self, positions: usize, sampling: &Sampling) -> EngineSequence {
        EngineSequence {
            cache: self.bench.model.new_cache(positions),
            sampler: Sampler::new(sampling.temperature, sampling.top_p, sampling.seed),
            top_logprobs: sampling.top_logprobs,
            bench: self.bench.clone(),
        }
    }

    fn run(
        &mut self,
        runs: &mut [(Run, &mut EngineSequence)],
        payload: &Payload,
    ) -> Result<Computed, Refused> {
        let model = &*self.bench.model;
        let tail = model.layers().end == model.config().layers;
        let mut segments: Vec<Segment<'_>> = Vec::with_capacity(runs.len());
        let mut choices: Vec<(Run, Sampler, Option<u8>)> = Vec::with_capacity(runs.len());
        for (run, sequence) in runs.iter_mut() {
            choices.push((*run, sequence.sampler.clone(), sequence.top_logprobs));
            segments.push(Segment {
                cache: &mut sequence.cache,
                pos: usize::try_from(run.pos).unwrap_or(usize::MAX),
                rows: usize::from(run.rows),
                wanted: if tail { usize::from(run.wanted) } else { 0 },
            });
        }
        let input = match payload {
            Payload::Ids(ids) => Input::Ids(ids),
            Payload::Activations { values, .. } => Input::Hidden(values),
        };
        let mut scratch = self.bench.scratch();
        let output = model.forward_batch(input, &mut segments, &mut scratch);
        match output.map_err(|error| Refused { code: error.code() })? {
            Output::Hidden(rows) => Ok(Computed::Rows(Payload::Activations {
                width: super::bounds(model).width,
                values: Zeroizing::new(rows.to_vec()),
            })),
            Output::Logits(rows) => {
                let mut rows = rows.chunks_exact(model.config().vocab);
                let targets = choices.iter().map(|(run, sampler, top_logprobs)| {
                    let first = run.pos + u32::from(run.rows - run.wanted);
                    (first + 1..)
                        .zip(rows.by_ref().take(usize::from(run.wanted)))
                        .map(|(pos, logits)| target(logits, pos, sampler, *top_logprobs))
                        .collect()
                });
                Ok(Computed::Targets(targets.collect()))
            }
        }
    }

    fn len(&self, sequence: &EngineSequence) -> usize {
        sequence.cache.len()
    }

    fn layers(&self) -> Range<usize> {
        self.bench.model.layers()
    }
}

impl Drop for EngineSequence {
    fn drop(&mut self) {
        self.bench.wipe();
    }
}

/// The token at position `pos`.
fn target(logits: &[f32], pos: u32, sampler: &Sampler, top_logprobs: Option<u8>) -> Target {
    let id = sampler.target(logits, usize::try_from(pos).unwrap_or(usize::MAX));
    let (logprob, top) = match top_logprobs {
        Some(count) => logprobs(logits, id, usize::from(count)),
        None => (0.0, Vec::new()),
    };
    Target { id, logprob, top }
}
