//! How fast a pipeline can be: tokens per second for one answer, from the
//! round trip, the cost of rows and how often the draft is right. Closed forms,
//! compared with a discrete-event simulation when they were chosen; the head
//! picks K by them, and `bastide pipeline plan` prints them.
//!
//! All times are seconds, as `f64`. Whatever is not a finite number of at
//! least zero counts as zero, so that no measurement can make a NaN.

/// What one stage takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageCost {
    /// Seconds from the stage before to this one, one way; for stage 0, from
    /// the tail back to the head.
    pub hop_s: f64,
    /// Seconds that a frame of one row takes in it.
    pub row_s: f64,
    /// Seconds that each further row of a frame adds.
    pub further_row_s: f64,
}

/// A ring of stages with a draft in its head, as far as time is concerned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ring {
    lap_s: f64,
    further_row_s: f64,
    /// Of the stage where it takes longest; `further` of the one where that does.
    slowest_row_s: f64,
    slowest_further_s: f64,
    draft_s: f64,
}

/// Most tokens that are drafted in one round.
pub const MAX_K: u32 = 16;

impl Ring {
    /// A ring of these stages, whose draft takes `draft_s` a token.
    #[must_use]
    pub fn new(stages: &[StageCost], draft_s: f64) -> Self {
        let all = |of: fn(&StageCost) -> f64| stages.iter().map(move |stage| time(of(stage)));
        let hops: f64 = all(|stage| stage.hop_s).sum();
        let rows: f64 = all(|stage| stage.row_s).sum();
        Self {
            lap_s: hops + rows,
            further_row_s: all(|stage| stage.further_row_s).sum(),
            slowest_row_s: all(|stage| stage.row_s).fold(0.0, f64::max),
            slowest_further_s: all(|stage| stage.further_row_s).fold(0.0, f64::max),
            draft_s: time(draft_s),
        }
    }

    /// A ring of which a whole turn was measured: what a head knows.
    /// `further_row_s` is what a further row adds to the turn, and `slowest` the
    /// stage where rows take longest, however far it is.
    #[must_use]
    pub fn measured(lap_s: f64, further_row_s: f64, slowest: &StageCost, draft_s: f64) -> Self {
        Self {
            lap_s: time(lap_s),
            further_row_s: time(further_row_s),
            slowest_row_s: time(slowest.row_s),
            slowest_further_s: time(slowest.further_row_s),
            draft_s: time(draft_s),
        }
    }

    /// Seconds of one turn of one row: L, the sum of hops and of rows.
    #[must_use]
    pub const fn lap_s(&self) -> f64 {
        self.lap_s
    }

    /// Tokens per second without a draft: 1 / L.
    #[must_use]
    pub fn plain(&self) -> f64 {
        rate(1.0, self.lap_s)
    }

    /// Tokens per second where K tokens are drafted and then verified in one
    /// turn: E / (L + K · (draft + further rows)), E by [`expected_tokens`].
    #[must_use]
    pub fn synchronous(&self, k: u32, acceptance: f64) -> f64 {
        let round = self.lap_s + f64::from(k) * (self.draft_s + self.further_row_s);
        rate(expected_tokens(k, acceptance), round)
    }

    /// Tokens per second where the head drafts on while earlier tokens are
    /// under way, at most `window` of them, in frames of `run` tokens:
    /// 1 / ((1 − α) · (L + w) + τ), and no more than `window` / L. τ is what a
    /// token takes where it takes longest: in the draft, or in the slowest stage
    /// as one of a frame, f / run with f = row + (run − 1) · further rows. After
    /// a mistake the right token finds that stage busy with a frame of wrong
    /// ones, f / run of every τ, half of which is left on average:
    /// w = f / 2 · f / (run · τ).
    #[must_use]
    pub fn pipelined(&self, run: u32, window: u32, acceptance: f64) -> f64 {
        let run = f64::from(run.max(1));
        let frame = self.slowest_row_s + (run - 1.0) * self.slowest_further_s;
        let step = (frame / run).max(self.draft_s);
        let busy = rate(frame / run, step);
        let turn = self.lap_s + busy * frame / 2.0;
        let free = rate(1.0, (1.0 - probability(acceptance)) * turn + step);
        free.min(rate(f64::from(window), self.lap_s))
    }

    /// The K of at most `most` (and [`MAX_K`]) with the most tokens per second,
    /// the smallest of equals; 0 where drafting gains nothing.
    #[must_use]
    pub fn best_k(&self, most: u32, acceptance: f64) -> u32 {
        (0..=most.min(MAX_K))
            .fold((0, self.plain()), |best, k| {
                let got = self.synchronous(k, acceptance);
                if got > best.1 { (k, got) } else { best }
            })
            .0
    }
}

/// Tokens that one round of K drafted ones is expected to give, the free one
/// included: (1 − α^(K+1)) / (1 − α).
#[must_use]
pub fn expected_tokens(k: u32, acceptance: f64) -> f64 {
    // The sum 1 + α + … + α^K itself, which also holds at α = 1.
    let acceptance = probability(acceptance);
    (0..k)
        .fold((1.0, 1.0), |(sum, power), _| {
            let power = power * acceptance;
            (sum + power, power)
        })
        .0
}

fn time(seconds: f64) -> f64 {
    if seconds.is_finite() {
        seconds.max(0.0)
    } else {
        0.0
    }
}

fn probability(acceptance: f64) -> f64 {
    time(acceptance).min(1.0)
}

