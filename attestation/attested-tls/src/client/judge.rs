//! What a connector knows of nodes it has appraised, and what it therefore asks
//! of one and makes of its answer: a fresh report (lane M) that is appraised,
//! or a signature (lane K) by a key that this very client saw in a fresh report.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bastide_attestation::binding::LeafType;
use bastide_attestation::{
    Appraiser, AttestAnswer, AttestRequest, AttestationResult, Binder, Evidence, GpuFreshness, Lane, Nonce,
    PartialEvidence, SessionExpectation, SessionSignature, UnixTime, Untrusted,
};

use crate::address::NodeAddress;
use crate::client::epochs::EpochCache;
use crate::client::error::ConnectError;
use crate::client::lease::Lease;
use crate::provider::fill_random;
use crate::session::SessionBinding;

/// Least that must be left of a report for lane K to build on it: a lease that is
/// over before the answer is here serves nobody.
const LEAST_LEFT: Duration = Duration::from_secs(30);
/// Most nodes that are remembered.
const MAX_NODES: usize = 256;

/// How a session was attested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionLane {
    /// By a report that was asked for after this session's challenge.
    M,
    /// By a signature of the key that such a report to this client names.
    K,
}

/// One attestation of one session: what was asked, what came, what it established.
pub struct SessionAttestation {
    nonce: Nonce,
    binder: Binder,
    lane: SessionLane,
    evidence: Arc<Untrusted<Evidence>>,
    envelope: OnceLock<Vec<u8>>,
    result: Arc<AttestationResult>,
    lease: Lease,
}

impl fmt::Debug for SessionAttestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionAttestation")
            .field("lane", &self.lane)
            .field("statement_digest", &self.result.statement_digest)
            .finish_non_exhaustive()
    }
}

impl SessionAttestation {
    /// The challenge.
    #[must_use]
    pub const fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// What evidence had to be bound to: this session and that challenge.
    #[must_use]
    pub const fn binder(&self) -> &Binder {
        &self.binder
    }

    /// How the session was attested.
    #[must_use]
    pub const fn lane(&self) -> SessionLane {
        self.lane
    }

    /// The whole evidence envelope, with what was left out on the wire because
    /// this client had it. In lane K it is the envelope of the session in which
    /// this client saw the key, and its proof is of that session's leaf.
    #[must_use]
    pub fn evidence(&self) -> &[u8] {
        // The encoding is the only one: of what came whole, these are the bytes that came.
        self.envelope
            .get_or_init(|| self.evidence.as_unverified().encode())
    }

    /// What the appraisal established.
    #[must_use]
    pub fn result(&self) -> &AttestationResult {
        &self.result
    }

    pub(crate) const fn lease(&self) -> &Lease {
        &self.lease
    }
}

/// What was last appraised of a node in lane M.
struct Known {
    evidence: Arc<Untrusted<Evidence>>,
    result: Arc<AttestationResult>,
    /// Began before the challenge of that report.
    lease: Lease,
}

/// A challenge, and what must be remembered until it is answered.
pub(crate) struct Asked {
    pub(crate) request: AttestRequest,
    /// What the request says is known; lane K may build on nothing else.
    known: Option<Arc<Known>>,
    lease: Lease,
}

/// An appraiser, and what was learnt by it.
pub(crate) struct Judge {
    appraiser: EpochCache,
    clock: fn() -> UnixTime,
    known: Mutex<HashMap<NodeAddress, Arc<Known>>>,
}

