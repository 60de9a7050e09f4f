//! The two roles that this crate only knows by trait: an attester that puts
//! REPORT_DATA into an otherwise blank report, and an appraiser that really
//! checks what binds evidence to a session, and nothing else.

use std::sync::Arc;

use bastide_attestation::binding::{leaf, report_data};
use bastide_attestation::snp::{REPORT_BYTES, SnpReport};
use bastide_attestation::{
    Appraiser, Attestation, AttestationResult, Attester, AttesterError, Binder, BootId, Decision,
    Endorsements, EpochStatement, Evidence, KeyThumbprint, ManifestDigest, PlatformEvidence, PolicyDigest,
    SessionExpectation, StatementBytes, UnixTime, Untrusted, VERDICT_SCHEMA, Verdict,
    binding::statement_digest,
};
use bastide_attested_tls::{EnclaveFacts, SessionKey};

/// Code of evidence whose report is over another statement.
pub(crate) const REPORT_DATA: &str = "test.report_data";
/// Code of evidence whose tree does not hold this session.
pub(crate) const INCLUSION: &str = "test.inclusion";

/// Answers at once with an unsigned version 5 report over the statement.
pub(crate) struct BlankAttester;

impl Attester for BlankAttester {
    fn attest(&self, statement: &StatementBytes) -> Result<Attestation, AttesterError> {
        Ok(blank_report(statement))
    }

    fn name(&self) -> &'static str {
        "blank"
    }
}

pub(crate) fn blank_report(statement: &StatementBytes) -> Attestation {
    let mut report = [0; REPORT_BYTES];
    report[0] = 5;
    report[0x34] = 1;
    report[0x50..0x90].copy_from_slice(statement.report_data().as_bytes());
    Attestation {
        platform: PlatformEvidence::Snp(Box::new(report)),
        endorsements: Endorsements {
            vek: vec![0x30; 1300],
            chain: vec![vec![0x30; 1600]; 2],
            crl: None,
        },
    }
}

pub(crate) fn facts() -> EnclaveFacts {
    EnclaveFacts {
        boot_id: BootId::new([1; 16]),
        session_key: SessionKey::generate().unwrap(),
        receipt_key: KeyThumbprint::new([3; 32]),
        sealed_key: None,
        model: ManifestDigest::new([4; 32]),
        configuration: PolicyDigest::new([5; 32]),
        debug: false,
        pipeline: false,
    }
}

/// Recomputes REPORT_DATA and the leaf, as every verifier must.
pub(crate) struct BindingAppraiser;

impl BindingAppraiser {
    pub(crate) fn shared() -> Arc<dyn Appraiser> {
        Arc::new(Self)
    }
}

impl Appraiser for BindingAppraiser {
    fn appraise(
        &self,
        evidence: &Untrusted<Evidence>,
        session: &SessionExpectation,
        now: UnixTime,
    ) -> Result<AttestationResult, Box<Verdict>> {
        check(evidence.as_unverified(), session, now).map_err(|code| Box::new(verdict(Some(code), now)))
    }
}

/// Whether evidence is bound to `binder` as a server's.
pub(crate) fn is_bound(evidence: &Evidence, binder: &Binder) -> bool {
    let session = SessionExpectation {
        binder: *binder,
        leaf: bastide_attestation::binding::LeafType::ServerTls,
    };
    check(evidence, &session, UnixTime::from_secs(0)).is_ok()
}

fn check(
    evidence: &Evidence,
    session: &SessionExpectation,
    now: UnixTime,
) -> Result<AttestationResult, &'static str> {
    let PlatformEvidence::Snp(report) = &evidence.platform else {
        return Err(REPORT_DATA);
    };
    let report = SnpReport::parse(report.as_slice()).map_err(|_| REPORT_DATA)?;
    if report.report_data() != report_data(&evidence.statement) {
        return Err(REPORT_DATA);
    }
    let statement = EpochStatement::decode(&evidence.statement).map_err(|_| REPORT_DATA)?;
    let own = leaf(session.leaf, &evidence.proof.salt, &session.binder);
    evidence
        .proof
        .verify(&own, statement.depth, &statement.root)
        .map_err(|_| INCLUSION)?;
    Ok(AttestationResult {
        verdict: verdict(None, now).into(),
        statement,
        statement_digest: statement_digest(&evidence.statement),
    })
}

fn verdict(code: Option<&'static str>, now: UnixTime) -> Verdict {
    Verdict {
        schema: VERDICT_SCHEMA,
        decision: if code.is_some() {
            Decision::Rejected
        } else {
            Decision::Accepted
        },
        code,
        reason: code.map(|_| "the evidence is not bound to this session".to_owned()),
        checks: Vec::new(),
        roots: Vec::new(),
        simulated: true,
        snp: None,
        platform: None,
        azure: None,
        gpus: Vec::new(),
        uncovered: Vec::new(),
        session: None,
        policy: "test".to_owned(),
        policy_digest: String::new(),
        ignored: Vec::new(),
        at: now.to_string(),
    }
}
