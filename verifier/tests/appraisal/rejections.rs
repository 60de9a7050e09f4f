//! One or more cases for every rejection code, each evidence made to be wrong
//! in one way. The last test holds that no code is without a case.

use std::collections::BTreeSet;

use bastide_attestation::{Decision, Status, Verdict};
use bastide_verifier::{Policy, Rejection, Verifier};

use crate::support::der::integer;
use crate::support::pki::{CrlSpec, Kind, amd};
use crate::support::report::TCB_OFFSETS;
use crate::support::{Case, NOW, policies};

mod evidence;

use evidence::{Change, EVIDENCE};

/// Cases that a changed policy, or no file at all, makes.
fn others() -> Vec<(Rejection, &'static str, Verdict)> {
    use Rejection as R;
    let made = Case::new(Kind::Genoa).make();
    let under = |changes: &[(&str, &str)]| made.verdict(&policies::with(changes));
    let changed = |change: fn(&mut crate::support::Made)| {
        let mut made = made.clone();
        change(&mut made);
        made.verdict(&policies::with(&[]))
    };
    let hard = |crl: Option<CrlSpec>| {
        Case::new(Kind::Genoa)
            .with(|case| case.crl = crl)
            .make()
            .verdict(&policies::with(&[("\"soft\"", "\"hard\"")]))
    };
    let mut recorded = made.recorded();
    recorded.report_data = Some(bastide_attestation::ReportData::new([1; 64]));
    let other_data = Verifier::new(policies::with(&[])).appraise_recorded(&recorded, NOW);
    vec![
        (
            R::ReportLength,
            "a byte too few",
            changed(|made| made.report.truncate(1183)),
        ),
        (
            R::ReportLength,
            "64 bytes too many",
            changed(|made| made.report.resize(1248, 0)),
        ),
        (R::VekMissing, "no leaf", changed(|made| made.vek.clear())),
        (R::ChainMissing, "no chain", changed(|made| made.chain.clear())),
        (
            R::ChainMissing,
            "only the intermediate",
            changed(|made| made.chain.truncate(1)),
        ),
        (
            R::RootUnknown,
            "the intermediate twice",
            changed(|made| made.chain[1] = made.chain[0].clone()),
        ),
        (
            R::IntermediateUnknown,
            "the root twice",
            changed(|made| made.chain[0] = made.chain[1].clone()),
        ),
        (
            R::ChainMalformed,
            "an empty certificate",
            changed(|made| made.chain[0].clear()),
        ),
        (R::CrlMissing, "no list", hard(None)),
        (
            R::CrlStale,
            "a list that ended",
            hard(Some(CrlSpec {
                next_update: "20260228235959",
                ..CrlSpec::new(Kind::Genoa)
            })),
        ),
        (
            R::CrlStale,
            "a list from the future",
            hard(Some(CrlSpec {
                this_update: "20260301000001",
                ..CrlSpec::new(Kind::Genoa)
            })),
        ),
        (
            R::ProductNotAllowed,
            "Genoa where Bergamo is allowed",
            under(&[
                ("\"genoa\", \"bergamo\"", "\"bergamo\""),
                (
                    "genoa = { boot_loader = 10, tee = 0, snp = 27, microcode = 84 }\n",
                    "",
                ),
            ]),
        ),
        (R::ReportData, "other REPORT_DATA than given", other_data),
        (
            R::KeyNotAllowed,
            "a provider's key where the chip's is required",
            Case::vlek(Kind::Genoa).make().verdict(&policies::with(&[])),
        ),
        (
            R::KeyNotAllowed,
            "the chip's key where a provider's is required",
            made.verdict(&policies::vlek("CN=test.example")),
        ),
        (
            R::ProviderNotAllowed,
            "another provider's key",
            Case::vlek(Kind::Genoa)
                .make()
                .verdict(&policies::vlek("CN=other.example")),
        ),
        (
            R::VekExtensionMissing,
            "no provider in a VLEK",
            Case::vlek(Kind::Genoa)
                .with(|case| case.leaf.without(&amd(&[5])))
                .make()
                .verdict(&policies::vlek("CN=test.example")),
        ),
        (
            R::VekExtensionUnexpected,
            "a chip in a VLEK",
            Case::vlek(Kind::Genoa)
                .with(|case| {
                    case.leaf.extensions.push((amd(&[4]), false, Kind::Genoa.hwid()));
                })
                .make()
                .verdict(&policies::vlek("CN=test.example")),
        ),
        (
            R::VekName,
            "a VLEK for a report that says VCEK",
            Case::vlek(Kind::Genoa)
                .with(|case| {
                    case.report.bytes[0x48] = 0;
                    case.ask = crate::support::pki::CertificateSpec::ask(Kind::Genoa);
                })
                .make()
                .verdict(&policies::vlek("CN=test.example")),
        ),
        (
            R::LaunchNotAllowed,
            "no measurement pinned yet",
            made.verdict(&policies::with(&[(&format!("[\"{}\"]", "b1".repeat(48)), "[]")])),
        ),
    ]
}

