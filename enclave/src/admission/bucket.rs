//! A rate with a burst, in one point of time (GCRA): nothing to refill, nothing
//! to run in the background.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How often something may happen: `burst` times at once, and `per_minute` in
/// the long run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run, each minute; 0 means that there is no limit.
    pub per_minute: u32,
    /// At once; at least 1.
    pub burst: u32,
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self {
        per_minute: 0,
        burst: 1,
    };

    /// Time between two, in the long run; `None` without a limit.
    fn interval(self) -> Option<Duration> {
        Duration::from_secs(60).checked_div(self.per_minute)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.per_minute {
            0 => f.write_str("off"),
            per_minute => write!(f, "{per_minute}/{}", self.burst),
        }
    }
}

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::UNLIMITED);
        }
        let number = |text: &str| {
            text.parse()
                .ok()
                .filter(|number| (1..=1_000_000_u32).contains(number))
        };
        text.split_once('/')
            .and_then(|(per_minute, burst)| {
                Some(Self {
                    per_minute: number(per_minute)?,
                    burst: number(burst)?,
                })
            })
            .ok_or("expected `N/BURST`, N a minute and BURST at once, each from 1 to 1000000, or `off`")
    }
}

/// What is left of a rate. As new, all of its burst.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    /// When all of the burst is there again.
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes one.
    ///
    /// # Errors
    /// How long until there is one again; nothing was taken.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let Some(interval) = rate.interval() else {
            return Ok(());
        };
        let full_at = self.full_at.filter(|at| *at > now).unwrap_or(now);
        let missing = full_at.saturating_duration_since(now);
        let permitted = interval.saturating_mul(rate.burst.saturating_sub(1));
        if missing > permitted {
            return Err(missing - permitted);
        }
        self.full_at = full_at.checked_add(interval);
        Ok(())
    }

    /// Whether forgetting it would change nothing.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::{Bucket, Rate};
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_burst_goes_through_and_then_the_rate() {
        let rate = Rate {
            per_minute: 60,
            burst: 3,
        };
        let start = Instant::now();
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            assert_eq!(bucket.take(rate, start), Ok(()));
        }
        assert_eq!(bucket.take(rate, start), Err(Duration::from_secs(1)));
        assert!(!bucket.is_full(start + Duration::from_secs(2)));
        assert_eq!(bucket.take(rate, start + Duration::from_secs(1)), Ok(()));
        assert!(bucket.take(rate, start + Duration::from_millis(1500)).is_err());
        assert!(bucket.is_full(start + Duration::from_secs(4)));
        assert!((0..1000).all(|_| bucket.take(Rate::UNLIMITED, start).is_ok()));
    }

    #[test]
    fn a_rate_is_read_as_it_is_written_and_nothing_else_is() {
        for text in ["6/8", "1000000/1", "off"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["", "6", "0/1", "1/0", "1000001/1", "-1/1", "6/8/9", "OFF"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_of_arrivals_gets_more_than_burst_and_rate(
            per_minute in 1_u32..6000, burst in 1_u32..50, gaps in prop::collection::vec(0_u64..2000, 1..300)
        ) {
            let rate = Rate { per_minute, burst };
            let start = Instant::now();
            let (mut now, mut bucket, mut through) = (start, Bucket::default(), 0_u64);
            for gap in gaps {
                now += Duration::from_millis(gap);
                let before = bucket;
                match bucket.take(rate, now) {
                    Ok(()) => through += 1,
                    Err(wait) => {
                        prop_assert_eq!(bucket.full_at, before.full_at);
                        prop_assert!(bucket.take(rate, now + wait).is_ok());
                        bucket = before;
                    }
                }
            }
            let minutes = now.duration_since(start).as_secs_f64() / 60.0;
            let most = f64::from(burst) + minutes * f64::from(per_minute);
            prop_assert!(u32::try_from(through).map(f64::from).unwrap() <= most + 1e-3);
        }
    }
}
