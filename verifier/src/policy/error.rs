//! Why a policy can't be used: which line, what was expected, what came, and
//! the nearest known name for a mistyped one.

use core::fmt;
use core::ops::Range;

/// What kind of fault a policy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PolicyFault {
    /// More bytes, or more entries in a list, than a policy may have.
    TooLarge,
    /// Not UTF-8.
    NotText,
    /// Not TOML of the schema: syntax, a type, an unknown or a missing key.
    Syntax,
    /// A value that no policy can have.
    Value,
    /// A decision that is neither made nor ignored.
    Missing,
    /// Two statements that can't both hold, or one that could never matter.
    Contradiction,
    /// The same entry twice.
    Duplicate,
}

impl PolicyFault {
    /// Stable dotted code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "policy.too_large",
            Self::NotText => "policy.not_text",
            Self::Syntax => "policy.syntax",
            Self::Value => "policy.value",
            Self::Missing => "policy.missing",
            Self::Contradiction => "policy.contradiction",
            Self::Duplicate => "policy.duplicate",
        }
    }
}

/// A policy can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    fault: PolicyFault,
    line: Option<usize>,
    message: String,
}

impl std::error::Error for PolicyError {}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "policy line {line}: {}", self.message),
            None => write!(f, "policy: {}", self.message),
        }
    }
}

impl PolicyError {
    /// A fault of the file as a whole.
    pub(crate) fn whole(fault: PolicyFault, message: impl Into<String>) -> Self {
        Self {
            fault,
            line: None,
            message: message.into(),
        }
    }

    /// A fault at a place in `text`.
    pub(crate) fn at(
        fault: PolicyFault,
        text: &str,
        span: Option<Range<usize>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            fault,
            line: span.map(|span| line_of(text, span.start)),
            message: message.into(),
        }
    }

    /// A fault that the TOML reader found.
    pub(crate) fn syntax(text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().trim().replace('\n', "; ");
        let hint = nearest_in(&message);
        Self::at(
            PolicyFault::Syntax,
            text,
            error.span(),
            format!("{message}{hint}"),
        )
    }

    /// What kind of fault it is.
    #[must_use]
    pub const fn fault(&self) -> PolicyFault {
        self.fault
    }

    /// Stable dotted code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.fault.code()
    }

    /// The line, from 1, if the fault has a place.
    #[must_use]
    pub const fn line(&self) -> Option<usize> {
        self.line
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// ``; did you mean `x`?`` for a message of the form ``unknown field `a`, expected one of `b`, `c` ``.
fn nearest_in(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let (true, Some(word)) = (message.starts_with("unknown"), quoted.next()) else {
        return String::new();
    };
    let candidates: Vec<_> = quoted.collect();
    nearest(word, &candidates).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// The candidate that is a typing error away from `word`.
pub(crate) fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    candidates
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, on the first 64 characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, a) in left.chars().take(64).enumerate() {
        let mut diagonal = index;
        let mut previous = index + 1;
        let mut next = Vec::with_capacity(row.len());
        next.push(previous);
        for (b, above) in right.iter().zip(row.iter().skip(1)) {
            let cost = (diagonal + usize::from(a != *b)).min(previous + 1).min(above + 1);
            diagonal = *above;
            previous = cost;
            next.push(cost);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn the_nearest_name_is_one_typing_error_away() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        let names = ["products", "report_versions", "vmpl"];
        assert_eq!(nearest("product", &names), Some("products"));
        assert_eq!(nearest("reportversions", &names), Some("report_versions"));
        assert_eq!(nearest("measurements", &names), None);
    }
}
