//! Resident memory of processes over time, and whether it is flat.

use std::fs;
use std::time::Duration;

/// Growth that is still flat, in KiB a minute. An enclave that kept 64 bytes of
/// each session at ten a second would grow by 38.
pub(crate) const MOST_GROWTH: f64 = 128.0;
/// Below this a difference is the allocator's, in KiB.
const NOISE: f64 = 3.0 * 1024.0;

/// Resident memory of a process in KiB, from `/proc`; `None` if it has ended.
pub(crate) fn resident(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// One process's samples.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) process: u32,
    /// Seconds since the start, and KiB.
    pub(crate) samples: Vec<(u64, u64)>,
}

/// What came of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Growth {
    /// KiB a minute, between the medians of the middle third and the last.
    pub(crate) rate: f64,
    pub(crate) flat: bool,
}

impl Series {
    pub(crate) const fn new(name: String, process: u32) -> Self {
        Self {
            name,
            process,
            samples: Vec::new(),
        }
    }

    pub(crate) fn sample(&mut self, at: Duration) {
        if let Some(kib) = resident(self.process) {
            self.samples.push((at.as_secs(), kib));
        }
    }

    /// Compares the middle third with the last: the first is warming up. Flat is
    /// what grows slower than [`MOST_GROWTH`], or by no more than noise.
    pub(crate) fn growth(&self) -> Option<Growth> {
        let third = self.samples.len() / 3;
        let middle = median(self.samples.get(third..2 * third)?)?;
        let last = median(self.samples.get(2 * third..)?)?;
        let (minutes, more) = ((last.0 - middle.0) / 60.0, last.1 - middle.1);
        if minutes <= 0.0 {
            return None;
        }
        let rate = more / minutes;
        Some(Growth {
            rate,
            flat: rate <= MOST_GROWTH || more <= NOISE,
        })
    }
}

/// Medians of times and of sizes.
fn median(samples: &[(u64, u64)]) -> Option<(f64, f64)> {
    let middle = |mut values: Vec<u64>| {
        values.sort_unstable();
        let value = values.get(values.len() / 2)?;
        u32::try_from(*value).ok().map(f64::from)
    };
    Some((
        middle(samples.iter().map(|(at, _)| *at).collect())?,
        middle(samples.iter().map(|(_, kib)| *kib).collect())?,
    ))
}

/// Prints a table of all of them, and says whether each is flat.
pub(crate) fn report(all: &[Series]) -> bool {
    println!(
        "\n| process | first KiB | last KiB | most KiB | KiB a minute | flat |\n|---|---|---|---|---|---|"
    );
    let mut flat = true;
    for series in all {
        let sizes = || series.samples.iter().map(|(_, kib)| *kib);
        let growth = series.growth();
        let is_flat = growth.as_ref().is_some_and(|growth| growth.flat);
        println!(
            "| {} | {} | {} | {} | {} | {is_flat} |",
            series.name,
            sizes().next().unwrap_or(0),
            sizes().next_back().unwrap_or(0),
            sizes().max().unwrap_or(0),
            growth.map_or_else(|| "-".to_owned(), |growth| format!("{:.1}", growth.rate)),
        );
        flat &= is_flat;
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(kib: impl Fn(u64) -> u64) -> Series {
        Series {
            samples: (0..180).map(|at| (at * 10, kib(at))).collect(),
            ..Series::new("test".to_owned(), 0)
        }
    }

    #[test]
    fn a_leak_is_not_flat_and_warming_up_and_noise_are() {
        let flat = |kib: fn(u64) -> u64| series(kib).growth().unwrap().flat;
        assert!(flat(|at| 50_000 + at % 7 * 100));
        assert!(flat(|at| if at < 50 { 10_000 + at * 1000 } else { 60_000 }));
        // 1 KiB a second, for half an hour.
        assert!(!flat(|at| 50_000 + at * 60));
        assert!(series(|_| 1).samples[..2].len() == 2 && Series::new(String::new(), 0).growth().is_none());
    }
}
