//! The only way from this command to a node: connect, appraise, and admit
//! simulated hardware only where the person at the keyboard said so.

use std::sync::Arc;
use std::time::Duration;

use bastide_attestation::{
    Appraiser, AttestationResult, Basis, Check, Decision, Evidence, SessionExpectation, Status, UnixTime,
    Untrusted, VERDICT_SCHEMA, Verdict,
};
use bastide_attested_tls::{
    AttestedConnection, AttestedPool, ConnectError, Connector, KeyExchange, NodeAddress, NodeFailure,
    PoolLimits, PoolObserver, ServerNames, SessionRules, Timeouts, TrustRoots,
};
use bastide_verifier::{Policy, ServerCertificate, Verifier};

use crate::clock;
use crate::exit;
use crate::fault::with_causes;
use crate::ledger::Recorder;
use crate::pipeline::admission::Admission;
use crate::pipeline::stages::{Chain, Wanted};

/// Code of evidence that rests on a simulation root without permission.
pub(crate) const SIMULATED_NOT_ALLOWED: &str = "simulated.not_allowed";
/// An answer that isn't streamed begins only when all of it is there.
const REQUEST_HEAD: Duration = Duration::from_secs(300);

/// A policy, and whether simulated hardware may pass it.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    connector: Connector,
    appraiser: SharedAppraiser,
    policy: String,
    policy_digest: String,
    /// Of a head of a pipeline.
    wanted: Wanted,
    stages: Arc<Admission>,
    ledger: Recorder,
}

/// The appraiser of the connector, for evidence that comes over a connection.
#[derive(Clone)]
struct SharedAppraiser(Arc<dyn Appraiser>);

impl core::fmt::Debug for SharedAppraiser {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Appraiser(..)")
    }
}

/// A verifier that admits simulated hardware only with the person's permission
/// beside the policy's. Part of the appraisal, so that there is no attested
/// connection without it, in no pool and no cache.
struct Permit {
    verifier: Verifier,
    allow_simulated: bool,
}

impl Appraiser for Permit {
    fn appraise(
        &self,
        evidence: &Untrusted<Evidence>,
        session: &SessionExpectation,
        now: UnixTime,
    ) -> Result<AttestationResult, Box<Verdict>> {
        let result = Appraiser::appraise(&self.verifier, evidence, session, now)?;
        let verdict = permit(result.verdict.into_verdict(), self.allow_simulated)?.into();
        Ok(AttestationResult { verdict, ..result })
    }
}

/// Judges by a policy, and by the person's permission beside it.
pub(crate) fn appraiser(policy: Policy, allow_simulated: bool) -> Arc<dyn Appraiser> {
    Arc::new(Permit {
        verifier: Verifier::new(policy),
        allow_simulated,
    })
}

/// Why a node was not admitted. Nothing of the user's was sent to it.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// The node.
    pub(crate) node: NodeAddress,
    /// Stable dotted code.
    pub(crate) code: &'static str,
    /// Exit code.
    pub(crate) exit: u8,
    /// The verdict; made up of the error if no evidence was appraised.
    pub(crate) verdict: Box<Verdict>,
    /// The evidence as it came, if it came.
    pub(crate) evidence: Option<Vec<u8>>,
}

impl Gate {
    /// A gate with one policy.
    pub(crate) fn new(policy: Policy, allow_simulated: bool) -> Self {
        let (name, digest) = (policy.name().to_owned(), policy.digest().to_string());
        let timeouts = Timeouts {
            request_head: REQUEST_HEAD,
            ..Timeouts::default()
        };
        let rules = session_rules(&policy);
        let wanted = Wanted {
            policy: Some(policy.digest()),
            allow_simulated,
            ..Wanted::default()
        };
        let appraiser = appraiser(policy, allow_simulated);
        let ledger = Recorder::off();
        let stages = Admission::new(Arc::clone(&appraiser), wanted.clone(), ledger.clone(), false);
        let stages = Arc::new(stages);
        Self {
            connector: Connector::new(Arc::clone(&appraiser))
                .with_timeouts(timeouts)
                .with_session_rules(rules)
                .with_pipelines(Arc::<Admission>::clone(&stages)),
            appraiser: SharedAppraiser(appraiser),
            policy: name,
            policy_digest: digest,
            wanted,
            stages,
            ledger,
        }
    }

