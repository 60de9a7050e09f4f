//! Where output goes: stdout carries data only, stderr everything else. A
//! closed pipe is no error. Text from elsewhere must have passed
//! [`crate::escape`] before it comes here.

use std::io::{self, IsTerminal as _, Write as _};

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::escape;
use crate::fault::Fault;
use crate::paint::{ColorChoice, Environment, Paint};

/// Options that every command has.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Form of what is printed; JSON is versioned and members are only ever added
    #[arg(long, global = true, value_name = "FORM", default_value = "human")]
    output: Format,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
    /// Print results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print more
    #[arg(short, long, global = true)]
    verbose: bool,
}

/// Form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people; not an interface.
    Human,
    /// One versioned object a line.
    Json,
}

/// The two streams, and how to write to them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    format: Format,
    out: Paint,
    err: Paint,
    err_terminal: bool,
    quiet: bool,
    verbose: bool,
}

impl Console {
    /// Decides colour for both streams.
    pub(crate) fn new(args: &OutputArgs) -> Self {
        let environment = Environment::read();
        let err_terminal = io::stderr().is_terminal();
        Self {
            format: args.output,
            out: Paint::new(args.color, io::stdout().is_terminal(), environment),
            err: Paint::new(args.color, err_terminal, environment),
            err_terminal,
            quiet: args.quiet,
            verbose: args.verbose,
        }
    }

    /// Whether JSON is wanted.
    pub(crate) fn json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether more is wanted.
    pub(crate) const fn verbose(&self) -> bool {
        self.verbose
    }

    /// Paint for stdout.
    pub(crate) const fn out(&self) -> Paint {
        self.out
    }

    /// Paint for stderr.
    pub(crate) const fn err(&self) -> Paint {
        self.err
    }

    /// Whether progress may be shown: somebody looks at stderr and wants it.
    pub(crate) fn shows_progress(&self) -> bool {
        self.err_terminal && !self.quiet && !self.verbose && !self.json()
    }

    /// Writes data to stdout. A closed pipe is silently fine: the exit code
    /// must still be the verdict's.
    ///
    /// # Errors
    /// [`Fault`] if stdout can't be written for another reason.
    pub(crate) fn data(&self, text: &str) -> Result<(), Fault> {
        self.stream(text).map(|_| ())
    }

    /// Like [`Self::data`], and says whether anybody still reads.
    ///
    /// # Errors
    /// [`Fault`] if stdout can't be written for another reason than a closed pipe.
    pub(crate) fn stream(&self, text: &str) -> Result<bool, Fault> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Fault::internal(format!("stdout can't be written: {error}"))),
        }
    }

    /// Writes one JSON object and a newline to stdout.
    ///
    /// # Errors
    /// As [`Self::data`].
    pub(crate) fn object(&self, value: &impl Serialize) -> Result<(), Fault> {
        let mut text = serde_json::to_string(value)
            .map_err(|error| Fault::internal(format!("the result is no JSON: {error}")))?;
        text.push('\n');
        self.data(&text)
    }

    /// Something worth knowing, on stderr, unless `--quiet`.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.warn(text);
        }
    }

    /// Something for `--verbose`.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbose {
            self.warn(text);
        }
    }

    /// Something that must be seen, on stderr.
    pub(crate) fn warn(&self, text: &str) {
        let mut err = io::stderr().lock();
        let _ = err
            .write_all(text.as_bytes())
            .and_then(|()| err.write_all(b"\n"))
            .and_then(|()| err.flush());
    }

    /// Shows a fault on stderr, in the form that was asked for.
    pub(crate) fn fault(&self, fault: &Fault) {
        if self.json() {
            let object = serde_json::json!({
                "schema": "bastide.error/v1",
                "code": fault.code,
                "message": fault.message,
                "remedy": fault.remedy,
            });
            self.warn(&object.to_string());
            return;
        }
        let mut text = format!(
            "{} {}  {}",
            self.err.bad("error"),
            self.err.strong(fault.code),
            escape::prose(&fault.message)
        );
        if let Some(remedy) = &fault.remedy {
            text.push_str(&format!("\n  do  {}", escape::prose(remedy)));
        }
        self.warn(&text);
    }
}
