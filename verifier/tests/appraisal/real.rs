//! Real evidence from public hardware: accepted by a policy that allows its
//! firmware, refused by one that does not, and never altered unnoticed.

use std::path::Path;

use bastide_attestation::{Decision, Status, UnixTime, Verdict};
use bastide_verifier::{Policy, Verifier, crypto, pem_certificates, shipped};

use crate::support::policies;
use crate::support::vectors::{Vector, folder, pem};

/// 2026-03-15T00:00:00Z, inside the windows of all but the VLEK and Milan's leaf.
pub(crate) const MARCH_2026: UnixTime = UnixTime::from_secs(1_773_532_800);
/// 2025-06-01T00:00:00Z, inside the VLEK's and the Genoa revocation list's windows.
pub(crate) const JUNE_2025: UnixTime = UnixTime::from_secs(1_748_736_000);

/// A policy for real processors, with the floors of the evidence at hand.
pub(crate) fn real_policy(changes: &[(&str, &str)]) -> Policy {
    let mut text = String::from(
        r#"schema = "bastide.policy/v1"
name = "real"
description = "accepts the recorded evidence"
allow_simulated = false
ignore = ["snp.id_block", "snp.launch_measurement", "snp.chip_id", "snp.host_data", "model.manifest"]
[roots]
amd = ["genoa", "bergamo", "turin"]
[session]
key_exchange = "any"
certificate = "any"
[snp]
products = ["genoa", "bergamo", "turin"]
report_versions = [3, 5]
vmpl = [0]
key = "vcek"
crl = "soft"
[snp.tcb_floor]
genoa = { boot_loader = 10, tee = 0, snp = 23, microcode = 84 }
bergamo = { boot_loader = 10, tee = 0, snp = 27, microcode = 27 }
turin = { fmc = 1, boot_loader = 1, tee = 1, snp = 4, microcode = 81 }
"#,
    );
    text.push_str(policies::BITS);
    for (from, to) in changes {
        assert!(text.contains(from), "`{from}`");
        text = text.replace(from, to);
    }
    policies::parse(&text)
}

/// The policy for one real chip of Milan's, or for no chip at all.
pub(crate) fn milan_policy(chip: &str) -> Policy {
    let chips = format!(
        "[snp]\nv2_product = \"milan\"\nchips = [{{ chip_id = \"{chip}\", not_before = 2020-01-01, \
         not_after = 2030-12-31, reason = \"recorded\" }}]"
    );
    real_policy(&[
        ("amd = [\"genoa\", \"bergamo\", \"turin\"]", "amd = [\"milan\"]"),
        (
            "products = [\"genoa\", \"bergamo\", \"turin\"]",
            "products = [\"milan\"]",
        ),
        ("[3, 5]", "[2, 3]"),
        ("\"snp.chip_id\", ", ""),
        ("[snp]", &chips),
        (
            "genoa = { boot_loader = 10, tee = 0, snp = 23, microcode = 84 }\n",
            "milan = { boot_loader = 2, tee = 0, snp = 5, microcode = 68 }\n",
        ),
        (
            "bergamo = { boot_loader = 10, tee = 0, snp = 27, microcode = 27 }\n",
            "",
        ),
        (
            "turin = { fmc = 1, boot_loader = 1, tee = 1, snp = 4, microcode = 81 }\n",
            "",
        ),
        ("alias_check_complete = \"set\"", "alias_check_complete = \"any\""),
    ])
}

fn verdict(vector: &Vector, policy: &Policy, at: UnixTime) -> Verdict {
    Verifier::new(policy.clone()).appraise_recorded(&vector.recorded(), at)
}

