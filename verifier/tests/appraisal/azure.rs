//! Azure VMs from the outside: what is accepted and what the verdict then
//! says, the simulator's evidence in a session, and hostile bytes.

use std::time::Duration;

use bastide_attestation::{
    Appraiser, Attester, Basis, Decision, EpochStatement, Evidence, LeafHash, Platform, PlatformEvidence,
    Salt, Status, Tree, Untrusted, Verdict, binding,
};
use bastide_attester::simulator::{AzureSimulator, Generation, SimulatorOptions};
use bastide_verifier::{CheckId, Policy, PolicyFault, Verifier, crypto, shipped};
use proptest::prelude::*;

use crate::support::azure::{AzureCase, AzureMade};
use crate::support::keys::RsaKey;
use crate::support::pki::Kind;
use crate::support::{BINDER, Case, NOW, expectation, policies};

fn status(verdict: &Verdict, id: &str) -> Status {
    let check = verdict.checks.iter().find(|check| check.id == id);
    check.unwrap_or_else(|| panic!("no check {id}")).status
}

#[test]
fn a_session_on_azure_is_accepted_and_every_check_of_the_platform_made_in_order() {
    let verdict = AzureCase::new(Kind::Genoa)
        .make()
        .live_verdict(&policies::azure(&[]));
    assert_eq!(verdict.decision, Decision::Accepted, "{verdict:#?}");
    let ids: Vec<_> = verdict.checks.iter().map(|check| check.id).collect();
    let all: Vec<_> = CheckId::of(Platform::Azure).map(CheckId::name).collect();
    assert_eq!(ids, all);
    assert!(!ids.contains(&"session.report_data"));
    for check in &verdict.checks {
        let expected = match check.id {
            "snp.crl" | "snp.policy.bits" | "snp.platform.bits" | "snp.chip_id" | "snp.host_data" => {
                Status::Skip
            }
            "snp.memory_bus" => Status::NotProvable,
            _ => Status::Pass,
        };
        assert_eq!(check.status, expected, "{check:?}");
    }
}

#[test]
fn a_verdict_says_what_rests_on_the_hardware_and_what_on_the_paravisor() {
    let verdict = AzureCase::new(Kind::Genoa)
        .make()
        .live_verdict(&policies::azure(&[]));
    let basis = |id: &str| verdict.checks.iter().find(|check| check.id == id).unwrap().basis;
    assert_eq!(basis("azure.runtime_data"), Basis::HardwareProven);
    assert_eq!(basis("azure.quote.signature"), Basis::Derived);
    assert_eq!(basis("azure.pcrs"), Basis::Asserted);
    let pcrs = verdict
        .checks
        .iter()
        .find(|check| check.id == "azure.pcrs")
        .unwrap();
    assert!(
        pcrs.expected.contains("measured by the paravisor's vTPM"),
        "{pcrs:?}"
    );
    assert!(pcrs.got.contains("the tests' image"), "{pcrs:?}");

    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(json["platform"], "azure");
    let facts = &json["azure"];
    let ak = binding::spki_digest(&RsaKey::Ak.spki());
    assert_eq!(facts["attestation_key"], format!("sha256:{ak}"));
    assert_eq!(facts["vtpm_firmware"], "0x2020031200120003");
    assert_eq!(facts["pcr_04"], "04".repeat(32));
    assert_eq!(facts["pcr_23"], "17".repeat(32));
    assert_eq!(facts["secure_boot"], "true");
    assert_eq!(facts.get("console_enabled"), None);

    let bare = Case::new(Kind::Genoa).make().live_verdict(&policies::with(&[]));
    let json = serde_json::to_value(&bare).unwrap();
    assert_eq!(json["platform"], "snp");
    assert_eq!(json["azure"], serde_json::Value::Null);
    assert!(bare.checks.iter().all(|check| !check.id.starts_with("azure.")));
}

