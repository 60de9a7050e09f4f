//! The nodes that the policy admits, as the proxy's person sees them: what
//! became of each is said once. Connections are the pool's of
//! `bastide-attested-tls`, which holds none that the gate did not admit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bastide_attestation::Verdict;
use bastide_attested_tls::{
    AttestedConnection, AttestedPool, ConnectError, NodeAddress, PoolError, PoolObserver, PooledConnection,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};

use super::error::explain;
use crate::console::Console;
use crate::escape;
use crate::gate::{Gate, Refusal};
use crate::ledger::Recorder;
use crate::pipeline::vouching::Vouching;
use crate::verdict_view::SIMULATED;

const ADMITTED: &str = "admitted";

/// Connections to nodes, and what a person is told about these.
#[derive(Debug)]
pub(crate) struct Pool {
    connections: AttestedPool,
    gate: Gate,
    stages: Vouching,
    console: Console,
}

/// Says what becomes of nodes.
struct Reporter {
    gate: Gate,
    console: Console,
    /// What was last said about each, so that it is said once.
    said: Mutex<HashMap<NodeAddress, &'static str>>,
}

/// Why a request got no answer.
pub(super) enum NoAnswer {
    /// No node was admitted. Nothing was sent.
    Refused(Vec<Refusal>),
    /// Nodes are there, and none answered.
    Failed(PoolError),
}

impl Pool {
    /// A pool without connections. Nodes are in the order to try them.
    pub(crate) fn new(gate: Gate, nodes: Vec<NodeAddress>, console: Console) -> Self {
        let reporter = Reporter {
            gate: gate.clone(),
            console,
            said: Mutex::default(),
        };
        Self {
            connections: gate.pool(nodes, Some(Arc::new(reporter))),
            stages: Vouching::new(gate.clone()),
            gate,
            console,
        }
    }

    /// What was admitted, refused and answered is kept here.
    pub(super) const fn ledger(&self) -> &Recorder {
        self.gate.ledger()
    }

    /// The verdict on a connection's node, with that of the stages behind it.
    pub(super) fn verdict(&self, connection: &AttestedConnection) -> Verdict {
        self.gate.verdict(connection)
    }

    /// What stands behind heads of pipelines.
    pub(super) const fn stages(&self) -> &Vouching {
        &self.stages
    }

    /// Sends over the first connection that takes the request.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(PooledConnection, Response<Incoming>), NoAnswer> {
        self.connections.send(request).await.map_err(|error| match error {
            PoolError::NoNode(failures) => NoAnswer::Refused(self.gate.refusals(&failures)),
            error => NoAnswer::Failed(error),
        })
    }

    /// Tries the nodes once and reports. The proxy stays up either way.
    pub(crate) async fn warm_up(&self) {
        if let Ok(connection) = self.connections.take().await {
            connection.done();
        } else {
            self.console
                .warn("no node meets the policy now; requests get 503 until one does");
        }
    }
}

impl Reporter {
    /// Remembers what became of a node; says whether that is news.
    fn is_news(&self, node: &NodeAddress, news: &'static str) -> bool {
        // An entry is there or not: a panic elsewhere doesn't taint the map.
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.insert(node.clone(), news) != Some(news)
    }
}

impl PoolObserver for Reporter {
    fn admitted(&self, connection: &AttestedConnection) {
        if !self.is_news(connection.node(), ADMITTED) {
            return;
        }
        let verdict = self.gate.verdict(connection);
        let behind = self.gate.behind(connection);
        let paint = self.console.err();
        if verdict.simulated {
            self.console.warn(&paint.warn(SIMULATED));
        }
        self.console.note(&format!(
            "{} {}{} under policy {}",
            paint.good(ADMITTED),
            escape::line(&connection.node().to_string()),
            behind.map_or_else(String::new, |chain| {
                format!(", all {} stages of its pipeline,", chain.stages.len())
            }),
            escape::brief(self.gate.policy())
        ));
    }

    fn failed(&self, node: &NodeAddress, error: &ConnectError) {
        let refusal = self.gate.refusal(node, error);
        if self.is_news(node, refusal.code) {
            let paint = self.console.err();
            self.console
                .warn(&format!("{}  {}", paint.bad("BLOCKED"), explain(&refusal)));
        }
    }
}
