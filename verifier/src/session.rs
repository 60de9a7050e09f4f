//! What the epoch statement says and how it is bound: to the hardware, to this
//! TLS session, to a model. The binder compared with is always the verifier's
//! own, never one that came with the evidence.

use bastide_attestation::nvidia::GpuEvidence;
use bastide_attestation::{
    EpochStatement, Evidence, GpuNonce, GpuPart, GpuSeedKind, ReportData, SessionExpectation, UnixTime,
    binding, sha256,
};

use crate::ledger::{CheckId, Ledger};
use crate::policy::Policy;
use crate::rejection::Rejection;
use crate::snp::Pinning;

/// Which session, if any, the evidence must belong to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Session<'a> {
    /// Evidence that must be bound to a live TLS session.
    Live(&'a Evidence, &'a SessionExpectation),
    /// Evidence kept from a session that is over.
    Kept(&'a Evidence),
    /// Hardware evidence alone, with REPORT_DATA or the quote's nonce, if the
    /// caller knows what it must be.
    Alone(Option<&'a [u8]>),
}

/// What the statement must be in, authentic, by platform.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound<'a> {
    /// REPORT_DATA, which a bare guest chooses.
    ReportData(ReportData),
    /// The nonce of a vTPM's quote, where the guest doesn't; `None` without a quote.
    QuoteNonce(Option<&'a [u8]>),
}

impl<'a> Session<'a> {
    /// The evidence that the session is of.
    pub(crate) const fn evidence(&self) -> Option<&'a Evidence> {
        match self {
            Self::Live(evidence, _) | Self::Kept(evidence) => Some(evidence),
            Self::Alone(_) => None,
        }
    }
}

impl Bound<'_> {
    const fn check(&self) -> CheckId {
        match self {
            Self::ReportData(_) => CheckId::ReportData,
            Self::QuoteNonce(_) => CheckId::QuoteNonce,
        }
    }

    const fn rejection(&self) -> Rejection {
        match self {
            Self::ReportData(_) => Rejection::ReportData,
            Self::QuoteNonce(_) => Rejection::QuoteNonce,
        }
    }

    /// What it is; empty if it isn't there, and then equal to nothing.
    fn value(&self) -> &[u8] {
        match self {
            Self::ReportData(data) => data.as_bytes(),
            Self::QuoteNonce(nonce) => nonce.unwrap_or_default(),
        }
    }

    /// Records whether it is what a statement makes of it.
    fn require_statement(&self, statement: &[u8], ledger: &mut Ledger) -> bool {
        match self {
            Self::ReportData(_) => self.require(binding::report_data(statement).as_bytes(), ledger),
            Self::QuoteNonce(_) => self.require(binding::quote_nonce(statement).as_bytes(), ledger),
        }
    }

    /// Records whether it is exactly `expected`.
    fn require(&self, expected: &[u8], ledger: &mut Ledger) -> bool {
        let got = self.value();
        // Both values are public; no constant time is needed.
        let equal = !got.is_empty() && got == expected;
        let (expected, got) = (hex::encode(expected), hex::encode(got));
        ledger.check(self.check(), equal, self.rejection(), expected, got);
        equal
    }
}

/// Records the checks of the session. Gives the statement if the hardware
/// vouches for it.
pub(crate) fn evaluate_session(
    bound: &Bound<'_>,
    session: &Session<'_>,
    policy: &Policy,
    now: UnixTime,
    ledger: &mut Ledger,
) -> Option<EpochStatement> {
    match session {
        Session::Live(evidence, expectation) => {
            evaluate_statement(bound, evidence, Some(expectation), policy, now, ledger)
        }
        Session::Kept(evidence) => evaluate_statement(bound, evidence, None, policy, now, ledger),
        Session::Alone(expected) => {
            const ALONE: &str = "a report alone has no session";
            ledger.skip(CheckId::Statement, ALONE);
            match expected {
                Some(expected) => {
                    bound.require(expected, ledger);
                }
                None => ledger.skip(bound.check(), "not given"),
            }
            for id in [CheckId::Binding, CheckId::StatementDebug, CheckId::Model] {
                ledger.skip(id, ALONE);
            }
            None
        }
    }
}

/// The GPU evidence that a statement names: decoded, with the nonce that its
/// devices must have answered.
#[derive(Debug)]
pub(crate) struct NamedGpus {
    pub(crate) evidence: GpuEvidence,
    pub(crate) nonce: GpuNonce,
}

