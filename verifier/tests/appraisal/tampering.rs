//! Random and hostile input: nothing panics, nothing altered is accepted, and
//! a policy that asks for more never accepts more.

use bastide_attestation::{Appraiser, Decision, Evidence};
use bastide_verifier::{Policy, RecordedSnp, Verifier, crypto};
use proptest::prelude::*;

use crate::support::keys::{RsaKey, VekKey};
use crate::support::pki::Kind;
use crate::support::{Case, Made, NOW, expectation, policies};

/// P-384's order, big-endian.
const ORDER: &str =
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";

fn order() -> Vec<u8> {
    hex::decode(ORDER).expect("the order is hexadecimal")
}

/// R or S of a report, big-endian.
fn number(report: &[u8], at: usize) -> Vec<u8> {
    report[at..at + 48].iter().rev().copied().collect()
}

fn put_number(report: &mut [u8], at: usize, number: &[u8]) {
    for (to, from) in report[at..at + 48].iter_mut().zip(number.iter().rev()) {
        *to = *from;
    }
}

/// `left - right` of numbers of the same length, big-endian, left being larger.
fn minus(left: &[u8], right: &[u8]) -> Vec<u8> {
    let mut borrow = 0_i16;
    let mut out: Vec<u8> = left
        .iter()
        .zip(right)
        .rev()
        .map(|(a, b)| {
            let difference = i16::from(*a) - i16::from(*b) - borrow;
            borrow = i16::from(difference < 0);
            u8::try_from(difference.rem_euclid(256)).expect("below 256")
        })
        .collect();
    out.reverse();
    out
}

#[test]
fn signatures_out_of_range_are_refused_and_the_mirrored_one_is_the_same_report() {
    let policy = policies::with(&[]);
    let good = Case::new(Kind::Genoa).make();
    let with = |at: usize, number: &[u8]| {
        let mut made = good.clone();
        put_number(&mut made.report, at, number);
        made.verdict(&policy)
    };
    for at in [0x2a0, 0x2e8] {
        for number in [vec![0; 48], order(), vec![0xff; 48]] {
            assert_eq!(with(at, &number).code, Some("snp.report.signature"));
        }
    }
    let mut big_endian = good.clone();
    big_endian.report[0x2a0..0x2d0].reverse();
    big_endian.report[0x2e8..0x318].reverse();
    assert_eq!(big_endian.verdict(&policy).code, Some("snp.report.signature"));

    // (r, n-s) verifies too: 42 of 87 genuine reports are the "high" one. What
    // identifies a report is therefore its signed bytes alone.
    let mirrored = with(0x2e8, &minus(&order(), &number(&good.report, 0x2e8)));
    let original = good.verdict(&policy);
    assert_eq!(mirrored.decision, Decision::Accepted);
    assert_eq!(
        mirrored.snp.unwrap()["report_digest"],
        original.snp.unwrap()["report_digest"]
    );
}

#[test]
fn evidence_of_one_session_is_refused_for_another() {
    let verifier = Verifier::new(policies::with(&[]));
    let made = Case::new(Kind::Genoa).make();
    let other_binder = bastide_attestation::SessionExpectation {
        binder: bastide_attestation::Binder::new([0x5b; 32]),
        ..expectation()
    };
    let other_kind = bastide_attestation::SessionExpectation {
        leaf: bastide_attestation::binding::LeafType::ClientTls,
        ..expectation()
    };
    for session in [other_binder, other_kind] {
        let verdict = verifier.appraise(&made.evidence(), &session, NOW).unwrap_err();
        assert_eq!(verdict.code, Some("session.binding"));
    }
    // A statement swapped under a good report, and the reverse.
    let other = Case::new(Kind::Genoa)
        .with(|case| case.statement.epoch = 8)
        .make();
    let spliced = Made {
        statement: other.statement,
        ..made
    };
    assert_eq!(
        spliced.live_verdict(&policies::with(&[])).code,
        Some("session.report_data")
    );
}

#[test]
fn both_implementations_agree_on_each_primitive() {
    let message = b"a message".as_slice();
    let providers: [&dyn crypto::Crypto; 2] = [crypto::provider(), &crypto::Ring];
    let (rsa, pss) = (RsaKey::Ark.public(), RsaKey::Ark.sign_pss(message));
    let (point, signature) = (VekKey::Vek.point(), VekKey::Vek.sign(message));
    let signature: [u8; 96] = signature.try_into().expect("96 bytes");
    let mut spoilt = signature;
    spoilt[95] ^= 1;
    for crypto in providers {
        assert!(crypto.rsa_pss_sha384_verify(&rsa, message, &pss), "{crypto:?}");
        assert!(!crypto.rsa_pss_sha384_verify(&rsa, b"another", &pss));
        assert!(!crypto.rsa_pss_sha384_verify(&rsa, message, &RsaKey::Ark.sign_pkcs1(message)));
        assert!(!crypto.rsa_pss_sha384_verify(&RsaKey::Ask.public(), message, &pss));
        assert!(!crypto.rsa_pss_sha384_verify(&[], message, &pss));
        assert!(!crypto.rsa_pss_sha384_verify(&rsa, message, &[]));
        assert!(crypto.p384_sha384_verify(&point, message, &signature));
        assert!(!crypto.p384_sha384_verify(&point, message, &spoilt));
        assert!(!crypto.p384_sha384_verify(&VekKey::Stranger.point(), message, &signature));
        assert!(!crypto.p384_sha384_verify(&[4; 97], message, &signature));
        assert!(!crypto.p384_sha384_verify(&[], message, &signature));
        assert!(!crypto.p384_sha384_verify(&point, message, &[0; 96]));
    }
}

