//! A connection to a node that has proved itself, for as long as the proof
//! counts. It can't be made anywhere but in the connector.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bastide_attestation::{AttestationResult, Binder, Nonce};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};

use crate::address::NodeAddress;
use crate::client::error::{ConnectError, State};
use crate::client::exchange::{Sender, was_not_begun};
use crate::client::judge::{Judge, SessionAttestation, SessionLane};
use crate::client::lease::LEASE;
use crate::client::pipelines::AppraisePipeline;
use crate::client::tasks::Tasks;
use crate::client::{Timeouts, within};
use crate::session::{Protocol, SessionBinding};

/// How long to wait for the end of the answer before.
const TURN: Duration = Duration::from_secs(2);
/// Attestations of one connection that are remembered, for answers that were
/// begun under one and ended under another.
const MAX_ATTESTATIONS: usize = 3;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The attestation no longer counts. Nothing was written.
    #[error("the attestation's lease of {} s is over; connect again", LEASE.as_secs())]
    LeaseOver,
    /// What was accepted of the stages behind a head no longer counts. Nothing
    /// was written.
    #[error("what was accepted of the stages behind the node no longer counts; connect again")]
    StagesOver,
    /// The connection is closed. Nothing was written.
    #[error("the connection is closed; connect again")]
    Closed,
    /// The answer before has not been read to its end. Nothing was written.
    #[error("the answer to the request before has not been read to its end")]
    Busy,
    /// The request can't be written as HTTP. Nothing was written.
    #[error("the request can't be sent: {reason}")]
    Request {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The node wants no further request on this connection, and says that it did
    /// not begin with this one (GOAWAY).
    #[error("the node closed the connection before it began with the request; connect again")]
    NotBegun(#[source] hyper::Error),
    /// The connection broke after some or all of the request was written.
    #[error("the connection broke while a request was on it")]
    Interrupted(#[source] hyper::Error),
    /// No answer in time; the connection takes no further request.
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
            Self::LeaseOver | Self::StagesOver => "session.lease_over",
            Self::Closed | Self::NotBegun(_) | Self::Interrupted(_) => "session.closed",
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
            Self::LeaseOver | Self::StagesOver | Self::Closed | Self::Busy | Self::Request { .. }
        )
    }
}

/// What all handles of one connection share.
struct Shared {
    node: NodeAddress,
    binding: SessionBinding,
    judge: Arc<Judge>,
    /// Of a head whose stages were accepted: who accepted them.
    stages: OnceLock<Arc<dyn AppraisePipeline>>,
    timeouts: Timeouts,
    /// The latest first; never empty.
    attestations: Mutex<Vec<Arc<SessionAttestation>>>,
    /// Nothing more may be sent.
    failed: AtomicBool,
    tasks: Tasks,
    renewing: tokio::sync::Mutex<()>,
}

impl Shared {
    fn attestations(&self) -> MutexGuard<'_, Vec<Arc<SessionAttestation>>> {
        // Every change is one call: a panic elsewhere leaves the list whole.
        self.attestations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self) {
        self.failed.store(true, Ordering::SeqCst);
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Closes the connection at once, whatever is on it.
    fn abort(&self) {
        self.fail();
        self.tasks.abort();
    }
}

/// An HTTP connection over TLS 1.3 to a node whose evidence was appraised, is
/// bound to this very session, and is fresh.
///
/// Over HTTP/2 there can be several handles of one connection ([`Self::share`]).
/// Dropping the last closes the connection once the last answer is read or dropped.
pub struct AttestedConnection {
    sender: Sender,
    shared: Arc<Shared>,
    /// What the last request of this handle was sent under.
    current: Arc<SessionAttestation>,
    /// What is sent now is the question after the stages themselves.
    asking: bool,
}

impl fmt::Debug for AttestedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttestedConnection")
            .field("node", &self.shared.node)
            .field("lane", &self.current.lane())
            .field("statement_digest", &self.current.result().statement_digest)
            .field("usable", &self.is_usable())
            .finish_non_exhaustive()
    }
}

