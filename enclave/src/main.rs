//! The process: arguments, log filter, hardening, runtime, signals, exit code.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use bastide_enclave::args::{Cli, Command, LayerRange, ServeArgs};
use bastide_enclave::attesting::Opened;
use bastide_enclave::drain::Lifecycle;
use bastide_enclave::error::StartError;
use bastide_enclave::pipeline::PipelineSettings;
use bastide_enclave::startup::{Enclave, Ended, Settings};
use bastide_enclave::{Limits, attesting, hardening, model, telemetry, tls_files};
use clap::Parser as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match cli.command {
        Command::Manifest { model, draft, ranges } => {
            manifest(&model, draft.as_deref(), ranges).map(|()| Ended::Drained)
        }
        Command::Serve(args) => serve(&args),
    };
    match ended {
        Ok(Ended::Drained) => ExitCode::SUCCESS,
        Ok(Ended::Unattestable) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody is left to tell if stderr is gone.
            let _ = writeln!(io::stderr(), "{}", error.report());
            ExitCode::from(error.exit_code())
        }
    }
}

fn manifest(dir: &Path, draft: Option<&Path>, ranges: Vec<LayerRange>) -> Result<(), StartError> {
    let loaded = model::load(dir, None)?;
    let draft = draft.map(|draft| model::load(draft, None)).transpose()?;
    let ranges: Vec<_> = ranges.into_iter().map(|LayerRange(layers)| layers).collect();
    let digests = model::range_digests(dir, &ranges)?;
    let ranges: Vec<_> = ranges.into_iter().zip(digests).collect();
    let mut line = model::describe(&loaded, draft.as_ref(), &ranges);
    line.push(b'\n');
    io::stdout().write_all(&line).map_err(|source| StartError::Ready {
        to: "stdout".to_owned(),
        source,
    })
}

fn serve(args: &ServeArgs) -> Result<Ended, StartError> {
    telemetry::install().map_err(|_| StartError::Telemetry)?;
    hardening::silence_panics();
    hardening::harden().map_err(StartError::Hardening)?;
    let identity = tls_files::open(args)?;
    let Opened {
        attester,
        gpus,
        endorser,
        courier,
    } = attesting::open(args)?;
    let settings = Settings {
        model: args.model.clone(),
        listen: args.listen,
        metrics_listen: args.metrics_listen,
        engine_threads: args.engine_threads,
        identity,
        pipeline: PipelineSettings::read(&args.pipeline)?,
        limits: Limits::from(&args.limits),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::new().map_err(StartError::Runtime)?;
        if let Some(courier) = courier {
            tokio::spawn(courier.run());
        }
        // Loading a large model takes long, and an attester may hang.
        let enclave = tokio::select! {
            started = Enclave::start_with(settings, attester, gpus, endorser) => started?,
            () = signals.next() => return Ok(Ended::Drained),
        };
        tokio::spawn(signals.obey(enclave.life()));
        enclave
            .ready()
            .announce(&mut io::stdout(), args.ready_file.as_deref())?;
        Ok(enclave.run().await)
    });
    // Generations that were cut still compute; the process ends without them.
    runtime.shutdown_background();
    ended
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// The first signal drains, the second ends the process at once.
    async fn obey(mut self, life: Arc<Lifecycle>) {
        self.next().await;
        life.drain();
        self.next().await;
        std::process::exit(1);
    }
}
