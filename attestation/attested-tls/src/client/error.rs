//! Why there is no attested connection, by the state that failed. No error
//! carries anything of a user: none had been written yet.

use std::fmt;
use std::io;

use bastide_attestation::{Decision, ENVELOPE_MEDIA_TYPE, EvidenceError, MAX_ENVELOPE_BYTES, Verdict};
use rustls::{AlertDescription, PeerIncompatible};

use crate::address::AddressError;
use crate::client::pipelines::PipelineRefused;
use crate::session::SessionFault;

/// The states on the way to an attested connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Name resolution and TCP.
    Tcp,
    /// The TLS handshake.
    Tls,
    /// The challenge was sent or is being sent; the evidence has not come.
    Attest,
    /// The same again, on a connection that was attested before.
    Renew,
    /// The stages behind a head were asked to prove themselves.
    Pipeline,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp connect",
            Self::Tls => "tls handshake",
            Self::Attest => "attest exchange",
            Self::Renew => "renewal of the attestation",
            Self::Pipeline => "appraisal of the stages behind the node",
        })
    }
}

/// Why a node gave no attested connection. Nothing of the user's was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address can't be connected to.
    #[error("the node's address can't be used")]
    Address(#[source] AddressError),
    /// No TCP connection.
    #[error("no TCP connection to the node")]
    Tcp(#[source] io::Error),
    /// The TLS handshake failed.
    #[error("the TLS handshake with the node failed; it must offer TLS 1.3 and X25519MLKEM768 or X25519")]
    Tls(#[source] io::Error),
    /// The node's certificate is not what the rules of this client ask for.
    #[error("the node's certificate is not one for its name under a root that this client trusts")]
    Certificate(#[source] io::Error),
    /// The node did not agree on TLS 1.3.
    #[error("the node did not agree on TLS 1.3; an older version can't be attested")]
    NotTls13,
    /// The node resumed a session.
    #[error("the node resumed a TLS session; only full handshakes can be attested")]
    Resumed,
    /// The handshake ended, but with nothing to bind evidence to.
    #[error("the TLS session can't be attested")]
    Session(#[source] SessionFault),
    /// The node has no attest endpoint, or did not want to answer.
    #[error("the node is not attested: its attest endpoint answered {status}, expected 200")]
    NoEndpoint {
        /// The HTTP status.
        status: u16,
    },
    /// The node has an attest endpoint and no evidence to give at the moment.
    #[error("the node can't attest at the moment (503); try again later or choose another node")]
    Unavailable {
        /// Seconds after which the node asks to be tried again.
        retry_after: Option<u64>,
    },
    /// The node's answer is no evidence by its own account.
    #[error("the node is not attested: its answer is `{got}`, expected `{ENVELOPE_MEDIA_TYPE}`")]
    ContentType {
        /// The `content-type` that came; empty if none did.
        got: String,
    },
    /// The node answered something that is not HTTP.
    #[error("the node is not attested: its answer is not HTTP")]
    NotHttp,
    /// The evidence has more bytes than an envelope may have.
    #[error("the evidence has more than {MAX_ENVELOPE_BYTES} bytes")]
    TooLarge,
    /// The node closed the connection.
    #[error("the node closed the connection during the {state}")]
    Closed {
        /// The state the connection was in.
        state: State,
    },
    /// A state lasted too long.
    #[error("the {state} took too long")]
    TimedOut {
        /// The state the connection was in.
        state: State,
    },
    /// The evidence can't be read.
    #[error("the node's evidence can't be read")]
    Malformed(#[source] EvidenceError),
    /// The node signed for a statement instead of giving evidence, and this
    /// client did not ask it to: it has seen no fresh report of that boot.
    #[error(
        "the node gave a session signature (lane K) where only a fresh report counts (lane M): this client has \
         seen no report of it in the last 300 s"
    )]
    LaneKNotAllowed,
    /// The node's signature is not by the key of the statement that this client knows.
    #[error(
        "the node's session signature (lane K) is not by the key of the statement that this client appraised"
    )]
    LaneKSignature,
    /// The evidence was appraised and not accepted.
    #[error("the node's evidence was not accepted{}", reason(.verdict))]
    Refused {
        /// What the appraiser decided, and why.
        verdict: Box<Verdict>,
        /// The envelope as it came.
        evidence: Vec<u8>,
    },
    /// The node is the head of a pipeline, and nobody here judges its stages.
    #[error(
        "the node is the head of a pipeline: others see activations of what it is asked, and this client does \
         not judge them"
    )]
    Pipeline,
    /// The stages behind the node were not accepted.
    #[error("the stages behind the node were not accepted: {}", .0.reason)]
    Stages(PipelineRefused),
    /// This side could not do its part.
    #[error("no connection could be prepared: {reason}")]
    Internal {
        /// What was wrong.
        reason: String,
    },
}

