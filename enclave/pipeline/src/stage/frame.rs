//! Frames at a stage.
//!
//! Owns which rows are computed, and the digests of what came and went. Rows
//! in vain are dropped, rows that can't be are a FAULT to the head, each run
//! for itself; the frame goes on with what is left, if only its number.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::message::{Answer, FaultCode, Frame, Message, Payload, Run, Target, Targets};
use crate::stage::machine::{Running, Stage};
use crate::stage::{Computed, Layers, StageEffect, StageFault};

/// Why a run is not computed.
enum Dropped {
    /// The head has thrown it away.
    InVain,
    /// It can't be, and the head must know.
    Fault(FaultCode),
}

impl<L: Layers> Stage<L> {
    pub(super) fn frame(&mut self, frame: Frame) -> Result<Vec<StageEffect>, StageFault> {
        let width = self.check_payload(&frame)?;
        let Frame {
            number,
            runs,
            payload,
        } = frame;
        if number <= self.progress.done() {
            return Ok(Vec::new());
        }
        let mut effects = Vec::new();
        let mut kept: Vec<(Run, Range<usize>)> = Vec::with_capacity(runs.len());
        let mut at = 0;
        for run in &runs {
            let values = at..at + usize::from(run.rows) * width;
            at = values.end;
            match self.judge(run, &payload, values.clone()) {
                Ok(()) => kept.push((*run, values)),
                Err(Dropped::InVain) => {}
                Err(Dropped::Fault(code)) => effects.push(self.fault(code, run.sequence, run.epoch)),
            }
        }
        let payload = if kept.len() == runs.len() {
            payload
        } else {
            select(&payload, &kept)
        };
        let kept: Vec<Run> = kept.into_iter().map(|(run, _)| run).collect();
        let handed_on = if kept.is_empty() {
            None
        } else {
            let handed_on = self.compute(&kept, &payload, width);
            if handed_on.is_none() {
                effects.extend(
                    kept.iter()
                        .map(|run| self.fault(FaultCode::Forward, run.sequence, run.epoch)),
                );
            }
            handed_on
        };
        self.progress.set(self.ring(), number);
        effects.extend(self.go_on(number, kept, handed_on));
        Ok(effects)
    }

    /// Values of one row, if the payload is one for this stage and for its runs.
    fn check_payload(&self, frame: &Frame) -> Result<usize, StageFault> {
        let stage = self.terms.stage;
        let (width, got) = match &frame.payload {
            Payload::Ids(ids) if stage == 0 => (1, ids.len()),
            Payload::Activations { width, values } if stage != 0 => {
                if *width != self.terms.width {
                    return Err(StageFault::Width {
                        expected: self.terms.width,
                        got: *width,
                    });
                }
                (usize::try_from(*width).unwrap_or(usize::MAX), values.len())
            }
            Payload::Ids(_) => {
                return Err(StageFault::PayloadKind {
                    stage,
                    expected: "activations",
                    got: "ids",
                });
            }
            Payload::Activations { .. } => {
                return Err(StageFault::PayloadKind {
                    stage,
                    expected: "ids",
                    got: "activations",
                });
            }
        };
        let rows: usize = frame.runs.iter().map(|run| usize::from(run.rows)).sum();
        let expected = rows.saturating_mul(width);
        if expected != got {
            return Err(StageFault::Rows { expected, got });
        }
        Ok(width)
    }

    /// Whether a run is to be computed.
    fn judge(&self, run: &Run, payload: &Payload, values: Range<usize>) -> Result<(), Dropped> {
        if self.cancelled.is_vain(self.ring(), run.sequence, run.epoch) {
            return Err(Dropped::InVain);
        }
        let fault = |code| Err(Dropped::Fault(code));
        let Some(running) = self.sequences.get(&run.sequence) else {
            return fault(FaultCode::Unknown);
        };
        if run.epoch < running.epoch {
            return Err(Dropped::InVain);
        }
        let held = self.layers.len(&running.cache);
        let pos = usize::try_from(run.pos).unwrap_or(usize::MAX);
        if pos > held || run.pos < running.digests.settled() {
            return fault(FaultCode::Gap);
        }
        let end = run.pos.checked_add(u32::from(run.rows));
        if end.is_none_or(|end| end > running.open.positions) {
            return fault(FaultCode::Full);
        }
        match payload {
            Payload::Activations { values: all, .. } if !all[values].iter().all(|v| v.is_finite()) => {
                fault(FaultCode::Forward)
            }
            _ if run.rows == 0 || run.wanted > run.rows => fault(FaultCode::Forward),
            _ => Ok(()),
        }
    }

