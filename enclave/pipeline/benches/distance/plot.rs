//! The plot: a panel for each number of stages, both axes logarithmic, what was
//! measured as dots and what the model says as lines.
//!
//! Owns the SVG. Its colours and greys are in the middle, so that it can be
//! read on a light and on a dark page alike. Refuses nothing.

use std::fmt::Write as _;

use crate::report::{Form, Row, Table};

const PANEL: (f64, f64) = (250.0, 270.0);
const LEFT: f64 = 52.0;
const TOP: f64 = 58.0;
const GAP: f64 = 26.0;
const GREY: &str = "#7d828c";

const fn colour(form: Form) -> &'static str {
    match form {
        Form::Plain => "#8a6fd1",
        Form::Synchronous => "#d9822b",
        Form::Pipelined => "#2f9e8f",
    }
}

/// Where values are, on one axis.
struct Axis {
    least: f64,
    most: f64,
    length: f64,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64>, length: f64) -> Self {
        let (mut least, mut most) = (f64::MAX, f64::MIN_POSITIVE);
        for value in values.filter(|value| *value > 0.0) {
            (least, most) = (least.min(value), most.max(value));
        }
        // Room at both ends; also for a single value.
        Self {
            least: least.min(most) / 1.3,
            most: most * 1.3,
            length,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let span = (self.most / self.least).ln();
        (value.max(self.least) / self.least).ln() / span * self.length
    }
}

/// The whole picture. The same table makes the same bytes.
pub(crate) fn svg(table: &Table) -> String {
    let rows = &table.rows;
    let mut stages: Vec<u16> = rows.iter().map(|row| row.stages).collect();
    stages.dedup();
    let rates = rows.iter().flat_map(|row| [row.measured, row.predicted]);
    let y = Axis::of(rates, PANEL.1);
    let x = Axis::of(rows.iter().map(|row| f64::from(row.trip)), PANEL.0);
    let panels = f64::from(u32::try_from(stages.len()).unwrap_or(1));
    let (width, height) = (LEFT + panels * (PANEL.0 + GAP), TOP + PANEL.1 + 46.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"{GREY}\" role=\"img\">\n\
         <title>Tokens per second of a pipeline by the round trip between neighbours</title>\n"
    );
    legend(&mut out);
    for (number, stages) in (0u32..).zip(&stages) {
        let left = LEFT + f64::from(number) * (PANEL.0 + GAP);
        let _ = writeln!(out, "<g transform=\"translate({left} {TOP})\">");
        frame(&mut out, *stages, &x, &y, number == 0, rows);
        for form in [Form::Plain, Form::Synchronous, Form::Pipelined] {
            let of: Vec<&Row> = rows
                .iter()
                .filter(|row| row.stages == *stages && row.form == form)
                .collect();
            curve(&mut out, &of, form, &x, &y);
        }
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

fn legend(out: &mut String) {
    for (number, form) in (0u32..).zip([Form::Plain, Form::Synchronous, Form::Pipelined]) {
        let at = LEFT + f64::from(number) * 120.0;
        let _ = writeln!(
            out,
            "<circle cx=\"{}\" cy=\"16\" r=\"4.5\" fill=\"{}\"/><text x=\"{}\" y=\"20\">{}</text>",
            at + 5.0,
            colour(form),
            at + 15.0,
            form.name(),
        );
    }
    let at = LEFT + 370.0;
    let _ = writeln!(
        out,
        "<path d=\"M{at} 16h26\" stroke=\"{GREY}\" stroke-width=\"1.5\" fill=\"none\"/><text x=\"{}\" y=\"20\">the latency model</text>",
        at + 33.0,
    );
}

fn frame(out: &mut String, stages: u16, x: &Axis, y: &Axis, labels: bool, rows: &[Row]) {
    let (width, height) = PANEL;
    let _ = writeln!(
        out,
        "<rect width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"{GREY}\" stroke-opacity=\"0.5\"/>\
         <text x=\"{}\" y=\"-9\" text-anchor=\"middle\" font-weight=\"bold\">{stages} stages</text>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">round trip, ms</text>",
        width / 2.0,
        width / 2.0,
        height + 36.0,
    );
    let mut trips: Vec<u32> = rows.iter().map(|row| row.trip).collect();
    trips.sort_unstable();
    trips.dedup();
    for trip in trips {
        let at = x.at(f64::from(trip));
        let _ = writeln!(
            out,
            "<path d=\"M{at:.1} {height}v5\" stroke=\"{GREY}\"/><text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{trip}</text>",
            height + 18.0,
        );
    }
    for rate in [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0] {
        if rate < y.least || rate > y.most {
            continue;
        }
        let at = height - y.at(rate);
        let _ = writeln!(
            out,
            "<path d=\"M0 {at:.1}h{width}\" stroke=\"{GREY}\" stroke-opacity=\"0.25\"/>"
        );
        if labels {
            let _ = writeln!(
                out,
                "<text x=\"-7\" y=\"{:.1}\" text-anchor=\"end\">{rate}</text>",
                at + 4.0
            );
        }
    }
    if labels {
        let _ = writeln!(
            out,
            "<text transform=\"translate(-38 {}) rotate(-90)\" text-anchor=\"middle\">tokens per second</text>",
            height / 2.0
        );
    }
}

fn curve(out: &mut String, rows: &[&Row], form: Form, x: &Axis, y: &Axis) {
    let colour = colour(form);
    let place = |row: &Row, rate: f64| (x.at(f64::from(row.trip)), PANEL.1 - y.at(rate));
    let points: Vec<String> = rows
        .iter()
        .map(|row| {
            let (x, y) = place(row, row.predicted);
            format!("{x:.1},{y:.1}")
        })
        .collect();
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
        points.join(" ")
    );
    for row in rows {
        let (x, y) = place(row, row.measured);
        let _ = writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"{colour}\"><title>{} stages, {} ms, {}: {:.1} tokens/s</title></circle>",
            row.stages,
            row.trip,
            form.name(),
            row.measured,
        );
    }
}