    /// The same, with a ledger that everything is kept in.
    #[must_use]
    pub(crate) fn with_ledger(self, ledger: Recorder) -> Self {
        Self { ledger, ..self }.judging_stages(false)
    }

    /// The same for somebody who accepts other plans of pipelines than those by
    /// the gate's own policy. Policy and permission stay the gate's.
    #[must_use]
    pub(crate) fn with_wanted(self, wanted: Wanted) -> Self {
        let wanted = Wanted {
            policy: self.wanted.policy,
            allow_simulated: self.wanted.allow_simulated,
            ..wanted
        };
        Self { wanted, ..self }.judging_stages(false)
    }

    /// The same for somebody who looks at stages and sends nothing: a head is
    /// admitted however they were judged.
    #[must_use]
    pub(crate) fn showing_stages(self) -> Self {
        self.judging_stages(true)
    }

    fn judging_stages(self, showing: bool) -> Self {
        let (wanted, ledger) = (self.wanted.clone(), self.ledger.clone());
        let stages = Admission::new(Arc::clone(&self.appraiser.0), wanted, ledger, showing);
        let stages = Arc::new(stages);
        Self {
            connector: self.connector.with_pipelines(Arc::<Admission>::clone(&stages)),
            stages,
            ..self
        }
    }

    /// The verdict on a connection's node, with that of the stages behind it.
    pub(crate) fn verdict(&self, connection: &AttestedConnection) -> Verdict {
        let verdict = Verdict::clone(&connection.result().verdict);
        match self.behind(connection) {
            Some(chain) => chain.applied_to(verdict),
            None => verdict,
        }
    }

    /// The stages behind a connection's node, if it is a head.
    pub(crate) fn behind(&self, connection: &AttestedConnection) -> Option<Arc<Chain>> {
        let is_head = connection.result().statement.pipeline;
        self.stages.latest(connection.node()).filter(|_| is_head)
    }

    /// What is known of the stages behind heads.
    pub(crate) fn stages(&self) -> &Admission {
        &self.stages
    }

    /// The ledger.
    pub(crate) const fn ledger(&self) -> &Recorder {
        &self.ledger
    }

    /// The policy's name. It comes from a file: escape it.
    pub(crate) fn policy(&self) -> &str {
        &self.policy
    }

    /// Connects to a node and has it prove itself.
    ///
    /// # Errors
    /// [`Refusal`]; the connection is closed.
    pub(crate) async fn connect(&self, node: &NodeAddress) -> Result<AttestedConnection, Box<Refusal>> {
        let connected = self.connector.connect(node).await;
        let admitted = connected.map_err(|error| Box::new(self.refusal(node, &error)));
        match &admitted {
            Ok(connection) => self.keep(connection),
            Err(refusal) => self.keep_refusal(refusal),
        }
        admitted
    }

    /// A pool of connections that this gate admits.
    pub(crate) fn pool(
        &self,
        nodes: Vec<NodeAddress>,
        observer: Option<Arc<dyn PoolObserver>>,
    ) -> AttestedPool {
        let observer = Some(Arc::new(Keeper {
            gate: self.clone(),
            next: observer,
        }) as Arc<dyn PoolObserver>);
        AttestedPool::observed(self.connector.clone(), nodes, PoolLimits::default(), observer)
    }

    fn keep(&self, connection: &AttestedConnection) {
        let verdict = &connection.result().verdict;
        let evidence = connection.evidence();
        self.ledger.evidence(connection.node(), verdict, Some(evidence));
    }

    fn keep_refusal(&self, refusal: &Refusal) {
        let evidence = refusal.evidence.as_deref();
        self.ledger.evidence(&refusal.node, &refusal.verdict, evidence);
    }

    /// Why each node gave no connection.
    pub(crate) fn refusals(&self, failures: &[NodeFailure]) -> Vec<Refusal> {
        let refusal = |failure: &NodeFailure| self.refusal(&failure.node, &failure.error);
        failures.iter().map(refusal).collect()
    }

