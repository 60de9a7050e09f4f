//! What a peer must not do.
//!
//! Owns the reasons to close a link, and their stable codes. They carry names
//! and numbers, never what a message held.

use crate::message::RingId;
use crate::stage::Origin;

/// A peer broke the protocol: its link must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StageFault {
    /// A message that doesn't come this way.
    #[error("{message} came from {origin:?} to stage {stage}, which takes it from elsewhere or not at all")]
    Unexpected {
        /// The message.
        message: &'static str,
        /// Where it came from.
        origin: Origin,
        /// The stage.
        stage: u16,
    },
    /// No ring has been joined.
    #[error("{message} came before JOIN")]
    NotJoined {
        /// The message.
        message: &'static str,
    },
    /// A ring that this stage has not been joined to.
    #[error("{message} is of ring {}, this stage was joined to ring {}", got.0, joined.0)]
    FutureRing {
        /// The message.
        message: &'static str,
        /// The ring that it is of.
        got: RingId,
        /// The ring of this stage.
        joined: RingId,
    },
    /// JOIN twice.
    #[error("JOIN of ring {} came again, expected a newer ring", ring.0)]
    JoinedAlready {
        /// The ring.
        ring: RingId,
    },
    /// JOIN of another plan.
    #[error("JOIN is of another plan than the one of this enclave")]
    OtherPlan,
    /// JOIN of another stage.
    #[error("JOIN is for stage {got}, this is stage {expected}")]
    OtherStage {
        /// This stage.
        expected: u16,
        /// The one that it is for.
        got: u16,
    },
    /// An address for a tail, or none for another stage.
    #[error(
        "JOIN names a next stage for the tail, or none for another stage; this is stage {stage} of {stages}"
    )]
    Address {
        /// This stage.
        stage: u16,
        /// Stages of the plan.
        stages: u16,
    },
    /// A sequence is opened twice, and not in the same way.
    #[error("OPEN of a sequence that is open came again with other terms")]
    Reopened,
    /// Ids for a stage that takes activations, or the reverse.
    #[error("FRAME holds {got}, stage {stage} takes {expected}")]
    PayloadKind {
        /// This stage.
        stage: u16,
        /// What it takes.
        expected: &'static str,
        /// What came.
        got: &'static str,
    },
    /// Activations of another width.
    #[error("FRAME holds rows of {got} values, the model has {expected}")]
    Width {
        /// The model's hidden size.
        expected: u32,
        /// What came.
        got: u32,
    },
    /// The payload isn't as many rows as the runs say.
    #[error("FRAME holds {got} values, its runs say {expected}")]
    Rows {
        /// What the runs say.
        expected: usize,
        /// What came.
        got: usize,
    },
}

impl StageFault {
    /// A stable dotted code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unexpected { .. } => "pipeline.stage.unexpected",
            Self::NotJoined { .. } => "pipeline.stage.not_joined",
            Self::FutureRing { .. } => "pipeline.stage.future_ring",
            Self::JoinedAlready { .. } => "pipeline.stage.joined_already",
            Self::OtherPlan => "pipeline.stage.other_plan",
            Self::OtherStage { .. } => "pipeline.stage.other_stage",
            Self::Address { .. } => "pipeline.stage.address",
            Self::Reopened => "pipeline.stage.reopened",
            Self::PayloadKind { .. } => "pipeline.stage.payload_kind",
            Self::Width { .. } => "pipeline.stage.width",
            Self::Rows { .. } => "pipeline.stage.rows",
        }
    }
}
