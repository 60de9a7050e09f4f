//! What a head is told once: its pipeline, its limits, its times.
//!
//! Owns the terms. Refuses nothing: the plan that they come from was verified.

use std::time::Duration;

/// What a head works by.
#[derive(Debug, Clone)]
pub struct HeadTerms {
    /// Digest of the signed plan.
    pub plan: [u8; 32],
    /// SHA-256 of the engine's name: a stage of other arithmetic is refused.
    pub engine: [u8; 32],
    /// Digest of the weights of each stage, from stage 0 on; as many as the
    /// pipeline has stages, 1 to 16.
    pub weights: Vec<[u8; 32]>,
    /// Positions that the model offers for prompt and answer together; a stage
    /// that has fewer is refused.
    pub max_positions: u32,
    /// Answers in progress at most; the least of this and what the stages say
    /// holds.
    pub max_sequences: u16,
    /// Hidden size of the model: it decides how many rows fit a frame.
    pub width: u32,
    /// Tokens that the model has; an id beyond is refused wherever it comes from.
    pub vocabulary: u32,
    /// Tokens that end an answer.
    pub eos: Vec<u32>,
    /// How to use the draft.
    pub speculation: Speculation,
    /// For each stage, `HOST:PORT` of its candidates in order of preference.
    /// The first is not looked at: stage 0 is the head's own.
    pub nodes: Vec<Vec<String>>,
    /// How long to wait for what.
    pub times: HeadTimes,
}

/// How to use the draft. Without effect on what is emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speculation {
    /// Not at all.
    Off,
    /// Draft, verify, draft again.
    Synchronous {
        /// Tokens to draft for each verification, at most 16.
        k: u8,
    },
    /// Go on drafting while verifications are under way.
    Pipelined {
        /// Tokens to draft for each verification, at most 16.
        k: u8,
        /// Verifications of one answer under way at once, at most 32.
        depth: u8,
    },
    /// By what is measured: acceptance, round trip, time of draft and stages.
    Auto,
}

/// How long a head waits for what.
#[derive(Debug, Clone, Copy)]
pub struct HeadTimes {
    /// From one PING to the next; a stage that misses three is lost.
    pub ping: Duration,
    /// What a frame may take beyond three times the measured round trip.
    pub slack: Duration,
    /// Round trip that is supposed before one was measured.
    pub round_trip: Duration,
    /// For a link to open.
    pub link: Duration,
    /// For every stage to be READY once JOIN was sent.
    pub join: Duration,
    /// Before a node that was lost is tried again; doubles with each loss.
    pub back_off: Duration,
    /// Where doubling ends.
    pub back_off_most: Duration,
    /// Before a node is tried again that isn't what the plan says, or couldn't
    /// prove it, where there are others.
    pub set_aside: Duration,
    /// How long answers wait without a whole ring before they fail.
    pub give_up: Duration,
    /// For a stage's evidence, and for a link to ask for it on.
    pub evidence: Duration,
}

impl Default for HeadTimes {
    fn default() -> Self {
        Self {
            ping: Duration::from_secs(1),
            slack: Duration::from_secs(2),
            round_trip: Duration::from_secs(1),
            link: Duration::from_secs(15),
            join: Duration::from_secs(20),
            back_off: Duration::from_millis(250),
            back_off_most: Duration::from_secs(4),
            set_aside: Duration::from_secs(60),
            give_up: Duration::from_secs(30),
            evidence: Duration::from_secs(10),
        }
    }
}
