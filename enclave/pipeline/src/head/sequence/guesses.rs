//! What the draft is asked of one answer, and what is taken of what it says.
//!
//! Owns how far ahead is guessed. Refuses what was guessed for other tokens
//! than the present ones, and ids outside the vocabulary.

use super::{Sequence, narrow};
use crate::head::draft::DraftTask;
use crate::head::pace::Mode;
use crate::message::Epoch;

/// A draft that was asked for.
pub(super) struct Asked {
    epoch: Epoch,
    /// Tokens that it was given.
    from: usize,
    k: usize,
}

impl Sequence {
    /// How many tokens can be drafted until the end.
    pub(super) fn room(&self) -> usize {
        match self.closed || self.finish.is_some() {
            true => 0,
            false => self.limit.saturating_sub(1).saturating_sub(self.tokens.len()),
        }
    }

    /// What to ask of the draft, if anything.
    pub(in super::super) fn draft(&mut self, mode: Mode) -> Option<DraftTask> {
        let k = mode.k().min(self.room());
        if !self.opened
            || self.asked.is_some()
            || self.barren
            || k == 0
            || self.sent < self.prompt.saturating_sub(1)
        {
            return None;
        }
        let guessed = self.tokens.len() - self.committed;
        let wanted = match mode {
            Mode::Plain => false,
            // While the prompt is under way, the draft reads it too.
            Mode::Synchronous { .. } => {
                guessed == 0 && self.history() == 0 && (self.flying == 0 || self.committed == self.prompt)
            }
            Mode::Pipelined { k, depth } => guessed + k <= k * depth,
        };
        if !wanted {
            return None;
        }
        self.asked = Some(Asked {
            epoch: self.epoch,
            from: self.tokens.len(),
            k,
        });
        Some(DraftTask {
            sequence: self.id,
            epoch: self.epoch,
            tokens: self.tokens.clone(),
            k,
            sampling: self.sampling,
        })
    }

    /// The draft answered: how many tokens came of it. `None` if it is too late.
    pub(in super::super) fn drafted(
        &mut self,
        epoch: Epoch,
        ids: &[u32],
        eos: &[u32],
        vocabulary: u32,
    ) -> Option<usize> {
        let asked = self.asked.take_if(|asked| asked.epoch == epoch)?;
        if asked.epoch != self.epoch || self.finish.is_some() {
            return None;
        }
        let ids = ids.get(..asked.k).unwrap_or(ids);
        // Meanwhile the free token of a verification may have come.
        let overlap = self.tokens.len().checked_sub(asked.from)?;
        let before = ids.get(..overlap).unwrap_or(ids);
        if self.tokens.get(asked.from..asked.from + before.len()) != Some(before) {
            return None;
        }
        let mut added = 0;
        for id in ids.iter().skip(overlap).take(self.room()) {
            if *id >= vocabulary {
                break;
            }
            self.tokens.push(*id);
            added += 1;
            if eos.contains(id) {
                self.closed = true;
                break;
            }
        }
        self.barren = added == 0 && overlap == 0;
        self.drafted = self.drafted.saturating_add(narrow(added));
        // Also what will be thrown away unverified: `drafted` counts that, too.
        self.rounds = self.rounds.saturating_add(u32::from(added > 0));
        self.largest_k = self.largest_k.max(u8::try_from(added).unwrap_or(u8::MAX));
        Some(added)
    }
}
