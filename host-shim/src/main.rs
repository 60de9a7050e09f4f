//! The `bastide-shim` command: reads the command line, starts the relay, and
//! turns its end into an exit code. Everything else is in the library.

use std::error::Error as _;
use std::process::ExitCode;

use bastide_host_shim::args::{Arguments, Command, RelayArguments};
use bastide_host_shim::log::{Level, Log};
use bastide_host_shim::ohttp;
use bastide_host_shim::ready::{self, ReadyFile};
use bastide_host_shim::relay::{BindError, Relay};
use bastide_host_shim::shutdown::{Shutdown, Signals};
use clap::Parser as _;

/// What ends the command with exit code 1.
#[derive(Debug)]
struct Failure {
    code: &'static str,
    message: String,
    remedy: &'static str,
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse().command {
        Command::Relay(arguments) => arguments,
        Command::RelayOhttp(arguments) => {
            // Comes back only if the other command could not be started.
            let message = ohttp::become_relay(&arguments.flags);
            Log::new(Level::Error).failed("shim.relay_ohttp", &message, ohttp::REMEDY);
            return ExitCode::FAILURE;
        }
    };
    let log = Log::new(arguments.log);
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure {
            code: "shim.runtime",
            message: format!("can't start threads: {error}"),
            remedy: "check the process's limits on threads and file descriptors",
        })
        .and_then(|runtime| runtime.block_on(relay(&arguments, log)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure {
            code,
            message,
            remedy,
        }) => {
            log.failed(code, &message, remedy);
            ExitCode::FAILURE
        }
    }
}

async fn relay(arguments: &RelayArguments, log: Log) -> Result<(), Failure> {
    // Before the ready line, so that a signal right after it already drains.
    let signals = Signals::listen().map_err(|error| Failure {
        code: "shim.signals",
        message: format!("can't take SIGTERM and SIGINT: {error}"),
        remedy: "check the sandbox that the process runs in",
    })?;
    let ready_file = arguments.ready_file.as_deref().map(ReadyFile::claim).transpose();
    let ready_file = ready_file.map_err(|error| ready_failure(&error))?;
    let bound = Relay::bind(&arguments.listen, arguments.to.clone(), arguments.limits(), log).await;
    let relay = bound.map_err(|error| bind_failure(&error))?;

    let shutdown = Shutdown::default();
    tokio::spawn(signals.forward_to(shutdown.clone()));
    let line = ready::line(relay.listen());
    if let Some(file) = &ready_file {
        file.write(&line).map_err(|error| ready_failure(&error))?;
    }
    ready::print(&line).map_err(|error| Failure {
        code: "shim.ready.stdout",
        message: format!("can't print the ready line: {error}"),
        remedy: "leave stdout open, or send it to /dev/null",
    })?;
    relay.run(&shutdown).await;
    Ok(())
}

fn ready_failure(error: &std::io::Error) -> Failure {
    Failure {
        code: "shim.ready.file",
        message: format!("can't write the ready file: {error}"),
        remedy: "give --ready-file a path in a folder that exists and can be written to",
    }
}

fn bind_failure(error: &BindError) -> Failure {
    let cause = error
        .source()
        .map(|source| format!(": {source}"))
        .unwrap_or_default();
    Failure {
        code: error.code(),
        message: format!("{error}{cause}"),
        remedy: error.remedy(),
    }
}
