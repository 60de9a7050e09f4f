//! What the relay has done, in numbers. Nothing here says whose bytes they
//! were.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::limits::Refusal;
use crate::pump::Ended;

/// One number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The relay's counters since it started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: Counter,
    pub(crate) accept_failed: Counter,
    pub(crate) refused_full: Counter,
    pub(crate) refused_per_address: Counter,
    pub(crate) upstream_failed: Counter,
    pub(crate) complete: Counter,
    pub(crate) broken: Counter,
    pub(crate) idle: Counter,
    pub(crate) lifetime: Counter,
    pub(crate) cut: Counter,
    pub(crate) bytes_to_guest: Counter,
    pub(crate) bytes_to_client: Counter,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Connections let in.
    pub accepted: u64,
    /// Times that the kernel gave an error instead of a connection.
    pub accept_failed: u64,
    /// Connections refused because the relay was full.
    pub refused_full: u64,
    /// Connections refused because their address had its share.
    pub refused_per_address: u64,
    /// Connections closed because the guest wasn't reached in time, or at all.
    pub upstream_failed: u64,
    /// Connections that both ends closed in order.
    pub complete: u64,
    /// Connections that one end broke off.
    pub broken: u64,
    /// Connections ended by the idle time-out.
    pub idle: u64,
    /// Connections ended by the lifetime limit.
    pub lifetime: u64,
    /// Connections cut by the end of a drain.
    pub cut: u64,
    /// Bytes moved towards the guest.
    pub bytes_to_guest: u64,
    /// Bytes moved towards clients.
    pub bytes_to_client: u64,
}

impl Counters {
    pub(crate) fn refused(&self, refusal: Refusal) {
        match refusal {
            Refusal::Full => self.refused_full.add(1),
            Refusal::PerAddress => self.refused_per_address.add(1),
        }
    }

    pub(crate) fn ended(&self, ended: Ended) {
        match ended {
            Ended::Complete => self.complete.add(1),
            Ended::Broken => self.broken.add(1),
            Ended::Idle => self.idle.add(1),
            Ended::Lifetime => self.lifetime.add(1),
            Ended::Cut => self.cut.add(1),
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            accepted: self.accepted.read(),
            accept_failed: self.accept_failed.read(),
            refused_full: self.refused_full.read(),
            refused_per_address: self.refused_per_address.read(),
            upstream_failed: self.upstream_failed.read(),
            complete: self.complete.read(),
            broken: self.broken.read(),
            idle: self.idle.read(),
            lifetime: self.lifetime.read(),
            cut: self.cut.read(),
            bytes_to_guest: self.bytes_to_guest.read(),
            bytes_to_client: self.bytes_to_client.read(),
        }
    }
}