pub(crate) fn three(folder: &Path) -> [(&'static str, Vector); 3] {
    [
        ("genoa-v3", "ask-ark-genoa.pem"),
        ("genoa-v5", "ask-ark-genoa.pem"),
        ("turin-v5", "ask-ark-turin.pem"),
    ]
    .map(|(name, chain)| (name, Vector::read(folder, name, "vcek.der", chain)))
}

pub(crate) fn vlek(folder: &Path) -> Vector {
    Vector::read(folder, "milan-vlek-aws-v3", "vlek.der", "asvk-ark-milan.pem")
}

#[test]
fn real_reports_are_accepted_where_the_policy_allows_their_firmware() {
    let Some(folder) = folder() else { return };
    let policy = real_policy(&[]);
    for (name, vector) in three(&folder) {
        let accepted = verdict(&vector, &policy, MARCH_2026);
        assert_eq!(accepted.decision, Decision::Accepted, "{name}: {accepted:#?}");
        assert!(!accepted.simulated);
        assert!(accepted.roots[0].contains("AMD"), "{:?}", accepted.roots);
    }
}

#[test]
fn each_is_refused_where_the_policy_does_not_allow_its_firmware() {
    let Some(folder) = folder() else { return };
    let policy = real_policy(&[
        ("snp = 23, microcode = 84", "snp = 24, microcode = 84"),
        ("microcode = 27", "microcode = 28"),
        ("fmc = 1", "fmc = 2"),
    ]);
    for (name, vector) in three(&folder) {
        let refused = verdict(&vector, &policy, MARCH_2026);
        assert_eq!(refused.code, Some("snp.tcb.below_floor"), "{name}: {refused:#?}");
    }
    let pinned = real_policy(&[
        ("\"snp.launch_measurement\", ", ""),
        (
            "[snp.tcb_floor]",
            &format!(
                "[[snp.launch]]\nmeasurement = \"{}\"\nnot_before = 2020-01-01\n\
                 not_after = 2030-12-31\nreason = \"x\"\n[snp.tcb_floor]",
                "00".repeat(47) + "01"
            ),
        ),
    ]);
    for (name, vector) in three(&folder) {
        let refused = verdict(&vector, &pinned, MARCH_2026);
        assert_eq!(refused.code, Some("snp.launch.not_allowed"), "{name}");
    }
}

#[test]
fn the_production_policy_refuses_each_and_the_development_policy_knows_no_root() {
    let Some(folder) = folder() else { return };
    let production = Policy::parse(shipped::PRODUCTION.as_bytes()).unwrap();
    let development = Policy::parse(shipped::DEVELOPMENT.as_bytes()).unwrap();
    for (name, vector) in three(&folder) {
        let refused = verdict(&vector, &production, MARCH_2026);
        assert_eq!(refused.decision, Decision::Rejected, "{name}");
        assert!(refused.snp.is_some(), "{name} is authentic all the same");
        let refused = verdict(&vector, &development, MARCH_2026);
        assert_eq!(refused.code, Some("snp.root.unknown"), "{name}");
    }
}

#[test]
fn time_decides_at_each_end_of_the_leafs_window() {
    let Some(folder) = folder() else { return };
    let policy = real_policy(&[]);
    let [(_, genoa), ..] = three(&folder);
    // Valid from 2026-02-05T02:05:07Z to 2033-02-05T02:05:07Z.
    let cases = [
        (1_770_257_106, Some("snp.vek.not_yet_valid")),
        (1_770_257_107, None),
        (1_991_181_907, None),
        (1_991_181_908, Some("snp.vek.expired")),
    ];
    for (at, code) in cases {
        assert_eq!(
            verdict(&genoa, &policy, UnixTime::from_secs(at)).code,
            code,
            "{at}"
        );
    }
}

#[test]
fn milan_is_refused_unless_named_and_its_old_report_for_debug() {
    let Some(folder) = folder() else { return };
    let milan = Vector::read(&folder, "milan-v2", "vcek.der", "ask-ark-milan.pem");
    let at = UnixTime::from_secs(1_672_531_200);
    assert_eq!(
        verdict(&milan, &real_policy(&[]), at).code,
        Some("snp.root.unknown")
    );
    let other_chip = verdict(&milan, &milan_policy(&"ab".repeat(64)), at);
    let facts = other_chip.snp.unwrap();
    assert_eq!(facts["product"], "milan");
    let failed = |verdict: &Verdict| -> Vec<&str> {
        verdict
            .checks
            .iter()
            .filter(|check| check.status == Status::Fail)
            .map(|check| check.id)
            .collect()
    };
    let refused = verdict(&milan, &milan_policy(&facts["chip_id"]), at);
    assert_eq!(refused.code, Some("snp.policy.debug"), "{refused:#?}");
    assert_eq!(failed(&refused), ["snp.policy.debug"]);
}

#[test]
fn a_stranger_chain_and_swapped_chains_are_refused() {
    let Some(folder) = folder() else { return };
    let policy = real_policy(&[]);
    let [(_, genoa), _, (_, turin)] = three(&folder);
    let stranger = crate::support::Case::new(crate::support::pki::Kind::Genoa).make();
    let with_chain = |chain: Vec<Vec<u8>>| Vector {
        report: genoa.report.clone(),
        vek: genoa.vek.clone(),
        chain,
    };
    let cases = [
        (stranger.chain.clone(), "snp.root.unknown"),
        (turin.chain.clone(), "snp.root.unknown"),
        (
            vec![stranger.chain[0].clone(), genoa.chain[1].clone()],
            "snp.intermediate.unknown",
        ),
        (
            vec![genoa.chain[0].clone(), stranger.chain[1].clone()],
            "snp.root.unknown",
        ),
        (
            pem(&folder.join("endorsements/asvk-ark-genoa.pem")),
            "snp.intermediate.unknown",
        ),
        (vec![], "snp.chain.missing"),
    ];
    for (chain, code) in cases {
        assert_eq!(verdict(&with_chain(chain), &policy, MARCH_2026).code, Some(code));
    }
    // Another chip's leaf, from the same authority.
    let [_, (_, bergamo), _] = three(&folder);
    let swapped = Vector {
        report: genoa.report.clone(),
        vek: bergamo.vek,
        chain: genoa.chain.clone(),
    };
    assert_eq!(
        verdict(&swapped, &policy, MARCH_2026).code,
        Some("snp.vek.tcb_mismatch")
    );
}

#[test]
fn amds_certificates_are_pinned_whole() {
    let Some(folder) = folder() else { return };
    let policy = real_policy(&[]);
    let [(_, mut genoa), ..] = three(&folder);
    // The signature's last byte: the key is AMD's, the certificate is not.
    for index in [0, 1] {
        let original = genoa.chain[index].clone();
        *genoa.chain[index].last_mut().unwrap() ^= 1;
        let code = verdict(&genoa, &policy, MARCH_2026).code;
        assert_eq!(
            code,
            Some(["snp.intermediate.unknown", "snp.root.unknown"][index])
        );
        genoa.chain[index] = original;
    }
    // What comes besides is passed over.
    let more = pem(&folder.join("endorsements/asvk-ark-genoa.pem"));
    genoa.chain.extend(more);
    assert_eq!(verdict(&genoa, &policy, MARCH_2026).decision, Decision::Accepted);
}

#[test]
fn pinned_serials_are_those_of_amds_certificates() {
    use bastide_verifier::anchors::{GENOA, MILAN, TURIN};
    let Some(folder) = folder() else { return };
    for (name, authority) in [("milan", MILAN), ("genoa", GENOA), ("turin", TURIN)] {
        for (file, intermediate) in [("ask", authority.ask), ("asvk", authority.asvk)] {
            let chain = pem(&folder.join(format!("endorsements/{file}-ark-{name}.pem")));
            for (der, published) in chain.iter().zip([intermediate, authority.ark]) {
                assert_eq!(
                    bastide_attestation::sha256(&[der]),
                    published.certificate,
                    "{name} {file}"
                );
                let serial = [&[0x02, 0x03][..], &published.serial.to_be_bytes()[1..]].concat();
                assert!(
                    der.windows(5).take(32).any(|window| window == serial),
                    "{name} {file} serial"
                );
            }
        }
    }
}

#[test]
fn real_revocation_lists_are_read_and_their_windows_hold() {
    let Some(folder) = folder() else { return };
    let text = std::fs::read(folder.join("endorsements/crl-genoa.pem")).unwrap();
    let crl = pem_certificates(&text).unwrap().remove(0);
    let [(_, genoa), ..] = three(&folder);
    let mut recorded = genoa.recorded();
    recorded.crl = Some(&crl);
    let soft = Verifier::new(real_policy(&[])).appraise_recorded(&recorded, MARCH_2026);
    assert_eq!(soft.decision, Decision::Accepted, "{soft:#?}");
    let hard = real_policy(&[("\"soft\"", "\"hard\"")]);
    let hard = Verifier::new(hard).appraise_recorded(&recorded, MARCH_2026);
    assert_eq!(hard.code, Some("snp.crl.stale"), "{hard:#?}");

    let text = std::fs::read(folder.join("endorsements/crl-milan.pem")).unwrap();
    let milans = pem_certificates(&text).unwrap().remove(0);
    recorded.crl = Some(&milans);
    let foreign = Verifier::new(real_policy(&[])).appraise_recorded(&recorded, MARCH_2026);
    assert_eq!(foreign.code, Some("snp.crl.signature"));
}

#[test]
fn a_providers_key_is_authentic_in_time_but_milan_is_accepted_by_chip_alone() {
    let Some(folder) = folder() else { return };
    let vector = vlek(&folder);
    let policy = milan_policy(&"ab".repeat(64));
    let refused = verdict(&vector, &policy, JUNE_2025);
    assert_eq!(refused.code, Some("snp.key.not_allowed"), "{refused:#?}");
    let facts = refused.snp.expect("it is authentic");
    assert_eq!(facts["provider"], "CN=cc-us-east-2.amazonaws.com");
    assert_eq!(facts["signing_key"], "vlek");
    // Reported below committed below current: seen in production, and said so.
    assert_eq!(facts["provisional_firmware"], "true");
    // No chip is named, and no pin is met by that.
    assert!(
        refused
            .checks
            .iter()
            .any(|check| check.id == "snp.chip_id" && check.status == Status::Fail)
    );
    let expired = verdict(&vector, &policy, MARCH_2026);
    assert_eq!(expired.code, Some("snp.vek.expired"));
}

#[test]
fn both_implementations_of_cryptography_agree() {
    let Some(folder) = folder() else { return };
    let policy = real_policy(&[]);
    for (name, vector) in three(&folder) {
        let mut variants = vec![vector.report.clone()];
        for at in (0..0x300).step_by(37) {
            let mut report = vector.report.clone();
            report[at] ^= 0x10;
            variants.push(report);
        }
        let verifiers = [crypto::provider(), &crypto::Ring].map(|c| Verifier::with_crypto(policy.clone(), c));
        for report in variants {
            let mut recorded = vector.recorded();
            recorded.report = &report;
            let [native, ring] = verifiers
                .each_ref()
                .map(|verifier| verifier.appraise_recorded(&recorded, MARCH_2026));
            assert_eq!(native, ring, "{name}");
        }
    }
}

#[test]
fn a_real_leaf_cannot_be_altered_at_any_byte() {
    let Some(folder) = folder() else { return };
    let verifier = Verifier::new(real_policy(&[]));
    let [_, _, (_, mut turin)] = three(&folder);
    for at in 0..turin.vek.len() {
        turin.vek[at] ^= 0x01;
        let verdict = verifier.appraise_recorded(&turin.recorded(), MARCH_2026);
        assert_ne!(verdict.decision, Decision::Accepted, "byte {at}");
        turin.vek[at] ^= 0x01;
    }
}

#[test]
fn no_truncation_or_extension_of_a_real_report_is_read() {
    let Some(folder) = folder() else { return };
    let verifier = Verifier::new(real_policy(&[]));
    let [(_, genoa), ..] = three(&folder);
    for length in (0..1184).chain(1185..=1248) {
        let mut report = genoa.report.clone();
        report.resize(length, 0);
        let mut recorded = genoa.recorded();
        recorded.report = &report;
        let verdict = verifier.appraise_recorded(&recorded, MARCH_2026);
        assert_eq!(verdict.code, Some("snp.report.length"), "{length}");
    }
}