#[test]
fn only_the_selected_pcrs_are_told_and_others_prove_nothing() {
    let quoted = AzureCase::new(Kind::Genoa).with(|case| {
        case.quote.selection[7..].copy_from_slice(&[0x90, 0, 0]);
        case.quote.digest = Some(bastide_attestation::sha256(&[&[4; 32], &[7; 32]]));
    });
    for pcrs in [vec![[4; 32], [7; 32]], (0..24).map(|index| [index; 32]).collect()] {
        let made = quoted.clone().with(|case| case.quote.pcrs = pcrs).make();
        let verdict = made.live_verdict(&policies::azure(&[]));
        assert_eq!(verdict.decision, Decision::Accepted, "{verdict:#?}");
        let facts = verdict.azure.unwrap();
        let named: Vec<_> = facts.keys().filter(|key| key.starts_with("pcr_")).collect();
        assert_eq!(named, [&"pcr_04", &"pcr_07"]);
    }
}

#[test]
fn recorded_evidence_skips_what_was_not_given_and_never_passes_it() {
    let made = AzureCase::new(Kind::Genoa).make();
    let verifier = Verifier::new(policies::azure_open());
    let nonce = binding::quote_nonce(&made.made.statement);

    let mut recorded = made.recorded();
    let verdict = verifier.appraise_recorded_azure(&recorded, NOW);
    assert_eq!(verdict.decision, Decision::Accepted, "{verdict:#?}");
    assert_eq!(status(&verdict, "azure.quote.nonce"), Status::Skip);
    assert_eq!(status(&verdict, "azure.quote.signature"), Status::Pass);
    assert_eq!(status(&verdict, "azure.pcrs"), Status::Skip);

    recorded.quote.as_mut().unwrap().nonce = Some(nonce.as_bytes());
    let verdict = verifier.appraise_recorded_azure(&recorded, NOW);
    assert_eq!(status(&verdict, "azure.quote.nonce"), Status::Pass);
    for other in [&nonce.as_bytes()[..31], &[], b"challenge"] {
        recorded.quote.as_mut().unwrap().nonce = Some(other);
        let verdict = verifier.appraise_recorded_azure(&recorded, NOW);
        assert_eq!(verdict.code, Some("azure.quote.nonce"), "{other:?}");
    }

    recorded.quote = None;
    let verdict = verifier.appraise_recorded_azure(&recorded, NOW);
    assert_eq!(verdict.decision, Decision::Accepted, "{verdict:#?}");
    for check in verdict.checks.iter().filter(|check| {
        check.id.starts_with("azure.quote.") || check.id == "azure.pcrs" || check.id.starts_with("session.")
    }) {
        assert_eq!(check.status, Status::Skip, "{check:?}");
    }
    assert_eq!(status(&verdict, "azure.runtime_data"), Status::Pass);
    assert!(!verdict.azure.unwrap().contains_key("vtpm_firmware"));
}

#[test]
fn kept_evidence_is_bound_to_its_statement_by_the_quote() {
    let made = AzureCase::new(Kind::Genoa).make();
    let verifier = Verifier::new(policies::azure(&[]));
    let result = verifier.appraise_receipt_evidence(&made.evidence(), NOW).unwrap();
    assert_eq!(status(result.verdict(), "azure.quote.nonce"), Status::Pass);
    assert_eq!(status(result.verdict(), "session.binding"), Status::Skip);
    let other = AzureCase::new(Kind::Genoa)
        .with(|case| case.case.statement.epoch = 8)
        .make();
    let spliced = AzureMade {
        made: other.made,
        ..made
    };
    let verdict = verifier
        .appraise_receipt_evidence(&spliced.evidence(), NOW)
        .unwrap_err();
    assert_eq!(verdict.code, Some("azure.quote.nonce"));
    assert_eq!(verdict.session, None, "nothing that it says counts");
}

