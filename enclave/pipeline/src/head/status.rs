//! A head's state in numbers.
//!
//! Owns what metrics may say. Refuses content: there is no token here.

use std::time::Duration;

/// A head's state, for metrics.
#[derive(Debug, Clone, Default)]
pub struct HeadStatus {
    /// How often the stages were joined.
    pub ring: u32,
    /// Whether every stage is READY.
    pub whole: bool,
    /// For each stage from 1 on, the node that is linked to or tried, by its
    /// place among the candidates; `None` while all wait for a second try.
    pub nodes: Vec<Option<usize>>,
    /// Answers in progress.
    pub running: usize,
    /// Answers that wait for a place or for a ring.
    pub waiting: usize,
    /// Frames under way.
    pub frames: usize,
    /// Measured round trip of a frame of one row; `None` before the first.
    pub round_trip: Option<Duration>,
    /// Measured share of drafted tokens that were right.
    pub acceptance: f64,
    /// Tokens drafted at once now; 0 if nothing is.
    pub k: u8,
    /// Totals since the start.
    pub counts: Counts,
}

/// Totals since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tokens emitted.
    pub emitted: u64,
    /// Tokens drafted.
    pub drafted: u64,
    /// Drafted tokens that were right.
    pub accepted: u64,
    /// Times that some were drafted.
    pub rounds: u64,
    /// Frames sent.
    pub frames: u64,
    /// Messages, drafts and orders that came too late to count.
    pub stale: u64,
    /// Stages that were lost.
    pub lost: u64,
    /// Answers that were taken up again on a new ring.
    pub replans: u64,
}
