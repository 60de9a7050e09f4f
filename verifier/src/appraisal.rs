//! The verifier: evidence, policy and time in, a verdict out. Owns the way from
//! `Untrusted` through `Authentic` to `Appraised` and the making of verdicts.

use bastide_attestation::nvidia::GpuEndorsements;
use bastide_attestation::snp::SnpReport;
use bastide_attestation::{
    Appraiser, AttestationResult, Decision, EpochStatement, Evidence, Platform, PlatformEvidence, ReportData,
    SessionExpectation, UnixTime, Untrusted, VERDICT_SCHEMA, Verdict, binding,
};

use crate::azure::{
    QuoteSources, Vtpm, authenticate_vtpm, evaluate_pcrs, evaluate_platform, read_hcl_report,
};

use crate::crypto::{Crypto, provider};
use crate::facts;
use crate::ledger::{CheckId, Ledger, Refused, Scope};
use crate::nvidia::rim::RimMemo;
use crate::nvidia::{GpuReport, GpuTrust, appraise_gpus};
use crate::policy::Policy;
use crate::recorded::{RecordedAppraisal, RecordedAzure, RecordedGpu, RecordedGpus, RecordedSnp};
use crate::rejection::Rejection;
use crate::session::{Bound, Session, evaluate_gpu_evidence, evaluate_session};
use crate::snp::{Authentic, Memo, Sources, Trust, authenticate, describe_roots, evaluate};

/// What is appraised: one report in the form of its platform, with endorsements.
#[derive(Debug, Clone, Copy)]
struct Subject<'a> {
    report: Report<'a>,
    vek: &'a [u8],
    chain: &'a [Vec<u8>],
    crl: Option<&'a [u8]>,
}

#[derive(Debug, Clone, Copy)]
enum Report<'a> {
    Snp(&'a [u8]),
    Azure {
        hcl_report: &'a [u8],
        quote: Option<QuoteSources<'a>>,
    },
}

impl Subject<'_> {
    const fn platform(&self) -> Platform {
        match self.report {
            Report::Snp(_) => Platform::Snp,
            Report::Azure { .. } => Platform::Azure,
        }
    }
}

/// Appraises evidence by one policy. Holds the policy and remembers which
/// certificate signatures it verified; nothing else is kept between appraisals.
#[derive(Debug)]
pub struct Verifier {
    policy: Policy,
    crypto: &'static dyn Crypto,
    memo: Memo,
    rims: RimMemo,
}

/// Authentic evidence that meets the policy. Made only by [`Verifier::establish`].
#[derive(Debug)]
struct Appraised {
    statement: Option<EpochStatement>,
}

/// Applies policy and session to an authentic report. Makes every check, so
/// that a refusal names all there is. Gives the statement if the hardware
/// vouches for it.
fn judge(
    authentic: &Authentic<'_, SnpReport>,
    vtpm: Option<&Vtpm<'_>>,
    session: &Session<'_>,
    policy: &Policy,
    now: UnixTime,
    verdict: &mut Facts,
    ledger: &mut Ledger,
) -> Option<EpochStatement> {
    evaluate_platform(policy, ledger);
    evaluate(authentic, policy, now, ledger);
    let bound = match vtpm {
        None => Bound::ReportData(authentic.value().report_data()),
        Some(vtpm) => {
            evaluate_pcrs(policy.azure(), vtpm, now, ledger);
            Bound::QuoteNonce(vtpm.quote().map(|quote| quote.fields().extra_data))
        }
    };
    let statement = evaluate_session(&bound, session, policy, now, ledger);
    verdict.session = statement.as_ref().map(facts::of_statement);
    statement
}

/// What a verdict tells besides its checks, as far as it was established.
#[derive(Debug, Default)]
struct Facts {
    roots: Vec<String>,
    simulated: bool,
    uncovered: Vec<String>,
    snp: Option<std::collections::BTreeMap<&'static str, String>>,
    azure: Option<std::collections::BTreeMap<&'static str, String>>,
    session: Option<std::collections::BTreeMap<&'static str, String>>,
    gpus: Vec<std::collections::BTreeMap<&'static str, String>>,
}