impl AttestedConnection {
    /// Called by the connector, with an attestation of the session of `binding`.
    pub(super) fn new(
        sender: Sender,
        tasks: Tasks,
        node: NodeAddress,
        binding: SessionBinding,
        judge: Arc<Judge>,
        timeouts: Timeouts,
        attestation: SessionAttestation,
    ) -> Self {
        let current = Arc::new(attestation);
        Self {
            sender,
            shared: Arc::new(Shared {
                node,
                binding,
                judge,
                stages: OnceLock::new(),
                timeouts,
                attestations: Mutex::new(vec![Arc::clone(&current)]),
                failed: AtomicBool::new(false),
                tasks,
                renewing: tokio::sync::Mutex::default(),
            }),
            current,
            asking: false,
        }
    }

    /// Has `pipelines` judge the stages behind this head, and say from now on
    /// whether that counts.
    ///
    /// # Errors
    /// [`ConnectError`]; the connection is not to be given out then.
    pub(super) async fn appraise_stages(
        &mut self,
        pipelines: &Arc<dyn AppraisePipeline>,
    ) -> Result<(), ConnectError> {
        let limit = self.shared.timeouts.pipeline;
        self.asking = true;
        let appraised = within(State::Pipeline, limit, pipelines.appraise(self)).await;
        self.asking = false;
        appraised?.map_err(ConnectError::Stages)?;
        self.shared.stages.get_or_init(|| Arc::clone(pipelines));
        Ok(())
    }

    /// Whether the stages behind this node, if it has any, may still be sent to.
    fn stages_count(&self) -> bool {
        let stages = self.shared.stages.get();
        self.asking || stages.is_none_or(|stages| stages.counts(self))
    }

    /// The attestation that the last request of this handle was sent under; the
    /// latest, before there was a request.
    #[must_use]
    pub fn attestation(&self) -> &SessionAttestation {
        &self.current
    }

    /// The attestation of this connection that answers a challenge, if it is one
    /// of the latest: a request that was sent while a renewal was under way may
    /// have been answered under the new one.
    #[must_use]
    pub fn attestation_for(&self, nonce: &Nonce) -> Option<Arc<SessionAttestation>> {
        let attestations = self.shared.attestations();
        let found = attestations
            .iter()
            .find(|attestation| attestation.nonce() == nonce);
        found.cloned()
    }

    /// What the appraisal established: [`Self::attestation`]'s.
    #[must_use]
    pub fn result(&self) -> &AttestationResult {
        self.current.result()
    }

    /// The whole evidence envelope: [`SessionAttestation::evidence`].
    #[must_use]
    pub fn evidence(&self) -> &[u8] {
        self.current.evidence()
    }

    /// How the session was attested.
    #[must_use]
    pub fn lane(&self) -> SessionLane {
        self.current.lane()
    }

    /// The challenge that the evidence answers.
    #[must_use]
    pub fn nonce(&self) -> &Nonce {
        self.current.nonce()
    }

    /// What the evidence is bound to: this session and that challenge.
    #[must_use]
    pub fn binder(&self) -> &Binder {
        self.current.binder()
    }

    /// The node's address.
    #[must_use]
    pub fn node(&self) -> &NodeAddress {
        &self.shared.node
    }