/// What an error says of evidence that was refused.
pub(crate) fn reason(verdict: &Verdict) -> String {
    match (verdict.code, &verdict.reason) {
        (Some(code), Some(reason)) => format!(": {reason} ({code})"),
        (Some(code), None) => format!(" ({code})"),
        (None, _) => String::new(),
    }
}

impl ConnectError {
    /// The stable dotted code. For refused evidence it is the verdict's.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Address(_) => "session.address",
            Self::Tcp(_) => "session.tcp",
            Self::Tls(_) => "session.tls",
            Self::NotTls13 => "session.not_tls13",
            Self::Resumed => "session.resumed",
            Self::Session(SessionFault::KeyExchange) => "session.key_exchange",
            Self::Session(_) => "session.not_bindable",
            Self::Certificate(_) => "session.certificate",
            Self::LaneKNotAllowed => "session.lane_k_not_allowed",
            Self::LaneKSignature => "session.lane_k_signature",
            Self::NoEndpoint { .. } | Self::ContentType { .. } | Self::NotHttp => "session.not_attested",
            Self::Unavailable { .. } => "session.unavailable",
            Self::Closed { .. } => "session.closed",
            Self::TimedOut { .. } => "session.timeout",
            Self::TooLarge | Self::Malformed(_) => "evidence.malformed",
            Self::Refused { verdict, .. } => verdict.code.unwrap_or("session.refused"),
            Self::Pipeline => "session.pipeline",
            Self::Stages(refused) => refused.code,
            Self::Internal { .. } => "internal",
        }
    }

    /// The process exit code: 10 refused, 20 unsupported, 30 malformed,
    /// 40 could not decide, 1 our own fault. Never 0.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Tls(_)
            | Self::NotTls13
            | Self::Resumed
            | Self::Session(_)
            | Self::Certificate(_)
            | Self::LaneKNotAllowed
            | Self::LaneKSignature
            | Self::NoEndpoint { .. }
            | Self::ContentType { .. }
            | Self::NotHttp
            | Self::Pipeline => Decision::Rejected.exit_code(),
            Self::TooLarge | Self::Malformed(_) => Decision::Malformed.exit_code(),
            Self::Tcp(_) | Self::Unavailable { .. } | Self::Closed { .. } | Self::TimedOut { .. } => {
                Decision::Undecided.exit_code()
            }
            // An appraiser that refuses with an accepting verdict contradicts itself.
            Self::Refused { verdict, .. } => unaccepted(verdict.decision),
            Self::Stages(refused) => unaccepted(refused.decision),
            Self::Address(_) | Self::Internal { .. } => 1,
        }
    }

    /// The verdict, if evidence came and was appraised.
    #[must_use]
    pub fn verdict(&self) -> Option<&Verdict> {
        match self {
            Self::Refused { verdict, .. } => Some(verdict),
            _ => None,
        }
    }

    pub(crate) fn of_handshake(error: io::Error, asks_for_names: bool) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Closed { state: State::Tls },
            _ => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(
                    rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
                    | rustls::Error::PeerIncompatible(
                        PeerIncompatible::ServerDoesNotSupportTls12Or13
                        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
                    ),
                ) => Self::NotTls13,
                Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
                    Self::Session(SessionFault::Alpn)
                }
                Some(rustls::Error::InvalidCertificate(_)) if asks_for_names => Self::Certificate(error),
                _ => Self::Tls(error),
            },
        }
    }

    pub(crate) fn of_http(error: &hyper::Error) -> Self {
        if error.is_parse() {
            Self::NotHttp
        } else {
            Self::Closed { state: State::Attest }
        }
    }
}

/// The exit code of a decision that must not be an accepting one.
const fn unaccepted(decision: Decision) -> u8 {
    match decision {
        Decision::Accepted => 1,
        decision => decision.exit_code(),
    }
}

impl From<SessionFault> for ConnectError {
    fn from(fault: SessionFault) -> Self {
        match fault {
            SessionFault::NotTls13 => Self::NotTls13,
            SessionFault::Resumed => Self::Resumed,
            other => Self::Session(other),
        }
    }
}
