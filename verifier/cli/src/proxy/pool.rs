//! Connections that the policy admitted, for use one request at a time. Only
//! an [`AttestedConnection`] can be in it; one whose lease is over or that was
//! closed is dropped when it is found.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bastide_attested_tls::{AttestedConnection, NodeAddress};

use super::error::explain;
use crate::console::Console;
use crate::escape;
use crate::gate::{Gate, Refusal};
use crate::ledger::Recorder;
use crate::verdict_view::SIMULATED;

/// Idle connections that are worth keeping.
const MAX_IDLE: usize = 16;
/// How long a node that was not admitted is tried after all others: a dead
/// one must not cost its time-out on every request.
const SET_BACK: Duration = Duration::from_secs(10);

/// Nodes in the order to try them, and idle connections to them.
#[derive(Debug)]
pub(crate) struct Pool {
    gate: Gate,
    nodes: Vec<NodeAddress>,
    console: Console,
    idle: Mutex<Vec<AttestedConnection>>,
    standing: Mutex<Vec<Standing>>,
}

/// What is remembered of a node. Nothing here admits it.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    /// What was last said about it, so that it is said once.
    said: Option<&'static str>,
    /// When it was last not admitted.
    refused: Option<Instant>,
}

const ADMITTED: &str = "admitted";

impl Pool {
    /// A pool without connections.
    pub(crate) fn new(gate: Gate, nodes: Vec<NodeAddress>, console: Console) -> Self {
        let standing = Mutex::new(vec![Standing::default(); nodes.len()]);
        Self {
            gate,
            nodes,
            console,
            idle: Mutex::new(Vec::new()),
            standing,
        }
    }

    /// What was admitted, refused and answered is kept here.
    pub(super) const fn ledger(&self) -> &Recorder {
        self.gate.ledger()
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
        let order = order(&lock(&self.standing), Instant::now());
        for at in order {
            let Some(node) = self.nodes.get(at) else { continue };
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

    /// Remembers what became of a node; says whether that is news.
    fn remember(&self, at: usize, news: &'static str, refused: Option<Instant>) -> bool {
        let mut standing = lock(&self.standing);
        standing.get_mut(at).is_some_and(|node| {
            node.refused = refused;
            node.said.replace(news) != Some(news)
        })
    }

    fn report_admitted(&self, at: usize, connection: &AttestedConnection) {
        if !self.remember(at, ADMITTED, None) {
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
        if self.remember(at, refusal.code, Some(Instant::now())) {
            let paint = self.console.err();
            self.console
                .warn(&format!("{}  {}", paint.bad("BLOCKED"), explain(refusal)));
        }
    }
}

/// Nodes as they were named; those that were refused a moment ago after the others.
fn order(standing: &[Standing], now: Instant) -> Vec<usize> {
    let set_back = |at: &usize| {
        standing
            .get(*at)
            .and_then(|node| node.refused)
            .is_some_and(|refused| now.duration_since(refused) < SET_BACK)
    };
    let (last, mut first): (Vec<_>, Vec<_>) = (0..standing.len()).partition(set_back);
    first.extend(last);
    first
}

/// The data is valid at every moment, so that a panic elsewhere doesn't taint it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_node_goes_behind_the_others_for_a_while_and_is_never_left_out() {
        let now = Instant::now();
        let mut standing = vec![Standing::default(); 3];
        assert_eq!(order(&standing, now), [0, 1, 2]);
        standing[0].refused = Some(now);
        assert_eq!(order(&standing, now), [1, 2, 0]);
        standing[1].refused = Some(now);
        standing[2].refused = Some(now);
        assert_eq!(order(&standing, now), [0, 1, 2]);
        assert_eq!(order(&standing[..1], now + SET_BACK), [0]);
    }
}
