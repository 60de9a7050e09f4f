//! SIGTERM and SIGINT. Owns what a signal means: the first asks to drain, the
//! second to end now. It ends nothing itself.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What others wait for.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled when no new connection may be taken.
    pub drain: CancellationToken,
    /// Cancelled when the connections that are left must end, too.
    pub now: CancellationToken,
}

/// The process's signals.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes both signals over from the default action. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Passes signals on to `shutdown`; ends after the second.
    pub async fn forward_to(mut self, shutdown: Shutdown) {
        self.next().await;
        shutdown.drain.cancel();
        self.next().await;
        shutdown.now.cancel();
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
