//! What may be written to stderr: the variants of `Event`, one JSON object a
//! line. There is no variant with a free text from a peer and none with
//! payload; clients' addresses are in events of level `debug` only.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use clap::ValueEnum;
use serde::Serialize;

use crate::counters::Snapshot;
use crate::limits::Refusal;

/// Least time between two lines about the same fault, so that whoever causes
/// the fault can't fill the disk.
const QUIET: Duration = Duration::from_secs(10);

/// How much is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// What ends the command.
    Error,
    /// Faults that go on, at most one line in 10 seconds each.
    Warn,
    /// Start, counters once a minute, stop.
    Info,
    /// Every connection, with the client's address.
    Debug,
}

/// Everything that can be logged.
#[derive(Debug, Serialize)]
#[serde(tag = "event")]
pub(crate) enum Event<'a> {
    #[serde(rename = "shim.failed")]
    Failed {
        code: &'a str,
        message: &'a str,
        remedy: &'a str,
    },
    #[serde(rename = "shim.upstream_failed")]
    UpstreamFailed {
        to: &'a str,
        reason: &'a str,
        remedy: &'a str,
        unreported: u64,
    },
    #[serde(rename = "shim.accept_failed")]
    AcceptFailed { reason: &'a str, unreported: u64 },
    #[serde(rename = "shim.listening")]
    Listening {
        listen: &'a str,
        to: &'a str,
        max_connections: usize,
        per_address: usize,
    },
    #[serde(rename = "shim.counters")]
    Counters {
        active: usize,
        #[serde(flatten)]
        counters: Snapshot,
    },
    #[serde(rename = "shim.draining")]
    Draining { active: usize, drain_timeout_ms: u128 },
    #[serde(rename = "shim.stopped")]
    Stopped {
        #[serde(flatten)]
        counters: Snapshot,
    },
    #[serde(rename = "shim.connection_opened")]
    ConnectionOpened { connection: u64, peer: &'a str },
    #[serde(rename = "shim.connection_refused")]
    ConnectionRefused { peer: &'a str, limit: Refusal },
    #[serde(rename = "shim.connection_closed")]
    ConnectionClosed {
        connection: u64,
        ended: &'a str,
        lasted_ms: u128,
    },
}

impl Event<'_> {
    fn level(&self) -> Level {
        match self {
            Self::Failed { .. } => Level::Error,
            Self::UpstreamFailed { .. } | Self::AcceptFailed { .. } => Level::Warn,
            Self::Listening { .. } | Self::Counters { .. } | Self::Draining { .. } | Self::Stopped { .. } => {
                Level::Info
            }
            Self::ConnectionOpened { .. }
            | Self::ConnectionRefused { .. }
            | Self::ConnectionClosed { .. } => Level::Debug,
        }
    }
}

/// Writes events up to a level to stderr.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    level: Level,
}

#[derive(Serialize)]
struct Line<'a> {
    unix_ms: u128,
    level: Level,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

impl Log {
    /// A log of events up to `level`.
    #[must_use]
    pub fn new(level: Level) -> Self {
        Self { level }
    }

    /// Writes why the command ends: a stable code, what happened, what to do.
    pub fn failed(self, code: &str, message: &str, remedy: &str) {
        self.write(&Event::Failed {
            code,
            message,
            remedy,
        });
    }

    /// Whether events of `level` are written; to spare making one.
    pub(crate) fn writes(self, level: Level) -> bool {
        level <= self.level
    }

    pub(crate) fn write(self, event: &Event<'_>) {
        let level = event.level();
        if !self.writes(level) {
            return;
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let line = Line {
            unix_ms: since.map_or(0, |since| since.as_millis()),
            level,
            event,
        };
        // A log that can't be written is no reason to drop connections.
        if let Ok(mut text) = serde_json::to_vec(&line) {
            text.push(b'\n');
            let _ = std::io::stderr().lock().write_all(&text);
        }
    }
}

/// Lets one of many equal events through in a while, and counts the others.
#[derive(Debug)]
pub(crate) struct Throttle {
    began: Instant,
    /// Milliseconds since `began` from which the next event may pass.
    next: AtomicU64,
    held_back: AtomicU64,
}

impl Throttle {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            next: AtomicU64::new(0),
            held_back: AtomicU64::new(0),
        }
    }

    /// How many were held back since the last that passed, if this one passes.
    pub(crate) fn pass(&self) -> Option<u64> {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let now = millis(self.began.elapsed());
        let due = self.next.load(Ordering::Relaxed);
        let later = now.saturating_add(millis(QUIET));
        let passes = now >= due
            && self
                .next
                .compare_exchange(due, later, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if passes {
            return Some(self.held_back.swap(0, Ordering::Relaxed));
        }
        self.held_back.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_fault_is_one_line_and_a_count() {
        let mut throttle = Throttle::new();
        assert_eq!(throttle.pass(), Some(0));
        assert_eq!(throttle.pass(), None);
        assert_eq!(throttle.pass(), None);
        *throttle.next.get_mut() = 0;
        assert_eq!(throttle.pass(), Some(2));
    }

    #[test]
    fn events_that_name_a_client_are_debug() {
        let events = [
            Event::ConnectionOpened {
                connection: 1,
                peer: "192.0.2.1",
            },
            Event::ConnectionRefused {
                peer: "192.0.2.1",
                limit: Refusal::Full,
            },
        ];
        for event in events {
            assert_eq!(event.level(), Level::Debug);
            assert!(!Log::new(Level::Info).writes(event.level()));
        }
    }
}
