//! Pins as sets: several values of one kind may be right at a time, each within
//! a window and for a stated reason, so that a roll-out needs no simultaneous
//! change of nodes and policies.

use bastide_attestation::UnixTime;

use super::date::Window;

/// One pinned value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pinned<T> {
    pub(crate) value: T,
    pub(crate) window: Window,
    pub(crate) reason: String,
    /// Release and machine shape of a launch measurement, if named.
    pub(crate) release: Option<String>,
    pub(crate) shape: Option<String>,
}

/// Release, shape and reason, as one text for verdicts.
impl<T> core::fmt::Display for Pinned<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for part in [&self.release, &self.shape].into_iter().flatten() {
            write!(f, "{part}, ")?;
        }
        f.write_str(&self.reason)
    }
}

/// The values of one kind that a policy accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PinSet<T>(pub(super) Vec<Pinned<T>>);

/// How a value stands to a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found<'p, T> {
    /// Pinned, and the time is within its window.
    Current(&'p Pinned<T>),
    /// Pinned, but for another time.
    NotCurrent(&'p Pinned<T>),
    /// Not pinned.
    Unlisted,
}

impl<T: PartialEq> PinSet<T> {
    /// How `value` stands at `now`.
    pub(crate) fn find(&self, value: &T, now: UnixTime) -> Found<'_, T> {
        match self.0.iter().find(|pinned| pinned.value == *value) {
            Some(pinned) if pinned.window.contains(now) => Found::Current(pinned),
            Some(pinned) => Found::NotCurrent(pinned),
            None => Found::Unlisted,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A pin, for whoever lists, lints or compares policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The check that it decides, for example `snp.launch_measurement`.
    pub check: &'static str,
    /// The value, hex; of a PCR with its index and a colon before it.
    pub value: String,
    /// When it counts.
    pub window: Window,
    /// Why it is pinned.
    pub reason: String,
    /// Release that a launch measurement belongs to.
    pub release: Option<String>,
    /// Machine shape that a launch measurement belongs to.
    pub shape: Option<String>,
}

impl<T: AsRef<[u8]>> PinSet<T> {
    /// The set as a list, values in hexadecimal digits.
    pub(super) fn list(&self, check: &'static str) -> impl Iterator<Item = Pin> + '_ {
        self.list_as(check, hex::encode)
    }
}

impl<T> PinSet<T> {
    /// The values that count at `now`.
    pub(crate) fn current(&self, now: UnixTime) -> impl Iterator<Item = &T> {
        self.0
            .iter()
            .filter(move |pinned| pinned.window.contains(now))
            .map(|pinned| &pinned.value)
    }

    /// The set as a list, values as `show` writes them.
    pub(super) fn list_as<'s>(
        &'s self,
        check: &'static str,
        show: impl Fn(&'s T) -> String + 's,
    ) -> impl Iterator<Item = Pin> + 's {
        self.0.iter().map(move |pinned| Pin {
            check,
            value: show(&pinned.value),
            window: pinned.window,
            reason: pinned.reason.clone(),
            release: pinned.release.clone(),
            shape: pinned.shape.clone(),
        })
    }
}
