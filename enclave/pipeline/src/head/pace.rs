//! How the draft is used, and how long things may take, by what was measured.
//!
//! Owns the moving averages: round trip, cost of a row, time of a draft,
//! acceptance. Refuses nothing; what stages say of their speed is clamped.

use std::time::Duration;

use bastide_attestation::pipeline::latency::{Ring, StageCost};

use super::terms::{HeadTimes, Speculation};

/// Most tokens drafted at once.
pub(super) const MOST_K: u8 = 16;
/// Most runs of one answer under way.
pub(super) const MOST_DEPTH: u8 = 32;
/// Frames under way at most, whatever is measured.
const MOST_FRAMES: usize = 32;
/// What a measurement weighs less than the next.
const DECAY: f64 = 0.95;
/// Acceptance supposed before it was measured.
const ACCEPTANCE: f64 = 0.7;
/// A stage's row takes at most this, whatever it says.
const SLOWEST_ROW_US: u32 = 1_000_000;
/// A gain below this isn't worth the work.
const WORTH: f64 = 1.05;
/// Drafted tokens less likely than this to be reached aren't worth sending.
const LEAST_HOPE: f64 = 0.03;

/// How the draft is used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Plain,
    Synchronous { k: usize },
    Pipelined { k: usize, depth: usize },
}

impl Mode {
    /// Tokens drafted at once.
    pub(super) fn k(self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Synchronous { k } | Self::Pipelined { k, .. } => k,
        }
    }
}

/// Decaying sums of (rows, seconds) of frames, for a line through them.
#[derive(Default)]
struct Trips {
    weight: f64,
    rows: f64,
    time: f64,
    rows_rows: f64,
    rows_time: f64,
}

impl Trips {
    fn add(&mut self, rows: f64, time: f64) {
        for sum in [
            &mut self.weight,
            &mut self.rows,
            &mut self.time,
            &mut self.rows_rows,
            &mut self.rows_time,
        ] {
            *sum *= DECAY;
        }
        self.weight += 1.0;
        self.rows += rows;
        self.time += time;
        self.rows_rows += rows * rows;
        self.rows_time += rows * time;
    }

    /// Seconds that a further row adds, if frames were different enough to tell.
    fn slope(&self) -> Option<f64> {
        let spread = self.weight * self.rows_rows - self.rows * self.rows;
        let enough = 0.25 * self.weight * self.weight;
        (self.weight > 4.0 && spread > enough)
            .then(|| (self.weight * self.rows_time - self.rows * self.time) / spread)
    }
}

/// What was measured.
pub(super) struct Pace {
    speculation: Speculation,
    trips: Trips,
    acceptance: f64,
    /// Seconds for one drafted token.
    draft: Option<f64>,
    /// Seconds for one row over all stages and on the slowest, as stages say.
    rows: (f64, f64),
    stages: usize,
    supposed: f64,
    slack: Duration,
}

impl Pace {
    pub(super) fn new(speculation: Speculation, stages: usize, times: &HeadTimes) -> Self {
        Self {
            speculation,
            trips: Trips::default(),
            acceptance: ACCEPTANCE,
            draft: None,
            rows: (0.0, 0.0),
            stages,
            supposed: times.round_trip.as_secs_f64(),
            slack: times.slack,
        }
    }

    /// The stages of a new ring said what a row takes them, microseconds. What
    /// was measured of another ring doesn't count.
    pub(super) fn ring(&mut self, row_us: impl Iterator<Item = u32>) {
        self.rows = (0.0, 0.0);
        for us in row_us {
            let row = f64::from(us.min(SLOWEST_ROW_US)) / 1e6;
            self.rows = (self.rows.0 + row, self.rows.1.max(row));
        }
        self.trips = Trips::default();
    }

    /// A frame of so many rows came back.
    pub(super) fn trip(&mut self, rows: u32, took: Duration) {
        self.trips.add(f64::from(rows), took.as_secs_f64());
    }

    /// Drafted tokens were compared: how many were right, and whether one was wrong.
    pub(super) fn compared(&mut self, right: usize, wrong: bool) {
        for _ in 0..right.min(256) {
            self.acceptance = self.acceptance * DECAY + (1.0 - DECAY);
        }
        if wrong {
            self.acceptance *= DECAY;
        }
    }

