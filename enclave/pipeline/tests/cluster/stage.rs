//! A node that computes one range of layers of the small model.
//!
//! Owns the stage's side of the protocol, written from its specification
//! alone. It is strict: what a head must not send ends the test.

use std::collections::BTreeMap;

use bastide_pipeline::message::{
    Answer, Envelope, EvidencePiece, Fault, FaultCode, Finish, Frame, Message, Open, Part, Payload, Ready,
    RingId, SequenceId, Target, Targets,
};
use bastide_pipeline::stage::row_digest;

use crate::model::{Cache, LAYERS, VOCABULARY, choose};

pub(crate) const PLAN: [u8; 32] = [1; 32];
pub(crate) const ENGINE: [u8; 32] = [2; 32];
pub(crate) const MAX_POSITIONS: u32 = 400;

pub(crate) fn weights(stage: u16) -> [u8; 32] {
    [u8::try_from(stage).unwrap() + 100; 32]
}

/// Where a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum To {
    Head,
    Next,
}

struct Held {
    open: Open,
    epoch: u32,
    cache: Cache,
    ins: Vec<[u8; 32]>,
    outs: Vec<[u8; 32]>,
    /// Whether a target was wanted of the row.
    wanted: Vec<bool>,
    committed: usize,
}

/// One node.
pub(crate) struct Stage {
    pub(crate) stage: u16,
    pub(crate) stages: u16,
    pub(crate) max_sequences: u16,
    ring: RingId,
    next: Option<String>,
    /// CANCELs, and the first epoch that counts.
    cancelled: BTreeMap<SequenceId, u32>,
    held: BTreeMap<SequenceId, Held>,
    done: u64,
    joined: bool,
}

impl Stage {
    pub(crate) fn new(stage: u16, stages: u16, max_sequences: u16) -> Self {
        Self {
            stage,
            stages,
            max_sequences,
            ring: RingId(0),
            next: None,
            cancelled: BTreeMap::new(),
            held: BTreeMap::new(),
            done: 0,
            joined: false,
        }
    }

    fn layers(&self) -> std::ops::Range<u32> {
        let cut = |stage: u16| LAYERS * u32::from(stage) / u32::from(self.stages);
        cut(self.stage)..cut(self.stage + 1)
    }

    fn tail(&self) -> bool {
        self.stage + 1 == self.stages
    }

    /// The node that JOIN named as the next.
    pub(crate) fn next(&self) -> Option<&str> {
        self.next.as_deref()
    }

    pub(crate) fn ring(&self) -> RingId {
        self.ring
    }

    /// READY, once the link to the next stage is open.
    pub(crate) fn ready(&self) -> Envelope {
        self.say(Message::Ready(Ready {
            plan: PLAN,
            stage: self.stage,
            weights: weights(self.stage),
            engine: ENGINE,
            max_positions: MAX_POSITIONS,
            max_sequences: self.max_sequences,
            row_us: 300,
        }))
    }

    /// The link to the next stage ended, or didn't open.
    pub(crate) fn next_lost(&self) -> Envelope {
        self.fault(FaultCode::NextLost, SequenceId(0), 0)
    }

    fn say(&self, message: Message) -> Envelope {
        Envelope {
            ring: self.ring,
            message,
        }
    }

    fn fault(&self, code: FaultCode, sequence: SequenceId, epoch: u32) -> Envelope {
        let epoch = bastide_pipeline::message::Epoch(epoch);
        self.say(Message::Fault(Fault {
            code,
            sequence,
            epoch,
        }))
    }

