//! The `bastide-ohttp-relay` command: reads the command line, starts the relay,
//! and turns its end into an exit code. Everything else is in the library.

use std::process::ExitCode;

use bastide_host_shim::endpoint::Endpoint;
use bastide_host_shim::log::{Level, Log};
use bastide_host_shim::ready::{self, ReadyFile};
use bastide_host_shim::shutdown::{Shutdown, Signals};
use bastide_ohttp_relay::args::Arguments;
use bastide_ohttp_relay::server::Server;
use clap::Parser as _;

/// What ends the command with exit code 1: code, message, remedy.
struct Failure(&'static str, String, &'static str);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let log = Log::new(Level::Error);
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure(
                "relay.runtime",
                format!("can't start threads: {error}"),
                "check the process's limits on threads and file descriptors",
            )
        })
        .and_then(|runtime| runtime.block_on(run(arguments)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(code, message, remedy)) => {
            log.failed(code, &message, remedy);
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    // Before the ready line, so that a signal right after it already drains.
    let signals = Signals::listen().map_err(|error| {
        Failure(
            "relay.signals",
            format!("can't take SIGTERM and SIGINT: {error}"),
            "check the sandbox that the process runs in",
        )
    })?;
    let ready_failure = |error: std::io::Error| {
        Failure(
            "relay.ready.file",
            format!("can't write the ready file: {error}"),
            "give --ready-file a path in a folder that exists and can be written to",
        )
    };
    let ready_file = arguments.ready_file.as_deref().map(ReadyFile::claim).transpose();
    let ready_file = ready_file.map_err(ready_failure)?;
    let listen_failure = |error: std::io::Error| {
        Failure(
            "relay.listen",
            format!("can't listen: {error}"),
            "name an address of this machine and a free port, or port 0",
        )
    };
    let server = Server::bind(
        arguments.listen,
        arguments.gateway,
        arguments.max_connections,
        arguments.per_address,
    )
    .await
    .map_err(listen_failure)?;
    let listen = server.listen().map_err(listen_failure)?;
    let shown: Endpoint = format!("tcp:{listen}").parse().map_err(|_| {
        Failure(
            "relay.listen",
            "the address that was bound can't be shown".to_owned(),
            "name an IPv4 address, or an IPv6 address in brackets",
        )
    })?;
    let shutdown = Shutdown::default();
    tokio::spawn(signals.forward_to(shutdown.clone()));
    let line = ready::line(&shown);
    if let Some(file) = &ready_file {
        file.write(&line).map_err(ready_failure)?;
    }
    ready::print(&line).map_err(|error| {
        Failure(
            "relay.ready.stdout",
            format!("can't print the ready line: {error}"),
            "leave stdout open, or send it to /dev/null",
        )
    })?;
    server.run(&shutdown).await;
    Ok(())
}
