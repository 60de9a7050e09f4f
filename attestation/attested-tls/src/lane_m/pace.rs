//! How fast reports may follow one another. On at least one large cloud about ten
//! reports in ten seconds are free, and each beyond stalls 10.2 s, everybody with
//! it. What a lane learns of that, it learns from how long its reports take.
//! Owns no clock.

use std::time::Duration;

/// A report that takes longer than this was held up: 8 ms is usual.
const STALL: Duration = Duration::from_secs(1);
/// What a host that throttles allows for good, with a tenth to spare.
const THROTTLED: Duration = Duration::from_millis(1100);
/// The most that stalls at an already slow pace lead to.
const SLOWEST: Duration = Duration::from_secs(5);
/// Below this a pace makes no difference to a processor that needs 8 ms.
const NEGLIGIBLE: Duration = Duration::from_millis(20);
/// Reports in a row without a stall before the first attempt to go faster: at
/// 1.1 s each fifty-five minutes. An attempt that ends in a stall is felt for half
/// a minute under full load, until all who came meanwhile are served, and that
/// stays below 1 % of the time. Doubled each time that one does.
const PATIENCE: u32 = 3000;
const MOST_PATIENCE: u32 = PATIENCE * 64;
/// Reports in a row from one step to the next: enough to empty the bucket.
const STEP: u32 = 60;
/// Reports in a row at the floor after which earlier stalls are forgotten.
const CALM: u32 = 100_000;

/// The pace of one lane.
#[derive(Debug)]
pub(super) struct Pacer {
    floor: Duration,
    pace: Duration,
    patience: u32,
    /// Reports until the next step, or, at the floor, until stalls are forgotten.
    left: u32,
}

impl Pacer {
    /// As fast as `floor` until a report stalls.
    pub(super) const fn new(floor: Duration) -> Self {
        Self {
            floor,
            pace: floor,
            patience: 0,
            left: CALM,
        }
    }

    /// Least time from the beginning of one report to that of the next.
    pub(super) const fn pace(&self) -> Duration {
        self.pace
    }

    /// Whether a report that took this long was held up.
    pub(super) fn is_stall(took: Duration) -> bool {
        took > STALL
    }

    /// Learns how long a report took.
    pub(super) fn took(&mut self, took: Duration) {
        if Self::is_stall(took) {
            let slower = if self.pace < THROTTLED {
                THROTTLED
            } else {
                // Even that was too fast.
                (self.pace * 5 / 4).min(SLOWEST)
            };
            self.pace = slower.max(self.floor);
            self.patience = (self.patience * 2).clamp(PATIENCE, MOST_PATIENCE);
            self.left = self.patience;
            return;
        }
        self.left = self.left.saturating_sub(1);
        if self.left > 0 {
            return;
        }
        if self.pace > self.floor {
            let faster = self.pace * 4 / 5;
            self.pace = if faster < NEGLIGIBLE {
                self.floor
            } else {
                faster.max(self.floor)
            };
            self.left = if self.pace > self.floor { STEP } else { CALM };
        } else {
            self.patience = 0;
            self.left = CALM;
        }
    }
}

#[cfg(test)]
mod tests;