    /// Whether it is JOIN, after which the world opens the link to the next.
    pub(crate) fn hear(&mut self, envelope: Envelope) -> (bool, Vec<(To, Envelope)>) {
        if let Message::Join(join) = envelope.message {
            assert_eq!((join.plan, join.stage), (PLAN, self.stage));
            assert_eq!(join.next.is_none(), self.tail());
            if envelope.ring > self.ring {
                self.ring = envelope.ring;
                self.next = join.next;
                self.joined = true;
                self.held.clear();
                self.cancelled.clear();
                self.done = 0;
                return (true, Vec::new());
            }
            return (false, Vec::new());
        }
        if envelope.ring != self.ring || !self.joined {
            return (false, Vec::new());
        }
        let says = match envelope.message {
            Message::Open(open) => self.open(open),
            Message::Frame(frame) => self.frame(frame),
            Message::Finish(finish) => self.finish(finish),
            Message::Cancel { sequence, epoch } => {
                let first = self.cancelled.entry(sequence).or_default();
                *first = epoch.0.max(*first);
                Vec::new()
            }
            Message::Ping { tick } => vec![(
                To::Head,
                self.say(Message::Pong {
                    tick,
                    done: self.done,
                }),
            )],
            Message::Challenge { id, nonce } => {
                let piece = |part, bytes: &[u8]| {
                    let bytes = bytes.to_vec();
                    self.say(Message::Evidence(EvidencePiece {
                        id,
                        part,
                        parts: 2,
                        bytes,
                    }))
                };
                vec![
                    (To::Head, piece(0, nonce.as_bytes())),
                    (To::Head, piece(1, &self.stage.to_le_bytes())),
                ]
            }
            _ => panic!("a head never sends this"),
        };
        (false, says)
    }

    fn open(&mut self, open: Open) -> Vec<(To, Envelope)> {
        if self.held.contains_key(&open.sequence) {
            return Vec::new();
        }
        assert!(
            self.held.len() < usize::from(self.max_sequences),
            "more than this stage holds"
        );
        self.held.insert(
            open.sequence,
            Held {
                epoch: open.epoch.0,
                cache: Cache::default(),
                ins: Vec::new(),
                outs: Vec::new(),
                wanted: Vec::new(),
                committed: 0,
                open: open.clone(),
            },
        );
        if self.tail() {
            Vec::new()
        } else {
            vec![(To::Next, self.say(Message::Open(open)))]
        }
    }

