//! A connection to a node that has proved itself, for as long as the proof
//! counts. It can't be made anywhere but in the connector.

use std::fmt;
use std::time::Duration;

use bastide_attestation::{AttestationResult, Binder, Nonce, UnixTime};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri, Version};
use tokio::time::Instant;

use crate::address::NodeAddress;

/// How long evidence counts, from before its challenge was made.
pub const LEASE: Duration = Duration::from_secs(300);

/// How long to wait for the end of the answer before.
const TURN: Duration = Duration::from_secs(2);

/// The time an attestation counts, on two clocks: the monotonic one can't be
/// set, the other goes on while the machine sleeps. The shorter one holds.
pub(crate) struct Lease {
    began: Instant,
    began_at: UnixTime,
    clock: fn() -> UnixTime,
}

impl Lease {
    pub(crate) fn begin(clock: fn() -> UnixTime) -> Self {
        Self {
            began: Instant::now(),
            began_at: clock(),
            clock,
        }
    }

    fn holds(&self) -> bool {
        let by_clock = (self.clock)().as_secs().checked_sub(self.began_at.as_secs());
        self.began.elapsed() < LEASE && by_clock.is_some_and(|elapsed| elapsed < LEASE.as_secs())
    }
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The attestation no longer counts. Nothing was written.
    #[error("the attestation's lease of {} s is over; connect again", LEASE.as_secs())]
    LeaseOver,
    /// The connection is closed. Nothing was written.
    #[error("the connection is closed; connect again")]
    Closed,
    /// The answer before has not been read to its end. Nothing was written.
    #[error("the answer to the request before has not been read to its end")]
    Busy,
    /// The request can't be written as HTTP/1.1. Nothing was written.
    #[error("the request can't be sent: {reason}")]
    Request {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The connection broke after some or all of the request was written.
    #[error("the connection broke while a request was on it")]
    Interrupted(#[source] hyper::Error),
    /// No answer in time; the connection was closed.
    #[error("the node did not begin to answer within {} s", .limit.as_secs())]
    TimedOut {
        /// The time that was allowed.
        limit: Duration,
    },
}

impl SendError {
    /// The stable dotted code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::LeaseOver => "session.lease_over",
            Self::Closed | Self::Interrupted(_) => "session.closed",
            Self::Busy => "session.busy",
            Self::Request { .. } => "session.request",
            Self::TimedOut { .. } => "session.timeout",
        }
    }

    /// Whether no byte of the request was written, so that it may be sent on
    /// another attested connection.
    #[must_use]
    pub const fn nothing_written(&self) -> bool {
        matches!(
            self,
            Self::LeaseOver | Self::Closed | Self::Busy | Self::Request { .. }
        )
    }
}

/// An HTTP/1.1 connection over TLS 1.3 to a node whose evidence was appraised,
/// is bound to this very session, and is fresh.
///
/// Dropping it closes the connection once the last answer is read or dropped.
pub struct AttestedConnection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) node: NodeAddress,
    pub(super) nonce: Nonce,
    pub(super) binder: Binder,
    pub(super) evidence: Vec<u8>,
    pub(super) result: AttestationResult,
    pub(super) lease: Lease,
    pub(super) request_head: Duration,
    pub(super) failed: bool,
}

impl fmt::Debug for AttestedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttestedConnection")
            .field("node", &self.node)
            .field("statement_digest", &self.result.statement_digest)
            .field("usable", &self.is_usable())
            .finish_non_exhaustive()
    }
}

impl AttestedConnection {
    /// What the appraisal established.
    #[must_use]
    pub const fn result(&self) -> &AttestationResult {
        &self.result
    }

    /// The evidence envelope, byte for byte as it came.
    #[must_use]
    pub fn evidence(&self) -> &[u8] {
        &self.evidence
    }

    /// The challenge that the evidence answers.
    #[must_use]
    pub const fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// What the evidence is bound to: this session and that challenge.
    #[must_use]
    pub const fn binder(&self) -> &Binder {
        &self.binder
    }

    /// The node's address.
    #[must_use]
    pub const fn node(&self) -> &NodeAddress {
        &self.node
    }

    /// Whether a request can be sent: the lease is not over and the connection
    /// is, as far as is known, open.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !self.failed && self.lease.holds() && !self.sender.is_closed()
    }

    /// Sends one request and waits for the head of its answer. The request's
    /// `host` header and version are set here; of its URI only path and query
    /// are used. The answer before must have been read to its end or dropped.
    ///
    /// # Errors
    /// [`SendError`]; where the request may have been written in part, the
    /// connection is closed and not usable again.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, SendError> {
        let request = self.prepare(request)?;
        if !self.lease.holds() {
            return Err(SendError::LeaseOver);
        }
        if self.failed {
            return Err(SendError::Closed);
        }
        match tokio::time::timeout(TURN, self.sender.ready()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                self.failed = true;
                return Err(SendError::Closed);
            }
            Err(_) => return Err(SendError::Busy),
        }
        // Again, right before the first byte of the user's.
        if !self.lease.holds() {
            return Err(SendError::LeaseOver);
        }
        let limit = self.request_head;
        // Until the answer's head is here, an abandoned call leaves the
        // connection unusable: nobody knows what was written.
        self.failed = true;
        let answer = tokio::time::timeout(limit, self.sender.try_send_request(request)).await;
        match answer {
            Ok(Ok(response)) => {
                self.failed = false;
                Ok(response)
            }
            Ok(Err(mut error)) => Err(match error.take_message() {
                Some(_) => SendError::Closed,
                None => SendError::Interrupted(error.into_error()),
            }),
            Err(_) => Err(SendError::TimedOut { limit }),
        }
    }

    fn prepare(&self, mut request: Request<Full<Bytes>>) -> Result<Request<Full<Bytes>>, SendError> {
        let bad = |reason| SendError::Request { reason };
        let path = request
            .uri()
            .path_and_query()
            .ok_or_else(|| bad("its URI has no path"))?;
        *request.uri_mut() = Uri::from(path.clone());
        *request.version_mut() = Version::HTTP_11;
        let host =
            HeaderValue::try_from(self.node.authority()).map_err(|_| bad("its host is no header value"))?;
        request.headers_mut().insert(HOST, host);
        Ok(request)
    }
}
