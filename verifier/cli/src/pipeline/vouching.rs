//! What stands behind the answers of a pipeline while they come: each receipt
//! is held against every stage. Stages were judged before the prompt was sent;
//! they are asked again where what is known doesn't fit a receipt, since one
//! may have been replaced meanwhile.

use std::sync::Arc;

use bastide_attestation::Receipt;
use bastide_attested_tls::NodeAddress;
use tokio::sync::Mutex;

use super::receipt;
use super::stages::Chain;
use crate::fault::Fault;
use crate::gate::Gate;

/// What follows from a refusal.
const REMEDY: &str = "do not rely on the answer: nothing vouches for it";

/// Holds receipts against the stages behind the nodes of one gate.
#[derive(Debug)]
pub(crate) struct Vouching {
    gate: Gate,
    /// Held while stages are asked again, so that they are asked once.
    asking: Mutex<()>,
}

impl Vouching {
    /// For answers of nodes that this gate admits.
    pub(crate) fn new(gate: Gate) -> Self {
        Self {
            gate,
            asking: Mutex::default(),
        }
    }

    /// Requires that every stage had the part in a receipt that it says; gives
    /// the chain that it was held against. None for a receipt of one node.
    ///
    /// # Errors
    /// [`Fault`] if a stage is refused, or the receipt doesn't hold.
    pub(crate) async fn vouch(
        &self,
        node: &NodeAddress,
        receipt: &Receipt,
    ) -> Result<Option<Arc<Chain>>, Fault> {
        if receipt.claims().pipeline.is_none() {
            return Ok(None);
        }
        let stages = self.gate.stages();
        if let Some(chain) = stages.behind(node, receipt) {
            return Ok(Some(chain));
        }
        let _one = self.asking.lock().await;
        if let Some(chain) = stages.behind(node, receipt) {
            return Ok(Some(chain));
        }
        // A connection of its own: the one that the answer came over may be in
        // use. Who connects to a head judges its stages.
        stages.forget(node);
        drop(self.gate.connect(node).await.map_err(|refusal| {
            let reason = refusal.verdict.reason.clone().unwrap_or_default();
            Fault {
                exit: refusal.exit,
                code: refusal.code,
                message: format!("{node} was asked for its stages again: {reason}"),
                remedy: Some(REMEDY.to_owned()),
            }
        })?);
        let chain = stages.latest(node).ok_or_else(|| {
            Fault::rejected(
                "pipeline.none",
                "the receipt is of a pipeline, and the node states that it is no head of one",
            )
            .with_remedy(REMEDY)
        })?;
        receipt::require(receipt, &chain)
            .map_err(|fault| Fault::rejected(fault.code(), fault.to_string()).with_remedy(REMEDY))?;
        Ok(Some(chain))
    }
}