    fn frame(&mut self, frame: Frame) -> Vec<(To, Envelope)> {
        // A link doesn't repeat itself; should it, nothing is computed twice.
        if frame.number <= self.done {
            return Vec::new();
        }
        self.done = frame.number;
        assert!((1..=64).contains(&frame.runs.len()));
        let values: Vec<u32> = match &frame.payload {
            Payload::Ids(ids) => ids.to_vec(),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "24 bits are exact"
            )]
            Payload::Activations { values, .. } => values.iter().map(|value| *value as u32).collect(),
        };
        assert_eq!(matches!(frame.payload, Payload::Ids(_)), self.stage == 0);
        let (layers, tail, stage) = (self.layers(), self.tail(), self.stage);
        let mut says = Vec::new();
        let (mut runs, mut answers, mut results) = (Vec::new(), Vec::new(), Vec::new());
        let mut at = 0;
        for run in frame.runs {
            let rows = &values[at..at + usize::from(run.rows)];
            at += usize::from(run.rows);
            let first = self.cancelled.get(&run.sequence).copied().unwrap_or(0);
            let Some(held) = self.held.get_mut(&run.sequence) else {
                continue;
            };
            if run.epoch.0 < held.epoch.max(first) {
                continue;
            }
            held.epoch = run.epoch.0;
            let pos = usize::try_from(run.pos).unwrap();
            if pos > held.cache.len() {
                says.push((To::Head, self.fault(FaultCode::Gap, run.sequence, run.epoch.0)));
                continue;
            }
            assert!(
                run.pos + u32::from(run.rows) <= held.open.positions,
                "beyond what OPEN said"
            );
            held.cache.cut(pos);
            let finals = held.committed.min(held.ins.len());
            let before = held.ins[pos.min(finals)..finals].to_vec();
            held.ins.truncate(pos);
            held.outs.truncate(pos);
            held.wanted.truncate(pos);
            let mut targets = Vec::new();
            for (row, value) in rows.iter().enumerate() {
                let p = u64::try_from(pos + row).unwrap();
                let out = held.cache.row(layers.clone(), *value);
                let bytes = |value: u32, id: bool| {
                    #[expect(clippy::cast_precision_loss, reason = "24 bits are exact")]
                    let real = value as f32;
                    if id {
                        value.to_le_bytes()
                    } else {
                        real.to_le_bytes()
                    }
                };
                held.ins
                    .push(row_digest(&held.open.salt, p, &bytes(*value, stage == 0)));
                let wanted = usize::from(run.rows) - row <= usize::from(run.wanted);
                held.wanted.push(wanted);
                let out = if tail {
                    let next = u32::try_from(p + 1).unwrap();
                    let id = choose(out, &held.open.sampling, next);
                    if wanted {
                        targets.push(Target {
                            id,
                            logprob: 0.0,
                            top: Vec::new(),
                        });
                    }
                    row_digest(&held.open.salt, p + 1, &bytes(id, true))
                } else {
                    results.push(out);
                    row_digest(&held.open.salt, p, &bytes(out, false))
                };
                held.outs.push(out);
            }
            let again = &held.ins[pos.min(finals)..finals.min(held.ins.len())];
            assert_eq!(again, &before[..again.len()], "a final row changed");
            held.committed = held.committed.max(usize::try_from(run.committed).unwrap());
            answers.push(Targets {
                sequence: run.sequence,
                epoch: run.epoch,
                pos: run.pos + u32::from(run.rows - run.wanted),
                targets,
            });
            runs.push(run);
        }
        assert_eq!(at, values.len());
        let number = frame.number;
        if tail {
            says.push((
                To::Head,
                self.say(Message::Answer(Answer {
                    number,
                    runs: answers,
                })),
            ));
        } else if !runs.is_empty() {
            #[expect(clippy::cast_precision_loss, reason = "24 bits are exact")]
            let values: Vec<f32> = results.into_iter().map(|value| value as f32).collect();
            let payload = Payload::Activations {
                width: 1,
                values: values.into(),
            };
            says.push((
                To::Next,
                self.say(Message::Frame(Frame {
                    number,
                    runs,
                    payload,
                })),
            ));
        }
        says
    }

    fn finish(&mut self, finish: Finish) -> Vec<(To, Envelope)> {
        let mut says = Vec::new();
        let Some(held) = self.held.remove(&finish.sequence) else {
            return says;
        };
        self.cancelled.remove(&finish.sequence);
        if finish.sign {
            let rows = usize::try_from(finish.rows).unwrap();
            assert!(
                held.committed <= rows,
                "told of {} final rows, ends with {rows}",
                held.committed
            );
            assert!(rows <= held.ins.len(), "rows that it hasn't got");
            let salt = &held.open.salt;
            let outs: Vec<[u8; 32]> = held.outs[..rows]
                .iter()
                .zip(&held.wanted)
                .filter(|(_, wanted)| **wanted || !self.tail())
                .map(|(out, _)| *out)
                .collect();
            let mut signed = rows_digest(salt, &held.ins[..rows]).to_vec();
            signed.extend_from_slice(&rows_digest(salt, &outs));
            signed.extend_from_slice(&finish.rows.to_le_bytes());
            says.push((
                To::Head,
                self.say(Message::Part(Part {
                    sequence: finish.sequence,
                    epoch: finish.epoch,
                    stage: self.stage,
                    signed,
                })),
            ));
        }
        if !self.tail() {
            says.push((To::Next, self.say(Message::Finish(finish))));
        }
        says
    }

    /// Loses the last row of every sequence.
    pub(crate) fn lose_rows(&mut self) {
        for held in self.held.values_mut() {
            let rows = held.cache.len().saturating_sub(1);
            held.cache.cut(rows);
        }
    }

    /// Sequences that it holds.
    pub(crate) fn holds(&self) -> usize {
        self.held.len()
    }
}

/// `docs/spec/pipeline.md`, Receipts.
pub(crate) fn rows_digest(salt: &bastide_attestation::Salt, rows: &[[u8; 32]]) -> [u8; 32] {
    let count = u64::try_from(rows.len()).unwrap().to_be_bytes();
    let mut parts: Vec<&[u8]> = vec![b"bastide-rows-v1\0", salt.as_bytes()];
    parts.extend(rows.iter().map(<[u8; 32]>::as_slice));
    parts.push(&count);
    bastide_attestation::sha256(&parts)
}

const _: () = assert!(VOCABULARY < 1 << 24);
