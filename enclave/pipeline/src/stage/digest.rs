//! Digests of rows: `docs/spec/pipeline.md`, Receipts.
//!
//! Owns the digest of one row, of rows in order, and what a sequence keeps of
//! rows that may still be thrown away: one digest a row, from the first that
//! is not final. What is final is folded and can't be changed.

use std::collections::VecDeque;

use bastide_attestation::{Salt, sha256};
use ring::digest::{Context, SHA256};
use zeroize::Zeroizing;

/// Salted digest of the row at position `pos`: activations as little-endian
/// singles, or an id as four little-endian bytes.
#[must_use]
pub fn row_digest(salt: &Salt, pos: u64, bytes: &[u8]) -> [u8; 32] {
    sha256(&[b"bastide-row-v1\0", salt.as_bytes(), &pos.to_be_bytes(), bytes])
}

/// The digest of rows, from their digests in order.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it tells of a user's text")]
pub struct RowsDigest {
    context: Context,
    rows: u64,
}

impl RowsDigest {
    /// Of no rows yet.
    #[must_use]
    pub fn new(salt: &Salt) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(b"bastide-rows-v1\0");
        context.update(salt.as_bytes());
        Self { context, rows: 0 }
    }

    /// Adds the digest of the next row.
    pub fn push(&mut self, row: &[u8; 32]) {
        self.context.update(row);
        self.rows += 1;
    }

    /// Of the rows that were added.
    #[must_use]
    pub fn finish(mut self) -> [u8; 32] {
        self.context.update(&self.rows.to_be_bytes());
        let mut out = [0; 32];
        out.copy_from_slice(self.context.finish().as_ref());
        out
    }
}

/// Rows in one direction: those that are final, folded, and those that are not, one by one.
struct Flow {
    folded: RowsDigest,
    /// Positions of the rows and their digests, ascending.
    pending: VecDeque<(u32, Zeroizing<[u8; 32]>)>,
}

impl Flow {
    fn new(salt: &Salt) -> Self {
        Self {
            folded: RowsDigest::new(salt),
            pending: VecDeque::new(),
        }
    }

    fn cut(&mut self, pos: u32) {
        while self.pending.back().is_some_and(|(row, _)| *row >= pos) {
            self.pending.pop_back();
        }
    }

    fn fold(&mut self, end: u32) {
        while let Some((row, digest)) = self.pending.pop_front() {
            if row >= end {
                self.pending.push_front((row, digest));
                return;
            }
            self.folded.push(&digest);
        }
    }
}

/// The digests of one sequence at one stage.
pub(super) struct Digests {
    salt: Salt,
    /// Positions that are folded.
    settled: u32,
    input: Flow,
    output: Flow,
}

impl Digests {
    pub(super) fn new(salt: Salt) -> Self {
        Self {
            input: Flow::new(&salt),
            output: Flow::new(&salt),
            salt,
            settled: 0,
        }
    }

    /// Positions that can't be changed any more.
    pub(super) const fn settled(&self) -> u32 {
        self.settled
    }

    /// Throws the rows from `pos` on away, which is not below [`settled`](Self::settled).
    pub(super) fn cut(&mut self, pos: u32) {
        self.input.cut(pos);
        self.output.cut(pos);
    }

    /// The row at `pos` came.
    pub(super) fn came(&mut self, pos: u32, bytes: &[u8]) {
        let digest = row_digest(&self.salt, u64::from(pos), bytes);
        self.input.pending.push_back((pos, Zeroizing::new(digest)));
    }

    /// Something of the row at `pos` was handed on: the row at `place` of what was.
    pub(super) fn handed_on(&mut self, pos: u32, place: u64, bytes: &[u8]) {
        let digest = row_digest(&self.salt, place, bytes);
        self.output.pending.push_back((pos, Zeroizing::new(digest)));
    }

    /// The rows below `end`, which the sequence has, are final.
    pub(super) fn settle(&mut self, end: u32) {
        if end > self.settled {
            self.settled = end;
            self.input.fold(end);
            self.output.fold(end);
        }
    }

    /// In-digest and out-digest of the rows that are final.
    pub(super) fn finish(self) -> ([u8; 32], [u8; 32]) {
        (self.input.folded.finish(), self.output.folded.finish())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SALT: Salt = Salt::new([7; 32]);

    #[test]
    fn a_row_and_its_rows_have_the_digests_that_the_protocol_writes_down() {
        let row = sha256(&[b"bastide-row-v1\0", &[7; 32], &[0, 0, 0, 0, 0, 0, 0, 5], b"row"]);
        assert_eq!(row_digest(&SALT, 5, b"row"), row);
        let mut rows = RowsDigest::new(&SALT);
        rows.push(&row);
        rows.push(&row);
        let expected = sha256(&[
            b"bastide-rows-v1\0",
            &[7; 32],
            &row,
            &row,
            &[0, 0, 0, 0, 0, 0, 0, 2],
        ]);
        assert_eq!(rows.finish(), expected);
    }

    proptest! {
        /// Steps: how far back the next rows begin, how many they are, and how many of all are then final.
        #[test]
        fn only_what_was_last_at_each_position_counts(
            steps in proptest::collection::vec((0u32..6, 1u32..6, any::<prop::sample::Index>()), 1..20),
            keep in any::<prop::sample::Index>(),
        ) {
            let mut digests = Digests::new(SALT);
            let mut rows: Vec<Vec<u8>> = Vec::new();
            for (step, (back, count, settle)) in steps.into_iter().enumerate() {
                let len = u32::try_from(rows.len()).unwrap();
                let pos = len.saturating_sub(back).max(digests.settled());
                digests.cut(pos);
                rows.truncate(usize::try_from(pos).unwrap());
                for row in pos..pos + count {
                    let bytes = format!("{step} {row}").into_bytes();
                    digests.came(row, &bytes);
                    // Every other row has something to hand on, as at the tail.
                    if row % 2 == 1 {
                        digests.handed_on(row, u64::from(row) + 1, &bytes);
                    }
                    rows.push(bytes);
                }
                let settled = settle.index(rows.len() + 1);
                digests.settle(u32::try_from(settled).unwrap());
            }
            let settled = usize::try_from(digests.settled()).unwrap();
            let end = settled + keep.index(rows.len() - settled + 1);
            digests.settle(u32::try_from(end).unwrap());
            let (mut came, mut handed_on) = (RowsDigest::new(&SALT), RowsDigest::new(&SALT));
            for (row, bytes) in (0u64..).zip(&rows[..end]) {
                came.push(&row_digest(&SALT, row, bytes));
                if row % 2 == 1 {
                    handed_on.push(&row_digest(&SALT, row + 1, bytes));
                }
            }
            prop_assert_eq!(digests.finish(), (came.finish(), handed_on.finish()));
        }
    }
}
