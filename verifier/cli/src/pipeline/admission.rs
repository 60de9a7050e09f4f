//! Before a connection to a head of a pipeline is given out, and whenever it is
//! renewed: every stage behind it is judged, and whose policies its plan holds
//! stages to. That counts for as long as a lease, and no longer than until one
//! of them is refused.
//!
//! Owns what was judged, for as long as it counts. Refuses a head with a stage
//! that our policy doesn't accept, and a plan by which another stage could come
//! in that it doesn't.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bastide_attestation::{Appraiser, BootId, Decision, Receipt};
use bastide_attested_tls::{
    AppraisePipeline, AttestedConnection, LEASE, NodeAddress, PipelineRefused, RENEW_AFTER,
};

use super::stages::{self, Chain, Wanted};
use super::{asking, receipt};
use crate::clock;
use crate::exit;
use crate::fault::Fault;
use crate::ledger::Recorder;

/// Heads that are remembered: of a head that isn't, connections don't count.
const MAX_KNOWN: usize = 64;
/// Code of a connection that its node has closed.
const CLOSED: &str = "session.closed";

/// A head's stages as they were judged last.
struct Judged {
    node: NodeAddress,
    /// Of the head: what it follows doesn't change before it starts anew.
    boot: BootId,
    at: Instant,
    chain: Arc<Chain>,
}

/// Judges the stages behind heads.
pub(crate) struct Admission {
    appraiser: Arc<dyn Appraiser>,
    wanted: Wanted,
    ledger: Recorder,
    /// Whether a chain that is refused is only to be shown.
    showing: bool,
    /// The latest last, one for each node.
    judged: Mutex<Vec<Judged>>,
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission")
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

impl Admission {
    /// Judges by `appraiser` and what is `wanted`, and keeps it in the ledger.
    /// `showing`: gives connections out however stages were judged, to somebody
    /// who sends nothing.
    pub(crate) fn new(
        appraiser: Arc<dyn Appraiser>,
        wanted: Wanted,
        ledger: Recorder,
        showing: bool,
    ) -> Self {
        Self {
            appraiser,
            wanted,
            ledger,
            showing,
            judged: Mutex::default(),
        }
    }

    fn judged(&self) -> MutexGuard<'_, Vec<Judged>> {
        // Every change leaves the list whole.
        self.judged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stages behind a node as they were judged last, however old that is.
    pub(crate) fn latest(&self, node: &NodeAddress) -> Option<Arc<Chain>> {
        let judged = self.judged();
        let of = judged.iter().find(|judged| judged.node == *node);
        of.map(|judged| Arc::clone(&judged.chain))
    }

    /// The same, if every part of the receipt is by one of them.
    pub(crate) fn behind(&self, node: &NodeAddress, of: &Receipt) -> Option<Arc<Chain>> {
        self.latest(node)
            .filter(|chain| receipt::require(of, chain).is_ok())
    }

    /// What is known of a node counts no more: a stage may have been replaced.
    pub(crate) fn forget(&self, node: &NodeAddress) {
        self.judged().retain(|judged| judged.node != *node);
    }

    /// Whether what the stages behind this head proved is younger than `life`, and
    /// none of them was refused since. Behind one address there may be several heads.
    fn holds(&self, head: &AttestedConnection, life: Duration) -> bool {
        let boot = head.result().statement.boot_id;
        self.judged().iter().any(|judged| {
            judged.node == *head.node()
                && judged.boot == boot
                && judged.at.elapsed() < life
                && judged.chain.failed().is_none()
        })
    }

    async fn ask(&self, head: &mut AttestedConnection) -> Result<(), Fault> {
        // What counts must last until a connection that begins now is renewed.
        if self.holds(head, LEASE.saturating_sub(RENEW_AFTER) / 2) {
            return Ok(());
        }
        let (node, boot) = (head.node().clone(), head.result().statement.boot_id);
        // It counts from before the question: evidence can't be older.
        let at = Instant::now();
        let (nonce, answer) = asking::ask(head).await?;
        let chain = stages::judge(
            &answer,
            &nonce,
            head.result(),
            &*self.appraiser,
            &self.wanted,
            clock::now(),
        )?;
        self.ledger.chain(&node, &chain);
        let refused = chain.refusal();
        let mut judged = self.judged();
        judged.retain(|judged| judged.node != node);
        if judged.len() >= MAX_KNOWN {
            judged.remove(0);
        }
        judged.push(Judged {
            node,
            boot,
            at,
            chain: Arc::new(chain),
        });
        match refused {
            Some(fault) if !self.showing => Err(fault),
            _ => Ok(()),
        }
    }
}

impl AppraisePipeline for Admission {
    fn appraise<'a>(
        &'a self,
        head: &'a mut AttestedConnection,
    ) -> Pin<Box<dyn Future<Output = Result<(), PipelineRefused>> + Send + 'a>> {
        Box::pin(async move {
            self.ask(head).await.map_err(|fault| PipelineRefused {
                code: fault.code,
                decision: match fault.exit {
                    exit::REJECTED => Decision::Rejected,
                    exit::UNSUPPORTED => Decision::Unsupported,
                    exit::MALFORMED => Decision::Malformed,
                    _ => Decision::Undecided,
                },
                interrupted: fault.code == CLOSED,
                reason: fault.message,
            })
        })
    }

    fn counts(&self, head: &AttestedConnection) -> bool {
        self.showing || self.holds(head, LEASE)
    }
}
