//! The table, and which targets it meets.
//!
//! Owns the words around the numbers. Refuses a page without the two marks
//! between which the table goes.

use std::fmt::Write as _;

use bastide_attestation::pipeline::latency::expected_tokens;

/// Lines between which a page has what was measured.
pub(crate) type Marks = (&'static str, &'static str);

pub(crate) const MARKS: Marks = (
    "<!-- measured: written by the benchmark -->",
    "<!-- end of what was measured -->",
);

/// How the draft is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Synchronous,
    Pipelined,
}

impl Form {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Synchronous => "synchronous",
            Self::Pipelined => "pipelined",
        }
    }
}

/// One ring in one form.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) stages: u16,
    /// Round trip between neighbours, milliseconds.
    pub(crate) trip: u32,
    pub(crate) form: Form,
    /// Seconds of one turn, as the model adds it up.
    pub(crate) lap: f64,
    /// Tokens for each turn of the ring.
    pub(crate) per_turn: f64,
    /// Tokens per second.
    pub(crate) measured: f64,
    pub(crate) predicted: f64,
    /// By how much of itself an answer is faster over bare TCP.
    pub(crate) attestation: Option<f64>,
}

/// What was measured.
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    /// Tokens on which the draft agrees with the model, and all.
    pub(crate) agreed: (usize, usize),
}

/// Of the same ring in the same form, measured several times: the time that was
/// as near to the model as half of them, with the median of what attestation cost.
pub(crate) fn median(mut rows: Vec<Row>) -> Option<Row> {
    let share = |row: &Row| row.measured / row.predicted;
    rows.sort_by(|one, other| share(one).total_cmp(&share(other)));
    let mut costs: Vec<f64> = rows.iter().filter_map(|row| row.attestation).collect();
    costs.sort_by(f64::total_cmp);
    let middle = rows.len() / 2;
    let attestation = costs.get(costs.len() / 2).copied();
    let row = rows.into_iter().nth(middle)?;
    Some(Row { attestation, ..row })
}

/// The acceptance at which rounds of K drafted tokens give so many tokens.
pub(crate) fn acceptance(k: u32, tokens: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if expected_tokens(k, middle) < tokens {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

impl Table {
    /// How many times as fast as without a draft.
    fn gain(&self, row: &Row) -> f64 {
        let plain =
            |other: &&Row| (other.stages, other.trip, other.form) == (row.stages, row.trip, Form::Plain);
        let plain = self.rows.iter().find(plain);
        plain.map_or(1.0, |plain| row.measured / plain.measured)
    }

    /// Everything, as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "Draft and model agree on {} of {} tokens of the answers. Every answer of every ring was the one node's, token for token. Built with the {} profile.\n\n{}\n\
             | stages | round trip | form | L | tokens a turn | tokens/s | the model | of it | to plain | attestation |\n\
             |---|---|---|---|---|---|---|---|---|---|\n",
            self.agreed.0,
            self.agreed.1,
            if cfg!(debug_assertions) { "test" } else { "bench" },
            self.targets(),
        );
        for row in &self.rows {
            let attestation = match row.attestation {
                Some(cost) => format!("{:+.1} %", cost * 100.0),
                None => "–".to_owned(),
            };
            // Writing to a string can't fail.
            let _ = writeln!(
                text,
                "| {} | {} ms | {} | {:.1} ms | {:.2} | {:.1} | {:.1} | {:.0} % | {:.2} × | {attestation} |",
                row.stages,
                row.trip,
                row.form.name(),
                row.lap * 1e3,
                row.per_turn,
                row.measured,
                row.predicted,
                100.0 * row.measured / row.predicted,
                self.gain(row),
            );
        }
        text
    }

    fn targets(&self) -> String {
        let mut trips: Vec<u32> = self.rows.iter().map(|row| row.trip).collect();
        trips.sort_unstable();
        trips.dedup();
        let mut lines = "| target | measured | |\n|---|---|---|\n".to_owned();
        for trip in &trips {
            let of = self.rows.iter().filter(|row| row.trip == *trip);
            let shares: Vec<f64> = of.map(|row| row.measured / row.predicted).collect();
            let least = shares.iter().copied().fold(f64::MAX, f64::min);
            // Writing to a string can't fail.
            let _ = writeln!(
                lines,
                "| round trip {trip} ms: at least 90 % of the model | {} of {} rings, the least {:.0} % | {} |",
                shares.iter().filter(|share| **share >= 0.9).count(),
                shares.len(),
                least * 100.0,
                met(least >= 0.9),
            );
        }
        for (trip, target) in [(20, 4.0), (100, 3.0)] {
            for form in [Form::Synchronous, Form::Pipelined] {
                let wanted = |row: &&Row| (row.stages, row.trip, row.form) == (4, trip, form);
                if let Some(row) = self.rows.iter().find(wanted) {
                    let gain = self.gain(row);
                    let _ = writeln!(
                        lines,
                        "| {}, 4 stages, hops of {} ms: {target} × plain | {gain:.2} × | {} |",
                        form.name(),
                        trip / 2,
                        met(gain >= target),
                    );
                }
            }
        }
        for trip in trips {
            let of = self.rows.iter().filter(|row| row.trip == trip);
            let mut costs: Vec<f64> = of.filter_map(|row| row.attestation).collect();
            costs.sort_by(f64::total_cmp);
            if let Some(cost) = costs.get(costs.len() / 2) {
                let _ = writeln!(
                    lines,
                    "| round trip {trip} ms: attestation at most 3 % | {:+.1} %, median of {} rings | {} |",
                    cost * 100.0,
                    costs.len(),
                    met(*cost <= 0.03),
                );
            }
        }
        lines
    }
}

const fn met(met: bool) -> &'static str {
    if met { "met" } else { "**not met**" }
}

/// The page with `text` between its marks.
pub(crate) fn replaced(page: &str, (begin, end): Marks, text: &str) -> String {
    let parts = page.split_once(begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(end)?;
        Some((before, after))
    });
    let (before, after) =
        parts.unwrap_or_else(|| panic!("expected the lines {begin:?} and {end:?} in the page"));
    format!("{before}{begin}\n\n{text}\n{end}{after}")
}
