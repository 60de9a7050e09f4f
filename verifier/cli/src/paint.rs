//! Colour, which never carries meaning alone: every painted word says the same
//! without it.

use clap::ValueEnum;

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set, CLICOLOR is 0 or TERM is dumb.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What the environment says about colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Environment {
    /// NO_COLOR is set to anything but nothing.
    pub(crate) no_color: bool,
    /// CLICOLOR is 0.
    pub(crate) clicolor_off: bool,
    /// TERM is `dumb`.
    pub(crate) dumb: bool,
}

impl Environment {
    /// Reads NO_COLOR, CLICOLOR and TERM.
    pub(crate) fn read() -> Self {
        let is = |name: &str, wanted: fn(&str) -> bool| {
            std::env::var_os(name).is_some_and(|value| value.to_str().is_none_or(wanted))
        };
        Self {
            no_color: is("NO_COLOR", |value| !value.is_empty()),
            clicolor_off: is("CLICOLOR", |value| value == "0"),
            dumb: is("TERM", |value| value == "dumb"),
        }
    }
}

/// Paints text for one stream, or leaves it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint(bool);

impl Paint {
    /// Decides for a stream.
    pub(crate) const fn new(choice: ColorChoice, terminal: bool, environment: Environment) -> Self {
        Self(match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                terminal && !environment.no_color && !environment.clicolor_off && !environment.dumb
            }
        })
    }

    /// No colour.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self(false);

    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// Something holds.
    pub(crate) fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// Something doesn't hold.
    pub(crate) fn bad(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    /// Something to look at.
    pub(crate) fn warn(self, text: &str) -> String {
        self.wrap("1;33", text)
    }

    /// A heading.
    pub(crate) fn strong(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// An aside.
    pub(crate) fn faint(self, text: &str) -> String {
        self.wrap("2", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: Environment = Environment {
        no_color: false,
        clicolor_off: false,
        dumb: false,
    };

    #[test]
    fn colour_needs_a_terminal_and_nobodys_veto() {
        let auto = |terminal, environment| Paint::new(ColorChoice::Auto, terminal, environment).0;
        assert!(auto(true, CLEAN));
        assert!(!auto(false, CLEAN));
        for veto in [
            Environment {
                no_color: true,
                ..CLEAN
            },
            Environment {
                clicolor_off: true,
                ..CLEAN
            },
            Environment { dumb: true, ..CLEAN },
        ] {
            assert!(!auto(true, veto));
            assert!(
                Paint::new(ColorChoice::Always, false, veto).0,
                "an explicit wish wins"
            );
        }
        assert!(!Paint::new(ColorChoice::Never, true, CLEAN).0);
    }
}
