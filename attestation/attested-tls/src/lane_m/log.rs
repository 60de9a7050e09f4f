//! Every statement of this boot in its order, whether a report came for it or
//! not. The last few thousand are kept; a client that was there earlier has the
//! digests that lead back.

use std::collections::VecDeque;

use bastide_attestation::{EpochLogEntry, EpochLogPage, LogHead, MAX_EPOCH_LOG_PAGE};

/// How many statements are kept.
const MOST: usize = 4096;

/// The log. Only ever appended to.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Epoch of the first that is kept.
    first: u64,
    entries: VecDeque<EpochLogEntry>,
    /// Over all, kept or not.
    head: LogHead,
}

impl Log {
    pub(super) fn append(&mut self, entry: EpochLogEntry) {
        if self.entries.len() >= MOST && self.entries.pop_front().is_some() {
            self.first += 1;
        }
        self.head = self.head.then(&entry);
        self.entries.push_back(entry);
    }

    /// Where the log stands.
    pub(super) const fn head(&self) -> LogHead {
        self.head
    }

    /// At most `count` from epoch `from` on, or from the oldest that is kept.
    pub(super) fn page(&self, from: u64, count: usize) -> EpochLogPage {
        let skip = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let entries = self.entries.iter().skip(skip).take(count.min(MAX_EPOCH_LOG_PAGE));
        EpochLogPage {
            entries: entries.cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_are_kept_and_pages_are_bounded() {
        let mut log = Log::default();
        let number = |entry: &EpochLogEntry| u64::from_be_bytes(entry.statement[..].try_into().unwrap());
        for epoch in 0..5000_u64 {
            log.append(EpochLogEntry {
                statement: epoch.to_be_bytes().to_vec(),
                report: None,
            });
        }
        let page = |from, count| -> Vec<u64> { log.page(from, count).entries.iter().map(number).collect() };
        assert_eq!(page(4998, 10), [4998, 4999]);
        assert_eq!(page(0, 2), [904, 905]);
        assert_eq!(page(5000, 2), [] as [u64; 0]);
        assert_eq!(page(u64::MAX, usize::MAX), [] as [u64; 0]);
        assert_eq!(page(1000, usize::MAX).len(), MAX_EPOCH_LOG_PAGE);
        assert_eq!(log.head().epochs(), 5000);
    }
}
