//! The machine of a stage: rings, sequences, and what goes where.
//!
//! Owns which message may come from whom and when. Of an older ring nothing is
//! done, of a newer one than it was joined to nothing is believed. Holds at
//! most as many sequences as it says, each of at most as many positions, and
//! no frame: what can't be handed on is not kept.

use std::collections::BTreeMap;

use bastide_attestation::{MAX_ENVELOPE_BYTES, Nonce};

use crate::message::{
    Envelope, Epoch, EvidencePiece, Fault, FaultCode, Finish, Join, MAX_PART_BYTES, Message, Open, Part,
    Ready, RingId, SequenceId,
};
use crate::stage::digest::Digests;
use crate::stage::progress::{Cancelled, Progress};
use crate::stage::{Layers, Origin, PartContent, SignParts, StageEffect, StageFault, StageTerms};

/// Challenges under way at once; beyond them the answer is that it can't attest.
const MAX_CHALLENGES: usize = 16;
/// Bytes of a piece of evidence: with its head it fits a message of 64 KiB.
const PIECE_BYTES: usize = 65_000;

/// One sequence at this stage.
pub(super) struct Running<S> {
    pub(super) open: Open,
    pub(super) epoch: Epoch,
    pub(super) cache: S,
    pub(super) digests: Digests,
}

/// The link to the next stage.
#[derive(Clone, PartialEq, Eq)]
enum Next {
    /// There is none, or it is not wanted.
    None,
    /// It is being opened for this ring.
    Opening(String),
    /// It is open.
    Open(String),
}

/// A stage: told what came, says what to send. See `docs/spec/pipeline.md`.
#[expect(
    missing_debug_implementations,
    reason = "it holds a user's text in another form"
)]
pub struct Stage<L: Layers> {
    pub(super) terms: StageTerms,
    pub(super) layers: L,
    pub(super) sequences: BTreeMap<SequenceId, Running<L::Sequence>>,
    pub(super) cancelled: Cancelled,
    pub(super) progress: Progress,
    ring: Option<RingId>,
    next: Next,
    signer: Box<dyn SignParts + Send>,
    challenges: BTreeMap<u64, RingId>,
}

impl<L: Layers> Stage<L> {
    /// A stage that was not joined yet.
    pub fn new(
        terms: StageTerms,
        layers: L,
        signer: Box<dyn SignParts + Send>,
        cancelled: Cancelled,
    ) -> Self {
        Self {
            terms,
            layers,
            sequences: BTreeMap::new(),
            cancelled,
            progress: Progress::default(),
            ring: None,
            next: Next::None,
            signer,
            challenges: BTreeMap::new(),
        }
    }

    /// Answers PING while a frame is computed.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Notes a CANCEL while a frame is computed.
    pub fn cancelled(&self) -> Cancelled {
        self.cancelled.clone()
    }

    /// What it is.
    pub const fn terms(&self) -> &StageTerms {
        &self.terms
    }

    /// Sequences that it holds.
    pub fn sequences(&self) -> usize {
        self.sequences.len()
    }

    /// Takes a message that came on the link of `from`.
    ///
    /// # Errors
    /// [`StageFault`]: the peer broke the protocol, nothing was done, and its link must be closed.
    pub fn handle(&mut self, from: Origin, envelope: Envelope) -> Result<Vec<StageEffect>, StageFault> {
        let Envelope { ring, message } = envelope;
        self.check_way(from, &message)?;
        let (name, _) = message.kind();
        match message {
            Message::Join(join) => return self.join(ring, join),
            Message::Ping { tick } => return Ok(vec![StageEffect::ToHead(self.progress.pong(ring, tick))]),
            Message::Cancel { sequence, epoch } => {
                self.cancelled.note(ring, sequence, epoch);
                return Ok(Vec::new());
            }
            Message::Challenge { id, nonce } => return Ok(self.challenge(ring, id, nonce)),
            _ => {}
        }
        let joined = self.ring.ok_or(StageFault::NotJoined { message: name })?;
        if ring > joined {
            return Err(StageFault::FutureRing {
                message: name,
                got: ring,
                joined,
            });
        }
        // Without a next stage the head has heard so, and joins anew.
        if ring < joined || !self.can_hand_on() {
            return Ok(Vec::new());
        }
        match message {
            Message::Open(open) => self.open(open),
            Message::Frame(frame) => self.frame(frame),
            Message::Finish(finish) => Ok(self.finish(finish)),
            _ => Ok(Vec::new()),
        }
    }

