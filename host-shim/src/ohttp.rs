//! `bastide-shim relay-ohttp`: this process becomes `bastide-ohttp-relay`, which
//! lies beside it. The relay of sealed requests speaks HTTP and TLS; the shim in
//! front of a guest must not, so it is another command and no part of this one.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The command that does it.
pub const COMMAND: &str = "bastide-ohttp-relay";
/// What to do if it can't be started.
pub const REMEDY: &str = "install bastide-ohttp-relay in the folder of bastide-shim";

/// Becomes the relay: same process, same signals, same stdout. Only the command
/// beside this one is looked for, not what `PATH` may have.
///
/// Comes back with the reason if it can't be started.
#[must_use]
pub fn become_relay(flags: &[OsString]) -> String {
    let own = match std::env::current_exe() {
        Ok(own) => own,
        Err(error) => return format!("can't find out where this command lies: {error}"),
    };
    let error = Command::new(own.with_file_name(COMMAND)).args(flags).exec();
    format!("can't start {COMMAND}: {error}")
}