impl Facts {
    /// Adds what authentic GPUs tell.
    fn add(&mut self, report: GpuReport) {
        self.gpus = report.devices;
        self.simulated |= report.simulated;
        self.roots.extend(report.roots);
    }
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
            rims: RimMemo::default(),
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
        self.appraise_recorded_machine(evidence, None, now)
    }

    /// Appraises recorded GPUs alone. Nothing is said about the machine that
    /// they are in, nor about a session: a verdict that accepts them is about
    /// devices and their firmware.
    pub fn appraise_recorded_gpus(&self, gpus: &RecordedGpus<'_>, now: UnixTime) -> Verdict {
        let mut ledger = Ledger::new(Scope {
            platform: None,
            gpus: true,
        });
        let mut facts = Facts::default();
        // What was refused is in the ledger.
        let _ = self.establish_gpus(gpus, now, &mut facts, &mut ledger);
        self.verdict(ledger, facts, now)
    }

    /// Appraises a recorded report and, if there are some, the GPUs recorded
    /// beside it. That they belong together is nothing that a recording shows.
    pub fn appraise_recorded_machine(
        &self,
        evidence: &RecordedSnp<'_>,
        gpus: Option<&RecordedGpus<'_>>,
        now: UnixTime,
    ) -> Verdict {
        let subject = Subject {
            report: Report::Snp(evidence.report),
            vek: evidence.vek,
            chain: evidence.chain,
            crl: evidence.crl,
        };
        let expected = evidence.report_data.as_ref().map(ReportData::as_bytes);
        let session = Session::Alone(expected.map(<[u8; 64]>::as_slice));
        self.run(&subject, &session, gpus, now).1
    }

    /// Appraises a recorded HCL report, with its vTPM's quote if there is one.
    /// There is no session: its checks are `skip`, except the nonce's if it is
    /// given; without a quote the quote's are too.
    pub fn appraise_recorded_azure(&self, evidence: &RecordedAzure<'_>, now: UnixTime) -> Verdict {
        let subject = Subject {
            report: Report::Azure {
                hcl_report: evidence.hcl_report,
                quote: evidence.quote.map(|quote| QuoteSources {
                    message: quote.message,
                    signature: quote.signature,
                    pcrs: quote.pcrs,
                }),
            },
            vek: evidence.vek,
            chain: evidence.chain,
            crl: evidence.crl,
        };
        let nonce = evidence.quote.and_then(|quote| quote.nonce);
        self.run(&subject, &Session::Alone(nonce), None, now).1
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
    ) -> Result<RecordedAppraisal, Box<Verdict>> {
        let evidence = evidence.as_unverified();
        let (verdict, statement) = self.attest(evidence, &Session::Kept(evidence), now)?;
        let digest = binding::statement_digest(&evidence.statement);
        Ok(RecordedAppraisal::new(verdict, statement, digest))
    }

    /// The accepted verdict on an envelope, and the statement that the hardware vouches for.
    fn attest(
        &self,
        evidence: &Evidence,
        session: &Session<'_>,
        now: UnixTime,
    ) -> Result<(Verdict, EpochStatement), Box<Verdict>> {
        match self.run(&subject_of(evidence), session, None, now) {
            (
                Some(Appraised {
                    statement: Some(statement),
                }),
                verdict,
            ) => Ok((verdict, statement)),
            (_, verdict) => Err(Box::new(verdict)),
        }
    }

    fn run(
        &self,
        subject: &Subject<'_>,
        session: &Session<'_>,
        gpus: Option<&RecordedGpus<'_>>,
        now: UnixTime,
    ) -> (Option<Appraised>, Verdict) {
        let in_session = session.evidence().is_some() && self.policy.gpu().is_some();
        let mut ledger = Ledger::new(Scope {
            platform: Some(subject.platform()),
            gpus: in_session || gpus.is_some(),
        });
        let mut facts = Facts::default();
        let appraised = self.establish(subject, session, gpus, now, &mut facts, &mut ledger);
        (appraised.ok(), self.verdict(ledger, facts, now))
    }

    /// The way from bytes to [`Appraised`]. Stops at the first thing that isn't authentic.
    fn establish(
        &self,
        subject: &Subject<'_>,
        session: &Session<'_>,
        gpus: Option<&RecordedGpus<'_>>,
        now: UnixTime,
        facts: &mut Facts,
        ledger: &mut Ledger,
    ) -> Result<Appraised, Refused> {
        let (report, azure) = match subject.report {
            Report::Snp(report) => (report, None),
            Report::Azure { hcl_report, quote } => {
                let hcl = read_hcl_report(hcl_report, ledger)?;
                (hcl.snp_report().as_slice(), Some((hcl, quote)))
            }
        };
        let sources = Sources {
            report,
            vek: subject.vek,
            chain: subject.chain,
            crl: subject.crl,
        };
        let trust = Trust {
            anchors: self.policy.anchors(),
            crl: self.policy.snp().crl,
            v2_product: self.policy.snp().v2_product,
            crypto: self.crypto,
            memo: &self.memo,
            now,
        };
        let authentic = authenticate(&Untrusted::new(sources), &trust, ledger)?;
        facts.snp = Some(facts::of_report(&authentic));
        let endorsed = authentic.endorsed();
        facts.roots = describe_roots(endorsed.anchor);
        facts.simulated = endorsed.anchor.simulated;
        facts.uncovered = self
            .policy
            .uncovered_advisories(endorsed.product)
            .map(|advisory| advisory.to_string())
            .collect();
        let vtpm = azure
            .map(|(hcl, quote)| authenticate_vtpm(&hcl, &authentic, quote.as_ref(), self.crypto, ledger))
            .transpose()?;
        facts.azure = vtpm.as_ref().map(facts::of_vtpm);
        let statement = judge(
            &authentic,
            vtpm.as_ref(),
            session,
            &self.policy,
            now,
            facts,
            ledger,
        );
        self.judge_gpus(session, statement.as_ref(), gpus, now, facts, ledger)?;
        if ledger.is_clean() {
            Ok(Appraised { statement })
        } else {
            Err(Refused)
        }
    }

    /// The GPUs that an authentic statement names, or that were recorded.
    fn judge_gpus(
        &self,
        session: &Session<'_>,
        statement: Option<&EpochStatement>,
        recorded: Option<&RecordedGpus<'_>>,
        now: UnixTime,
        facts: &mut Facts,
        ledger: &mut Ledger,
    ) -> Result<(), Refused> {
        let Some(evidence) = session.evidence() else {
            ledger.skip(CheckId::Gpu, "a report alone names no GPU");
            return match recorded {
                Some(recorded) => self.establish_gpus(recorded, now, facts, ledger),
                None => Ok(()),
            };
        };
        let Some(statement) = statement else {
            return Ok(());
        };
        let sent = evidence.gpu.as_ref();
        let Some(named) = evaluate_gpu_evidence(statement, sent, &self.policy, ledger) else {
            return Ok(());
        };
        let none = GpuEndorsements::default();
        let endorsements = sent.map_or(&none, |sent| &sent.endorsements);
        let devices: Vec<_> = named
            .evidence
            .devices()
            .iter()
            .map(|device| RecordedGpu {
                report: &device.report,
                chain: &device.chain,
            })
            .collect();
        let gpus = RecordedGpus {
            devices: &devices,
            endorsements,
            nonce: Some(named.nonce),
            nras: None,
        };
        self.establish_gpus(&gpus, now, facts, ledger)
    }

    fn establish_gpus(
        &self,
        gpus: &RecordedGpus<'_>,
        now: UnixTime,
        facts: &mut Facts,
        ledger: &mut Ledger,
    ) -> Result<(), Refused> {
        let Some(rules) = self.policy.gpu() else {
            let expected = "a policy with a [gpu] section";
            let id = CheckId::GpuForm;
            return Err(ledger.fail(id, Rejection::GpuNotExpected, expected, "one without"));
        };
        let trust = GpuTrust {
            rules,
            crypto: self.crypto,
            memo: &self.memo,
            rims: &self.rims,
            now,
        };
        facts.add(appraise_gpus(gpus, &trust, ledger)?);
        Ok(())
    }

    fn verdict(&self, ledger: Ledger, facts: Facts, now: UnixTime) -> Verdict {
        let clean = ledger.is_clean();
        let platform = ledger.scope().platform;
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
            platform,
            checks,
            roots: facts.roots,
            simulated: facts.simulated,
            uncovered: facts.uncovered,
            snp: facts.snp,
            azure: facts.azure,
            gpus: facts.gpus,
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
        let (verdict, statement) = self.attest(evidence, &Session::Live(evidence, session), now)?;
        Ok(AttestationResult {
            verdict: verdict.into(),
            statement,
            statement_digest: binding::statement_digest(&evidence.statement),
        })
    }
}

fn subject_of(evidence: &Evidence) -> Subject<'_> {
    Subject {
        report: match &evidence.platform {
            PlatformEvidence::AzureVtpm { hcl_report, quote } => Report::Azure {
                hcl_report,
                quote: Some(QuoteSources {
                    message: &quote.message,
                    signature: &quote.signature,
                    pcrs: &quote.pcrs,
                }),
            },
            PlatformEvidence::Snp(report) => Report::Snp(report.as_slice()),
            // A platform that nobody here knows has no report: refused by its length.
            _ => Report::Snp(&[]),
        },
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
        let verdict = Verifier::new(policy).verdict(
            Ledger::new(Platform::Snp),
            Facts::default(),
            UnixTime::from_secs(0),
        );
        assert_eq!(verdict.decision, Decision::Undecided);
        assert_eq!(verdict.decision.exit_code(), 40);
    }
}
