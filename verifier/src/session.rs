//! What the epoch statement says and how it is bound: to the report, to this
//! TLS session, to a model. The binder compared with is always the verifier's
//! own, never one that came with the evidence.

use bastide_attestation::snp::SnpReport;
use bastide_attestation::{EpochStatement, Evidence, ReportData, SessionExpectation, UnixTime, binding};

use crate::ledger::{CheckId, Ledger};
use crate::policy::Policy;
use crate::rejection::Rejection;
use crate::snp::{Authentic, Pinning};

/// Which session, if any, the evidence must belong to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Session<'a> {
    /// Evidence that must be bound to a live TLS session.
    Live(&'a Evidence, &'a SessionExpectation),
    /// Evidence kept from a session that is over.
    Kept(&'a Evidence),
    /// A report alone, with REPORT_DATA if the caller knows what it must be.
    Report(Option<ReportData>),
}

/// Records the checks of the session. Gives the statement if REPORT_DATA
/// vouches for it.
pub(crate) fn evaluate_session(
    authentic: &Authentic<'_, SnpReport>,
    session: &Session<'_>,
    policy: &Policy,
    now: UnixTime,
    ledger: &mut Ledger,
) -> Option<EpochStatement> {
    match session {
        Session::Live(evidence, expectation) => {
            evaluate_statement(authentic, evidence, Some(expectation), policy, now, ledger)
        }
        Session::Kept(evidence) => evaluate_statement(authentic, evidence, None, policy, now, ledger),
        Session::Report(expected) => {
            const ALONE: &str = "a report alone has no session";
            ledger.skip(CheckId::Statement, ALONE);
            match expected {
                Some(expected) => {
                    check_report_data(authentic.value(), expected, ledger);
                }
                None => ledger.skip(CheckId::ReportData, "not given"),
            }
            for id in [
                CheckId::Binding,
                CheckId::StatementDebug,
                CheckId::Gpu,
                CheckId::Model,
            ] {
                ledger.skip(id, ALONE);
            }
            None
        }
    }
}

fn check_report_data(report: &SnpReport, expected: &ReportData, ledger: &mut Ledger) -> bool {
    let got = report.report_data();
    // Both values are public; no constant time is needed.
    let equal = got == *expected;
    ledger.check(
        CheckId::ReportData,
        equal,
        Rejection::ReportData,
        hex::encode(expected.as_bytes()),
        hex::encode(got.as_bytes()),
    );
    equal
}

fn evaluate_statement(
    authentic: &Authentic<'_, SnpReport>,
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
        format!("{} bytes, epoch {}", evidence.statement.len(), statement.epoch),
    );
    // Nothing that the statement says counts unless the hardware signed it.
    let expected = binding::report_data(&evidence.statement);
    if !check_report_data(authentic.value(), &expected, ledger) {
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
    ledger.check(
        CheckId::Gpu,
        statement.gpu_digest.is_none(),
        Rejection::GpuUnsupported,
        CheckId::Gpu.expected(),
        statement
            .gpu_digest
            .map_or_else(|| "none is named: no GPU is vouched for".to_owned(), hex::encode),
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
