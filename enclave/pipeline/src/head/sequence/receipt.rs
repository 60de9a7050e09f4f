//! How one answer ends, and what its receipt says.
//!
//! Owns the parts that stages signed. Refuses a part of another epoch, and to
//! end before every stage has signed and every row has come back.

use super::{Sequence, narrow};
use crate::head::event::Record;
use crate::message::Epoch;
use crate::stage::{RowsDigest, row_digest};

impl Sequence {
    /// Final rows, once it is known that the answer ends and all were sent.
    pub(in super::super) fn finished(&self) -> Option<u32> {
        let rows = self.committed.saturating_sub(1);
        (self.opened && self.finish.is_some() && self.sent >= rows).then(|| narrow(rows))
    }

    /// A stage's part; whether it was expected.
    pub(in super::super) fn part(&mut self, stage: u16, epoch: Epoch, signed: Vec<u8>) -> bool {
        match self.parts.get_mut(usize::from(stage)) {
            Some(slot) if slot.is_none() && self.finishing.is_some() && epoch == self.epoch => {
                *slot = Some(signed);
                true
            }
            _ => false,
        }
    }

    /// The first stage whose part is missing.
    pub(in super::super) fn unsigned(&self) -> Option<u16> {
        let place = self.parts.iter().position(Option::is_none)?;
        u16::try_from(place).ok()
    }

    /// What goes into the receipt, once it is complete.
    pub(in super::super) fn record(&mut self) -> Option<Record> {
        let finish = self.finish?;
        if self.flying > 0 || self.finishing.is_none() || self.unsigned().is_some() {
            return None;
        }
        Some(Record {
            finish,
            prompt: narrow(self.prompt),
            produced: narrow(self.committed - self.prompt),
            rows: narrow(self.committed.saturating_sub(1)),
            parts: std::mem::take(&mut self.parts).into_iter().flatten().collect(),
            drafted: self.drafted,
            accepted: self.accepted,
            rounds: self.rounds,
            largest_k: self.largest_k,
            replans: std::mem::take(&mut self.replans),
            emitted: self.digest(),
        })
    }

    /// Digest of the produced tokens: `docs/spec/pipeline.md`, Receipts.
    fn digest(&self) -> [u8; 32] {
        let mut digest = RowsDigest::new(&self.salt);
        for (position, id) in (0u64..)
            .zip(self.tokens.iter().take(self.committed))
            .skip(self.prompt)
        {
            digest.push(&row_digest(&self.salt, position, &id.to_le_bytes()));
        }
        digest.finish()
    }
}
