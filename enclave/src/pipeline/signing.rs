//! This stage's part of each receipt, signed by the receipt key that its
//! statements name.

use std::fmt;
use std::sync::Arc;

use bastide_attestation::PlanDigest;
use bastide_attestation::pipeline::{LayerRange, PartClaims, SignedPart};
use bastide_pipeline::stage::{PartContent, SignParts};

use super::evidence::LatestStatement;
use super::place::{PipelineSettings, PlaceError};
use crate::identity::ReceiptKey;

/// Signs parts.
pub(crate) struct PartSigner {
    key: Arc<ReceiptKey>,
    statement: LatestStatement,
    plan: PlanDigest,
    stage: u16,
    layers: LayerRange,
    weights: [u8; 32],
}

impl fmt::Debug for PartSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartSigner")
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

impl PartSigner {
    /// A signer for this place in the pipeline.
    ///
    /// # Errors
    /// [`PlaceError::NoSuchStage`].
    pub(crate) fn new(
        settings: &PipelineSettings,
        key: Arc<ReceiptKey>,
        statement: LatestStatement,
    ) -> Result<Self, PlaceError> {
        let own = settings.own()?;
        Ok(Self {
            key,
            statement,
            plan: settings.plan.digest(),
            stage: settings.stage,
            layers: own.layers,
            weights: own.weights,
        })
    }
}

impl SignParts for PartSigner {
    fn sign(&self, content: &PartContent) -> Option<Vec<u8>> {
        let claims = PartClaims {
            plan: self.plan,
            stage: self.stage,
            layers: self.layers,
            weights: self.weights,
            statement: self.statement.get(),
            input: content.input,
            output: content.output,
            rows: content.rows,
        };
        let signed = SignedPart::sign(&claims, self.key.public(), |message| self.key.sign(message));
        signed.ok().map(|part| part.as_bytes().to_vec())
    }
}
