//! Stages of a committed model in one process: the real machines and layers,
//! and every message through its bytes.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bastide_attestation::Salt;
use bastide_engine::{LoadOptions, Model};
use bastide_pipeline::compute::{EngineLayers, bounds, stage_terms};
use bastide_pipeline::message::{
    Answer, Bounds, Envelope, Epoch, Finish, Frame, Join, Message, Open, Payload, RingId, Run, Sampling,
    SequenceId, rows_that_fit,
};
use bastide_pipeline::stage::{Cancelled, Origin, PartContent, SignParts, Stage, StageEffect};
use zeroize::Zeroizing;

pub(crate) const PLAN: [u8; 32] = [7; 32];
pub(crate) const SALT: Salt = Salt::new([3; 32]);
/// Sequences that a stage holds in these tests.
pub(crate) const SEQUENCES: u16 = 64;

pub(crate) fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/models")
}

fn load(name: &str, layers: Option<Range<usize>>) -> Arc<Model> {
    let options = LoadOptions {
        layers,
        threads: NonZeroUsize::MIN,
        ..LoadOptions::default()
    };
    Arc::new(Model::load(&models().join(name), &options).unwrap())
}

/// The committed model, or a range of its layers; loaded once.
pub(crate) fn target(layers: Range<usize>) -> Arc<Model> {
    static LOADED: OnceLock<Mutex<HashMap<Range<usize>, Arc<Model>>>> = OnceLock::new();
    let mut loaded = LOADED
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let model = loaded
        .entry(layers.clone())
        .or_insert_with(|| load("bastide-5m", Some(layers)));
    Arc::clone(model)
}

/// The committed draft.
pub(crate) fn draft() -> Arc<Model> {
    static LOADED: OnceLock<Arc<Model>> = OnceLock::new();
    Arc::clone(LOADED.get_or_init(|| load("bastide-5m-draft", None)))
}

/// Layers of the committed model.
pub(crate) const LAYERS: usize = 6;

/// From one stage to four, evenly and not.
pub(crate) const SPLITS: [&[usize]; 5] = [&[0, 6], &[0, 3, 6], &[0, 2, 4, 6], &[0, 1, 2, 3, 6], &[0, 5, 6]];

#[derive(Clone, Default)]
struct Signer(Arc<Mutex<Vec<PartContent>>>);

impl SignParts for Signer {
    fn sign(&self, content: &PartContent) -> Option<Vec<u8>> {
        self.0.lock().unwrap().push(content.clone());
        Some(vec![1])
    }
}

/// Stages that hand on to one another.
pub(crate) struct Chain {
    stages: Vec<Stage<EngineLayers>>,
    signer: Signer,
    bounds: Bounds,
    number: u64,
}

impl Chain {
    pub(crate) fn new(cuts: &[usize]) -> Self {
        let signer = Signer::default();
        let stages = u16::try_from(cuts.len() - 1).unwrap();
        let ranges = cuts.windows(2).zip(0u16..);
        let stages = ranges.map(|(cut, stage)| {
            let model = target(cut[0]..cut[1]);
            let terms = stage_terms(&model, PLAN, stage, stages, SEQUENCES, 1);
            let layers = EngineLayers::new(model);
            let mut machine = Stage::new(terms, layers, Box::new(signer.clone()), Cancelled::new());
            let join = Message::Join(Join {
                plan: PLAN,
                stage,
                next: (stage + 1 < stages).then(|| "next:1".to_owned()),
            });
            machine
                .handle(Origin::Head, envelope(join))
                .unwrap_or_else(|fault| panic!("{fault}"));
            machine.next_linked(RingId(1));
            machine
        });
        Self {
            stages: stages.collect(),
            signer,
            bounds: bounds(&target(0..LAYERS)),
            number: 0,
        }
    }

    /// Sends along the ring, through bytes; what comes to the head.
    fn send(&mut self, message: Message) -> Vec<Message> {
        let mut to_head = Vec::new();
        let mut here = vec![envelope(message)];
        for (index, stage) in self.stages.iter_mut().enumerate() {
            let from = if index == 0 {
                Origin::Head
            } else {
                Origin::Previous
            };
            let mut next = Vec::new();
            for envelope in here {
                let bytes = envelope.encode().unwrap_or_else(|error| panic!("{error}"));
                let envelope =
                    Envelope::decode(&bytes, &self.bounds).unwrap_or_else(|error| panic!("{error}"));
                for effect in stage
                    .handle(from, envelope)
                    .unwrap_or_else(|fault| panic!("{fault}"))
                {
                    match effect {
                        StageEffect::ToHead(envelope) => {
                            let bytes = envelope.encode().unwrap();
                            to_head.push(Envelope::decode(&bytes, &self.bounds).ok().unwrap().message);
                        }
                        StageEffect::ToNext(envelope) => next.push(envelope),
                        _ => panic!("the ring is closed"),
                    }
                }
            }
            here = next;
        }
        to_head
    }

    pub(crate) fn open(&mut self, sequence: u64, positions: usize, sampling: Sampling) {
        let faults = self.send(Message::Open(Open {
            sequence: SequenceId(sequence),
            epoch: Epoch(0),
            positions: u32::try_from(positions).unwrap(),
            salt: SALT,
            sampling,
        }));
        assert!(faults.is_empty(), "there is room");
    }

    /// Rows of sequences; every run's ids, from its position on.
    pub(crate) fn frame(&mut self, runs: &[(Run, &[u32])]) -> Answer {
        self.number += 1;
        let ids: Vec<u32> = runs.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
        assert!(
            ids.len() <= rows_that_fit(self.bounds.width, runs.len()),
            "it fits a message"
        );
        let mut got = self.send(Message::Frame(Frame {
            number: self.number,
            runs: runs.iter().map(|(run, _)| *run).collect(),
            payload: Payload::Ids(Zeroizing::new(ids)),
        }));
        match (got.pop(), got.len()) {
            (Some(Message::Answer(answer)), 0) => answer,
            (Some(other), _) => panic!("expected an answer, got {}", other.kind().0),
            (None, _) => panic!("expected an answer, got nothing"),
        }
    }

    /// Ends a sequence, and says what every stage signed.
    pub(crate) fn finish(&mut self, sequence: u64, epoch: u32, rows: usize) -> Vec<PartContent> {
        let parts = self.send(Message::Finish(Finish {
            sequence: SequenceId(sequence),
            epoch: Epoch(epoch),
            rows: u32::try_from(rows).unwrap(),
            sign: true,
        }));
        assert!(parts.iter().all(|part| matches!(part, Message::Part(_))));
        assert_eq!(parts.len(), self.stages.len());
        std::mem::take(&mut *self.signer.0.lock().unwrap())
    }
}

fn envelope(message: Message) -> Envelope {
    let ring = RingId(1);
    Envelope { ring, message }
}

/// A run of `rows` rows from `pos` on, of which the last `wanted` have targets.
pub(crate) fn run(
    sequence: u64,
    epoch: u32,
    pos: usize,
    rows: usize,
    wanted: usize,
    committed: usize,
) -> Run {
    Run {
        sequence: SequenceId(sequence),
        epoch: Epoch(epoch),
        pos: u32::try_from(pos).unwrap(),
        rows: u16::try_from(rows).unwrap(),
        wanted: u16::try_from(wanted).unwrap(),
        committed: u32::try_from(committed).unwrap(),
    }
}