fn assert_case(rejection: Rejection, what: &str, verdict: &Verdict) {
    let context = format!("{what}: {verdict:#?}");
    assert_eq!(verdict.code, Some(rejection.code()), "{context}");
    assert_eq!(verdict.decision, rejection.decision(), "{context}");
    assert!(
        verdict
            .reason
            .as_ref()
            .is_some_and(|reason| reason.starts_with(rejection.explanation())),
        "{context}"
    );
    assert!(
        verdict.checks.iter().any(|check| check.status == Status::Fail),
        "{context}"
    );
    let authentic = verdict
        .checks
        .iter()
        .any(|check| check.id == "snp.report.signature" && check.status == Status::Pass);
    assert_eq!(verdict.snp.is_some(), authentic, "{context}");
    assert_eq!(verdict.roots.is_empty(), !authentic, "{context}");
    if !authentic {
        // After a failure nothing is claimed: what follows is unknown.
        let after = verdict
            .checks
            .iter()
            .skip_while(|check| check.status != Status::Fail)
            .skip(1);
        assert!(
            after.into_iter().all(|check| check.status == Status::Unknown),
            "{context}"
        );
    }
    assert_eq!(
        verdict.checks.len(),
        bastide_verifier::CheckId::ALL.len(),
        "{context}"
    );
}

#[test]
fn every_code_has_a_case_that_triggers_exactly_it() {
    let policy: Policy = policies::with(&[]);
    let mut triggered = BTreeSet::new();
    for (rejection, what, change) in EVIDENCE {
        let verdict = Case::new(Kind::Genoa).with(*change).make().live_verdict(&policy);
        assert_case(*rejection, what, &verdict);
        triggered.insert(*rejection);
    }
    for (rejection, what, verdict) in others() {
        assert_case(rejection, what, &verdict);
        triggered.insert(rejection);
    }
    let all: BTreeSet<_> = Rejection::ALL.iter().copied().collect();
    let missing: Vec<_> = all
        .difference(&triggered)
        .map(|rejection| rejection.code())
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "codes without a case");
}

#[test]
fn turins_own_ways_of_being_wrong() {
    use Rejection as R;
    let cases: [(R, &str, Change); 7] = [
        (R::VekExtensionMissing, "no fmcSPL", |c| {
            c.leaf.without(&amd(&[3, 9]));
        }),
        (R::TcbMismatch, "another fmcSPL", |c| {
            c.leaf.set(&amd(&[3, 9]), integer(0));
        }),
        (R::VekExtensionMalformed, "hwID of 7 bytes", |c| {
            c.leaf.set(&amd(&[4]), vec![7; 7]);
        }),
        (R::VekExtensionMalformed, "hwID of 64 bytes", |c| {
            c.leaf.set(&amd(&[4]), vec![7; 64]);
        }),
        (R::HwidMismatch, "a byte after the eight", |c| {
            c.report.bytes[0x1a8] = 1;
        }),
        (R::HwidMismatch, "the eighth byte", |c| {
            c.report.bytes[0x1a7] ^= 1;
        }),
        (R::BelowFloor, "the FMC level", |c| {
            for offset in TCB_OFFSETS {
                c.report.bytes[offset] = 0;
            }
            c.leaf.set(&amd(&[3, 9]), integer(0));
        }),
    ];
    let policy = policies::turin();
    for (rejection, what, change) in cases {
        let verdict = Case::new(Kind::Turin).with(change).make().live_verdict(&policy);
        assert_case(rejection, what, &verdict);
    }
}

#[test]
fn bergamo_and_genoa_count_microcode_apart() {
    let low = |case: &mut Case| {
        case.leaf.set(&amd(&[3, 8]), integer(27));
        for offset in TCB_OFFSETS {
            case.report.bytes[offset + 7] = 27;
        }
    };
    let policy = policies::with(&[]);
    let bergamo = Case::new(Kind::Bergamo).with(low).make().verdict(&policy);
    assert_eq!(bergamo.decision, Decision::Accepted);
    let genoa = Case::new(Kind::Genoa).with(low).make().verdict(&policy);
    assert_eq!(genoa.code, Some("snp.tcb.below_floor"));
}

#[test]
fn a_refusal_names_everything_that_fails_not_only_the_first() {
    let verdict = Case::new(Kind::Genoa)
        .with(|case| {
            case.report.bytes[0x00a] |= 1 << 3;
            case.report.bytes[0x030] = 1;
            case.report.bytes[0x090] ^= 1;
            case.statement.debug = true;
        })
        .make()
        .live_verdict(&policies::with(&[]));
    let failed: Vec<_> = verdict
        .checks
        .iter()
        .filter(|check| check.status == Status::Fail)
        .map(|check| check.id)
        .collect();
    assert_eq!(
        failed,
        [
            "snp.policy.debug",
            "snp.vmpl",
            "snp.launch_measurement",
            "session.debug"
        ]
    );
    assert_eq!(verdict.code, Some("snp.policy.debug"));
}
