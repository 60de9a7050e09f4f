//! Good evidence is accepted, and what the verdict then says.

use bastide_attestation::{Appraiser, Decision, Platform, Status};
use bastide_verifier::{CheckId, Policy, Verifier, shipped};

use crate::support::der::tlv;
use crate::support::keys::RsaKey;
use crate::support::pki::{CrlSpec, Kind, Signing, amd};
use crate::support::{Case, NOW, expectation, policies};

#[test]
fn evidence_of_each_processor_is_accepted() {
    let genoa = policies::with(&[]);
    for kind in [Kind::Genoa, Kind::Bergamo] {
        let verdict = Case::new(kind).make().live_verdict(&genoa);
        assert_eq!(verdict.decision, Decision::Accepted, "{verdict:#?}");
    }
    let verdict = Case::new(Kind::Turin).make().live_verdict(&policies::turin());
    assert_eq!(verdict.decision, Decision::Accepted, "{verdict:#?}");
}

#[test]
fn a_providers_key_is_accepted_where_the_policy_names_the_provider() {
    let verdict = Case::vlek(Kind::Genoa)
        .make()
        .live_verdict(&policies::vlek("CN=test.example"));
    assert_eq!(verdict.decision, Decision::Accepted, "{verdict:#?}");
    let hwid = verdict
        .checks
        .iter()
        .find(|check| check.id == "snp.vek.hwid")
        .unwrap();
    assert_eq!(hwid.status, Status::Skip);
    assert_eq!(verdict.snp.unwrap()["provider"], "CN=test.example");
}

#[test]
fn an_accepted_verdict_lists_every_check_once_and_in_order() {
    let verdict = Case::new(Kind::Genoa).make().live_verdict(&policies::with(&[]));
    let ids: Vec<_> = verdict.checks.iter().map(|check| check.id).collect();
    let all: Vec<_> = CheckId::of(Platform::Snp).map(CheckId::name).collect();
    assert_eq!(ids, all);
    for check in &verdict.checks {
        let expected = match check.id {
            // No list came, and the tests' policy leaves these to the host.
            "snp.crl" | "snp.policy.bits" | "snp.platform.bits" | "snp.chip_id" | "snp.host_data" => {
                Status::Skip
            }
            "snp.memory_bus" => Status::NotProvable,
            _ => Status::Pass,
        };
        assert_eq!(check.status, expected, "{check:?}");
    }
    assert!(verdict.simulated);
    assert_eq!(verdict.roots.len(), 2);
    assert!(verdict.roots[0].contains("SIMULATED"), "{:?}", verdict.roots);
    assert_eq!(verdict.snp.unwrap()["product"], "genoa");
    assert_eq!(verdict.session.unwrap()["epoch"], "7");
    assert_eq!(verdict.at, "2026-03-01T00:00:00Z");
}

#[test]
fn the_json_has_the_agreed_members() {
    let verdict = Case::new(Kind::Genoa).make().live_verdict(&policies::with(&[]));
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(json["schema"], "bastide.verdict/v1");
    assert_eq!(json["verdict"], "accepted");
    assert_eq!(json["code"], serde_json::Value::Null);
    assert_eq!(json["checks"][0]["id"], "snp.report.form");
    assert_eq!(json["checks"][0]["status"], "pass");
    assert_eq!(json["gpus"], serde_json::json!([]));
    assert_eq!(json["policy_digest"].as_str().map(str::len), Some(64));
}

#[test]
fn a_result_carries_the_statement_that_the_hardware_signed() {
    let case = Case::new(Kind::Genoa);
    let made = case.make();
    let verifier = Verifier::new(policies::with(&[]));
    let result = verifier.appraise(&made.evidence(), &expectation(), NOW).unwrap();
    assert_eq!(result.statement, case.statement);
    assert_eq!(result.statement_digest, case.statement.encode().digest());
}

#[test]
fn kept_evidence_is_accepted_with_the_binding_skipped() {
    let made = Case::new(Kind::Genoa).make();
    let verifier = Verifier::new(policies::with(&[]));
    let result = verifier.appraise_receipt_evidence(&made.evidence(), NOW).unwrap();
    let binding = result
        .verdict()
        .checks
        .iter()
        .find(|check| check.id == "session.binding")
        .unwrap();
    assert_eq!(binding.status, Status::Skip);
}

#[test]
fn a_recorded_report_is_accepted_with_every_session_check_skipped() {
    let made = Case::new(Kind::Genoa).make();
    let verdict = made.verdict(&policies::with(&[]));
    assert_eq!(verdict.decision, Decision::Accepted);
    for check in &verdict.checks {
        let of_the_report = check.id.starts_with("snp.") || check.id == "platform.allowed";
        assert!(of_the_report || check.status == Status::Skip, "{check:?}");
    }
    let mut recorded = made.recorded();
    recorded.report_data = Some(bastide_attestation::binding::report_data(&made.statement));
    let verdict = Verifier::new(policies::with(&[])).appraise_recorded(&recorded, NOW);
    assert_eq!(verdict.decision, Decision::Accepted);
}

