//! Whether the head that is linked is alive, and who is turned away because of it.
//!
//! Owns its key and when it was last heard. Refuses, by HELLO, another head than
//! one that lives, and what comes before stage 1 from another enclave than that
//! head.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bastide_attestation::SpkiDigest;
use tokio::time::Instant;

use super::transport::{Connector, LinkKind};

/// How long a head may say nothing before another one may take its place.
pub const SILENT_HEAD: Duration = Duration::from_secs(5);

/// The key of the head that is linked, and when it was last heard.
#[derive(Clone, Default)]
pub(super) struct LiveHead(Arc<Mutex<Option<(SpkiDigest, Instant)>>>);

impl LiveHead {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(SpkiDigest, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, key: Option<SpkiDigest>) {
        *self.lock() = key.map(|key| (key, Instant::now()));
    }

    pub(super) fn heard(&self) {
        if let Some((_, heard)) = &mut *self.lock() {
            *heard = Instant::now();
        }
    }

    /// Whether a head with another key is there and alive.
    pub(super) fn is_other(&self, key: &SpkiDigest) -> bool {
        self.lock()
            .is_some_and(|(known, heard)| known != *key && heard.elapsed() < SILENT_HEAD)
    }
}

/// Turns away, by HELLO, another head than one that lives, and what comes
/// before stage 1 from another enclave than that head.
pub(super) fn gated(connector: Connector, own: u16, live: &LiveHead) -> Connector {
    let live = live.clone();
    connector.gated(move |kind, _, key| match kind {
        LinkKind::Ring if own != 1 => true,
        LinkKind::Head | LinkKind::Ring => !live.is_other(key),
    })
}