    /// Computes rows and notes their digests. `None` if the layers refused them.
    fn compute(&mut self, runs: &[Run], payload: &Payload, width: usize) -> Option<Computed> {
        let mut running: Vec<(Run, &mut Running<L::Sequence>)> = Vec::with_capacity(runs.len());
        for (id, sequence) in &mut self.sequences {
            // A frame has few runs.
            if let Some(run) = runs.iter().find(|run| run.sequence == *id) {
                running.push((*run, sequence));
            }
        }
        if running.len() != runs.len() {
            // A sequence twice: the codec refuses that too.
            return None;
        }
        running.sort_by_key(|(run, _)| runs.iter().position(|other| other.sequence == run.sequence));
        let mut at_work: Vec<(Run, &mut L::Sequence)> = running
            .iter_mut()
            .map(|(run, running)| (*run, &mut running.cache))
            .collect();
        let computed = self.layers.run(&mut at_work, payload).ok()?;
        let tail = self.terms.is_tail();
        let rows = runs.iter().map(|run| usize::from(run.rows)).sum::<usize>();
        let next = usize::try_from(self.terms.width).ok()?;
        let fits = match &computed {
            Computed::Rows(Payload::Activations { width, values }) => {
                !tail && *width == self.terms.width && values.len() == rows.checked_mul(next)?
            }
            Computed::Rows(Payload::Ids(_)) => false,
            Computed::Targets(targets) => {
                let wanted = runs.iter().map(|run| usize::from(run.wanted));
                tail && targets.len() == runs.len() && targets.iter().map(Vec::len).eq(wanted)
            }
        };
        if !fits {
            return None;
        }
        let mut row = 0;
        for (index, (run, running)) in running.iter_mut().enumerate() {
            let rows = row..row + usize::from(run.rows);
            row = rows.end;
            running.epoch = run.epoch;
            running.digests.cut(run.pos);
            for (pos, row) in (run.pos..).zip(rows.clone()) {
                running.digests.came(pos, &bytes(payload, row * width, width));
            }
            match &computed {
                Computed::Rows(out) => {
                    for (pos, row) in (run.pos..).zip(rows) {
                        let bytes = bytes(out, row * next, next);
                        running.digests.handed_on(pos, u64::from(pos), &bytes);
                    }
                }
                Computed::Targets(targets) => {
                    for (pos, target) in (first_wanted(run)..).zip(&targets[index]) {
                        let id = Zeroizing::new(target.id.to_le_bytes());
                        running.digests.handed_on(pos, u64::from(pos) + 1, &*id);
                    }
                }
            }
            let end = run.pos + u32::from(run.rows);
            running.digests.settle(run.committed.min(end));
        }
        Some(computed)
    }

    /// What the frame came to, for the next stage or the head.
    fn go_on(&self, number: u64, runs: Vec<Run>, computed: Option<Computed>) -> Vec<StageEffect> {
        match computed {
            Some(Computed::Rows(payload)) => self.hand_on(Message::Frame(Frame {
                number,
                runs,
                payload,
            })),
            Some(Computed::Targets(targets)) => {
                vec![self.to_head(Message::Answer(answer(number, &runs, targets)))]
            }
            None if self.terms.is_tail() => {
                vec![self.to_head(Message::Answer(answer(number, &[], Vec::new())))]
            }
            None => self.hand_on(Message::Frame(Frame {
                number,
                runs: Vec::new(),
                payload: Payload::Activations {
                    width: self.terms.width,
                    values: Zeroizing::default(),
                },
            })),
        }
    }
}

fn answer(number: u64, runs: &[Run], targets: Vec<Vec<Target>>) -> Answer {
    let runs = runs.iter().zip(targets).map(|(run, targets)| Targets {
        sequence: run.sequence,
        epoch: run.epoch,
        pos: first_wanted(run),
        targets,
    });
    Answer {
        number,
        runs: runs.collect(),
    }
}

/// Position of the first row that needs a target; one past the last if none does.
fn first_wanted(run: &Run) -> u32 {
    run.pos + u32::from(run.rows - run.wanted)
}

/// The rows of the runs that are kept.
fn select(payload: &Payload, kept: &[(Run, Range<usize>)]) -> Payload {
    let ranges = || kept.iter().map(|(_, values)| values.clone());
    let total = ranges().map(|range| range.len()).sum();
    match payload {
        Payload::Ids(all) => {
            let mut ids = Zeroizing::new(Vec::with_capacity(total));
            ranges().for_each(|range| ids.extend_from_slice(&all[range]));
            Payload::Ids(ids)
        }
        Payload::Activations { width, values: all } => {
            let mut values = Zeroizing::new(Vec::with_capacity(total));
            ranges().for_each(|range| values.extend_from_slice(&all[range]));
            Payload::Activations {
                width: *width,
                values,
            }
        }
    }
}

/// The bytes of one row, little-endian.
fn bytes(payload: &Payload, at: usize, width: usize) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(width * 4));
    match payload {
        Payload::Ids(ids) => ids[at..][..width]
            .iter()
            .for_each(|id| bytes.extend_from_slice(&id.to_le_bytes())),
        Payload::Activations { values, .. } => values[at..][..width]
            .iter()
            .for_each(|value| bytes.extend_from_slice(&value.to_le_bytes())),
    }
    bytes
}
