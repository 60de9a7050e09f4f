//! What stands behind the answers of a pipeline while they come: each receipt
//! is held against every stage. Stages are asked for evidence when nothing is
//! known of them, and again when what is known doesn't fit a receipt, since a
//! stage may have been replaced meanwhile.

use bastide_attestation::Receipt;
use bastide_attested_tls::NodeAddress;
use tokio::sync::Mutex;

use super::receipt;
use super::stages::{self, Chain, Wanted};
use crate::clock;
use crate::fault::Fault;
use crate::gate::Gate;

/// Code of a connection that its node has closed.
const CLOSED: &str = "session.closed";
/// Pipelines that are remembered.
const MAX_KNOWN: usize = 8;
/// What follows from a refusal.
const REMEDY: &str = "do not rely on the answer: nothing vouches for it";

/// The pipelines behind the nodes of one gate, as they were judged last.
#[derive(Debug)]
pub(crate) struct Vouching {
    gate: Gate,
    /// The latest last. Held while stages are asked, so that they are asked once.
    known: Mutex<Vec<(NodeAddress, Chain)>>,
}

impl Vouching {
    /// Nothing is known yet.
    pub(crate) fn new(gate: Gate) -> Self {
        Self {
            gate,
            known: Mutex::default(),
        }
    }

    /// Requires that every stage had the part in a receipt that it says; gives
    /// the chain that it was held against. None for a receipt of one node.
    ///
    /// # Errors
    /// [`Fault`] if a stage is refused, or the receipt doesn't hold.
    pub(crate) async fn vouch(&self, node: &NodeAddress, receipt: &Receipt) -> Result<Option<Chain>, Fault> {
        if receipt.claims().pipeline.is_none() {
            return Ok(None);
        }
        let mut known = self.known.lock().await;
        let fits =
            |(of, chain): &&(NodeAddress, Chain)| of == node && receipt::require(receipt, chain).is_ok();
        if let Some((_, chain)) = known.iter().find(fits) {
            return Ok(Some(chain.clone()));
        }
        let chain = self.ask(node).await?;
        if let Some((stage, failed)) = chain.failed() {
            let of = stage.map_or_else(|| "the pipeline".to_owned(), |stage| format!("stage {stage}"));
            let message = format!("{of}: expected {}, got {}", failed.expected, failed.got);
            return Err(Fault::rejected(failed.id, message).with_remedy(REMEDY));
        }
        receipt::require(receipt, &chain)
            .map_err(|fault| Fault::rejected(fault.code(), fault.to_string()).with_remedy(REMEDY))?;
        known.retain(|(of, _)| of != node);
        if known.len() >= MAX_KNOWN {
            known.remove(0);
        }
        known.push((node.clone(), chain.clone()));
        Ok(Some(chain))
    }

    /// Asks, once more if what the node states changed just when it was asked and
    /// the connection was closed for it: evidence can be asked for again.
    async fn ask(&self, node: &NodeAddress) -> Result<Chain, Fault> {
        match self.ask_once(node).await {
            Err(fault) if fault.code == CLOSED => self.ask_once(node).await,
            asked => asked,
        }
    }

    /// Asks over a connection of its own: the one that the answer came over may
    /// be in use, and must be to this very node.
    async fn ask_once(&self, node: &NodeAddress) -> Result<Chain, Fault> {
        let mut connection = self.gate.connect(node).await.map_err(|refusal| {
            let reason = refusal.verdict.reason.clone().unwrap_or_default();
            Fault {
                exit: refusal.exit,
                code: refusal.code,
                message: format!("the stages behind {node} can't be asked: {reason}"),
                remedy: Some(REMEDY.to_owned()),
            }
        })?;
        let (nonce, answer) = stages::ask(&mut connection).await?;
        let chain = stages::judge(
            &answer,
            &nonce,
            connection.result(),
            self.gate.appraiser(),
            &Wanted::default(),
            clock::now(),
        )?;
        self.gate.ledger().chain(node, &chain);
        Ok(chain)
    }
}
