//! What stages say, and what it means.
//!
//! Owns the judgement of messages. Refuses an answer that doesn't belong to
//! what was asked: the stage that sent it is lost. What only came too late is
//! counted and dropped.

use std::time::Duration;

use super::Head;
use super::batch::to_first;
use super::event::{Effect, Loss};
use super::flight::Landing;
use super::sequence::Sequence;
use crate::message::{
    Answer, Envelope, Epoch, Fault, FaultCode, Finish, MAX_PART_BYTES, Message, Part, Ready, Run, SequenceId,
    Targets,
};

impl Head {
    /// A message came on the link of a stage.
    pub(super) fn hear(&mut self, stage: u16, envelope: Envelope, now: Duration, out: &mut Vec<Effect>) {
        // Evidence is of a boot, not of a ring.
        let message = match envelope.message {
            Message::Evidence(piece) => {
                let fresh = self.challenges.piece(stage, piece, out);
                self.counts.stale += u64::from(!fresh);
                return;
            }
            message => message,
        };
        if !self.ring.hears(stage, envelope.ring) {
            self.counts.stale += 1;
            return;
        }
        let fallen = self.ring.fallen() && matches!(message, Message::Answer(_) | Message::Fault(_));
        // What a stage says of a ring that has fallen was true when it said so.
        let heard = match message {
            _ if fallen => Ok(false),
            Message::Ready(ready) => self.hear_ready(stage, ready, now),
            Message::Pong { done, .. } if done > self.flight.last() => Err(Loss::Nonsense),
            Message::Pong { tick, done } => self.ring.hear_pong(stage, tick, done).map(|()| true),
            Message::Answer(answer) => self.hear_answer(stage, answer, now, out),
            Message::Part(part) => self.hear_part(stage, part, out),
            Message::Fault(fault) => self.hear_fault(stage, fault, now, out),
            Message::Join(_)
            | Message::Open(_)
            | Message::Frame(_)
            | Message::Finish(_)
            | Message::Cancel { .. }
            | Message::Ping { .. }
            | Message::Evidence(_)
            | Message::Challenge { .. } => Err(Loss::Nonsense),
        };
        match heard {
            Ok(true) => {}
            Ok(false) => self.counts.stale += 1,
            Err(why) => self.ring.lose(stage, why, now, &self.terms, out),
        }
    }

    fn hear_ready(&mut self, stage: u16, ready: Ready, now: Duration) -> Result<bool, Loss> {
        let fresh = self.ring.hear_ready(stage, ready, now, &self.terms)?;
        if fresh && self.ring.whole() {
            self.flight.restart();
            self.pace.ring(self.ring.ready().map(|ready| ready.row_us));
        }
        Ok(fresh)
    }

    fn hear_answer(
        &mut self,
        stage: u16,
        answer: Answer,
        now: Duration,
        out: &mut Vec<Effect>,
    ) -> Result<bool, Loss> {
        if stage + 1 != self.ring.stages() {
            return Err(Loss::Nonsense);
        }
        let mut frame = match self.flight.land(answer.number) {
            Landing::Known(frame) => frame,
            Landing::Late => return Ok(false),
            Landing::Impossible => return Err(Loss::Nonsense),
        };
        self.judge(&frame.runs, &answer.runs)?;
        if !frame.history {
            self.pace.trip(frame.rows, now.saturating_sub(frame.sent));
        }
        for targets in answer.runs {
            let place = frame.runs.iter().position(|run| run.sequence == targets.sequence);
            if let Some(place) = place {
                let run = frame.runs.swap_remove(place);
                self.hear_targets(&run, targets, now, out);
            }
        }
        // A run is missing where a stage found a fault, and says so on its own
        // link; if none does, it is late like any other.
        if frame.runs.iter().any(|run| live(&self.sequences, run)) {
            self.flight.restore(frame);
        }
        Ok(true)
    }

    /// Whether an answer is one to these runs: each at most once, with what was wanted.
    fn judge(&self, asked: &[Run], answered: &[Targets]) -> Result<(), Loss> {
        for (place, targets) in answered.iter().enumerate() {
            let run = asked.iter().find(|run| run.sequence == targets.sequence);
            let before = answered.iter().take(place);
            let (Some(run), false) = (
                run,
                before.into_iter().any(|other| other.sequence == targets.sequence),
            ) else {
                return Err(Loss::Nonsense);
            };
            let wanted = usize::from(run.wanted);
            let first = run.pos.saturating_add(u32::from(run.rows - run.wanted));
            let placed = wanted == 0 || targets.pos == first;
            if targets.epoch != run.epoch || targets.targets.len() != wanted || !placed {
                return Err(Loss::Nonsense);
            }
            let most = self
                .sequences
                .iter()
                .find(|sequence| sequence.id == run.sequence)
                .map_or(20, |sequence| sequence.sampling().top_logprobs.unwrap_or(0));
            let vocabulary = self.terms.vocabulary;
            let sound = targets.targets.iter().all(|target| {
                target.id < vocabulary
                    && target.top.len() <= usize::from(most)
                    && target.top.iter().all(|(id, _)| *id < vocabulary)
            });
            if !sound {
                return Err(Loss::Nonsense);
            }
        }
        Ok(())
    }

