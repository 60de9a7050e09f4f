//! One answer: its tokens, and which of them are final.
//!
//! Owns the one rule by which tokens become final. The target of the row at
//! position p is the token of position p + 1. If that is the first position
//! that isn't final, it becomes final, and if something else had been drafted
//! there, everything after is cut and the epoch ends. If it was final already
//! (rows are sent again after a loss), it must be the same. Refuses anything
//! else, so that nothing is emitted twice or differently.
//!
//! INVARIANT: `prompt ≤ committed ≤ tokens.len() ≤ limit`, and a row below
//! `answered` is in the cache of every stage of the ring.

mod guesses;
mod receipt;

use std::time::Duration;

use bastide_attestation::Salt;
use zeroize::Zeroizing;

use super::event::{Finish, Loss, Replan, Request};
use super::pace::Mode;
use crate::message::{Epoch, Open, Run, Sampling, SequenceId, Target};
use guesses::Asked;

/// Re-plans that a receipt can tell of.
const MOST_REPLANS: usize = 16;

/// What targets came to.
pub(super) struct Taken {
    /// Tokens that became final.
    pub(super) emitted: Vec<Target>,
    /// Drafted tokens that were right.
    pub(super) right: usize,
    /// Whether one was wrong.
    pub(super) wrong: bool,
    /// Whether what is still under way is in vain.
    pub(super) vain: bool,
}

/// A final token came out differently when its row was sent again.
pub(super) struct Diverged;

/// One answer.
pub(super) struct Sequence {
    pub(super) id: SequenceId,
    pub(super) epoch: Epoch,
    /// Since when it waits.
    pub(super) since: Duration,
    /// Whether the present ring knows it.
    pub(super) opened: bool,
    /// Runs of this epoch under way.
    pub(super) flying: usize,
    /// When FINISH was sent.
    pub(super) finishing: Option<Duration>,
    /// Prompt, final and drafted tokens. Its capacity is `limit` from the
    /// start, so that no copy is left behind by growing.
    tokens: Zeroizing<Vec<u32>>,
    prompt: usize,
    committed: usize,
    /// Rows sent in this epoch.
    sent: usize,
    /// Rows that every stage has.
    answered: usize,
    /// Positions that it may have.
    limit: usize,
    sampling: Sampling,
    salt: Salt,
    /// Final tokens that a stop string could have been found in.
    settled: usize,
    /// Final positions that stages were told of: a receipt covers at least them.
    told: usize,
    asked: Option<Asked>,
    /// The draft had nothing to say to the present tokens.
    barren: bool,
    /// The last drafted token ends the answer.
    closed: bool,
    /// Since when nothing is under way.
    idle: Duration,
    finish: Option<Finish>,
    parts: Vec<Option<Vec<u8>>>,
    drafted: u32,
    accepted: u32,
    rounds: u32,
    largest_k: u8,
    /// Why the ring that knew it fell.
    fell: Option<(u16, Loss)>,
    replans: Vec<Replan>,
}

impl Sequence {
    /// `limit`: positions of the model. The request was checked.
    pub(super) fn new(request: &Request, limit: u32, stages: u16, now: Duration) -> Self {
        let prompt = request.prompt.len();
        let limit = prompt.saturating_add(wide(request.budget)).min(wide(limit));
        let mut tokens = Zeroizing::new(Vec::with_capacity(limit.max(prompt)));
        tokens.extend_from_slice(&request.prompt);
        Self {
            id: request.sequence,
            epoch: Epoch(0),
            since: now,
            opened: false,
            flying: 0,
            finishing: None,
            tokens,
            prompt,
            committed: prompt,
            sent: 0,
            answered: 0,
            limit,
            sampling: request.sampling,
            salt: request.salt,
            settled: prompt,
            told: prompt,
            asked: None,
            barren: false,
            closed: false,
            idle: now,
            finish: None,
            parts: vec![None; usize::from(stages)],
            drafted: 0,
            accepted: 0,
            rounds: 0,
            largest_k: 0,
            fell: None,
            replans: Vec::new(),
        }
    }

    /// Opens it on the present ring. `None` if the ring was made again too often.
    pub(super) fn open(&mut self, now: Duration) -> Option<Open> {
        if let Some((stage, why)) = self.fell.take() {
            if self.replans.len() == MOST_REPLANS {
                return None;
            }
            let position = narrow(self.committed);
            self.replans.push(Replan {
                position,
                stage,
                why: why.code(),
            });
        }
        self.opened = true;
        self.idle = now;
        Some(Open {
            sequence: self.id,
            epoch: self.epoch,
            positions: narrow(self.limit),
            salt: self.salt,
            sampling: self.sampling,
        })
    }

    /// The ring is gone, and with it everything that was under way.
    pub(super) fn rewind(&mut self, cause: (u16, Loss), now: Duration) {
        if self.opened {
            self.fell.get_or_insert(cause);
        }
        self.opened = false;
        self.since = now;
        self.finishing = None;
        self.parts.fill(None);
        self.told = self.prompt;
        self.answered = 0;
        self.cut();
    }

    /// Ends the epoch: nothing that is under way or drafted counts.
    fn cut(&mut self) {
        self.epoch = Epoch(self.epoch.0.saturating_add(1));
        self.flying = 0;
        self.tokens.truncate(self.committed);
        self.sent = self.answered.min(self.committed.saturating_sub(1));
        self.closed = false;
        self.barren = false;
    }

    /// Final tokens can be told to stages from now on.
    pub(super) fn settle(&mut self) {
        self.settled = self.committed;
    }