#[test]
fn both_implementations_agree_on_pkcs1_signatures() {
    let message = b"a message".as_slice();
    let signature = RsaKey::Ak.sign_pkcs1_sha256(message);
    let key = RsaKey::Ak.public();
    for crypto in [crypto::provider(), &crypto::Ring] {
        assert!(
            crypto.rsa_pkcs1_sha256_verify(&key, message, &signature),
            "{crypto:?}"
        );
        assert!(!crypto.rsa_pkcs1_sha256_verify(&key, b"another", &signature));
        assert!(!crypto.rsa_pkcs1_sha256_verify(&key, message, &RsaKey::Ak.sign_pkcs1(message)));
        assert!(!crypto.rsa_pkcs1_sha256_verify(&key, message, &RsaKey::Ak.sign_pss(message)));
        assert!(!crypto.rsa_pkcs1_sha256_verify(&RsaKey::StrangerAk.public(), message, &signature));
        assert!(!crypto.rsa_pkcs1_sha256_verify(&[], message, &signature));
        assert!(!crypto.rsa_pkcs1_sha256_verify(&key, message, &[]));
        let padded = [&[0], signature.as_slice()].concat();
        assert!(!crypto.rsa_pkcs1_sha256_verify(&key, message, &padded));
    }
}

#[test]
fn an_azure_section_that_decides_nothing_or_too_much_is_refused_with_its_line() {
    let entry = |index: &str, values: &str| {
        format!(
            "[[azure.pcrs]]\nindex = {index}\nsha256 = [{values}]\n{}\n",
            policies::WINDOW
        )
    };
    let (value, other) = (
        format!("\"{}\"", "04".repeat(32)),
        format!("\"{}\"", "00".repeat(32)),
    );
    let base = policies::text();
    let lines = base.lines().count();
    let good = entry("4", &value) + &entry("4", &other) + &entry("22", &format!("{value}, {other}"));
    let policy = policies::parse(&(base.clone() + &good));
    assert_eq!(policy.platform(), Platform::Azure);
    let pins: Vec<_> = policy
        .pins()
        .into_iter()
        .filter(|pin| pin.check == "azure.pcrs")
        .collect();
    assert_eq!(pins.len(), 4);
    assert_eq!(pins[0].value, format!("4:{}", "04".repeat(32)));
    assert_eq!(
        policies::parse(&(base.clone() + "[azure]\npcrs = []\n")).platform(),
        Platform::Azure
    );
    assert_eq!(policies::parse(&base).platform(), Platform::Snp);

    let cases = [
        ("[azure]\n".to_owned(), PolicyFault::Missing, None, "azure.pcrs"),
        (entry("24", &value), PolicyFault::Value, Some(2), "from 0 to 22"),
        (entry("16", &value), PolicyFault::Value, Some(2), "reset"),
        (entry("23", &value), PolicyFault::Value, Some(2), "reset"),
        (entry("-1", &value), PolicyFault::Syntax, Some(2), "-1"),
        (entry("4", ""), PolicyFault::Value, Some(3), "at least one"),
        (entry("4", "\"04\""), PolicyFault::Value, Some(3), "32 bytes"),
        (
            entry("4", &format!("{value}, {value}")),
            PolicyFault::Duplicate,
            Some(3),
            "already",
        ),
        (
            entry("4", &value).repeat(2),
            PolicyFault::Duplicate,
            Some(9),
            "already",
        ),
        (
            entry("4", &value).replace("2026-03-31", "2026-01-31"),
            PolicyFault::Contradiction,
            Some(5),
            "before it begins",
        ),
        (
            entry("4", &value).replace("the tests' image", " "),
            PolicyFault::Value,
            Some(6),
            "reason",
        ),
        (
            entry("4", &value) + "more = 1\n",
            PolicyFault::Syntax,
            Some(7),
            "more",
        ),
    ];
    for (section, fault, line, text) in cases {
        let error = Policy::parse((base.clone() + &section).as_bytes()).unwrap_err();
        assert_eq!(error.fault(), fault, "{section}: {error}");
        assert_eq!(error.line(), line.map(|line| lines + line), "{section}: {error}");
        assert!(error.to_string().contains(text), "{section}: {error}");
    }
    let ignored = base.replace("ignore = [", "ignore = [\"azure.pcrs\", ");
    for text in [ignored.clone(), ignored + &good] {
        let error = Policy::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.fault(), PolicyFault::Contradiction, "{error}");
    }
}