    /// What is spoken on the connection.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.shared.binding.protocol()
    }

    fn latest(&self) -> Arc<SessionAttestation> {
        let attestations = self.shared.attestations();
        attestations
            .first()
            .map_or_else(|| Arc::clone(&self.current), Arc::clone)
    }

    /// Whether a request can be sent: the lease is not over, what was accepted
    /// of stages behind the node counts, and the connection is, as far as is
    /// known, open.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !self.shared.has_failed()
            && self.latest().lease().holds()
            && self.stages_count()
            && !self.sender.is_closed()
    }

    /// Whether the lease is old enough to be renewed.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.latest().lease().is_due()
    }

    /// Another handle of the same connection, over HTTP/2; `None` over HTTP/1.1,
    /// which carries one request at a time.
    #[must_use]
    pub fn share(&self) -> Option<Self> {
        Some(Self {
            sender: self.sender.share()?,
            shared: Arc::clone(&self.shared),
            current: self.latest(),
            asking: false,
        })
    }

    /// Whether `other` is a handle of the same connection.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Lets no handle of this connection send anything more. What is being
    /// answered on it goes on.
    pub fn retire(&self) {
        self.shared.fail();
    }

    /// Has the node prove itself anew on this connection: another challenge, a
    /// fresh report, a new lease; of a head, its stages too. Over HTTP/2 answers
    /// under way go on meanwhile; over HTTP/1.1 the answer before must have been read.
    ///
    /// # Errors
    /// [`ConnectError`]; the connection is closed then, whatever is on it. Where it
    /// was the stages that were not accepted, what is being answered goes on, and
    /// nothing more is sent.
    pub async fn renew(&mut self) -> Result<(), ConnectError> {
        let shared = Arc::clone(&self.shared);
        let _one = shared.renewing.lock().await;
        if !self.is_due() {
            // Another handle was faster.
            self.current = self.latest();
            return Ok(());
        }
        // An abandoned renewal is a failed one.
        let guard = AbortUnless(&shared, false);
        let attestation = Arc::new(self.challenge().await?);
        // INVARIANT: whoever connected to a node without stages was not asked about any.
        if attestation.result().statement.pipeline != self.current.result().statement.pipeline {
            return Err(ConnectError::Pipeline);
        }
        {
            let mut attestations = shared.attestations();
            attestations.insert(0, Arc::clone(&attestation));
            attestations.truncate(MAX_ATTESTATIONS);
        }
        self.current = attestation;
        let mut judged = Ok(());
        if let Some(stages) = shared.stages.get() {
            judged = self.appraise_stages(stages).await;
        }
        guard.passed();
        if judged.is_err() {
            // The head is what it was: its answers go on, and stand by their receipts.
            shared.fail();
            return judged;
        }
        Ok(())
    }

    async fn challenge(&mut self) -> Result<SessionAttestation, ConnectError> {
        let shared = &self.shared;
        if shared.has_failed() || self.sender.is_closed() {
            return Err(ConnectError::Closed { state: State::Renew });
        }
        let asked = shared.judge.ask_for_report(&shared.node)?;
        let exchange = self.sender.attest(&shared.node, &asked.request);
        let answer = within(State::Renew, shared.timeouts.attest, exchange).await??;
        shared.judge.judge(&shared.node, &shared.binding, asked, answer)
    }

    /// Sends one request and waits for the head of its answer. The request's
    /// `host` header and version are set here; of its URI only path and query
    /// are used. Over HTTP/1.1 the answer before must have been read to its end
    /// or dropped.
    ///
    /// # Errors
    /// [`SendError`]; where the request may have been written in part, no
    /// further one is sent on an HTTP/1.1 connection.
    pub async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, SendError> {
        self.sender
            .address(&self.shared.node, &mut request)
            .map_err(|reason| SendError::Request { reason })?;
        if !self.latest().lease().holds() {
            return Err(SendError::LeaseOver);
        }
        if self.shared.has_failed() {
            return Err(SendError::Closed);
        }
        match tokio::time::timeout(TURN, self.sender.ready()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                self.shared.fail();
                return Err(SendError::Closed);
            }
            Err(_) => return Err(SendError::Busy),
        }
        // Again, right before the first byte of the user's.
        self.current = self.latest();
        if !self.current.lease().holds() {
            return Err(SendError::LeaseOver);
        }
        if !self.stages_count() {
            return Err(SendError::StagesOver);
        }
        if self.shared.has_failed() {
            return Err(SendError::Closed);
        }
        let limit = self.shared.timeouts.request_head;
        // Until the answer's head is here, an abandoned call leaves an HTTP/1.1
        // connection unusable: nobody knows what was written. Over HTTP/2 it
        // ends its own stream only.
        let alone = self.protocol() == Protocol::Http1;
        if alone {
            self.shared.fail();
        }
        let answer = tokio::time::timeout(limit, self.sender.try_send(request)).await;
        match answer {
            Ok(Ok(response)) => {
                if alone {
                    self.shared.failed.store(false, Ordering::SeqCst);
                }
                Ok(response)
            }
            Ok(Err(mut error)) => Err(match error.take_message() {
                Some(_) => SendError::Closed,
                None if was_not_begun(error.error()) => {
                    self.shared.fail();
                    SendError::NotBegun(error.into_error())
                }
                None => SendError::Interrupted(error.into_error()),
            }),
            Err(_) => {
                self.shared.fail();
                Err(SendError::TimedOut { limit })
            }
        }
    }
}

/// Closes the connection when dropped, unless told that all went well.
struct AbortUnless<'a>(&'a Shared, bool);

impl AbortUnless<'_> {
    fn passed(mut self) {
        self.1 = true;
    }
}

impl Drop for AbortUnless<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.abort();
        }
    }
}
