//! One or more cases for every rejection code, each evidence made to be wrong
//! in one way. The last test holds that no code is without a case.

use std::collections::BTreeSet;

use bastide_attestation::{Decision, Status, Verdict};
use bastide_verifier::{CheckId, Policy, Rejection, Scope, Verifier};

use crate::support::der::integer;
use crate::support::pki::{CrlSpec, Kind, amd};
use crate::support::report::TCB_OFFSETS;
use crate::support::{Case, NOW, policies};

mod azure;
mod evidence;
mod gpu;

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
            made.verdict(&policies::parse(&no_launch())),
        ),
        (
            R::GuestPolicyBit,
            "a bit that must be set is clear",
            under(&[("page_swap_disable = \"any\"", "page_swap_disable = \"set\"")]),
        ),
        (
            R::PlatformBit,
            "a bit that must be clear is set",
            under(&[("ecc = \"any\"", "ecc = \"clear\"")]),
        ),
        (R::ChipNotAllowed, "another chip", {
            let chip = pin("chip_id", &"77".repeat(64));
            under(&[
                ("\"snp.chip_id\", ", ""),
                ("key = \"vcek\"", &format!("key = \"vcek\"\nchips = [{chip}]")),
            ])
        }),
        (R::HostDataNotAllowed, "other host data", {
            let value = pin("value", &"77".repeat(32));
            under(&[
                (", \"snp.host_data\"", ""),
                (
                    "key = \"vcek\"",
                    &format!("key = \"vcek\"\nhost_data = [{value}]"),
                ),
            ])
        }),
        (
            R::IdKeyNotAllowed,
            "no ID block where one is required",
            made.verdict(&id_block(&"77".repeat(48), None)),
        ),
        (
            R::IdKeyNotAllowed,
            "an ID block by another key",
            id_keys(&[0x0e0]).verdict(&id_block(&"77".repeat(48), None)),
        ),
        (
            R::AuthorKeyNotAllowed,
            "an author key where none is listed",
            id_keys(&[0x0e0, 0x110]).verdict(&id_block(&key_digest(), None)),
        ),
        (
            R::AuthorKeyNotAllowed,
            "another author key",
            id_keys(&[0x0e0, 0x110]).verdict(&id_block(&key_digest(), Some(&"77".repeat(48)))),
        ),
        (
            R::PinNotCurrent,
            "a measurement whose time is over",
            under(&[("2026-12-31", "2026-02-28")]),
        ),
        (
            R::PinNotCurrent,
            "a measurement whose time is yet to come",
            under(&[("2026-01-01", "2026-03-02")]),
        ),
    ]
}

/// A pin as an inline table.
fn pin(key: &str, value: &str) -> String {
    format!("{{ {key} = \"{value}\", not_before = 2026-01-01, not_after = 2026-12-31, reason = \"x\" }}")
}

/// The tests' policy with an empty list of measurements.
fn no_launch() -> String {
    let text = policies::text();
    let (before, rest) = text.split_once("[[snp.launch]]").expect("it pins one");
    let (_, model) = rest.split_once("[[model.manifests]]").expect("it pins one");
    let before = before.replace("key = \"vcek\"", "key = \"vcek\"\nlaunch = []");
    format!("{before}[[model.manifests]]{model}")
}

/// The digest that [`id_keys`] puts into a report.
fn key_digest() -> String {
    "01".to_owned() + &"00".repeat(47)
}

/// Evidence with key digests at these offsets.
fn id_keys(offsets: &[usize]) -> crate::support::Made {
    Case::new(Kind::Genoa)
        .with(|case| {
            for offset in offsets {
                case.report.bytes[*offset] = 1;
            }
            case.report.bytes[0x048] = u8::from(offsets.contains(&0x110));
        })
        .make()
}

/// The tests' policy with pinned keys of ID blocks.
fn id_block(id_key: &str, author_key: Option<&str>) -> Policy {
    let mut keys = format!("id_block = \"pinned\"\nid_keys = [{}]", pin("digest", id_key));
    if let Some(key) = author_key {
        keys.push_str(&format!("\nauthor_keys = [{}]", pin("digest", key)));
    }
    policies::with(&[("id_block = \"forbid\"", &keys)])
}

#[test]
fn pinned_keys_of_id_blocks_chips_and_host_data_are_accepted() {
    let accepted = |verdict: Verdict| assert_eq!(verdict.code, None, "{verdict:#?}");
    accepted(id_keys(&[0x0e0]).verdict(&id_block(&key_digest(), None)));
    accepted(id_keys(&[0x0e0]).verdict(&id_block(&key_digest(), Some(&"77".repeat(48)))));
    accepted(id_keys(&[0x0e0, 0x110]).verdict(&id_block(&key_digest(), Some(&key_digest()))));
    let chip = pin("chip_id", &hex::encode(Kind::Genoa.hwid()));
    let host = pin("value", &"00".repeat(32));
    accepted(Case::new(Kind::Genoa).make().verdict(&policies::with(&[
        ("\"snp.chip_id\", \"snp.host_data\"", ""),
        (
            "key = \"vcek\"",
            &format!("key = \"vcek\"\nchips = [{chip}]\nhost_data = [{host}]"),
        ),
    ])));
}