    /// The link to the next stage is open: the head may be told that this stage is ready.
    pub fn next_linked(&mut self, ring: RingId) -> Vec<StageEffect> {
        match &self.next {
            Next::Opening(address) if self.ring == Some(ring) => {
                self.next = Next::Open(address.clone());
                vec![self.ready()]
            }
            _ => Vec::new(),
        }
    }

    /// The link to the next stage ended, or did not open.
    pub fn next_lost(&mut self) -> Vec<StageEffect> {
        if self.next == Next::None {
            return Vec::new();
        }
        self.next = Next::None;
        // Nothing can be handed on: what is held for this ring is in vain.
        self.sequences.clear();
        vec![self.fault(FaultCode::NextLost, SequenceId(0), Epoch(0))]
    }

    /// The evidence that was asked for, or that there is none; in pieces.
    pub fn evidence(&mut self, id: u64, envelope: Option<Vec<u8>>) -> Vec<StageEffect> {
        let Some(ring) = self.challenges.remove(&id) else {
            return Vec::new();
        };
        pieces(ring, id, &envelope.unwrap_or_default())
    }

    /// The head's link ended: every sequence is forgotten, and so is its ring,
    /// since the next head counts rings of its own. What is linked for it must
    /// be closed too.
    #[must_use = "the link to the next stage is to be closed"]
    pub fn head_lost(&mut self) -> Vec<StageEffect> {
        self.sequences.clear();
        self.challenges.clear();
        self.cancelled.reset();
        self.progress.set(RingId(0), 0);
        self.ring = None;
        self.unlink()
    }

    /// Whether a message of this kind may come from there.
    fn check_way(&self, from: Origin, message: &Message) -> Result<(), StageFault> {
        let allowed = match message {
            // Stage 0 is in the head, which so is what comes before stage 1.
            Message::Open(_) | Message::Frame(_) | Message::Finish(_) => match from {
                Origin::Head => self.terms.stage <= 1,
                Origin::Previous => self.terms.stage >= 1,
            },
            Message::Join(_) | Message::Cancel { .. } | Message::Ping { .. } | Message::Challenge { .. } => {
                from == Origin::Head
            }
            Message::Ready(_)
            | Message::Answer(_)
            | Message::Part(_)
            | Message::Pong { .. }
            | Message::Fault(_)
            | Message::Evidence(_) => false,
        };
        if allowed {
            Ok(())
        } else {
            Err(StageFault::Unexpected {
                message: message.kind().0,
                origin: from,
                stage: self.terms.stage,
            })
        }
    }

    fn join(&mut self, ring: RingId, join: Join) -> Result<Vec<StageEffect>, StageFault> {
        let terms = &self.terms;
        if join.plan != terms.plan {
            return Err(StageFault::OtherPlan);
        }
        if join.stage != terms.stage {
            return Err(StageFault::OtherStage {
                expected: terms.stage,
                got: join.stage,
            });
        }
        if join.next.is_none() != terms.is_tail() {
            return Err(StageFault::Address {
                stage: terms.stage,
                stages: terms.stages,
            });
        }
        match self.ring {
            Some(joined) if joined == ring => return Err(StageFault::JoinedAlready { ring }),
            Some(joined) if ring < joined => return Ok(Vec::new()),
            _ => {}
        }
        self.ring = Some(ring);
        self.sequences.clear();
        self.cancelled.begin(ring);
        self.progress.set(ring, 0);
        let Some(address) = join.next else {
            return Ok(vec![self.ready()]);
        };
        if self.next == Next::Open(address.clone()) {
            // The same peer on the same link: it tells rings apart as this stage does.
            return Ok(vec![self.ready()]);
        }
        let mut effects = self.unlink();
        self.next = Next::Opening(address.clone());
        effects.push(StageEffect::LinkNext { ring, address });
        Ok(effects)
    }

    fn open(&mut self, open: Open) -> Result<Vec<StageEffect>, StageFault> {
        if let Some(running) = self.sequences.get(&open.sequence) {
            return if running.open == open {
                Ok(Vec::new())
            } else {
                Err(StageFault::Reopened)
            };
        }
        let terms = &self.terms;
        let room = self.sequences.len() < usize::from(terms.max_sequences);
        if !room || open.positions == 0 || open.positions > terms.max_positions {
            return Ok(vec![self.fault(FaultCode::Full, open.sequence, open.epoch)]);
        }
        let positions = usize::try_from(open.positions).unwrap_or(usize::MAX);
        let running = Running {
            epoch: open.epoch,
            cache: self.layers.open(positions, &open.sampling),
            digests: Digests::new(open.salt),
            open: open.clone(),
        };
        self.sequences.insert(open.sequence, running);
        Ok(self.hand_on(Message::Open(open)))
    }