    /// Drafting took so long for each token.
    pub(super) fn drafted(&mut self, tokens: usize, took: Duration) {
        let Ok(tokens) = u32::try_from(tokens) else { return };
        if tokens > 0 {
            let token = took.as_secs_f64() / f64::from(tokens);
            self.draft = Some(self.draft.map_or(token, |before| before * 0.8 + token * 0.2));
        }
    }

    pub(super) fn acceptance(&self) -> f64 {
        self.acceptance
    }

    /// Measured round trip of one row, seconds.
    pub(super) fn round_trip(&self) -> Option<f64> {
        (self.trips.weight > 0.0).then(|| {
            let (rows, time) = (
                self.trips.rows / self.trips.weight,
                self.trips.time / self.trips.weight,
            );
            (time - self.row() * (rows - 1.0)).max(time * 0.25)
        })
    }

    /// Seconds that a further row of a frame adds over all stages. Before it
    /// can be told from the frames, a tenth of a row alone: rows together read
    /// the weights once.
    fn row(&self) -> f64 {
        self.trips.slope().map_or(self.rows.0 * 0.1, |slope| {
            slope.clamp(0.0, self.rows.0.max(LEAST_ROW))
        })
    }

    fn ring_now(&self) -> (Ring, f64) {
        let row = self.row();
        let share = if self.rows.0 > 0.0 {
            self.rows.1 / self.rows.0
        } else {
            1.0
        };
        let draft = self.draft.unwrap_or(0.0);
        let lap = self.round_trip().unwrap_or(self.supposed);
        let slowest = StageCost {
            hop_s: 0.0,
            row_s: self.rows.1,
            further_row_s: row * share,
        };
        // The draft has a thread of its own: it goes on while stage 0 computes.
        let step = draft.max(slowest.further_row_s);
        (Ring::measured(lap, row, &slowest, draft), step)
    }

    /// Frames that the ring holds: as many as its slowest stage can do in a
    /// round trip, and at least one for each stage.
    pub(super) fn frames(&self) -> usize {
        let least = self.stages.max(2);
        match (self.round_trip(), self.rows.1) {
            (Some(trip), row) if row > 0.0 => {
                let mut frames = least;
                let mut time = row * f64::from(u32::try_from(least).unwrap_or(u32::MAX));
                while frames < MOST_FRAMES && time < trip {
                    frames += 1;
                    time += row;
                }
                frames
            }
            _ => (2 * least).min(MOST_FRAMES),
        }
    }

    /// How long a frame may take while so many rows are under way.
    pub(super) fn allowance(&self, rows: u32) -> Duration {
        let expected = self.round_trip().unwrap_or(self.supposed) + f64::from(rows) * self.rows.0;
        // Past an hour, waiting on has no sense.
        self.slack + Duration::from_secs_f64((3.0 * expected).clamp(0.0, 3_600.0))
    }

    /// How long an answer waits for its draft: no longer than a round trip,
    /// since in that time it has a token without one.
    pub(super) fn patience(&self, k: usize) -> Duration {
        let k = f64::from(u32::try_from(k).unwrap_or(u32::MAX));
        let draft = 2.0 * k * self.draft.unwrap_or(0.0);
        let trip = self.round_trip().unwrap_or(self.supposed);
        Duration::from_millis(20) + Duration::from_secs_f64(draft.max(trip).clamp(0.0, 5.0))
    }

    /// How the draft is used while so many answers are in progress.
    pub(super) fn mode(&self, active: usize) -> Mode {
        let most = |k: u8| usize::from(k.clamp(1, MOST_K));
        match self.speculation {
            Speculation::Off | Speculation::Synchronous { k: 0 } | Speculation::Pipelined { k: 0, .. } => {
                Mode::Plain
            }
            Speculation::Synchronous { k } => Mode::Synchronous { k: most(k) },
            Speculation::Pipelined { k, depth } => Mode::Pipelined {
                k: most(k),
                depth: usize::from(depth.clamp(1, MOST_DEPTH)),
            },
            Speculation::Auto => self.measured(active),
        }
    }

