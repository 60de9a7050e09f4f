//! The verifier: evidence, policy and time in, a verdict out. Owns the way from
//! `Untrusted` through `Authentic` to `Appraised` and the making of verdicts.

use bastide_attestation::snp::SnpReport;
use bastide_attestation::{
    Appraiser, AttestationResult, Decision, EpochStatement, Evidence, PlatformEvidence, ReportData,
    SessionExpectation, UnixTime, Untrusted, VERDICT_SCHEMA, Verdict, binding,
};

use crate::crypto::{Crypto, provider};
use crate::facts;
use crate::ledger::{Ledger, Refused};
use crate::policy::Policy;
use crate::session::{Session, evaluate_session};
use crate::snp::{Authentic, Memo, Sources, Trust, authenticate, describe_roots, evaluate};

/// An SNP report with its endorsements, recorded somewhere, unverified.
#[derive(Debug, Clone, Copy)]
pub struct RecordedSnp<'a> {
    /// The raw report, 1,184 bytes.
    pub report: &'a [u8],
    /// DER of the VCEK or VLEK; empty if there is none.
    pub vek: &'a [u8],
    /// DER of the ARK and the ASK or ASVK, in any order, others among them.
    pub chain: &'a [Vec<u8>],
    /// DER of the ARK's revocation list.
    pub crl: Option<&'a [u8]>,
    /// What REPORT_DATA must be, if the caller knows.
    pub report_data: Option<ReportData>,
}

/// Appraises evidence by one policy. Holds the policy and remembers which
/// certificate signatures it verified; nothing else is kept between appraisals.
#[derive(Debug)]
pub struct Verifier {
    policy: Policy,
    crypto: &'static dyn Crypto,
    memo: Memo,
}

/// Authentic evidence that meets the policy. Made only by [`judge`].
#[derive(Debug)]
struct Appraised {
    statement: Option<EpochStatement>,
}

/// Applies policy and session to an authentic report. Makes every check, so
/// that a refusal names all there is.
fn judge(
    authentic: &Authentic<'_, SnpReport>,
    session: &Session<'_>,
    policy: &Policy,
    now: UnixTime,
    verdict: &mut Facts,
    ledger: &mut Ledger,
) -> Result<Appraised, Refused> {
    evaluate(authentic, policy, now, ledger);
    let statement = evaluate_session(authentic, session, policy, now, ledger);
    verdict.session = statement.as_ref().map(facts::of_statement);
    if ledger.is_clean() {
        Ok(Appraised { statement })
    } else {
        Err(Refused)
    }
}

/// What a verdict tells besides its checks, as far as it was established.
#[derive(Debug, Default)]
struct Facts {
    roots: Vec<String>,
    simulated: bool,
    uncovered: Vec<String>,
    snp: Option<std::collections::BTreeMap<&'static str, String>>,
    session: Option<std::collections::BTreeMap<&'static str, String>>,
}