    /// Why a node gave no connection.
    pub(crate) fn refusal(&self, node: &NodeAddress, error: &ConnectError) -> Refusal {
        let (code, exit) = (error.code(), error.exit_code());
        let (verdict, evidence) = match error {
            ConnectError::Refused { verdict, evidence } => (verdict.clone(), Some(evidence.clone())),
            _ => {
                let decision = match exit {
                    exit::REJECTED => Decision::Rejected,
                    exit::UNSUPPORTED => Decision::Unsupported,
                    exit::MALFORMED => Decision::Malformed,
                    _ => Decision::Undecided,
                };
                let verdict = without_evidence(decision, code, with_causes(error), clock::now());
                let verdict = Verdict {
                    policy: self.policy.clone(),
                    policy_digest: self.policy_digest.clone(),
                    ..verdict
                };
                (Box::new(verdict), None)
            }
        };
        Refusal {
            node: node.clone(),
            code,
            exit,
            verdict,
            evidence,
        }
    }
}

/// Keeps in the ledger what becomes of a pool's nodes, and passes it on.
struct Keeper {
    gate: Gate,
    next: Option<Arc<dyn PoolObserver>>,
}

impl PoolObserver for Keeper {
    fn admitted(&self, connection: &AttestedConnection) {
        self.gate.keep(connection);
        if let Some(next) = &self.next {
            next.admitted(connection);
        }
    }

    fn failed(&self, node: &NodeAddress, error: &ConnectError) {
        self.gate.keep_refusal(&self.gate.refusal(node, error));
        if let Some(next) = &self.next {
            next.failed(node, error);
        }
    }
}

/// What the policy's `[session]` section asks of TLS.
fn session_rules(policy: &Policy) -> SessionRules {
    let asked = policy.session();
    SessionRules {
        key_exchange: match asked.key_exchange {
            bastide_verifier::KeyExchange::PostQuantum => KeyExchange::PostQuantumOnly,
            bastide_verifier::KeyExchange::Any => KeyExchange::PostQuantumPreferred,
        },
        names: match asked.certificate {
            ServerCertificate::Any => ServerNames::EvidenceDecides,
            ServerCertificate::WebPki => ServerNames::WebPki(TrustRoots::web()),
        },
    }
}

/// A verdict about something that never got as far as an appraisal.
pub(crate) fn without_evidence(
    decision: Decision,
    code: &'static str,
    reason: String,
    at: UnixTime,
) -> Verdict {
    Verdict {
        schema: VERDICT_SCHEMA,
        decision,
        code: Some(code),
        reason: Some(reason),
        checks: Vec::new(),
        roots: Vec::new(),
        simulated: false,
        snp: None,
        platform: None,
        azure: None,
        gpus: Vec::new(),
        uncovered: Vec::new(),
        session: None,
        policy: String::new(),
        policy_digest: String::new(),
        ignored: Vec::new(),
        at: at.to_string(),
    }
}

/// Lets an accepted verdict through, unless it is simulated and nobody allowed
/// that: a policy that lists simulation roots is not permission enough.
///
/// # Errors
/// The verdict, now a rejection.
pub(crate) fn permit(verdict: Verdict, allow_simulated: bool) -> Result<Verdict, Box<Verdict>> {
    if !verdict.simulated || allow_simulated {
        return Ok(verdict);
    }
    let mut verdict = Box::new(verdict);
    verdict.decision = Decision::Rejected;
    verdict.code = Some(SIMULATED_NOT_ALLOWED);
    verdict.reason =
        Some("the evidence rests on a simulation root, and --allow-simulated was not given".to_owned());
    let check = Check {
        id: "policy.simulated",
        status: Status::Fail,
        expected: "hardware roots, or --allow-simulated".into(),
        got: "a simulation root".into(),
        basis: Basis::Derived,
    };
    verdict.checks.insert(0, check);
    Err(verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_evidence_needs_both_the_policys_and_the_persons_permission() {
        let accepted = |simulated| Verdict {
            simulated,
            code: None,
            reason: None,
            ..without_evidence(Decision::Accepted, "x", String::new(), UnixTime::from_secs(0))
        };
        assert!(permit(accepted(false), false).is_ok());
        assert!(permit(accepted(true), true).is_ok());
        let verdict = permit(accepted(true), false).unwrap_err();
        assert_eq!(
            (verdict.decision, verdict.code),
            (Decision::Rejected, Some(SIMULATED_NOT_ALLOWED))
        );
        assert_eq!(
            verdict.checks.first().map(|check| check.status),
            Some(Status::Fail)
        );
    }
}
