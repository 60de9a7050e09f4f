//! What the process gives up before it holds a secret: core dumps, being
//! traced, and panic messages, which may quote what they stumbled over.

use std::io;
use std::panic;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::telemetry::ops;

/// Gives up core dumps and being traced. Called before anything secret is made.
///
/// # Errors
/// What the operating system answered; the enclave must then not start.
pub fn harden() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    // Also keeps other processes of the same user from reading our memory.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Lets a panic say where it happened and never what with.
pub fn silence_panics() {
    panic::set_hook(Box::new(|info| {
        let (file, line) = info.location().map_or(("", 0), |at| (at.file(), at.line()));
        ops!(ERROR, "enclave.panic", source_file = file, source_line = line);
    }));
}

#[cfg(test)]
mod tests {
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

    #[test]
    fn no_core_is_written_and_nobody_may_trace() {
        super::harden().unwrap();
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