impl Judge {
    pub(crate) fn new(appraiser: Arc<dyn Appraiser>, clock: fn() -> UnixTime) -> Self {
        Self {
            appraiser: EpochCache::new(appraiser),
            clock,
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<NodeAddress, Arc<Known>>> {
        // An entry is put in whole or not at all.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A challenge for a new connection: lane M, unless there is a report of
    /// this node that lane K may still build on.
    pub(crate) fn ask(&self, node: &NodeAddress) -> Result<Asked, ConnectError> {
        let lease = Lease::begin(self.clock);
        let known = self.known().get(node).cloned();
        let known = known.and_then(|known| known.lease.left().map(|left| (known, left)));
        let known = known.filter(|(_, left)| *left >= LEAST_LEFT);
        let Some((known, left)) = known else {
            return Ok(Asked {
                request: AttestRequest::fresh(fresh_nonce()?),
                known: None,
                lease,
            });
        };
        Ok(Asked {
            request: AttestRequest {
                nonce: fresh_nonce()?,
                lane: Lane::Auto,
                max_age_s: u16::try_from(left.as_secs())
                    .unwrap_or(u16::MAX)
                    .min(AttestRequest::MAX_AGE_S),
                gpu: GpuFreshness::Current,
                known: Some(known.result.statement_digest),
            },
            known: Some(known),
            lease,
        })
    }

    /// A challenge that a report has to answer: lane M, though what is known
    /// need not come again.
    pub(crate) fn ask_for_report(&self, node: &NodeAddress) -> Result<Asked, ConnectError> {
        let asked = self.ask(node)?;
        Ok(Asked {
            request: AttestRequest {
                lane: Lane::M,
                max_age_s: 0,
                ..asked.request
            },
            ..asked
        })
    }

    /// Judges the answer to a challenge on the session of `binding`.
    pub(crate) fn judge(
        &self,
        node: &NodeAddress,
        binding: &SessionBinding,
        asked: Asked,
        answer: AttestAnswer,
    ) -> Result<SessionAttestation, ConnectError> {
        let binder = binding.binder(&asked.request.nonce);
        match answer {
            AttestAnswer::Evidence(partial) => self.judge_report(node, asked, binder, *partial),
            AttestAnswer::Session(signature) => judge_signature(asked, binder, &signature),
        }
    }

    fn judge_report(
        &self,
        node: &NodeAddress,
        asked: Asked,
        binder: Binder,
        partial: PartialEvidence,
    ) -> Result<SessionAttestation, ConnectError> {
        let known = asked.known.as_ref().map(|known| known.evidence.as_unverified());
        let evidence = partial.complete(known).map_err(ConnectError::Malformed)?;
        let expected = SessionExpectation {
            binder,
            leaf: LeafType::ServerTls,
        };
        let result = self
            .appraiser
            .appraise(&evidence, &expected, (self.clock)())
            .map_err(|verdict| ConnectError::Refused {
                verdict,
                evidence: evidence.as_unverified().encode(),
            })?;
        let (evidence, result) = (Arc::new(evidence), Arc::new(result));
        self.remember(node, &evidence, &result, asked.lease);
        Ok(SessionAttestation {
            nonce: asked.request.nonce,
            binder,
            lane: SessionLane::M,
            evidence,
            envelope: OnceLock::new(),
            result,
            lease: asked.lease,
        })
    }

    fn remember(
        &self,
        node: &NodeAddress,
        evidence: &Arc<Untrusted<Evidence>>,
        result: &Arc<AttestationResult>,
        lease: Lease,
    ) {
        let mut known = self.known();
        if known.len() >= MAX_NODES && !known.contains_key(node) {
            known.retain(|_, known| known.lease.holds());
            let first = known.keys().next().cloned();
            if let Some(first) = first.filter(|_| known.len() >= MAX_NODES) {
                known.remove(&first);
            }
        }
        let entry = Known {
            evidence: Arc::clone(evidence),
            result: Arc::clone(result),
            lease,
        };
        known.insert(node.clone(), Arc::new(entry));
    }
}

/// Lane K: only for a statement that this client named, which it saw in a
/// report that still counts. The lease is that report's.
fn judge_signature(
    asked: Asked,
    binder: Binder,
    signature: &SessionSignature,
) -> Result<SessionAttestation, ConnectError> {
    let known = match asked.known {
        Some(known) if asked.request.lane != Lane::M && known.lease.holds() => known,
        _ => return Err(ConnectError::LaneKNotAllowed),
    };
    let (key, statement) = (
        &known.result.statement.session_key,
        &known.result.statement_digest,
    );
    if !signature.verifies(key, &binder, statement) {
        return Err(ConnectError::LaneKSignature);
    }
    Ok(SessionAttestation {
        nonce: asked.request.nonce,
        binder,
        lane: SessionLane::K,
        evidence: Arc::clone(&known.evidence),
        envelope: OnceLock::new(),
        result: Arc::clone(&known.result),
        lease: known.lease,
    })
}

fn fresh_nonce() -> Result<Nonce, ConnectError> {
    let mut nonce = [0; Nonce::LEN];
    fill_random(&mut nonce).map_err(|_| ConnectError::Internal {
        reason: "the operating system gave no random bytes".to_owned(),
    })?;
    Ok(Nonce::new(nonce))
}