#[test]
fn what_differs_without_meaning_is_accepted() {
    type Change = fn(&mut Case);
    let changes: [(&str, Change); 7] = [
        ("trailer spelt out in the leaf", |case| {
            case.leaf.signing = Signing::PssExplicitTrailer;
        }),
        ("trailer left out in the chain", |case| {
            case.ask.signing = Signing::Pss;
            case.ark.signing = Signing::Pss;
        }),
        ("hwID in an OCTET STRING", |case| {
            case.leaf.set(&amd(&[4]), tlv(0x04, &Kind::Genoa.hwid()));
        }),
        ("a raw hwID that begins like an OCTET STRING", |case| {
            let mut hwid = Kind::Genoa.hwid();
            (hwid[0], hwid[1]) = (0x04, 0x3e);
            case.report.put(0x1a0, &hwid);
            case.leaf.set(&amd(&[4]), hwid);
        }),
        ("microcode level of two content bytes", |case| {
            case.leaf.set(&amd(&[3, 8]), tlv(0x02, &[0, 0xdb]));
            for offset in crate::support::report::TCB_OFFSETS {
                case.report.put(offset + 7, &[0xdb]);
            }
        }),
        ("a current revocation list of somebody else", |case| {
            case.crl = Some(CrlSpec::new(Kind::Genoa));
        }),
        ("a stepping in the product name", |case| {
            case.leaf.set(&amd(&[2]), tlv(0x16, b"Genoa-B1"));
        }),
    ];
    let policy = policies::with(&[]);
    for (what, change) in changes {
        let verdict = Case::new(Kind::Genoa).with(change).make().live_verdict(&policy);
        assert_eq!(verdict.decision, Decision::Accepted, "{what}: {verdict:#?}");
    }
    let mut reversed = Case::new(Kind::Genoa).make();
    reversed.chain.reverse();
    assert_eq!(reversed.live_verdict(&policy).decision, Decision::Accepted);
}

#[test]
fn a_stale_revocation_list_is_skipped_in_soft_mode_and_said_so() {
    let verdict = Case::new(Kind::Genoa)
        .with(|case| {
            case.crl = Some(CrlSpec {
                next_update: "20260201000000",
                ..CrlSpec::new(Kind::Genoa)
            });
        })
        .make()
        .verdict(&policies::with(&[]));
    assert_eq!(verdict.decision, Decision::Accepted);
    let crl = verdict.checks.iter().find(|check| check.id == "snp.crl").unwrap();
    assert!(
        crl.status == Status::Skip && crl.got.contains("not current"),
        "{crl:?}"
    );
}

#[test]
fn appraising_again_gives_the_same_verdict_from_memory() {
    let made = Case::new(Kind::Genoa).make();
    let verifier = Verifier::new(policies::with(&[]));
    let first = verifier.appraise_recorded(&made.recorded(), NOW);
    assert_eq!(verifier.appraise_recorded(&made.recorded(), NOW), first);
    // What was remembered is a signature, not a decision: time still counts.
    let later = bastide_attestation::UnixTime::from_secs(NOW.as_secs() + 10 * 31_536_000);
    let verdict = verifier.appraise_recorded(&made.recorded(), later);
    assert_eq!(verdict.code, Some("snp.vek.expired"));
}

#[test]
fn shipped_policies_can_be_read_and_do_what_they_say() {
    for name in shipped::NAMES {
        let text = shipped::by_name(name).unwrap();
        let policy = Policy::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(policy.name(), name);
        assert_eq!(policy.allows_simulated(), name == "development");
        assert!(!policy.description().is_empty());
        assert!(
            policy
                .anchors()
                .iter()
                .all(|anchor| anchor.simulated == (name == "development"))
        );
    }
    assert_eq!(shipped::by_name("other"), None);
}

#[test]
fn the_development_policy_pins_the_simulators_keys() {
    use aws_lc_rs::signature::{KeyPair, RsaKeyPair};
    let policy = Policy::parse(shipped::DEVELOPMENT.as_bytes()).unwrap();
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../attestation/attester/src/simulator/keys");
    let spki = |file: String| {
        let pkcs8 = std::fs::read(folder.join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let pair = RsaKeyPair::from_pkcs8(&pkcs8).unwrap();
        bastide_attestation::binding::spki_digest(&crate::support::keys::rsa_spki(pair.public_key().as_ref()))
    };
    assert_eq!(policy.anchors().len(), 2);
    for anchor in policy.anchors() {
        let generation = anchor.generation.name().to_lowercase();
        assert_eq!(anchor.root.spki, spki(format!("ark-{generation}.pk8.der")));
        assert_eq!(
            anchor.intermediate.spki,
            spki(format!("ask-{generation}.pk8.der"))
        );
    }
    assert_ne!(
        policy.anchors()[0].root.spki.as_bytes(),
        &bastide_attestation::sha256(&[&RsaKey::Ark.spki()])
    );
}