/// The development policy for simulated Azure VMs, every PCR pinned that can be.
fn simulated_policy() -> Policy {
    let id_key = hex::encode(AzureSimulator::id_key_digest());
    let window = "not_before = 2020-01-01\nnot_after = 2049-12-31\nreason = \"simulated\"";
    let mut text = policies::without_gpus(shipped::DEVELOPMENT)
        .replace("id_block = \"forbid\"", "id_block = \"pinned\"");
    text += &format!("\n[[snp.id_keys]]\ndigest = \"{id_key}\"\n{window}\n");
    for (index, value) in AzureSimulator::pcrs().iter().enumerate() {
        if index != 16 && index != 23 {
            let value = hex::encode(value);
            text += &format!("[[azure.pcrs]]\nindex = {index}\nsha256 = [\"{value}\"]\n{window}\n");
        }
    }
    policies::parse(&text)
}

/// Evidence of the test's session from an attester, as an enclave puts it together.
fn attest(attester: &dyn Attester, change: impl FnOnce(&mut EpochStatement)) -> Evidence {
    let salt = Salt::new([0x21; 32]);
    let mut leaves = vec![LeafHash::new([0x11; 32]); 16];
    leaves[9] = binding::leaf(expectation().leaf, &salt, &BINDER);
    let tree = Tree::new(&leaves).unwrap();
    let mut statement = Case::new(Kind::Genoa).statement;
    (statement.depth, statement.root) = (tree.depth(), tree.root());
    change(&mut statement);
    let statement = statement.encode();
    let attestation = attester.attest(&statement).unwrap();
    Evidence {
        statement: statement.as_bytes().to_vec(),
        proof: tree.prove(9, salt).unwrap(),
        platform: attestation.platform,
        endorsements: attestation.endorsements,
        gpu: None,
    }
}

fn simulator(generation: Generation) -> AzureSimulator {
    AzureSimulator::new(SimulatorOptions {
        latency: Duration::ZERO,
        ..SimulatorOptions::new(generation, NOW)
    })
    .unwrap()
}

#[test]
fn the_simulators_evidence_goes_over_the_wire_and_is_accepted_in_its_session_only() {
    let verifier = Verifier::new(simulated_policy());
    for generation in Generation::ALL {
        let simulator = simulator(generation);
        let evidence = attest(&simulator, |_| ());
        let sent = Evidence::decode(&evidence.encode()).unwrap();
        let result = verifier.appraise(&sent, &expectation(), NOW).unwrap();
        assert!(result.verdict.simulated);
        assert_eq!(result.verdict.platform, Some(Platform::Azure));

        let mut other = expectation();
        other.binder = bastide_attestation::Binder::new([0x5b; 32]);
        let refused = verifier.appraise(&sent, &other, NOW).unwrap_err();
        assert_eq!(refused.code, Some("session.binding"));

        // Genuine evidence of the same VM for another statement, under this one.
        let next = attest(&simulator, |statement| statement.epoch += 1);
        let replayed = Evidence {
            platform: next.platform,
            ..evidence.clone()
        };
        let refused = verifier
            .appraise(&Untrusted::new(replayed), &expectation(), NOW)
            .unwrap_err();
        assert_eq!(refused.code, Some("azure.quote.nonce"));
    }
}

#[test]
fn a_report_taken_out_of_its_hcl_report_is_not_a_bare_guests() {
    let evidence = attest(&simulator(Generation::Genoa), |_| ());
    let PlatformEvidence::AzureVtpm { hcl_report, .. } = &evidence.platform else {
        panic!("the simulator is Azure's")
    };
    let report: [u8; 1184] = hcl_report[0x20..0x4c0].try_into().unwrap();
    let bare = Evidence {
        platform: PlatformEvidence::Snp(Box::new(report)),
        ..evidence
    };
    let development = policies::without_gpus(shipped::DEVELOPMENT)
        .replace("id_block = \"forbid\"\n", "")
        .replace("\"snp.chip_id\"", "\"snp.id_block\", \"snp.chip_id\"");
    let refused = Verifier::new(policies::parse(&development))
        .appraise(&Untrusted::new(bare), &expectation(), NOW)
        .unwrap_err();
    assert_eq!(refused.code, Some("session.report_data"));
}

