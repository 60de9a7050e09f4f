//! The life of the process: starting, ready, draining. Owns the one switch
//! that takes it down and counts what still runs.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Where the process is in its life. Cheap to share behind an `Arc`.
#[derive(Debug, Default)]
pub struct Lifecycle {
    attested: AtomicBool,
    draining: CancellationToken,
    connections: TaskTracker,
}

impl Lifecycle {
    /// A process that is starting.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that the enclave could attest itself and serves.
    pub fn become_ready(&self) {
        self.attested.store(true, Ordering::Release);
    }

    /// Whether a prompt may be sent here.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.attested.load(Ordering::Acquire) && !self.is_draining()
    }

    /// Whether the process is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Starts the way down: no new connection or generation from now on.
    pub fn drain(&self) {
        self.draining.cancel();
        self.connections.close();
    }

    /// Resolves when draining starts.
    pub async fn until_draining(&self) {
        self.draining.cancelled().await;
    }

    /// The connection tasks, each of which ends soon after draining starts.
    #[must_use]
    pub const fn connections(&self) -> &TaskTracker {
        &self.connections
    }
}

#[cfg(test)]
mod tests {
    use super::Lifecycle;

    #[tokio::test]
    async fn draining_ends_readiness_for_good() {
        let life = Lifecycle::new();
        assert!(!life.is_ready());
        life.become_ready();
        assert!(life.is_ready());
        life.drain();
        life.until_draining().await;
        life.become_ready();
        assert!(!life.is_ready() && life.is_draining());
        life.connections().wait().await;
    }
}
