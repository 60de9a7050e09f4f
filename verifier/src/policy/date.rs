//! The window of a pin: TOML dates and times as seconds. A date stands for the
//! whole of its day in UTC; a time must say its offset, so that a policy means
//! the same everywhere.

use bastide_attestation::UnixTime;
use toml::value::{Datetime, Offset};

const DAY: i64 = 86_400;

/// From when and until when something counts, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First second.
    pub not_before: UnixTime,
    /// Last second.
    pub not_after: UnixTime,
}

impl Window {
    /// Whether `now` is inside.
    #[must_use]
    pub fn contains(&self, now: UnixTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

impl core::fmt::Display for Window {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "from {} to {}", self.not_before, self.not_after)
    }
}

/// Which second of a day a bare date stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Its first.
    First,
    /// Its last.
    Last,
}

/// The second that a TOML date or time names; `None` for a time of day without
/// a date, a time without an offset, and whatever lies before 1970.
pub(super) fn second(value: &Datetime, end: End) -> Option<UnixTime> {
    let date = value.date?;
    let day = days(i64::from(date.year), i64::from(date.month), i64::from(date.day))?;
    let start = day.checked_mul(DAY)?;
    let seconds = match (value.time, value.offset) {
        (None, None) => match end {
            End::First => start,
            End::Last => start.checked_add(DAY - 1)?,
        },
        (Some(time), Some(offset)) => {
            let minutes = match offset {
                Offset::Z => 0,
                Offset::Custom { minutes } => i64::from(minutes),
            };
            // A leap second counts as the second before it.
            let second = i64::from(time.second.unwrap_or(0).min(59));
            let of_day = i64::from(time.hour) * 3_600 + i64::from(time.minute) * 60 + second;
            start.checked_add(of_day)?.checked_sub(minutes * 60)?
        }
        _ => return None,
    };
    u64::try_from(seconds).ok().map(UnixTime::from_secs)
}

/// Days from 1970-01-01 to a civil date, after H. Hinnant's algorithm; `None`
/// if there is no such day.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = (month + 9) % 12;
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str, end: End) -> Option<u64> {
        second(&text.parse().unwrap(), end).map(UnixTime::as_secs)
    }

    #[test]
    fn a_date_is_its_whole_day_and_a_time_needs_its_offset() {
        assert_eq!(read("2025-06-01", End::First), Some(1_748_736_000));
        assert_eq!(read("2025-06-01", End::Last), Some(1_748_736_000 + 86_399));
        assert_eq!(read("2025-06-01T00:00:00Z", End::Last), Some(1_748_736_000));
        assert_eq!(read("2025-06-01T02:00:00+02:00", End::First), Some(1_748_736_000));
        assert_eq!(read("2000-02-29", End::First), Some(951_782_400));
        assert_eq!(read("2025-06-01T00:00:00", End::First), None);
        assert_eq!(read("12:00:00", End::First), None);
        assert_eq!(read("1969-12-31", End::First), None);
    }

    proptest! {
        #[test]
        fn dates_are_displayed_as_they_were_read(day in 0_u64..47_000) {
            let time = UnixTime::from_secs(day * 86_400);
            let text = time.to_string();
            prop_assert_eq!(read(&text[..10], End::First), Some(time.as_secs()));
        }
    }
}
