//! A node: the stage's machine, over a range of layers of the small model.
//!
//! Owns what makes it a node: layers, a signer that shows what it signed, and
//! evidence of two pieces. It is strict: what a head must not send ends the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bastide_attestation::Salt;
use bastide_pipeline::message::{Envelope, Payload, Run, Sampling, Target};
use bastide_pipeline::stage::{
    Cancelled, Computed, Layers, Origin, PartContent, Refused, RowsDigest, SignParts, Stage, StageEffect,
    StageFault, StageTerms,
};

use crate::model::{Cache, LAYERS, choose};

pub(crate) const PLAN: [u8; 32] = [1; 32];
pub(crate) const ENGINE: [u8; 32] = [2; 32];
pub(crate) const MAX_POSITIONS: u32 = 400;

pub(crate) fn weights(stage: u16) -> [u8; 32] {
    [u8::try_from(stage).unwrap() + 100; 32]
}

/// Evidence of a stage: more than fits one piece.
pub(crate) fn evidence(nonce: &[u8; 32], stage: u16) -> Vec<u8> {
    let mut envelope = nonce.to_vec();
    envelope.resize(70_000, u8::try_from(stage).unwrap());
    envelope
}

/// A range of layers of the small model.
pub(crate) struct Range {
    layers: std::ops::Range<u32>,
    forgets: Arc<AtomicBool>,
}

impl Layers for Range {
    type Sequence = (Cache, Sampling);

    fn open(&self, _: usize, sampling: &Sampling) -> Self::Sequence {
        (Cache::default(), *sampling)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "24 bits are exact"
    )]
    #[expect(clippy::cast_precision_loss, reason = "24 bits are exact")]
    fn run(
        &mut self,
        runs: &mut [(Run, &mut Self::Sequence)],
        payload: &Payload,
    ) -> Result<Computed, Refused> {
        let inputs: Vec<u32> = match payload {
            Payload::Ids(ids) => ids.to_vec(),
            Payload::Activations { values, .. } => values.iter().map(|value| *value as u32).collect(),
        };
        let mut inputs = inputs.into_iter();
        let (mut values, mut targets) = (Vec::new(), Vec::new());
        for (run, (cache, sampling)) in runs {
            cache.cut(usize::try_from(run.pos).unwrap());
            let mut wanted = Vec::new();
            for row in 0..run.rows {
                let value = cache.row(self.layers.clone(), inputs.next().unwrap());
                values.push(value as f32);
                if run.rows - row <= run.wanted {
                    let id = choose(value, sampling, run.pos + u32::from(row) + 1);
                    wanted.push(Target {
                        id,
                        logprob: 0.0,
                        top: Vec::new(),
                    });
                }
            }
            targets.push(wanted);
        }
        Ok(if self.layers.end == LAYERS {
            Computed::Targets(targets)
        } else {
            Computed::Rows(Payload::Activations {
                width: 1,
                values: values.into(),
            })
        })
    }

    fn len(&self, (cache, _): &Self::Sequence) -> usize {
        cache
            .len()
            .saturating_sub(usize::from(self.forgets.swap(false, Ordering::Relaxed)))
    }

    fn layers(&self) -> std::ops::Range<usize> {
        let wide = |layer| usize::try_from(layer).unwrap();
        wide(self.layers.start)..wide(self.layers.end)
    }
}

/// Shows what it signs.
struct Shows;

impl SignParts for Shows {
    fn sign(&self, content: &PartContent) -> Option<Vec<u8>> {
        let rows = content.rows.to_le_bytes();
        Some([&content.input[..], &content.output[..], &rows[..]].concat())
    }
}

/// One node.
pub(crate) struct Node {
    pub(crate) machine: Stage<Range>,
    forgets: Arc<AtomicBool>,
}

impl Node {
    pub(crate) fn new(stage: u16, stages: u16, max_sequences: u16) -> Self {
        let cut = |stage: u16| LAYERS * u32::from(stage) / u32::from(stages);
        let forgets = Arc::new(AtomicBool::new(false));
        let layers = Range {
            layers: cut(stage)..cut(stage + 1),
            forgets: Arc::clone(&forgets),
        };
        let terms = StageTerms {
            plan: PLAN,
            stage,
            stages,
            weights: weights(stage),
            engine: ENGINE,
            max_positions: MAX_POSITIONS,
            max_sequences,
            width: 1,
            row_us: 300,
        };
        let machine = Stage::new(terms, layers, Box::new(Shows), Cancelled::new());
        Self { machine, forgets }
    }

    /// Takes a message, and attests at once where that is wanted. `None`: the
    /// link is to be closed, which a head never gives cause for.
    pub(crate) fn hear(&mut self, from: Origin, envelope: Envelope) -> Option<Vec<StageEffect>> {
        let effects = match (self.machine.handle(from, envelope), from) {
            (Ok(effects), _) => effects,
            // The head's link to this node may have ended before the ring heard of it.
            (Err(StageFault::NotJoined { .. }), Origin::Previous) => return None,
            (Err(fault), _) => panic!("{fault}"),
        };
        let mut out = Vec::new();
        for effect in effects {
            match effect {
                StageEffect::Attest { id, nonce } => {
                    let envelope = evidence(nonce.as_bytes(), self.machine.terms().stage);
                    out.extend(self.machine.evidence(id, Some(envelope)));
                }
                effect => out.push(effect),
            }
        }
        Some(out)
    }

    /// A row of the next sequence that it looks at is gone.
    pub(crate) fn forget(&self) {
        self.forgets.store(true, Ordering::Relaxed);
    }
}

/// Digest of rows: `docs/spec/pipeline.md`, Receipts.
pub(crate) fn rows_digest(salt: &Salt, rows: &[[u8; 32]]) -> [u8; 32] {
    let mut digest = RowsDigest::new(salt);
    rows.iter().for_each(|row| digest.push(row));
    digest.finish()
}