    fn hear_targets(&mut self, run: &Run, targets: Targets, now: Duration, out: &mut Vec<Effect>) {
        let Some(sequence) = self
            .sequences
            .iter_mut()
            .find(|sequence| sequence.id == run.sequence)
        else {
            self.counts.stale += 1;
            return;
        };
        if sequence.epoch != run.epoch {
            self.counts.stale += 1;
            return;
        }
        let Ok(taken) = sequence.take(run, targets.targets, &self.terms.eos, now) else {
            self.fail(run.sequence, "pipeline.diverged", out);
            return;
        };
        let epoch = sequence.epoch;
        self.pace.compared(taken.right, taken.wrong);
        self.counts.accepted += count(taken.right);
        self.counts.emitted += count(taken.emitted.len());
        if !taken.emitted.is_empty() {
            let sequence = run.sequence;
            out.push(Effect::Emit {
                sequence,
                targets: taken.emitted,
            });
        }
        if taken.vain {
            self.call_off(run.sequence, epoch, out);
        }
        self.complete(run.sequence, out);
    }

    /// What is under way of an answer is in vain.
    pub(super) fn call_off(&mut self, sequence: SequenceId, epoch: Epoch, out: &mut Vec<Effect>) {
        self.flight
            .keep(|run| run.sequence != sequence || run.epoch >= epoch);
        for stage in 0..self.ring.stages() {
            let envelope = Envelope {
                ring: self.ring.id(),
                message: Message::Cancel { sequence, epoch },
            };
            out.push(Effect::Send { stage, envelope });
        }
    }

    fn hear_part(&mut self, stage: u16, part: Part, out: &mut Vec<Effect>) -> Result<bool, Loss> {
        if part.stage != stage || part.signed.is_empty() || part.signed.len() > MAX_PART_BYTES {
            return Err(Loss::Nonsense);
        }
        let id = part.sequence;
        let sequence = self.sequences.iter_mut().find(|sequence| sequence.id == id);
        let fresh = sequence.is_some_and(|sequence| sequence.part(stage, part.epoch, part.signed));
        if fresh {
            self.complete(id, out);
        }
        Ok(fresh)
    }

    /// Hands an answer over if it is complete.
    fn complete(&mut self, id: SequenceId, out: &mut Vec<Effect>) {
        let place = self.sequences.iter().position(|sequence| sequence.id == id);
        let record = place.and_then(|place| self.sequences.get_mut(place)?.record());
        if let (Some(place), Some(record)) = (place, record) {
            self.sequences.remove(place);
            out.push(Effect::Done {
                sequence: id,
                record: Box::new(record),
            });
        }
    }

    fn hear_fault(
        &mut self,
        stage: u16,
        fault: Fault,
        now: Duration,
        out: &mut Vec<Effect>,
    ) -> Result<bool, Loss> {
        if fault.code == FaultCode::NextLost {
            if stage + 1 >= self.ring.stages() {
                return Err(Loss::Nonsense);
            }
            self.ring.lose(stage + 1, Loss::NextLost, now, &self.terms, out);
            return Ok(true);
        }
        let known = self.sequences.iter().any(|sequence| {
            sequence.id == fault.sequence && sequence.epoch == fault.epoch && sequence.opened
        });
        if !known {
            return Ok(false);
        }
        let code = match fault.code {
            FaultCode::Gap | FaultCode::Unknown | FaultCode::NextLost => return Err(Loss::Forgot),
            FaultCode::Full => "pipeline.full",
            FaultCode::Forward => "pipeline.forward",
            FaultCode::Signing => "pipeline.signing",
        };
        self.fail(fault.sequence, code, out);
        Ok(true)
    }

    /// Nothing more of this answer.
    pub(super) fn fail(&mut self, id: SequenceId, code: &'static str, out: &mut Vec<Effect>) {
        if self.forget(id, out) {
            out.push(Effect::Failed { sequence: id, code });
        }
    }

    /// Forgets an answer here and at every stage. Whether it was known.
    pub(super) fn forget(&mut self, id: SequenceId, out: &mut Vec<Effect>) -> bool {
        let Some(place) = self.sequences.iter().position(|sequence| sequence.id == id) else {
            return false;
        };
        let sequence = self.sequences.remove(place);
        if sequence.opened && self.ring.whole() {
            let epoch = Epoch(sequence.epoch.0.saturating_add(1));
            self.call_off(id, epoch, out);
            // After FINISH, no stage knows it any more.
            if sequence.finishing.is_none() {
                let finish = Finish {
                    sequence: id,
                    epoch,
                    rows: 0,
                    sign: false,
                };
                out.push(to_first(self.ring.id(), Message::Finish(finish)));
            }
        }
        true
    }
}

/// Whether anything is wanted of a run.
fn live(sequences: &[Sequence], run: &Run) -> bool {
    let mut of = sequences.iter().filter(|sequence| sequence.id == run.sequence);
    of.any(|sequence| sequence.epoch == run.epoch)
}

fn count(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
