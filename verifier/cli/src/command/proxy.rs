//! `bastide proxy`: a local OpenAI-compatible API in front of attested nodes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bastide_attested_tls::{Carrier, NodeAddress};
use clap::Args;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::block_on;
use crate::console::Console;
use crate::exit;
use crate::fault::Fault;
use crate::file;
use crate::gate::Gate;
use crate::ledger::{LedgerArgs, Recorder};
use crate::pipeline::trust::TrustArgs;
use crate::policy_source::{self, PolicyArgs};
use crate::proxy::{Answers, Pool, SealedGate, SealedService, Server, Service, loopback};

/// A node that swallows packets must not keep the proxy from listening.
const WARM_UP: Duration = Duration::from_secs(5);

/// Serve an OpenAI-compatible API on this machine, answered by attested nodes only
#[derive(Debug, Args)]
#[command(after_help = format!("\
Nodes are tried in the order given. If none meets the policy, requests get 503 with the code and
nothing is sent. Answers carry x-bastide-verdict; receipts are verified before an answer ends.

Examples:
  bastide proxy https://node.example --policy ours.toml
  export OPENAI_BASE_URL=http://127.0.0.1:4181/v1 OPENAI_API_KEY=unused
  bastide proxy https://one.example https://two.example --listen 127.0.0.1:0 --ready-file ready.json
  bastide proxy --sealed --relay http://relay.example https://node.example --policy ours.toml

{}", exit::HELP))]
pub(crate) struct Arguments {
    /// Nodes, each `https://HOST` or `https://HOST:PORT`
    #[arg(value_name = "URL", required = true)]
    nodes: Vec<NodeAddress>,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Seal each request to a key that the node attests, instead of a session that it attests
    #[arg(long, conflicts_with_all = ["owner", "plan"])]
    sealed: bool,
    /// Hand sealed requests to this relay, so that the node doesn't learn this machine's address
    #[arg(long, value_name = "URL", requires = "sealed")]
    relay: Option<Carrier>,
    /// Where to listen; loopback only, port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4181")]
    listen: SocketAddr,
    /// Also write the line that says it is ready to this file
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Keep evidence, receipt, salt and both bodies of each answer in a folder under this one
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    ledger: LedgerArgs,
}

/// Runs it until it is told to stop.
///
/// # Errors
/// [`Fault`] if the policy is unusable or the address can't be listened on.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<u8, Fault> {
    if !loopback(arguments.listen) {
        let message = format!("`{}` can be reached from other machines", arguments.listen);
        return Err(Fault::usage("proxy.not_loopback", message)
            .with_remedy("listen on 127.0.0.1 or [::1]: what comes in here is plain text"));
    }
    let policy = policy_source::load(&arguments.policy)?;
    let wanted = arguments.trust.wanted()?;
    let ledger = Recorder::start(&arguments.ledger, console);
    let (console, tasks) = (*console, TaskTracker::new());
    let (nodes, save) = (arguments.nodes.clone(), arguments.save.clone());
    if arguments.sealed {
        if arguments.relay.is_some() && nodes.len() > 1 {
            return Err(
                Fault::usage("proxy.relay_nodes", "a relay passes requests on to one node")
                    .with_remedy("name the node that is behind the relay, and no other"),
            );
        }
        let allow = arguments.policy.allow_simulated;
        let gate = SealedGate::new(policy, allow, nodes, arguments.relay.as_ref(), console)?;
        let gate = gate.with_ledger(ledger.clone());
        let service = Arc::new(SealedService::new(gate, save, console, tasks.clone()));
        let served = block_on(serve(arguments, service, tasks, console));
        ledger.finish();
        return served;
    }
    let gate = Gate::new(policy, arguments.policy.allow_simulated)
        .with_ledger(ledger.clone())
        .with_wanted(wanted);
    let pool = Pool::new(gate, nodes, console);
    let service = Arc::new(Service::new(pool, save, console, tasks.clone()));
    let served = block_on(serve(arguments, service, tasks, console));
    ledger.finish();
    served
}

async fn serve<S: Answers>(
    arguments: Arguments,
    service: Arc<S>,
    tasks: TaskTracker,
    console: Console,
) -> Result<u8, Fault> {
    let unusable = |error: std::io::Error| {
        Fault::usage(
            "proxy.listen",
            format!("`{}` can't be listened on: {error}", arguments.listen),
        )
        .with_remedy("name another port, or 127.0.0.1:0 for a free one")
    };
    let listener = TcpListener::bind(arguments.listen).await.map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    let stop = CancellationToken::new();
    let signals = stop_on_signals(stop.clone(), console)?;

    // Verified before the first client asks; if it takes too long, meanwhile.
    let warming = tokio::spawn({
        let service = Arc::clone(&service);
        async move { service.warm_up().await }
    });
    tokio::select! {
        _ = tokio::time::timeout(WARM_UP, async { let _ = warming.await; }) => {}
        () = stop.cancelled() => {}
    }
    if !stop.is_cancelled() {
        announce(address, arguments.ready_file.as_deref(), &console)?;
    }
    let drained = Server::new(listener, service, tasks).run(stop).await;
    signals.abort();
    if !drained {
        console.warn("stopped with answers under way");
    }
    Ok(exit::ACCEPTED)
}

fn announce(
    address: SocketAddr,
    ready_file: Option<&std::path::Path>,
    console: &Console,
) -> Result<(), Fault> {
    let base_url = format!("http://{address}/v1");
    let ready = json!({
        "schema": "bastide.proxy-ready/v1",
        "listen": address.to_string(),
        "base_url": base_url,
    });
    console.object(&ready)?;
    if let Some(path) = ready_file {
        file::publish(path, format!("{ready}\n").as_bytes())?;
    }
    console.note(&format!(
        "export OPENAI_BASE_URL={base_url} OPENAI_API_KEY=unused"
    ));
    Ok(())
}

/// The first signal drains, the second ends at once.
fn stop_on_signals(stop: CancellationToken, console: Console) -> Result<tokio::task::JoinHandle<()>, Fault> {
    let mut signals = Signals::new()?;
    Ok(tokio::spawn(async move {
        signals.next().await;
        console.note("stopping; answers under way may end, a second signal cuts them");
        stop.cancel();
        signals.next().await;
        std::process::exit(exit::INTERNAL.into());
    }))
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Result<Self, Fault> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |error: std::io::Error| Fault::internal(format!("no signal handler: {error}"));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Result<Self, Fault> {
        Ok(Self)
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
