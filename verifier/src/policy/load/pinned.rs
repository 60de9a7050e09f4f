//! Sets of pins: value, window and reason of each, none twice.

use toml::Spanned;
use toml::value::Datetime;

use crate::policy::PolicyFault;
use crate::policy::date::{End, Window, second};
use crate::policy::pins::{PinSet, Pinned};
use crate::policy::schema::{List, PinParts};
use crate::policy::source::{Outcome, Source};
use bastide_attestation::UnixTime;

/// Reads a set; `value` reads what is pinned.
pub(super) fn read<D, T: PartialEq>(
    source: Source<'_>,
    entries: &List<D>,
    parts: impl Fn(&D) -> PinParts<'_>,
    value: impl Fn(&Spanned<String>) -> Outcome<T>,
) -> Outcome<PinSet<T>> {
    let read = |entry: &Spanned<D>| {
        let parts = parts(entry.get_ref());
        Ok(Pinned {
            value: value(parts.value)?,
            window: window(source, &parts)?,
            reason: source.sentence(parts.reason, "the reason why this is pinned")?,
            release: label(source, parts.release)?,
            shape: label(source, parts.shape)?,
        })
    };
    source
        .distinct(entries.get_ref(), read, |one: &Pinned<T>, other| {
            one.value == other.value
        })
        .map(PinSet)
}

fn label(source: Source<'_>, text: Option<&Spanned<String>>) -> Outcome<Option<String>> {
    text.map(|text| source.sentence(text, "a name")).transpose()
}

fn window(source: Source<'_>, parts: &PinParts<'_>) -> Outcome<Window> {
    let read = |value: &Spanned<Datetime>, end| -> Outcome<UnixTime> {
        second(value.get_ref(), end).ok_or_else(|| {
            let message = format!(
                "expected a date like 2027-01-31, or a time with its offset like 2027-01-31T12:00:00Z, got {}",
                value.get_ref()
            );
            source.fault(PolicyFault::Value, value, message)
        })
    };
    let window = Window {
        not_before: read(parts.not_before, End::First)?,
        not_after: read(parts.not_after, End::Last)?,
    };
    if window.not_after < window.not_before {
        let message = format!(
            "this pin ends at {} before it begins at {}",
            window.not_after, window.not_before
        );
        return Err(source.fault(PolicyFault::Contradiction, parts.not_after, message));
    }
    Ok(window)
}