    /// Rows that may be sent: each token's but the last possible one's, and
    /// none whose target isn't needed.
    fn sendable(&self) -> usize {
        if self.finish.is_some() {
            return self.committed.saturating_sub(1);
        }
        let known = self.tokens.len() - usize::from(self.closed);
        known.min(self.limit.saturating_sub(1))
    }

    /// Rows of the prompt, or of final tokens, that aren't sent yet.
    pub(super) fn history(&self) -> usize {
        let known = self.prompt.max(self.committed.saturating_sub(1));
        match self.opened && self.sent < known {
            true => self.sendable().min(self.committed).saturating_sub(self.sent),
            false => 0,
        }
    }

    /// Rows to verify, if it is their time; `patience`: how long to wait for a draft.
    pub(super) fn verifiable(&self, mode: Mode, patience: Duration, now: Duration) -> usize {
        if !self.opened || self.finish.is_some() || self.history() > 0 {
            return 0;
        }
        let rows = self.sendable().saturating_sub(self.sent);
        let due = match mode {
            Mode::Plain => self.flying == 0,
            Mode::Pipelined { depth, .. } => self.flying < depth,
            Mode::Synchronous { .. } => {
                let drafted = self.tokens.len() > self.committed || self.barren || self.room() == 0;
                self.flying == 0 && (drafted || now >= self.idle.saturating_add(patience))
            }
        };
        if due { rows } else { 0 }
    }

    /// When [`verifiable`](Self::verifiable) stops waiting for a draft.
    pub(super) fn impatient(&self, mode: Mode, patience: Duration) -> Option<Duration> {
        let waits = matches!(mode, Mode::Synchronous { .. })
            && self.opened
            && self.finish.is_none()
            && self.flying == 0
            && self.history() == 0
            && self.tokens.len() == self.committed
            && self.sendable() > self.sent;
        waits.then(|| self.idle.saturating_add(patience))
    }

    /// Sends the next `rows` rows: what they are, and their ids.
    pub(super) fn send(&mut self, rows: usize, ids: &mut Vec<u32>) -> Run {
        let end = self.sent + rows;
        self.told = self.told.max(self.settled.saturating_sub(1));
        // A row of the prompt but the last says nothing new.
        let wanted = end.saturating_sub(self.sent.max(self.prompt.saturating_sub(1)));
        let run = Run {
            sequence: self.id,
            epoch: self.epoch,
            pos: narrow(self.sent),
            rows: u16::try_from(rows).unwrap_or(u16::MAX),
            wanted: u16::try_from(wanted).unwrap_or(u16::MAX),
            committed: narrow(self.told),
        };
        ids.extend_from_slice(self.tokens.get(self.sent..end).unwrap_or_default());
        self.sent = end;
        self.flying += 1;
        run
    }

    /// A run of this epoch came back. `pos`: of the row of the first target.
    ///
    /// # Errors
    /// [`Diverged`], and nothing was emitted.
    pub(super) fn take(
        &mut self,
        run: &Run,
        targets: Vec<Target>,
        eos: &[u32],
        now: Duration,
    ) -> Result<Taken, Diverged> {
        self.flying = self.flying.saturating_sub(1);
        self.answered = self.answered.max(wide(run.pos) + usize::from(run.rows));
        self.idle = now;
        self.barren = false;
        let mut taken = Taken {
            emitted: Vec::new(),
            right: 0,
            wrong: false,
            vain: false,
        };
        let first = (wide(run.pos) + usize::from(run.rows) + 1).saturating_sub(targets.len());
        for (position, target) in (first..).zip(targets) {
            if position < self.committed {
                if self.tokens.get(position) != Some(&target.id) {
                    return Err(Diverged);
                }
                continue;
            }
            // A gap is a fault of a stage, which is under way.
            if position > self.committed || self.finish.is_some() || taken.wrong {
                break;
            }
            match self.tokens.get(position) {
                Some(drafted) if *drafted == target.id => taken.right += 1,
                Some(_) => {
                    taken.wrong = true;
                    self.tokens.truncate(position);
                    self.tokens.push(target.id);
                }
                None => self.tokens.push(target.id),
            }
            self.committed += 1;
            if eos.contains(&target.id) {
                self.finish = Some(Finish::Eos);
            } else if self.committed >= self.limit {
                self.finish = Some(Finish::Length);
            }
            taken.emitted.push(target);
        }
        if taken.wrong || (self.finish.is_some() && !taken.emitted.is_empty()) {
            taken.vain = self.flying > 0;
            self.cut();
        }
        self.accepted = self.accepted.saturating_add(narrow(taken.right));
        Ok(taken)
    }

    /// A stop string ends after so many produced tokens. Whether that counts;
    /// and whether what is under way is in vain.
    pub(super) fn stop(&mut self, produced: u32) -> Option<bool> {
        let end = self.prompt.saturating_add(wide(produced));
        if self.finish.is_some() || produced == 0 || end > self.committed {
            return None;
        }
        // What stages were told is final stays so; the receipt says how much it covers.
        self.committed = end.max(self.told + 1).min(self.committed);
        self.finish = Some(Finish::Stop);
        let vain = self.flying > 0;
        self.cut();
        Some(vain)
    }

    /// Whether it was taken up again on another ring.
    pub(super) fn replayed(&self) -> bool {
        !self.replans.is_empty()
    }

    /// How tokens are chosen.
    pub(super) fn sampling(&self) -> &Sampling {
        &self.sampling
    }
}

/// A position as a size.
fn wide(position: u32) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// A size as a position; sizes are bounded by the model's positions.
fn narrow(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
