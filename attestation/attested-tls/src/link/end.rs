//! Why a link ended, or never opened. The peer is told a code; the reason stays
//! on this side.

use std::fmt;

use bastide_attestation::link::{CloseCode, FrameError, FrameType, HelloError, NotAdmitted};
use bastide_attestation::{EvidenceError, Verdict};

use crate::client::reason;

/// What a link waits for, or is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkState {
    /// For the peer's HELLO.
    Hello,
    /// For evidence of either end, or its appraisal.
    Evidence,
    /// For the peer's CONFIRM.
    Confirm,
    /// For the peer's OPEN.
    Open,
    /// Messages go both ways.
    Opened,
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello => "waiting for HELLO",
            Self::Evidence => "waiting for EVIDENCE",
            Self::Confirm => "waiting for CONFIRM",
            Self::Open => "waiting for OPEN",
            Self::Opened => "open",
        })
    }
}

/// Stages for a reader: `0 or 2`, or that there are none.
pub(super) fn stages(known: &[u16]) -> String {
    let list: Vec<String> = known.iter().map(u16::to_string).collect();
    if list.is_empty() {
        "none at all".to_owned()
    } else {
        list.join(" or ")
    }
}

/// Why a link ended. Nothing of the application went over it unless it had been
/// open before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkEnd {
    /// Both ends had sent all there was.
    #[error("the link was closed in order")]
    Done,
    /// The peer closed it.
    #[error("the peer closed the link: {code}")]
    PeerClosed {
        /// What it said.
        code: CloseCode,
    },
    /// The connection ended without CLOSE: messages may be lost.
    #[error("the connection ended without a CLOSE frame; what was on its way is lost")]
    Truncated,
    /// Bytes that begin no frame.
    #[error("the peer sent no frame of this protocol: {0}")]
    Frame(#[from] FrameError),
    /// A frame that has no place here.
    #[error("the peer sent {kind} while this end was {state}")]
    Unexpected {
        /// What came.
        kind: FrameType,
        /// What was waited for.
        state: LinkState,
    },
    /// A message before both ends had confirmed.
    #[error("the peer sent DATA before both ends had confirmed; expected its CONFIRM and OPEN first")]
    EarlyData,
    /// A HELLO that can't be read.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// A HELLO of this end's own role: reflected, or two of a kind.
    #[error("the peer's HELLO is of this end's own role; expected the other's")]
    Role,
    /// Another place in another pipeline.
    #[error("the peer's HELLO is of {member} {got}, expected {expected}")]
    Context {
        /// What differs.
        member: &'static str,
        /// What this end is set to expect.
        expected: String,
        /// What came.
        got: String,
    },
    /// The place that the peer asks for is another's.
    #[error("another peer has the place of stage {stage} for now; it can be asked for again later")]
    Taken {
        /// The stage that the peer is.
        stage: u16,
    },
    /// Evidence that can't be read.
    #[error("the peer's evidence can't be read")]
    Malformed(#[source] EvidenceError),
    /// Evidence that was appraised and not accepted.
    #[error("the peer's evidence was not accepted{}", reason(.0))]
    Refused(Box<Verdict>),
    /// An attested peer that is not admitted.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// A CONFIRM over something else.
    #[error("the peer's CONFIRM is not over the frames of this session")]
    Confirm,
    /// A state lasted too long.
    #[error("the peer took too long: still {state}")]
    TimedOut {
        /// The state.
        state: LinkState,
    },
    /// The peer asks for evidence all the time.
    #[error("the peer asked for fresh evidence again too soon")]
    RenewedTooOften,
    /// No fresh evidence came in time; the link was closed in order.
    #[error("the peer gave no fresh evidence before its lease ended")]
    NotRenewed,
    /// The peer's evidence is too old to rely on.
    #[error("the lease of the peer's evidence is over")]
    LeaseOver,
    /// This end has no evidence to give.
    #[error("this end can't attest itself: {reason}")]
    Unattestable {
        /// What failed.
        reason: String,
    },
    /// The socket failed.
    #[error("the connection failed: {reason}")]
    Connection {
        /// What the operating system or TLS said.
        reason: String,
    },
    /// This side could not do its part.
    #[error("the link could not go on: {reason}")]
    Internal {
        /// What was wrong.
        reason: String,
    },
}

impl LinkEnd {
    /// A peer at a stage that this end does not link with.
    pub(super) fn no_stage(known: impl IntoIterator<Item = u16>, got: u16) -> Self {
        Self::Context {
            member: "stage",
            expected: stages(&known.into_iter().collect::<Vec<_>>()),
            got: got.to_string(),
        }
    }

    /// The stable dotted code. For refused evidence it is the verdict's.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Done => "link.done",
            Self::PeerClosed { .. } => "link.peer_closed",
            Self::Truncated => "link.truncated",
            Self::Frame(_) | Self::Unexpected { .. } => "link.protocol",
            Self::EarlyData => "link.early_data",
            Self::Hello(_) => "link.hello",
            Self::Role => "link.role",
            Self::Context { .. } => "link.context",
            Self::Taken { .. } => "link.taken",
            Self::Malformed(_) => "evidence.malformed",
            Self::Refused(verdict) => verdict.code.unwrap_or("link.refused"),
            Self::NotAdmitted(refusal) => refusal.code(),
            Self::Confirm => "link.confirm",
            Self::TimedOut { .. } => "link.timeout",
            Self::RenewedTooOften => "link.renewed_too_often",
            Self::NotRenewed => "link.not_renewed",
            Self::LeaseOver => "link.lease_over",
            Self::Unattestable { .. } => "link.unattestable",
            Self::Connection { .. } => "link.connection",
            Self::Internal { .. } => "internal",
        }
    }

    /// Whether what the peer sent before must not be taken any more: it was
    /// refused, or what it rests on is too old.
    pub(super) const fn disowns(&self) -> bool {
        !matches!(
            self,
            Self::Done
                | Self::PeerClosed { .. }
                | Self::Truncated
                | Self::Connection { .. }
                | Self::Unattestable { .. }
        )
    }

    /// What the peer is told, if anything: nothing where it is gone, or has
    /// said the last word itself.
    pub(super) const fn told(&self) -> Option<CloseCode> {
        match self {
            Self::Done => Some(CloseCode::Done),
            Self::PeerClosed { .. } | Self::Truncated | Self::Connection { .. } => None,
            Self::Frame(_)
            | Self::Unexpected { .. }
            | Self::EarlyData
            | Self::Hello(_)
            | Self::Role
            | Self::RenewedTooOften => Some(CloseCode::Protocol),
            Self::Context { .. } => Some(CloseCode::Context),
            Self::Taken { .. } => Some(CloseCode::Taken),
            Self::Malformed(_) | Self::Refused(_) => Some(CloseCode::Refused),
            Self::NotAdmitted(_) => Some(CloseCode::NotAdmitted),
            Self::Confirm => Some(CloseCode::Confirm),
            Self::TimedOut { .. } => Some(CloseCode::TimedOut),
            Self::NotRenewed | Self::LeaseOver => Some(CloseCode::LeaseOver),
            Self::Unattestable { .. } | Self::Internal { .. } => Some(CloseCode::Unattestable),
        }
    }
}