impl Verifier {
    /// A verifier for one policy.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self::with_crypto(policy, provider())
    }

    /// A verifier that verifies signatures with `crypto`.
    #[must_use]
    pub fn with_crypto(policy: Policy, crypto: &'static dyn Crypto) -> Self {
        Self {
            policy,
            crypto,
            memo: Memo::default(),
        }
    }

    /// The policy.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Appraises a recorded report. There is no session: its checks are
    /// `skip`, except REPORT_DATA's if it is given.
    pub fn appraise_recorded(&self, evidence: &RecordedSnp<'_>, now: UnixTime) -> Verdict {
        let sources = Sources {
            report: evidence.report,
            vek: evidence.vek,
            chain: evidence.chain,
            crl: evidence.crl,
        };
        let session = Session::Report(evidence.report_data);
        self.run(sources, &session, now).1
    }

    /// Appraises evidence that was kept with a receipt: all but the binding to
    /// the session, which is over, and which nobody can check who was not there.
    ///
    /// # Errors
    /// The verdict, if it is anything but accepted.
    pub fn appraise_receipt_evidence(
        &self,
        evidence: &Untrusted<Evidence>,
        now: UnixTime,
    ) -> Result<AttestationResult, Box<Verdict>> {
        let evidence = evidence.as_unverified();
        self.attest(evidence, &Session::Kept(evidence), now)
    }

    fn attest(
        &self,
        evidence: &Evidence,
        session: &Session<'_>,
        now: UnixTime,
    ) -> Result<AttestationResult, Box<Verdict>> {
        match self.run(sources_of(evidence), session, now) {
            (
                Some(Appraised {
                    statement: Some(statement),
                }),
                verdict,
            ) => Ok(AttestationResult {
                verdict,
                statement,
                statement_digest: binding::statement_digest(&evidence.statement),
            }),
            (_, verdict) => Err(Box::new(verdict)),
        }
    }

    fn run(
        &self,
        sources: Sources<'_>,
        session: &Session<'_>,
        now: UnixTime,
    ) -> (Option<Appraised>, Verdict) {
        let mut ledger = Ledger::new();
        let mut facts = Facts::default();
        let trust = Trust {
            anchors: self.policy.anchors(),
            crl: self.policy.snp().crl,
            v2_product: self.policy.snp().v2_product,
            crypto: self.crypto,
            memo: &self.memo,
            now,
        };
        let appraised = authenticate(&Untrusted::new(sources), &trust, &mut ledger).and_then(|authentic| {
            facts.snp = Some(facts::of_report(&authentic));
            let endorsed = authentic.endorsed();
            facts.roots = describe_roots(endorsed.anchor);
            facts.simulated = endorsed.anchor.simulated;
            facts.uncovered = self
                .policy
                .uncovered_advisories(endorsed.product)
                .map(|advisory| advisory.to_string())
                .collect();
            judge(&authentic, session, &self.policy, now, &mut facts, &mut ledger)
        });
        (appraised.ok(), self.verdict(ledger, facts, now))
    }

    fn verdict(&self, ledger: Ledger, facts: Facts, now: UnixTime) -> Verdict {
        let clean = ledger.is_clean();
        let (failure, checks) = ledger.finish();
        let (decision, code, reason) = match failure {
            None if clean => (Decision::Accepted, None, None),
            // INVARIANT: a check that was not made never counts as passed.
            None => (
                Decision::Undecided,
                Some("internal"),
                Some("a check was not made; this is a fault of the verifier".to_owned()),
            ),
            Some((rejection, reason)) => (rejection.decision(), Some(rejection.code()), Some(reason)),
        };
        Verdict {
            schema: VERDICT_SCHEMA,
            decision,
            code,
            reason,
            checks,
            roots: facts.roots,
            simulated: facts.simulated,
            uncovered: facts.uncovered,
            snp: facts.snp,
            gpus: Vec::new(),
            session: facts.session,
            policy: self.policy.name().to_owned(),
            policy_digest: self.policy.digest().to_string(),
            ignored: self.policy.ignored().to_vec(),
            at: now.to_string(),
        }
    }
}

impl Appraiser for Verifier {
    fn appraise(
        &self,
        evidence: &Untrusted<Evidence>,
        session: &SessionExpectation,
        now: UnixTime,
    ) -> Result<AttestationResult, Box<Verdict>> {
        let evidence = evidence.as_unverified();
        self.attest(evidence, &Session::Live(evidence, session), now)
    }
}

fn sources_of(evidence: &Evidence) -> Sources<'_> {
    // A platform without a bare SNP report has no report here: refused by its length.
    let report: &[u8] = match &evidence.platform {
        PlatformEvidence::Snp(report) => report.as_slice(),
        _ => &[],
    };
    Sources {
        report,
        vek: &evidence.endorsements.vek,
        chain: &evidence.endorsements.chain,
        crl: evidence.endorsements.crl.as_deref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shipped;

    #[test]
    fn a_verdict_without_its_checks_is_not_accepted() {
        let policy = Policy::parse(shipped::PRODUCTION.as_bytes()).unwrap();
        let verdict = Verifier::new(policy).verdict(Ledger::new(), Facts::default(), UnixTime::from_secs(0));
        assert_eq!(verdict.decision, Decision::Undecided);
        assert_eq!(verdict.decision.exit_code(), 40);
    }
}
