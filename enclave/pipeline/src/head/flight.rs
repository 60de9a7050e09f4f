//! What is under way around the ring.
//!
//! Owns the frames that were sent and not answered. Refuses answers to frames
//! that were never sent; what was called off meanwhile is merely late.

use std::collections::VecDeque;
use std::time::Duration;

use crate::message::Run;

/// A frame under way.
pub(super) struct Flying {
    pub(super) number: u64,
    pub(super) sent: Duration,
    pub(super) runs: Vec<Run>,
    pub(super) rows: u32,
    /// Whether its rows were known before: a prompt's, or sent again.
    pub(super) history: bool,
}

/// Whose answer it is.
pub(super) enum Landing {
    Known(Flying),
    Late,
    Impossible,
}

/// Frames under way, in the order in which they were sent.
#[derive(Default)]
pub(super) struct Flight {
    last: u64,
    frames: VecDeque<Flying>,
}

impl Flight {
    /// Number of the last frame on this ring.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Notes a frame; its number.
    pub(super) fn launch(&mut self, runs: Vec<Run>, history: bool, now: Duration) -> u64 {
        self.last += 1;
        self.frames.push_back(Flying {
            number: self.last,
            sent: now,
            rows: runs.iter().map(|run| u32::from(run.rows)).sum(),
            runs,
            history,
        });
        self.last
    }

    /// A frame came back.
    pub(super) fn land(&mut self, number: u64) -> Landing {
        if number == 0 || number > self.last {
            return Landing::Impossible;
        }
        let place = self.frames.iter().position(|frame| frame.number == number);
        place
            .and_then(|place| self.frames.remove(place))
            .map_or(Landing::Late, Landing::Known)
    }

    /// A frame came back only in part.
    pub(super) fn restore(&mut self, frame: Flying) {
        let place = self.frames.partition_point(|other| other.number < frame.number);
        self.frames.insert(place, frame);
    }

    /// Forgets frames that nothing is wanted of. Stages may have dropped them.
    pub(super) fn keep(&mut self, wanted: impl Fn(&Run) -> bool) {
        self.frames.retain(|frame| frame.runs.iter().any(&wanted));
    }

    /// Forgets all: the ring has fallen.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
    }

    /// Begins to count again, on a new ring.
    pub(super) fn restart(&mut self) {
        self.frames.clear();
        self.last = 0;
    }

    /// How many there are of one kind.
    pub(super) fn count(&self, history: bool) -> usize {
        self.frames
            .iter()
            .filter(|frame| frame.history == history)
            .count()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Rows under way.
    pub(super) fn rows(&self) -> u32 {
        self.frames.iter().map(|frame| frame.rows).sum()
    }

    /// The frame that is under way for longest.
    pub(super) fn oldest(&self) -> Option<&Flying> {
        self.frames.front()
    }
}