/// A line of the policy, and a stricter one in its place.
const STRICTER: [(&str, &str); 8] = [
    ("report_versions = [3, 5]", "report_versions = [3]"),
    ("vmpl = [0]", "vmpl = [1]"),
    ("snp = 27, microcode = 84", "snp = 28, microcode = 84"),
    ("crl = \"soft\"", "crl = \"hard\""),
    ("\"snp.id_block\", ", ""),
    ("migrate_ma = \"any\"", "migrate_ma = \"clear\""),
    ("debug = \"any\"", "debug = \"clear\""),
    ("alias_check_complete = \"any\"", "alias_check_complete = \"set\""),
];

/// The tests' policy at its most lenient, with some of the lines made stricter.
fn policy_with(stricter: u8) -> Policy {
    let mut text = policies::text()
        .replace("id_block = \"forbid\"\n", "")
        .replace("ignore = [", "ignore = [\"snp.id_block\", ")
        .replace("migrate_ma = \"clear\"", "migrate_ma = \"any\"")
        .replace("debug = \"clear\"", "debug = \"any\"")
        .replace("alias_check_complete = \"set\"", "alias_check_complete = \"any\"");
    for (index, (from, to)) in STRICTER.iter().enumerate() {
        assert!(text.contains(from), "`{from}`");
        if stricter >> index & 1 == 1 {
            text = text.replace(from, to);
            if from.contains("id_block") {
                text = text.replace("key = \"vcek\"", "key = \"vcek\"\nid_block = \"forbid\"");
            }
        }
    }
    policies::parse(&text)
}

fn arbitrary_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..2000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn asking_for_more_never_accepts_more(
        stricter: u8,
        more: u8,
        version in prop::sample::select(vec![3_u8, 5]),
        debug: bool,
        migration: bool,
        id_key: bool,
        alias_check: bool,
    ) {
        let made = Case::new(Kind::Genoa)
            .with(|case| {
                case.report.bytes[0] = version;
                case.report.bytes[0x00a] |= u8::from(debug) << 3 | u8::from(migration) << 2;
                case.report.bytes[0x0e0] = u8::from(id_key);
                case.report.bytes[0x040] = 0x05 | u8::from(alias_check) << 5;
            })
            .make();
        let lenient = made.verdict(&policy_with(stricter)).decision;
        let strict = made.verdict(&policy_with(stricter | more)).decision;
        prop_assert!(strict != Decision::Accepted || lenient == Decision::Accepted);
    }

    #[test]
    fn random_files_never_panic_and_are_never_accepted(
        report in prop::collection::vec(any::<u8>(), 1184),
        short in arbitrary_bytes(),
        vek in arbitrary_bytes(),
        root in arbitrary_bytes(),
        crl: Option<Vec<u8>>,
    ) {
        let verifier = Verifier::new(policies::with(&[]));
        let good = Case::new(Kind::Genoa).make();
        let chain = [good.chain[0].clone(), root];
        for (report, vek, chain) in [
            (&report, &vek, chain.as_slice()),
            (&short, &good.vek, &good.chain),
            (&good.report, &vek, &good.chain),
            (&good.report, &good.vek, &chain),
        ] {
            let recorded = RecordedSnp {
                report,
                vek,
                chain,
                crl: crl.as_deref(),
                report_data: None,
            };
            let verdict = verifier.appraise_recorded(&recorded, NOW);
            prop_assert_ne!(verdict.decision, Decision::Accepted);
            prop_assert!(verdict.snp.is_none());
        }
    }

    #[test]
    fn altered_envelopes_never_panic_nor_pass(at: prop::sample::Index, bit in 0_u8..8) {
        let bytes = Case::new(Kind::Genoa).make().evidence().as_unverified().encode();
        let mut altered = bytes.clone();
        altered[at.index(bytes.len())] ^= 1 << bit;
        let Ok(decoded) = Evidence::decode(&altered) else { return Ok(()) };
        // Some bits carry no meaning: then the envelope says the same as before.
        let same = decoded.as_unverified().encode() == bytes;
        let accepted = Verifier::new(policies::with(&[]))
            .appraise(&decoded, &expectation(), NOW)
            .is_ok();
        prop_assert!(!accepted || same);
    }

    #[test]
    fn random_policies_never_panic(bytes: Vec<u8>, text in ".{0,300}", at: prop::sample::Index, character: char) {
        let _ = Policy::parse(&bytes);
        let _ = Policy::parse(text.as_bytes());
        let mut altered: Vec<char> = policies::text().chars().collect();
        let index = at.index(altered.len());
        altered[index] = character;
        let altered: String = altered.into_iter().collect();
        let _ = Policy::parse(altered.as_bytes());
    }
}
