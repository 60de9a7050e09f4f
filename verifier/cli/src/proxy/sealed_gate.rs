//! The gate of sealed mode: keys that the policy admitted, and the same question
//! of simulated hardware as for sessions. Only a key from here is sealed to.

use std::sync::Arc;

use bastide_attestation::{Decision, Verdict};
use bastide_attested_tls::{Carrier, NodeAddress, SealedConnector, SealedError, SealedKey};
use bastide_verifier::{KeyExchange, Policy, ServerCertificate};
use tokio::sync::Mutex;

use super::error::explain;
use crate::clock;
use crate::console::Console;
use crate::escape;
use crate::exit;
use crate::fault::{Fault, with_causes};
use crate::gate::{Refusal, appraiser, without_evidence};
use crate::ledger::Recorder;
use crate::verdict_view::SIMULATED;

/// Nodes in the order to try them, and the key that was admitted last.
#[derive(Debug)]
pub(crate) struct SealedGate {
    connectors: Vec<SealedConnector>,
    policy: String,
    policy_digest: String,
    console: Console,
    ledger: Recorder,
    /// Held while a key is asked for, so that many requests ask once.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    admitted: Option<Admitted>,
    /// What was last said, so that it is said once.
    said: Option<String>,
}

/// A key that may be sealed to, and who takes what is sealed to it.
#[derive(Debug, Clone)]
pub(super) struct Admitted {
    pub(super) key: Arc<SealedKey>,
    pub(super) connector: SealedConnector,
}

impl SealedGate {
    /// A gate in front of nodes, or of one node behind a relay.
    ///
    /// # Errors
    /// [`Fault`] if the policy wants of a session what sealed mode can't hold.
    pub(crate) fn new(
        policy: Policy,
        allow_simulated: bool,
        nodes: Vec<NodeAddress>,
        relay: Option<&Carrier>,
        console: Console,
    ) -> Result<Self, Fault> {
        let rules = policy.session();
        if rules.certificate == ServerCertificate::WebPki {
            return Err(Fault::usage(
                "sealed.certificate_rule",
                "the policy wants a public authority's certificate of a session, and sealed mode has none",
            )
            .with_remedy("use a policy whose [session] says certificate = \"any\", or leave out --sealed"));
        }
        let (name, digest) = (policy.name().to_owned(), policy.digest().to_string());
        let appraiser = appraiser(policy, allow_simulated);
        let connectors = nodes
            .into_iter()
            .map(|node| {
                let connector = SealedConnector::new(Arc::clone(&appraiser), node, relay.cloned());
                match rules.key_exchange {
                    KeyExchange::PostQuantum => connector.post_quantum(),
                    KeyExchange::Any => connector,
                }
            })
            .collect();
        Ok(Self {
            connectors,
            policy: name,
            policy_digest: digest,
            console,
            ledger: Recorder::off(),
            state: Mutex::default(),
        })
    }

    /// The same, with a ledger that everything is kept in.
    #[must_use]
    pub(crate) fn with_ledger(self, ledger: Recorder) -> Self {
        Self { ledger, ..self }
    }

    /// The ledger.
    pub(super) const fn ledger(&self) -> &Recorder {
        &self.ledger
    }

    /// A key to seal to: the one of before, or a new one of the first node that
    /// proves itself.
    ///
    /// # Errors
    /// Why each node was not admitted. Nothing of the user's was sent.
    pub(super) async fn take(&self) -> Result<Admitted, Vec<Refusal>> {
        let mut state = self.state.lock().await;
        if let Some(admitted) = state.admitted.take_if(|admitted| !admitted.key.is_usable()) {
            drop(admitted);
        }
        if let Some(admitted) = &state.admitted {
            return Ok(admitted.clone());
        }
        let mut refusals = Vec::new();
        for connector in &self.connectors {
            match connector.key().await {
                Ok(key) => {
                    let verdict = &key.result().verdict;
                    self.ledger.evidence(key.node(), verdict, Some(key.evidence()));
                    let admitted = Admitted {
                        key: Arc::new(key),
                        connector: connector.clone(),
                    };
                    self.report_admitted(&mut state, &admitted);
                    state.admitted = Some(admitted.clone());
                    return Ok(admitted);
                }
                Err(error) => {
                    let refusal = self.refusal(connector.node().clone(), error);
                    let evidence = refusal.evidence.as_deref();
                    self.ledger.evidence(&refusal.node, &refusal.verdict, evidence);
                    self.report_refused(&mut state, &refusal);
                    refusals.push(refusal);
                }
            }
        }
        Err(refusals)
    }

    /// Forgets a key, so that the next request asks for another.
    pub(super) async fn forget(&self, key: &Arc<SealedKey>) {
        let mut state = self.state.lock().await;
        state.admitted.take_if(|admitted| Arc::ptr_eq(&admitted.key, key));
    }

    /// Asks once and reports. The proxy stays up either way.
    pub(super) async fn warm_up(&self) {
        if self.take().await.is_err() {
            self.console
                .warn("no node meets the policy now; requests get 503 until one does");
        }
    }

    fn report_admitted(&self, state: &mut State, admitted: &Admitted) {
        let node = admitted.key.node().to_string();
        if state.said.as_ref() == Some(&node) {
            return;
        }
        let paint = self.console.err();
        if admitted.key.result().verdict.simulated {
            self.console.warn(&paint.warn(SIMULATED));
        }
        self.console.note(&format!(
            "{} {} under policy {}, sealed mode",
            paint.good("admitted"),
            escape::line(&node),
            escape::brief(&self.policy)
        ));
        state.said = Some(node);
    }

    fn report_refused(&self, state: &mut State, refusal: &Refusal) {
        let said = format!("{} {}", refusal.node, refusal.code);
        if state.said.as_ref() != Some(&said) {
            let paint = self.console.err();
            self.console
                .warn(&format!("{}  {}", paint.bad("BLOCKED"), explain(refusal)));
            state.said = Some(said);
        }
    }

    fn refusal(&self, node: NodeAddress, error: SealedError) -> Refusal {
        let code = error.code();
        let reason = with_causes(&error);
        let (decision, exit) = match &error {
            SealedError::KeyNotAttested => (Decision::Rejected, exit::REJECTED),
            SealedError::Malformed(_) | SealedError::KeyConfig(_) => (Decision::Malformed, exit::MALFORMED),
            _ => (Decision::Undecided, exit::UNAVAILABLE),
        };
        let (verdict, evidence, exit) = match error {
            SealedError::Refused { verdict, evidence } => {
                let exit = match verdict.decision {
                    // A refusal by an accepting verdict contradicts itself.
                    Decision::Accepted => exit::INTERNAL,
                    decision => decision.exit_code(),
                };
                (verdict, Some(evidence), exit)
            }
            _ => {
                let verdict = Verdict {
                    policy: self.policy.clone(),
                    policy_digest: self.policy_digest.clone(),
                    ..without_evidence(decision, code, reason, clock::now())
                };
                (Box::new(verdict), None, exit)
            }
        };
        Refusal {
            node,
            code,
            exit,
            verdict,
            evidence,
        }
    }
}