#[test]
fn no_byte_of_the_hcl_report_or_the_quote_can_be_altered() {
    let made = AzureCase::new(Kind::Genoa).make();
    let verifier = Verifier::new(policies::azure(&[]));
    let nonce = binding::quote_nonce(&made.made.statement);
    let accepted = |made: &AzureMade| {
        let mut recorded = made.recorded();
        recorded.quote.as_mut().unwrap().nonce = Some(nonce.as_bytes());
        verifier.appraise_recorded_azure(&recorded, NOW).decision == Decision::Accepted
    };
    assert!(accepted(&made));
    let mut unnoticed = Vec::new();
    type Part = (&'static str, fn(&mut AzureMade) -> &mut [u8]);
    let parts: [Part; 4] = [
        ("HCL report", |made| &mut made.hcl_report),
        ("message", |made| &mut made.quote.message),
        ("signature", |made| &mut made.quote.signature),
        ("PCRs", |made| made.quote.pcrs.as_flattened_mut()),
    ];
    let mut altered = made.clone();
    for (name, part) in parts {
        for at in 0..part(&mut altered).len() {
            part(&mut altered)[at] ^= 1 << (at % 8);
            if accepted(&altered) {
                unnoticed.push((name, at));
            }
            part(&mut altered)[at] ^= 1 << (at % 8);
        }
    }
    assert_eq!(unnoticed, []);
}

#[test]
fn no_part_can_be_cut_short() {
    let made = AzureCase::new(Kind::Genoa).make();
    let verifier = Verifier::new(policies::azure(&[]));
    let end = made.hcl_report.len() - 64;
    for length in 0..made.hcl_report.len() {
        let mut recorded = made.recorded();
        recorded.hcl_report = &made.hcl_report[..length];
        let verdict = verifier.appraise_recorded_azure(&recorded, NOW);
        // The zeros after the runtime data say nothing.
        assert_eq!(verdict.decision == Decision::Accepted, length >= end, "{length}");
    }
    for length in 0..made.quote.message.len() {
        let mut recorded = made.recorded();
        recorded.quote.as_mut().unwrap().message = &made.quote.message[..length];
        let verdict = verifier.appraise_recorded_azure(&recorded, NOW);
        assert_eq!(verdict.code, Some("azure.quote.malformed"), "{length}");
    }
    for length in 0..made.quote.signature.len() {
        let mut recorded = made.recorded();
        recorded.quote.as_mut().unwrap().signature = &made.quote.signature[..length];
        let verdict = verifier.appraise_recorded_azure(&recorded, NOW);
        assert_eq!(verdict.code, Some("azure.quote.malformed"), "{length}");
    }
    for count in 0..24 {
        let mut recorded = made.recorded();
        recorded.quote.as_mut().unwrap().pcrs = &made.quote.pcrs[..count];
        let verdict = verifier.appraise_recorded_azure(&recorded, NOW);
        assert_eq!(verdict.code, Some("azure.quote.malformed"), "{count}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_parts_never_panic_and_are_never_accepted(
        hcl_report: Vec<u8>,
        message: Vec<u8>,
        signature: Vec<u8>,
        pcrs in prop::collection::vec(any::<[u8; 32]>(), 0..30),
        runtime in ".{1,200}",
        at in 0_usize..0x520,
        number: u32,
    ) {
        let verifier = Verifier::new(policies::azure(&[]));
        let made = AzureCase::new(Kind::Genoa).make();
        let variants = [
            AzureMade { hcl_report, ..made.clone() },
            AzureCase::new(Kind::Genoa).with(|case| case.runtime = runtime).make(),
            AzureCase::new(Kind::Genoa).with(|case| case.numbers.push((at, number))).make(),
        ];
        for made in variants {
            let verdict = verifier.appraise_recorded_azure(&made.recorded(), NOW);
            prop_assert_ne!(verdict.decision, Decision::Accepted);
        }
        for part in 0..3 {
            let mut recorded = made.recorded();
            let quote = recorded.quote.as_mut().unwrap();
            match part {
                0 => quote.message = &message,
                1 => quote.signature = &signature,
                _ => quote.pcrs = &pcrs,
            }
            let verdict = verifier.appraise_recorded_azure(&recorded, NOW);
            prop_assert_ne!(verdict.decision, Decision::Accepted);
            prop_assert!(verdict.azure.is_none());
        }
    }
}
