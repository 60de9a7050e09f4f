//! Connections that the policy admitted, for use one request at a time. Only
//! an [`AttestedConnection`] can be in it; one whose lease is over or that was
//! closed is dropped when it is found.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bastide_attested_tls::{AttestedConnection, NodeAddress};

use super::error::explain;
use crate::console::Console;
use crate::escape;
use crate::gate::{Gate, Refusal};
use crate::verdict_view::SIMULATED;

/// Idle connections that are worth keeping.
const MAX_IDLE: usize = 16;

/// Nodes in the order to try them, and idle connections to them.
#[derive(Debug)]
pub(crate) struct Pool {
    gate: Gate,
    nodes: Vec<NodeAddress>,
    console: Console,
    idle: Mutex<Vec<AttestedConnection>>,
    /// What was last said about each node, so that it is said once.
    said: Mutex<Vec<Option<&'static str>>>,
}

const ADMITTED: &str = "admitted";

impl Pool {
    /// A pool without connections.
    pub(crate) fn new(gate: Gate, nodes: Vec<NodeAddress>, console: Console) -> Self {
        let said = Mutex::new(vec![None; nodes.len()]);
        Self {
            gate,
            nodes,
            console,
            idle: Mutex::new(Vec::new()),
            said,
        }
    }

    /// A usable connection: an idle one, or a new one to the first node that proves itself.
    ///
    /// # Errors
    /// Why each node was not admitted.
    pub(super) async fn take(&self) -> Result<AttestedConnection, Vec<Box<Refusal>>> {
        if let Some(connection) = self.take_idle() {
            return Ok(connection);
        }
        let mut refusals = Vec::new();
        for (at, node) in self.nodes.iter().enumerate() {
            match self.gate.connect(node).await {
                Ok(connection) => {
                    self.report_admitted(at, &connection);
                    return Ok(connection);
                }
                Err(refusal) => {
                    self.report_refused(at, &refusal);
                    refusals.push(refusal);
                }
            }
        }
        Err(refusals)
    }

    fn take_idle(&self) -> Option<AttestedConnection> {
        let mut idle = lock(&self.idle);
        idle.retain(AttestedConnection::is_usable);
        idle.pop()
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(super) fn give_back(&self, connection: AttestedConnection) {
        let mut idle = lock(&self.idle);
        if connection.is_usable() && idle.len() < MAX_IDLE {
            idle.push(connection);
        }
    }

    /// Tries the nodes once and reports. The proxy stays up either way.
    pub(crate) async fn warm_up(&self) {
        if let Ok(connection) = self.take().await {
            self.give_back(connection);
        } else {
            self.console
                .warn("no node meets the policy now; requests get 503 until one does");
        }
    }

    /// Whether this news about the node is new.
    fn is_news(&self, at: usize, news: &'static str) -> bool {
        let mut said = lock(&self.said);
        said.get_mut(at)
            .is_some_and(|last| last.replace(news) != Some(news))
    }

    fn report_admitted(&self, at: usize, connection: &AttestedConnection) {
        if !self.is_news(at, ADMITTED) {
            return;
        }
        let verdict = &connection.result().verdict;
        let paint = self.console.err();
        if verdict.simulated {
            self.console.warn(&paint.warn(SIMULATED));
        }
        self.console.note(&format!(
            "{} {} under policy {}",
            paint.good(ADMITTED),
            escape::line(&connection.node().to_string()),
            escape::brief(self.gate.policy())
        ));
    }

    fn report_refused(&self, at: usize, refusal: &Refusal) {
        if self.is_news(at, refusal.code) {
            let paint = self.console.err();
            self.console
                .warn(&format!("{}  {}", paint.bad("BLOCKED"), explain(refusal)));
        }
    }
}

/// The data is valid at every moment, so that a panic elsewhere doesn't taint it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
