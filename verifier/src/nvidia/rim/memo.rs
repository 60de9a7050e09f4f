//! Manifests that were verified before, by the SHA-256 of the file. Keeps what
//! can never change for the same bytes; which root is trusted and whether the
//! signer expired is decided anew each time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::model::Verified;

/// Manifests whose signatures need not be verified again.
#[derive(Debug, Default)]
pub(crate) struct RimMemo(Mutex<VecDeque<Arc<Verified>>>);

impl RimMemo {
    /// Drivers and VBIOSes of a fleet: at most about 2 MiB, with 8 alternatives
    /// for each of 64 measurements, and 4 certificates of 4 KiB.
    const CAPACITY: usize = 32;

    /// What was found out about the file with this digest.
    pub(super) fn find(&self, sha256: &[u8; 32]) -> Option<Arc<Verified>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|known| known.sha256 == *sha256).map(Arc::clone)
    }

    /// Keeps it, in the place of the oldest if there is none free.
    pub(super) fn remember(&self, verified: &Arc<Verified>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Two appraisals at once may have verified the same file.
        if known.iter().any(|known| known.sha256 == verified.sha256) {
            return;
        }
        if known.len() == Self::CAPACITY {
            known.pop_front();
        }
        known.push_back(Arc::clone(verified));
    }

    /// How many are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The most that are kept.
    #[cfg(test)]
    pub(super) const fn capacity() -> usize {
        Self::CAPACITY
    }
}
