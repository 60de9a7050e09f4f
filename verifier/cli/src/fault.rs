//! Why a command ended without a verdict: exit code, stable code, what was
//! wrong and what to do. Verdicts are not faults.

use std::fmt;

use crate::exit;

/// A command's error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Exit code of the process; see [`exit`].
    pub(crate) exit: u8,
    /// Stable dotted code.
    pub(crate) code: &'static str,
    /// What was expected and what came. May quote input: it is escaped when shown.
    pub(crate) message: String,
    /// What to do.
    pub(crate) remedy: Option<String>,
}

impl Fault {
    fn new(exit: u8, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            exit,
            code,
            message: message.into(),
            remedy: None,
        }
    }

    /// The command line, or a file that it names, is not usable.
    pub(crate) fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(exit::USAGE, code, message)
    }

    /// Input isn't what its format says.
    pub(crate) fn malformed(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(exit::MALFORMED, code, message)
    }

    /// A check failed.
    pub(crate) fn rejected(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(exit::REJECTED, code, message)
    }

    /// A node did not do its part.
    pub(crate) fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(exit::UNAVAILABLE, code, message)
    }

    /// This program or its machine failed.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(exit::INTERNAL, "internal", message)
    }

    /// Adds what to do.
    #[must_use]
    pub(crate) fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

/// An error and everything that caused it, in one line. A cause that the error
/// above it ends with already is not said twice.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::with_causes;
    use bastide_attestation::Evidence;

    #[derive(Debug, thiserror::Error)]
    #[error("the evidence can't be read")]
    struct Outer(#[source] bastide_attestation::EvidenceError);

    #[test]
    fn each_cause_is_said_once() {
        let error = Evidence::decode(b"").unwrap_err();
        let said = "evidence envelope: not well-formed CBOR";
        assert_eq!(with_causes(&error), said);
        assert_eq!(
            with_causes(&Outer(error)),
            format!("the evidence can't be read: {said}")
        );
    }
}
