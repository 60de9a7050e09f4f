//! The only way from this command to a node: connect, appraise, and admit
//! simulated hardware only where the person at the keyboard said so.

use std::sync::Arc;
use std::time::Duration;

use bastide_attestation::{Basis, Check, Decision, Status, UnixTime, VERDICT_SCHEMA, Verdict};
use bastide_attested_tls::{AttestedConnection, ConnectError, Connector, NodeAddress, Timeouts};
use bastide_verifier::{Policy, Verifier};

use crate::clock;
use crate::exit;
use crate::fault::with_causes;
use crate::ledger::Recorder;

/// Code of evidence that rests on a simulation root without permission.
pub(crate) const SIMULATED_NOT_ALLOWED: &str = "simulated.not_allowed";
/// An answer that isn't streamed begins only when all of it is there.
const REQUEST_HEAD: Duration = Duration::from_secs(300);

/// A policy, and whether simulated hardware may pass it.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    connector: Connector,
    policy: String,
    policy_digest: String,
    allow_simulated: bool,
    ledger: Recorder,
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
        Self {
            connector: Connector::new(Arc::new(Verifier::new(policy))).with_timeouts(timeouts),
            policy: name,
            policy_digest: digest,
            allow_simulated,
            ledger: Recorder::off(),
        }
    }

    /// The same, with a ledger that everything is kept in.
    #[must_use]
    pub(crate) fn with_ledger(self, ledger: Recorder) -> Self {
        Self { ledger, ..self }
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
        let admitted = self.admit(node).await;
        match &admitted {
            Ok(connection) => {
                let verdict = &connection.result().verdict;
                self.ledger.evidence(node, verdict, Some(connection.evidence()));
            }
            Err(refusal) => self
                .ledger
                .evidence(node, &refusal.verdict, refusal.evidence.as_deref()),
        }
        admitted
    }

    async fn admit(&self, node: &NodeAddress) -> Result<AttestedConnection, Box<Refusal>> {
        match self.connector.connect(node).await {
            Ok(connection) => match permit(connection.result().verdict.clone(), self.allow_simulated) {
                Ok(_) => Ok(connection),
                Err(verdict) => Err(Box::new(Refusal {
                    node: node.clone(),
                    code: SIMULATED_NOT_ALLOWED,
                    exit: exit::REJECTED,
                    verdict,
                    evidence: Some(connection.evidence().to_vec()),
                })),
            },
            Err(error) => Err(Box::new(self.refusal(node, error))),
        }
    }

    fn refusal(&self, node: &NodeAddress, error: ConnectError) -> Refusal {
        let (code, exit) = (error.code(), error.exit_code());
        let reason = with_causes(&error);
        let (verdict, evidence) = match error {
            ConnectError::Refused { verdict, evidence } => (verdict, Some(evidence)),
            _ => {
                let decision = match exit {
                    exit::REJECTED => Decision::Rejected,
                    exit::UNSUPPORTED => Decision::Unsupported,
                    exit::MALFORMED => Decision::Malformed,
                    _ => Decision::Undecided,
                };
                let verdict = without_evidence(decision, code, reason, clock::now());
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
