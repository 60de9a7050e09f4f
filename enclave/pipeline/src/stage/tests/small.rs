//! Layers that are small enough to work out by hand: what a row comes to
//! depends on every row before it, and on nothing else.

use std::sync::{Arc, Mutex};

use zeroize::Zeroizing;

use crate::message::{Envelope, Message, Payload, RingId, Run, Sampling, Target};
use crate::stage::{
    Cancelled, Computed, Layers, Origin, PartContent, Refused, SignParts, Stage, StageEffect, StageTerms,
};

pub(super) const WIDTH: u32 = 3;
pub(super) const PLAN: [u8; 32] = [0x11; 32];

/// A stage `stage` of `stages`.
pub(super) struct Small {
    pub(super) stage: u16,
    pub(super) stages: u16,
}

/// A number in 0..1 that depends on every bit.
fn mix(state: f32, value: f32) -> f32 {
    let bits = state.to_bits().rotate_left(5).wrapping_mul(0x9e37_79b9) ^ value.to_bits();
    let bits = (bits ^ (bits >> 15)).wrapping_mul(0x85eb_ca6b);
    f32::from_bits(0x3f80_0000 | bits >> 9) - 1.0
}

impl Layers for Small {
    type Sequence = Vec<f32>;

    fn open(&self, positions: usize, _: &Sampling) -> Vec<f32> {
        Vec::with_capacity(positions)
    }

    fn run(&mut self, runs: &mut [(Run, &mut Vec<f32>)], payload: &Payload) -> Result<Computed, Refused> {
        let rows: Vec<Vec<f32>> = match payload {
            // Ids are small.
            Payload::Ids(ids) => ids
                .iter()
                .map(|id| vec![f32::from_bits(0x3f80_0000 | id)])
                .collect(),
            Payload::Activations { values, .. } => values.chunks(3).map(<[f32]>::to_vec).collect(),
        };
        if rows.iter().any(|row| row[0] == 0.5) {
            return Err(Refused { code: "small.half" });
        }
        let (mut rows, mut out, mut targets) = (rows.into_iter(), Vec::new(), Vec::new());
        for (run, sequence) in runs {
            sequence.truncate(run.pos.try_into().unwrap());
            for _ in 0..run.rows {
                let before = sequence.last().copied().unwrap_or(0.25);
                sequence.push(rows.next().unwrap().into_iter().fold(before, mix));
            }
            let from = sequence.len() - usize::from(run.rows);
            out.extend(sequence[from..].iter().flat_map(|v| [*v, v / 2.0, 1.0 - v]));
            let from = sequence.len() - usize::from(run.wanted);
            let target = |value: &f32| Target {
                id: value.to_bits() >> 8 & 0xff,
                logprob: 0.0,
                top: Vec::new(),
            };
            targets.push(sequence[from..].iter().map(target).collect());
        }
        Ok(if self.stage + 1 == self.stages {
            Computed::Targets(targets)
        } else {
            let values = Zeroizing::new(out);
            Computed::Rows(Payload::Activations { width: WIDTH, values })
        })
    }

    fn len(&self, sequence: &Vec<f32>) -> usize {
        sequence.len()
    }

    fn layers(&self) -> std::ops::Range<usize> {
        self.stage.into()..usize::from(self.stage) + 1
    }
}

/// Remembers what it was to sign. `None` once it was told to fail.
#[derive(Clone, Default)]
pub(super) struct Signer(pub(super) Arc<Mutex<Vec<PartContent>>>, pub(super) bool);

impl SignParts for Signer {
    fn sign(&self, content: &PartContent) -> Option<Vec<u8>> {
        self.0.lock().unwrap().push(content.clone());
        (!self.1).then(|| vec![1, 2, 3])
    }
}

pub(super) fn stage(stage: u16, stages: u16, signer: Signer, cancelled: Cancelled) -> Stage<Small> {
    let terms = StageTerms {
        plan: PLAN,
        stage,
        stages,
        weights: [0x22; 32],
        engine: [0x33; 32],
        max_positions: 64,
        max_sequences: 4,
        width: WIDTH,
        row_us: 10,
    };
    Stage::new(terms, Small { stage, stages }, Box::new(signer), cancelled)
}

pub(super) fn envelope(ring: u32, message: Message) -> Envelope {
    let ring = RingId(ring);
    Envelope { ring, message }
}

/// Stages in one process, each of which hands on to the next.
pub(super) struct Chain {
    pub(super) stages: Vec<Stage<Small>>,
    pub(super) signers: Vec<Signer>,
}

impl Chain {
    pub(super) fn new(count: u16) -> Self {
        let signers: Vec<Signer> = (0..count).map(|_| Signer::default()).collect();
        let stages = (0..count).zip(&signers).map(|(number, signer)| {
            let mut stage = stage(number, count, signer.clone(), Cancelled::new());
            let next = (number + 1 < count).then(|| format!("stage-{}:1", number + 1));
            let join = Message::Join(crate::message::Join {
                plan: PLAN,
                stage: number,
                next,
            });
            stage.handle(Origin::Head, envelope(1, join)).ok().unwrap();
            stage.next_linked(RingId(1));
            stage
        });
        Self {
            stages: stages.collect(),
            signers,
        }
    }

    /// Sends along the ring; what comes to the head.
    pub(super) fn send(&mut self, message: Message) -> Vec<Message> {
        let mut to_head = Vec::new();
        let mut here = vec![envelope(1, message)];
        for (number, stage) in self.stages.iter_mut().enumerate() {
            let from = if number == 0 {
                Origin::Head
            } else {
                Origin::Previous
            };
            let mut next = Vec::new();
            for envelope in here {
                for effect in stage.handle(from, envelope).ok().unwrap() {
                    match effect {
                        StageEffect::ToHead(envelope) => to_head.push(envelope.message),
                        StageEffect::ToNext(envelope) => next.push(envelope),
                        _ => panic!("nothing else is wanted of a ring that is closed"),
                    }
                }
            }
            here = next;
        }
        assert!(here.is_empty(), "the tail hands nothing on");
        to_head
    }
}
