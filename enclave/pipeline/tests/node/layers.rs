//! The engine as layers and as a draft.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bastide_engine::{Input, KvCache, Model, Output, Sampler, Scratch};
use bastide_pipeline::head::Drafter;
use bastide_pipeline::message::{Payload, Run, Sampling, Target};
use bastide_pipeline::stage::{Computed, Layers, Refused};
use zeroize::Zeroizing;

pub(crate) struct EngineLayers {
    model: Arc<Model>,
    scratch: Scratch,
}

impl EngineLayers {
    pub(crate) fn new(model: Arc<Model>) -> Self {
        Self {
            model,
            scratch: Scratch::new(),
        }
    }
}

/// Layers that take longer for each frame.
pub(crate) struct Slow(pub(crate) EngineLayers, pub(crate) Duration);

impl Layers for Slow {
    type Sequence = <EngineLayers as Layers>::Sequence;

    fn open(&self, positions: usize, sampling: &Sampling) -> Self::Sequence {
        self.0.open(positions, sampling)
    }

    fn run(
        &mut self,
        runs: &mut [(Run, &mut Self::Sequence)],
        payload: &Payload,
    ) -> Result<Computed, Refused> {
        if !self.1.is_zero() {
            std::thread::sleep(self.1);
        }
        self.0.run(runs, payload)
    }

    fn len(&self, sequence: &Self::Sequence) -> usize {
        self.0.len(sequence)
    }

    fn layers(&self) -> Range<usize> {
        self.0.layers()
    }
}

fn sampler(sampling: &Sampling) -> Sampler {
    Sampler::new(sampling.temperature, sampling.top_p, sampling.seed)
}

impl Layers for EngineLayers {
    type Sequence = (KvCache, Sampler);

    fn open(&self, positions: usize, sampling: &Sampling) -> Self::Sequence {
        (self.model.new_cache(positions), sampler(sampling))
    }

    fn run(
        &mut self,
        runs: &mut [(Run, &mut Self::Sequence)],
        payload: &Payload,
    ) -> Result<Computed, Refused> {
        let hidden = self.model.config().hidden;
        let vocab = self.model.config().vocab;
        let mut rows = Zeroizing::new(Vec::new());
        let mut targets = Vec::new();
        let mut from = 0;
        for (run, (cache, sampler)) in runs {
            let (count, pos) = (usize::from(run.rows), usize::try_from(run.pos).unwrap());
            let input = match payload {
                Payload::Ids(ids) => Input::Ids(&ids[from..from + count]),
                Payload::Activations { values, .. } => {
                    Input::Hidden(&values[from * hidden..(from + count) * hidden])
                }
            };
            from += count;
            let output = self.model.forward(input, pos, cache, &mut self.scratch);
            match output.map_err(|error| Refused { code: error.code() })? {
                Output::Hidden(values) => rows.extend_from_slice(values),
                Output::Logits(logits) => {
                    let wanted = usize::from(run.wanted);
                    let of_run =
                        logits
                            .chunks(vocab)
                            .enumerate()
                            .skip(count - wanted)
                            .map(|(row, logits)| Target {
                                id: sampler.target(logits, pos + row + 1),
                                logprob: 0.0,
                                top: Vec::new(),
                            });
                    targets.push(of_run.collect());
                }
            }
        }
        Ok(if self.model.layers().end == self.model.config().layers {
            Computed::Targets(targets)
        } else {
            Computed::Rows(Payload::Activations {
                width: u32::try_from(hidden).unwrap(),
                values: rows,
            })
        })
    }

    fn len(&self, sequence: &Self::Sequence) -> usize {
        sequence.0.len()
    }

    fn layers(&self) -> Range<usize> {
        self.model.layers()
    }
}

pub(crate) struct EngineDrafter {
    model: Arc<Model>,
    scratch: Scratch,
}

impl EngineDrafter {
    pub(crate) fn new(model: Arc<Model>) -> Self {
        Self {
            model,
            scratch: Scratch::new(),
        }
    }
}

impl Drafter for EngineDrafter {
    type Sequence = (KvCache, Vec<u32>);

    fn open(&self, positions: usize, _: &Sampling) -> Self::Sequence {
        (self.model.new_cache(positions), Vec::new())
    }

    fn draft(
        &mut self,
        (cache, known): &mut Self::Sequence,
        tokens: &[u32],
        k: usize,
        sampling: &Sampling,
    ) -> Zeroizing<Vec<u32>> {
        let sampler = sampler(sampling);
        let vocab = self.model.config().vocab;
        let same = known.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        let mut from = same.min(tokens.len() - 1);
        let mut all = tokens.to_vec();
        let mut out = Zeroizing::new(Vec::new());
        for _ in 0..k {
            let Ok(Output::Logits(logits)) =
                self.model
                    .forward(Input::Ids(&all[from..]), from, cache, &mut self.scratch)
            else {
                break;
            };
            let last = &logits[logits.len() - vocab..];
            let id = sampler.target(last, all.len());
            from = all.len();
            all.push(id);
            out.push(id);
        }
        all.truncate(cache.len());
        *known = all;
        out
    }
}