    fn measured(&self, active: usize) -> Mode {
        let (ring, step) = self.ring_now();
        let plain = ring.plain();
        let best = ring.best_k(u32::from(MOST_K), self.acceptance);
        let synchronous = ring.synchronous(best, self.acceptance);
        // With several answers the bubble is theirs, not for guesses.
        if active * 2 <= self.stages.max(2) {
            let window = self.window(ring.lap_s(), step);
            let depth = u16::try_from(self.frames().min(usize::from(MOST_DEPTH))).unwrap_or(1);
            let k = window.div_ceil(depth).clamp(1, u16::from(MOST_K));
            let pipelined = ring.pipelined(u32::from(k), u32::from(window), self.acceptance);
            if pipelined > synchronous.max(plain) * WORTH {
                return Mode::Pipelined {
                    k: usize::from(k),
                    depth: usize::from(window.div_ceil(k).clamp(1, depth)),
                };
            }
        }
        if synchronous > plain * WORTH {
            return Mode::Synchronous {
                k: usize::try_from(best).unwrap_or(1),
            };
        }
        Mode::Plain
    }

    /// Drafted tokens worth having under way: what can be drafted in a round
    /// trip, as long as there is hope to reach them.
    fn window(&self, lap: f64, step: f64) -> u16 {
        let (mut window, mut hope, mut time) = (1, self.acceptance, step);
        while window < 256 && hope > LEAST_HOPE && time < lap {
            window += 1;
            hope *= self.acceptance;
            time += step;
        }
        window
    }
}

/// Least bound of a row's time, where stages say that it takes none.
const LEAST_ROW: f64 = 1e-3;

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(speculation: Speculation) -> Pace {
        let mut pace = Pace::new(speculation, 4, &HeadTimes::default());
        pace.ring([5_000; 4].into_iter());
        pace
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn round_trip_and_cost_of_a_row_are_told_apart() {
        let mut pace = pace(Speculation::Auto);
        assert_eq!(pace.round_trip(), None);
        for _ in 0..20 {
            pace.trip(1, millis(60));
            pace.trip(9, millis(68));
        }
        assert!((pace.round_trip().unwrap() - 0.060).abs() < 1e-3);
        assert!((pace.row() - 0.001).abs() < 1e-4);
    }

    #[test]
    fn a_far_ring_with_a_good_draft_speculates_and_a_bad_one_stops() {
        let mut pace = pace(Speculation::Auto);
        for _ in 0..20 {
            pace.trip(1, millis(60));
            pace.trip(9, millis(66));
        }
        pace.drafted(8, millis(16));
        assert!(matches!(pace.mode(1), Mode::Pipelined { .. }));
        assert!(matches!(pace.mode(16), Mode::Synchronous { k: 4..=8 }));
        pace.compared(200, false);
        assert!(matches!(pace.mode(16), Mode::Synchronous { k: 16 }));
        for _ in 0..200 {
            pace.compared(0, true);
        }
        assert_eq!(pace.mode(16), Mode::Plain);
    }

    #[test]
    fn a_near_ring_with_a_slow_draft_is_plain() {
        let mut pace = pace(Speculation::Auto);
        for _ in 0..20 {
            pace.trip(1, millis(2));
        }
        pace.drafted(1, millis(5));
        assert_eq!(pace.mode(1), Mode::Plain);
    }

    #[test]
    fn what_is_pinned_is_kept_within_its_bounds() {
        let mode = |speculation| pace(speculation).mode(1);
        assert_eq!(mode(Speculation::Off), Mode::Plain);
        assert_eq!(
            mode(Speculation::Synchronous { k: 200 }),
            Mode::Synchronous { k: 16 }
        );
        assert_eq!(
            mode(Speculation::Pipelined { k: 4, depth: 0 }),
            Mode::Pipelined { k: 4, depth: 1 }
        );
    }

    #[test]
    fn allowances_are_finite_whatever_stages_say() {
        let mut pace = Pace::new(Speculation::Off, 16, &HeadTimes::default());
        pace.ring([u32::MAX; 16].into_iter());
        assert!(pace.allowance(u32::MAX) <= millis(3_602_000));
        assert_eq!(self::pace(Speculation::Off).allowance(0), millis(5_000));
    }

    #[test]
    fn frames_under_way_stay_between_stages_and_the_bound() {
        let mut pace = pace(Speculation::Off);
        assert_eq!(pace.frames(), 8);
        pace.trip(1, millis(5));
        assert_eq!(pace.frames(), 4);
        for _ in 0..100 {
            pace.trip(1, millis(60_000));
        }
        assert_eq!(pace.frames(), MOST_FRAMES);
    }
}