    fn finish(&mut self, finish: Finish) -> Vec<StageEffect> {
        let Finish {
            sequence,
            epoch,
            rows,
            sign,
        } = finish;
        if self
            .sequences
            .get(&sequence)
            .is_some_and(|running| epoch < running.epoch)
        {
            return Vec::new();
        }
        self.cancelled.forget(sequence);
        let running = self.sequences.remove(&sequence);
        let mut effects = Vec::new();
        if sign {
            effects.push(match self.part(running, rows) {
                Ok(signed) => self.to_head(Message::Part(Part {
                    sequence,
                    epoch,
                    stage: self.terms.stage,
                    signed,
                })),
                Err(code) => self.fault(code, sequence, epoch),
            });
        }
        effects.extend(self.hand_on(Message::Finish(finish)));
        effects
    }

    /// The signed part of a sequence of which `rows` rows are final.
    fn part(&self, running: Option<Running<L::Sequence>>, rows: u32) -> Result<Vec<u8>, FaultCode> {
        let Some(Running {
            cache, mut digests, ..
        }) = running
        else {
            return Err(FaultCode::Unknown);
        };
        let held = u32::try_from(self.layers.len(&cache)).unwrap_or(u32::MAX);
        if rows < digests.settled() || rows > held {
            return Err(FaultCode::Gap);
        }
        digests.settle(rows);
        let (input, output) = digests.finish();
        self.signer
            .sign(&PartContent { input, output, rows })
            .filter(|signed| (1..=MAX_PART_BYTES).contains(&signed.len()))
            .ok_or(FaultCode::Signing)
    }

    fn challenge(&mut self, ring: RingId, id: u64, nonce: Nonce) -> Vec<StageEffect> {
        if self.challenges.contains_key(&id) {
            return Vec::new();
        }
        if self.challenges.len() >= MAX_CHALLENGES {
            return pieces(ring, id, &[]);
        }
        self.challenges.insert(id, ring);
        vec![StageEffect::Attest { id, nonce }]
    }

    fn can_hand_on(&self) -> bool {
        self.terms.is_tail() || matches!(self.next, Next::Open(_))
    }

    fn unlink(&mut self) -> Vec<StageEffect> {
        if std::mem::replace(&mut self.next, Next::None) == Next::None {
            Vec::new()
        } else {
            vec![StageEffect::UnlinkNext]
        }
    }

    fn ready(&self) -> StageEffect {
        let terms = &self.terms;
        self.to_head(Message::Ready(Ready {
            plan: terms.plan,
            stage: terms.stage,
            weights: terms.weights,
            engine: terms.engine,
            max_positions: terms.max_positions,
            max_sequences: terms.max_sequences,
            row_us: terms.row_us,
        }))
    }

    pub(super) fn fault(&self, code: FaultCode, sequence: SequenceId, epoch: Epoch) -> StageEffect {
        self.to_head(Message::Fault(Fault {
            code,
            sequence,
            epoch,
        }))
    }

    /// To the next stage; the tail has none.
    pub(super) fn hand_on(&self, message: Message) -> Vec<StageEffect> {
        if self.terms.is_tail() {
            return Vec::new();
        }
        vec![StageEffect::ToNext(self.envelope(message))]
    }

    pub(super) fn to_head(&self, message: Message) -> StageEffect {
        StageEffect::ToHead(self.envelope(message))
    }

    /// The ring that it was joined to; 0 before that.
    pub(super) fn ring(&self) -> RingId {
        self.ring.unwrap_or_default()
    }

    fn envelope(&self, message: Message) -> Envelope {
        Envelope {
            ring: self.ring(),
            message,
        }
    }
}

/// An evidence envelope in pieces; one empty piece if there is none that may be sent.
fn pieces(ring: RingId, id: u64, bytes: &[u8]) -> Vec<StageEffect> {
    let bytes = if bytes.len() > MAX_ENVELOPE_BYTES {
        &[]
    } else {
        bytes
    };
    let parts = u16::try_from(bytes.len().div_ceil(PIECE_BYTES).max(1)).expect("an envelope is bounded");
    let piece = |part: u16, bytes: &[u8]| {
        StageEffect::ToHead(Envelope {
            ring,
            message: Message::Evidence(EvidencePiece {
                id,
                part,
                parts,
                bytes: bytes.to_vec(),
            }),
        })
    };
    if bytes.is_empty() {
        return vec![piece(0, bytes)];
    }
    (0u16..)
        .zip(bytes.chunks(PIECE_BYTES))
        .map(|(part, bytes)| piece(part, bytes))
        .collect()
}
