//! Entries for a policy: each with a window and a reason, so that nothing is
//! trusted for ever and nobody wonders why.

use std::fmt::Write as _;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;

use super::id_block::Keys;
use super::{Inputs, PinArguments, Shape};
use crate::fault::Fault;

const MAX_TEXT_BYTES: usize = 500;

/// A date, or a time in UTC, as TOML has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Day(Date),
    Instant(Timestamp),
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let day = Date::strptime("%Y-%m-%d", text).ok().map(Self::Day);
        let moment = day.or_else(|| {
            let time = text.parse().ok().map(Self::Instant);
            time.filter(|_| text.ends_with('Z'))
        });
        moment
            // As it is written is as it is read.
            .filter(|moment| moment.toml() == text)
            .ok_or_else(|| {
                "expected a date or a time in UTC, as in 2026-11-25 or 2026-11-25T08:00:00Z".to_owned()
            })
    }
}

impl Moment {
    fn toml(self) -> String {
        match self {
            Self::Day(day) => day.to_string(),
            Self::Instant(time) => time.to_string(),
        }
    }

    fn begins(self) -> Option<Timestamp> {
        self.at("00:00:00")
    }

    /// When it is over: a day is, with its last second.
    fn ends(self) -> Option<Timestamp> {
        self.at("23:59:59")
    }

    fn at(self, time_of_day: &str) -> Option<Timestamp> {
        match self {
            Self::Day(day) => format!("{day}T{time_of_day}Z").parse().ok(),
            Self::Instant(time) => Some(time),
        }
    }
}

/// When entries hold, and why.
#[derive(Debug)]
pub(super) struct Window {
    not_before: Moment,
    not_after: Moment,
    reason: String,
}

/// Parses text that a policy shows to people.
///
/// # Errors
/// A sentence for clap.
pub(super) fn text(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_TEXT_BYTES || text.chars().any(char::is_control) {
        return Err(format!(
            "expected 1 to {MAX_TEXT_BYTES} bytes of text without control characters"
        ));
    }
    Ok(text.to_owned())
}

/// The window, if entries are to be written.
///
/// # Errors
/// [`Fault`] of usage if it ends before it begins.
pub(super) fn window(arguments: &PinArguments) -> Result<Option<Window>, Fault> {
    let (Some(not_before), Some(not_after), Some(reason)) =
        (arguments.not_before, arguments.not_after, &arguments.reason)
    else {
        return Ok(None);
    };
    if not_before.begins().is_none() || not_before.begins() > not_after.ends() {
        return Err(Fault::usage(
            "measure.window",
            format!(
                "a window from {} to {} is empty: expected --not-before at or before --not-after",
                not_before.toml(),
                not_after.toml()
            ),
        ));
    }
    Ok(Some(Window {
        not_before,
        not_after,
        reason: reason.clone(),
    }))
}

/// The entries as TOML.
pub(super) fn entries(
    inputs: &Inputs,
    shapes: &[Shape],
    keys: Option<&Keys>,
    window: &Window,
    arguments: &PinArguments,
) -> String {
    let mut text = String::from("# Computed by `bastide measure` from:\n");
    let _ = writeln!(
        text,
        "#   OVMF          sha256 {}",
        hex::encode(inputs.ovmf_sha256)
    );
    if let Some(kernel) = &inputs.kernel {
        let _ = writeln!(text, "#   kernel        sha256 {}", hex::encode(kernel.kernel()));
        let _ = writeln!(text, "#   initrd        sha256 {}", hex::encode(kernel.initrd()));
        let _ = writeln!(
            text,
            "#   command line  sha256 {}, with its NUL",
            hex::encode(kernel.cmdline())
        );
    }
    for (measurement, names) in by_measurement(shapes) {
        entry(
            &mut text,
            "snp.launch",
            "measurement",
            &measurement,
            window,
            |text| {
                if let Some(release) = &arguments.release {
                    let _ = writeln!(text, "release = {}", string(release));
                }
                let _ = writeln!(text, "shape = {}", string(&names.join(", ")));
            },
        );
    }
    for (table, digest) in keys.map(Keys::digests).unwrap_or_default() {
        entry(&mut text, table, "digest", &hex::encode(digest), window, |_| ());
    }
    text
}

/// Shapes with one digest are one entry: types of one generation have the same.
fn by_measurement(shapes: &[Shape]) -> Vec<(String, Vec<String>)> {
    let mut entries: Vec<(String, Vec<String>)> = Vec::new();
    let mut places = std::collections::BTreeMap::new();
    for shape in shapes {
        let place = *places.entry(shape.measurement).or_insert_with(|| {
            entries.push((shape.measurement.to_string(), Vec::new()));
            entries.len() - 1
        });
        if let Some((_, names)) = entries.get_mut(place) {
            let name = shape.name();
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    entries
}

fn entry(
    text: &mut String,
    table: &str,
    key: &str,
    value: &str,
    window: &Window,
    more: impl FnOnce(&mut String),
) {
    let _ = writeln!(text, "\n[[{table}]]\n{key} = \"{value}\"");
    more(text);
    let _ = writeln!(text, "not_before = {}", window.not_before.toml());
    let _ = writeln!(text, "not_after = {}", window.not_after.toml());
    let _ = writeln!(text, "reason = {}", string(&window.reason));
}

/// A TOML basic string. Its text has no control characters, and of what else
/// is escaped, TOML and JSON escape the same in the same way.
fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::{Moment, PinArguments, string, text, window};

    #[test]
    fn moments_are_dates_or_utc_times_in_one_spelling() {
        for accepted in ["2026-11-25", "2026-11-25T08:00:00Z"] {
            assert_eq!(accepted.parse::<Moment>().unwrap().toml(), accepted);
        }
        for refused in [
            "2026-11-31",
            "2026-11-25T08:00:00+01:00",
            "2026-11-25 08:00:00Z",
            "20261125",
            "2026-11-25T08:00Z",
            "tomorrow",
            "",
        ] {
            assert!(refused.parse::<Moment>().is_err(), "{refused}");
        }
    }

    #[test]
    fn a_window_that_ends_before_it_begins_is_refused_and_one_of_a_day_is_not() {
        let from_to = |from: &str, to: &str| {
            window(&PinArguments {
                file: None,
                not_before: Some(from.parse().unwrap()),
                not_after: Some(to.parse().unwrap()),
                reason: Some("why".to_owned()),
                release: None,
            })
        };
        assert!(from_to("2026-11-25", "2026-11-25").unwrap().is_some());
        assert!(from_to("2026-11-25T23:59:59Z", "2026-11-25").unwrap().is_some());
        for (from, to) in [
            ("2026-11-26", "2026-11-25"),
            ("2026-11-25", "2026-11-24T23:59:59Z"),
        ] {
            assert_eq!(from_to(from, to).unwrap_err().code, "measure.window");
        }
    }

    #[test]
    fn text_has_no_control_characters_and_reads_back_as_toml() {
        for refused in ["", " ", "a\nb", "a\u{7f}", &"x".repeat(501)] {
            assert!(text(refused).is_err(), "{refused:?}");
        }
        for accepted in [
            r#"a "quote" and \ a backslash"#,
            "é \u{2028} 漢字",
            "# no comment",
        ] {
            let table: toml::Table = format!("x = {}", string(&text(accepted).unwrap()))
                .parse()
                .unwrap();
            assert_eq!(table["x"].as_str(), Some(accepted));
        }
    }
}