#[test]
fn every_bit_can_be_demanded_and_a_demand_that_is_not_met_is_refused() {
    use bastide_attestation::snp::{GuestPolicy, PlatformInfo};
    type Field = (&'static str, usize, &'static [(u32, &'static str)]);
    let fields: [Field; 2] = [
        ("[snp.guest_policy]", 0x008, &GuestPolicy::BITS),
        ("[snp.platform_info]", 0x040, &PlatformInfo::BITS),
    ];
    for (section, offset, bits) in fields {
        for (bit, name) in bits {
            for (rule, set) in [("set", false), ("clear", true)] {
                let text = policies::text();
                let (before, rest) = text.split_once(section).expect("it has the section");
                let line = rest
                    .lines()
                    .find(|line| line.starts_with(&format!("{name} = ")))
                    .expect("it decides the bit");
                let rest = rest.replacen(line, &format!("{name} = \"{rule}\""), 1);
                let policy = policies::parse(&format!("{before}{section}{rest}"));
                let made = |set: bool| {
                    Case::new(Kind::Genoa)
                        .with(|case| {
                            let at = offset + usize::try_from(bit / 8).expect("small");
                            let mask = 1_u8 << (bit % 8);
                            if set {
                                case.report.bytes[at] |= mask;
                            } else {
                                case.report.bytes[at] &= !mask;
                            }
                        })
                        .make()
                        .verdict(&policy)
                };
                let (refused, accepted) = (made(set), made(!set));
                assert_eq!(refused.decision, Decision::Rejected, "{section} {name} {rule}");
                assert_eq!(accepted.code, None, "{section} {name} {rule}: {accepted:#?}");
            }
        }
    }
}

#[test]
fn reports_of_version_2_are_read_as_the_policy_or_the_issuer_says() {
    let made = Case::new(Kind::Genoa)
        .with(|case| {
            case.report.bytes[0] = 2;
            case.report.put(0x188, &[0; 3]);
        })
        .make();
    let off = made.verdict(&policies::with(&[]));
    assert_eq!(off.code, Some("snp.report_version.not_allowed"));
    assert_eq!(off.snp.expect("it is authentic")["product"], "genoa");
    for product in ["genoa", "bergamo"] {
        let named = format!("[2]\nv2_product = \"{product}\"");
        let on = made.verdict(&policies::with(&[("[3, 5]", &named)]));
        assert_eq!(on.decision, Decision::Accepted, "{on:#?}");
        assert_eq!(on.snp.expect("it is authentic")["product"], product);
    }
}

#[test]
fn reports_of_version_4_are_accepted_only_where_named() {
    let made = Case::new(Kind::Genoa)
        .with(|case| case.report.bytes[0] = 4)
        .make();
    assert_eq!(
        made.verdict(&policies::with(&[])).code,
        Some("snp.report_version.not_allowed")
    );
    let named = policies::with(&[("[3, 5]", "[3, 4, 5]")]);
    assert_eq!(made.verdict(&named).decision, Decision::Accepted);
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
    // Failures stand first.
    let failed = verdict
        .checks
        .iter()
        .take_while(|check| check.status == Status::Fail);
    let failures = verdict.checks.iter().filter(|check| check.status == Status::Fail);
    assert_eq!(failed.count(), failures.count(), "{context}");
    if !authentic {
        // After the failure nothing is claimed: what follows is unknown.
        let position = |id: &str| CheckId::ALL.iter().position(|check| check.name() == id);
        let failed = position(verdict.checks[0].id);
        let after = verdict.checks.iter().filter(|check| position(check.id) > failed);
        assert!(
            after.into_iter().all(|check| check.status == Status::Unknown),
            "{context}"
        );
    }
    let has = |id: &str| verdict.checks.iter().any(|check| check.id == id);
    let of = CheckId::of(Scope {
        platform: Some(verdict.platform.expect("a verdict on evidence")),
        gpus: has("gpu.report.form"),
    });
    assert_eq!(verdict.checks.len(), of.count(), "{context}");
    // Of GPUs, too, nothing is said unless all are authentic.
    let authentic = verdict
        .checks
        .iter()
        .any(|check| check.id == "gpu.fwid" && check.status == Status::Pass);
    assert_eq!(verdict.gpus.is_empty(), !authentic, "{context}");
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
    let cases: Vec<_> = others()
        .into_iter()
        .chain(azure::cases())
        .chain(gpu::cases())
        .collect();
    // All at once: who changes a check sees everything that it moves.
    let moved: Vec<_> = cases
        .iter()
        .filter(|(rejection, _, verdict)| verdict.code != Some(rejection.code()))
        .map(|(rejection, what, verdict)| (rejection.code(), *what, verdict.code, &verdict.reason))
        .collect();
    assert!(moved.is_empty(), "{moved:#?}");
    for (rejection, what, verdict) in cases {
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