/// `count` in `seconds`; zero where nothing is known of the time.
fn rate(count: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { count / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Stages of 5.2 ms a row and 0.15 ms a further one, a draft of 2 ms: what
    /// the table of the design was simulated with.
    fn ring(stages: usize, hop_s: f64) -> Ring {
        let stage = StageCost {
            hop_s,
            row_s: 0.005_2,
            further_row_s: 0.000_15,
        };
        Ring::new(&vec![stage; stages], 0.002)
    }

    fn within(got: f64, expected: f64, of: f64) -> bool {
        (got - expected).abs() <= expected * of
    }

    #[test]
    fn the_closed_forms_agree_with_the_simulation() {
        // stages, hop, plain; then α, synchronous and its K, pipelined.
        let rows = [
            (4, 0.005, 24.5, 0.8, 71.0, 7, 94.0),
            (4, 0.010, 16.4, 0.8, 53.0, 8, 67.0),
            (4, 0.010, 16.4, 0.9, 82.0, 14, 125.0),
            (4, 0.025, 8.3, 0.8, 31.0, 11, 37.0),
            (6, 0.010, 11.0, 0.7, 28.0, 7, 32.0),
            (6, 0.010, 11.0, 0.8, 38.0, 9, 47.0),
        ];
        for (stages, hop, plain, acceptance, synchronous, k, pipelined) in rows {
            let ring = ring(stages, hop);
            assert!(within(ring.plain(), plain, 0.02), "{}", ring.plain());
            let got = ring.synchronous(k, acceptance);
            assert!(within(got, synchronous, 0.05), "{got} {synchronous}");
            assert!(ring.best_k(16, acceptance).abs_diff(k) <= 1);
            // The simulated frames grow as long as a stage is busy: to three tokens here.
            let got = ring.pipelined(3, 64, acceptance);
            assert!(within(got, pipelined, 0.05), "{got} {pipelined}");
        }
    }

    #[test]
    fn a_draft_that_costs_more_than_it_gains_is_not_used() {
        let near = StageCost {
            hop_s: 0.0,
            row_s: 0.005,
            further_row_s: 0.005,
        };
        assert_eq!(Ring::new(&[near], 0.002).best_k(16, 0.5), 0);
        assert_eq!(ring(4, 0.01).best_k(0, 0.9), 0);
        assert_eq!(ring(4, 0.01).best_k(99, 1.0), MAX_K);
    }

    #[test]
    fn a_mistake_waits_for_half_a_frame_of_a_stage_that_is_always_busy() {
        // No draft to wait for: a stage takes 5.5 ms for each frame of three.
        let busy = Ring::new(
            &[StageCost {
                hop_s: 0.010,
                row_s: 0.005_2,
                further_row_s: 0.000_15,
            }],
            0.0,
        );
        let token = 0.5 * (0.015_2 + 0.005_5 / 2.0) + 0.005_5 / 3.0;
        assert!(within(busy.pipelined(3, 64, 0.5), 1.0 / token, 1e-9));
        // A draft of 5.5 ms a token leaves it idle for two thirds of the time.
        let idle = Ring {
            draft_s: 0.005_5,
            ..busy
        };
        let token = 0.5 * (0.015_2 + 0.005_5 / 6.0) + 0.005_5;
        assert!(within(idle.pipelined(3, 64, 0.5), 1.0 / token, 1e-9));
    }

    #[test]
    fn a_window_bounds_the_pipelined_form() {
        let ring = ring(4, 0.05);
        assert!(within(ring.pipelined(2, 2, 1.0), 2.0 * ring.plain(), 1e-9));
    }

    #[test]
    fn longer_frames_spread_a_stages_fixed_cost_until_the_draft_is_what_takes_longest() {
        let near = ring(4, 0.0);
        assert!(within(near.pipelined(1, 64, 1.0), 1.0 / 0.005_2, 1e-9));
        assert!(within(near.pipelined(2, 64, 1.0), 2.0 / 0.005_35, 1e-9));
        assert!(within(near.pipelined(3, 64, 1.0), 1.0 / 0.002, 1e-9));
        assert!(within(
            near.pipelined(0, 64, 1.0),
            near.pipelined(1, 64, 1.0),
            1e-9
        ));
    }

    proptest! {
        #[test]
        fn whatever_was_measured_gives_a_number(
            hop: f64, row: f64, further: f64, draft: f64, acceptance: f64, k: u32, window: u32,
        ) {
            let stage = StageCost { hop_s: hop, row_s: row, further_row_s: further };
            for ring in [Ring::new(&[stage; 3], draft), Ring::measured(hop, further, &stage, draft)] {
                let synchronous = ring.synchronous(k % 64, acceptance);
                for rate in [ring.plain(), synchronous, ring.pipelined(k, window, acceptance)] {
                    prop_assert!(rate >= 0.0, "{rate}");
                }
                prop_assert!(ring.best_k(16, acceptance) <= 16);
            }
        }

        #[test]
        fn a_better_draft_is_never_slower(hop in 0.0..0.1_f64, one in 0.0..=1.0_f64, other in 0.0..=1.0_f64, k in 0_u32..17) {
            let (worse, better) = if one < other { (one, other) } else { (other, one) };
            let ring = ring(4, hop);
            prop_assert!(ring.synchronous(k, worse) <= ring.synchronous(k, better));
            prop_assert!(ring.pipelined(3, 32, worse) <= ring.pipelined(3, 32, better));
            prop_assert!(expected_tokens(k, better) <= f64::from(k) + 1.0);
        }
    }
}