/// Records whether statement, policy and what was sent agree about GPUs. Gives
/// the evidence if there is some to appraise.
pub(crate) fn evaluate_gpu_evidence(
    statement: &EpochStatement,
    sent: Option<&GpuPart>,
    policy: &Policy,
    ledger: &mut Ledger,
) -> Option<NamedGpus> {
    let id = CheckId::Gpu;
    let Some(rules) = policy.gpu() else {
        let none = statement.gpu_digest.is_none() && sent.is_none();
        let got = match (&statement.gpu_digest, none) {
            (_, true) => "none is named: no GPU is vouched for".to_owned(),
            (Some(digest), _) => hex::encode(digest),
            (None, _) => "evidence that the statement does not name".to_owned(),
        };
        let expected = "no GPU evidence: the policy has no [gpu] section";
        ledger.check(id, none, Rejection::GpuNotExpected, expected, got);
        return None;
    };
    let expected = format!("evidence of {} GPU(s)", rules.topology.gpus);
    let (digest, sent) = match (&statement.gpu_digest, sent) {
        (Some(digest), Some(sent)) => (digest, sent),
        (named, _) => {
            let got = match named {
                Some(_) => "evidence that the statement names, and that was not sent",
                None => "a statement that names none",
            };
            ledger.check(id, false, Rejection::GpuMissing, expected, got);
            return None;
        }
    };
    // Over the bytes as they came.
    let got = sha256(&[&sent.evidence]);
    if got != *digest {
        let (expected, got) = (hex::encode(digest), hex::encode(got));
        ledger.check(id, false, Rejection::GpuDigest, expected, got);
        return None;
    }
    let evidence = match GpuEvidence::decode(&sent.evidence) {
        Ok(evidence) => evidence,
        Err(error) => {
            ledger.check(
                id,
                false,
                Rejection::GpuEvidenceMalformed,
                expected,
                error.to_string(),
            );
            return None;
        }
    };
    ledger.pass_against(
        id,
        expected,
        format!(
            "{} device(s), sha256:{}",
            evidence.devices().len(),
            hex::encode(got)
        ),
    );
    let seed = match statement.gpu_seed {
        // Whichever seed was sent: the nonce follows from the tree of sessions.
        GpuSeedKind::Strict => *statement.root.as_bytes(),
        GpuSeedKind::PreviousStatement => sent.seed,
    };
    let nonce = binding::gpu_nonce(&statement.boot_id, statement.gpu_epoch, &seed);
    Some(NamedGpus { evidence, nonce })
}

fn evaluate_statement(
    bound: &Bound<'_>,
    evidence: &Evidence,
    expectation: Option<&SessionExpectation>,
    policy: &Policy,
    now: UnixTime,
    ledger: &mut Ledger,
) -> Option<EpochStatement> {
    let statement = match EpochStatement::decode(&evidence.statement) {
        Ok(statement) => statement,
        Err(error) => {
            let id = CheckId::Statement;
            ledger.check(id, false, Rejection::Statement, id.expected(), error.to_string());
            return None;
        }
    };
    ledger.pass(
        CheckId::Statement,
        format!(
            "{} bytes, epoch {}{}",
            evidence.statement.len(),
            statement.epoch,
            // Others prove themselves apart: this verdict is of the head alone.
            if statement.pipeline {
                ", head of a pipeline"
            } else {
                ""
            }
        ),
    );
    // Nothing that the statement says counts unless the hardware signed it.
    if !bound.require_statement(&evidence.statement, ledger) {
        return None;
    }

    match expectation {
        Some(expectation) => {
            let proof = &evidence.proof;
            let leaf = binding::leaf(expectation.leaf, &proof.salt, &expectation.binder);
            let bound = proof.verify(&leaf, statement.depth, &statement.root);
            ledger.check(
                CheckId::Binding,
                bound.is_ok(),
                Rejection::Binding,
                CheckId::Binding.expected(),
                match bound {
                    Ok(()) => format!("leaf {} of a tree of depth {}", proof.index, statement.depth),
                    Err(error) => error.to_string(),
                },
            );
        }
        None => ledger.skip(
            CheckId::Binding,
            "the session is over; only who was there could check",
        ),
    }
    let debug = statement.debug;
    ledger.check(
        CheckId::StatementDebug,
        !debug,
        Rejection::StatementDebug,
        CheckId::StatementDebug.expected(),
        if debug { "a debug build" } else { "a release build" },
    );
    let model = Pinning {
        id: CheckId::Model,
        rejection: Rejection::ModelNotAllowed,
        what: "manifest",
        now,
    };
    model.evaluate(policy.manifests(), &statement.model, ledger);
    Some(statement)
}
