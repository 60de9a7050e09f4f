//! Evidence of this stage for a client of the head: the client's nonce, the
//! plan and the place in it are under the hardware's signature, so that it
//! doesn't rest on the head's word.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bastide_attestation::binding::{LeafType, stage_binder};
use bastide_attestation::link::LinkContext;
use bastide_attestation::{Nonce, PlanDigest, StatementDigest};
use bastide_attested_tls::LaneM;
use bastide_pipeline::node::{AttestStage, Attesting};

use crate::telemetry::ops;

/// The statement of this boot that was shown last: parts of receipts name it.
#[derive(Debug, Clone)]
pub(crate) struct LatestStatement(Arc<Mutex<StatementDigest>>);

impl LatestStatement {
    /// The one with which the enclave attested itself.
    pub(crate) fn new(first: StatementDigest) -> Self {
        Self(Arc::new(Mutex::new(first)))
    }

    pub(crate) fn get(&self) -> StatementDigest {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, statement: StatementDigest) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = statement;
    }
}

/// Attests this stage.
pub(crate) struct StageAttester {
    lane: LaneM,
    plan: PlanDigest,
    context: LinkContext,
    latest: LatestStatement,
}

impl fmt::Debug for StageAttester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageAttester")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

impl StageAttester {
    pub(crate) const fn new(
        lane: LaneM,
        plan: PlanDigest,
        context: LinkContext,
        latest: LatestStatement,
    ) -> Self {
        Self {
            lane,
            plan,
            context,
            latest,
        }
    }
}

impl AttestStage for StageAttester {
    fn attest(&self, nonce: Nonce) -> Attesting {
        let binder = stage_binder(&nonce, &self.plan, &self.context.digest());
        let (lane, latest) = (self.lane.clone(), self.latest.clone());
        Box::pin(async move {
            match lane.attest_as(LeafType::Stage, binder).await {
                Ok(attested) => {
                    latest.set(attested.statement_digest);
                    Some(attested.evidence().encode())
                }
                Err(error) => {
                    ops!(WARN, "pipeline.evidence_failed", code = error.code());
                    None
                }
            }
        })
    }
}
