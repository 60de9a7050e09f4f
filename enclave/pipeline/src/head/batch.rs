//! What is sent next, and in which frames.
//!
//! Owns fairness and back-pressure: runs of several answers share a frame,
//! frames fill the ring and no more, each answer has its turn, and prompts go
//! in chunks between verifications. Refuses to send beyond its credit: what
//! doesn't fit the ring waits here, where it is only token ids.

use std::time::Duration;

use zeroize::Zeroizing;

use super::Head;
use super::event::Effect;
use super::sequence::Sequence;
use crate::message::{Envelope, Finish, Frame, MAX_RUNS, Message, Payload, RingId, Run, rows_that_fit};

/// Rows in a frame, however narrow they are.
const MOST_ROWS: usize = 512;
/// Rows of a prompt in a frame: more would keep others' verifications waiting.
const MOST_CHUNK: usize = 256;
/// Fewer aren't worth a frame of their own.
const LEAST_CHUNK: usize = 16;
/// Rows that fit a frame of as many runs as may be, at a hidden size.
pub(super) fn most_rows(width: u32) -> usize {
    rows_that_fit(width, MAX_RUNS).clamp(1, MOST_ROWS)
}

impl Head {
    /// Sends what there is credit for.
    pub(super) fn pump(&mut self, now: Duration, out: &mut Vec<Effect>) {
        if !self.ring.whole() {
            return;
        }
        self.open(now, out);
        while self.verifications(now, out) || self.chunks(now, out) {}
        self.finish(now, out);
    }

    /// Opens answers that wait, in the order in which they came, as far as stages have room.
    fn open(&mut self, now: Duration, out: &mut Vec<Effect>) {
        let mut room = self.places().saturating_sub(self.opened());
        let mut worn = Vec::new();
        for sequence in &mut self.sequences {
            if room == 0 {
                break;
            }
            if sequence.opened {
                continue;
            }
            match sequence.open(now) {
                Some(open) => {
                    room -= 1;
                    self.counts.replans += u64::from(sequence.replayed());
                    out.push(to_first(self.ring.id(), Message::Open(open)));
                }
                None => worn.push(sequence.id),
            }
        }
        for id in worn {
            self.fail(id, "pipeline.replans", out);
        }
    }

    /// A frame of verifications; whether there was one.
    fn verifications(&mut self, now: Duration, out: &mut Vec<Effect>) -> bool {
        let free = self.pace.frames().saturating_sub(self.flight.count(false));
        if free == 0 {
            return false;
        }
        let (mode, most) = (self.mode(), self.rows);
        let patience = self.pace.patience(mode.k());
        let due = |sequence: &Sequence| sequence.verifiable(mode, patience, now).min(most);
        let ready = self.sequences.iter().filter(|sequence| due(sequence) > 0).count();
        // As many frames as the ring has room for, of as equal size as may be.
        let share = ready.div_ceil(free).min(MAX_RUNS);
        self.frame(share, most, false, due, now, out)
    }

    /// A frame of prompts, or of rows that are sent again; whether there was one.
    fn chunks(&mut self, now: Duration, out: &mut Vec<Effect>) -> bool {
        let stages = usize::from(self.ring.stages());
        if self.flight.count(true) > stages {
            return false;
        }
        let rows: usize = self.sequences.iter().map(Sequence::history).sum();
        let chunk = (rows / (2 * stages))
            .clamp(LEAST_CHUNK, MOST_CHUNK)
            .min(self.rows);
        self.frame(MAX_RUNS, chunk, true, Sequence::history, now, out)
    }

    /// Sends a frame of at most so many runs and rows, each answer in its turn.
    fn frame(
        &mut self,
        most_runs: usize,
        most_rows: usize,
        history: bool,
        due: impl Fn(&Sequence) -> usize,
        now: Duration,
        out: &mut Vec<Effect>,
    ) -> bool {
        let mut ids = Zeroizing::new(Vec::with_capacity(most_rows));
        let mut runs: Vec<Run> = Vec::new();
        let count = self.sequences.len();
        let start = self.turn;
        for step in 0..count {
            let place = (start + step) % count;
            let Some(sequence) = self.sequences.get_mut(place) else {
                continue;
            };
            let rows = due(sequence);
            let room = most_rows - ids.len();
            if rows == 0 {
                continue;
            }
            // A chunk is cut where the frame ends; a verification waits for the next.
            if room == 0 || (rows > room && !history) {
                break;
            }
            runs.push(sequence.send(rows.min(room), &mut ids));
            self.turn = place + 1;
            if runs.len() >= most_runs {
                break;
            }
        }
        if runs.is_empty() {
            return false;
        }
        let number = self.flight.launch(runs.clone(), history, now);
        self.counts.frames += 1;
        let frame = Frame {
            number,
            runs,
            payload: Payload::Ids(ids),
        };
        out.push(to_first(self.ring.id(), Message::Frame(frame)));
        true
    }

    /// Ends answers that are complete, behind their last row.
    fn finish(&mut self, now: Duration, out: &mut Vec<Effect>) {
        for sequence in &mut self.sequences {
            if sequence.finishing.is_some() {
                continue;
            }
            if let Some(rows) = sequence.finished() {
                sequence.finishing = Some(now);
                let finish = Finish {
                    sequence: sequence.id,
                    epoch: sequence.epoch,
                    rows,
                    sign: true,
                };
                out.push(to_first(self.ring.id(), Message::Finish(finish)));
            }
        }
    }
}

/// To stage 0, from where it goes along the ring.
pub(super) fn to_first(ring: RingId, message: Message) -> Effect {
    Effect::Send {
        stage: 0,
        envelope: Envelope { ring, message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_long_as_they_may_be_and_never_empty() {
        assert_eq!(most_rows(256), 512);
        assert_eq!(most_rows(8_192), 31);
        assert_eq!(most_rows(u32::MAX), 1);
    }
}
