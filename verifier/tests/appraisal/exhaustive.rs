//! Every real report, altered in every single way: each of its 9,472 bits
//! flipped, cut at every length, with up to 64 bytes after its end. Holds that
//! none is authentic, whatever a policy would say of it.

use bastide_attestation::{Decision, UnixTime};
use bastide_verifier::{Policy, Verifier};

use crate::real::{JUNE_2025, MARCH_2026, milan_policy, real_policy};
use crate::support::vectors::{Vector, folder};

/// A real report, by the name of its folder, as it is judged while its leaf is valid.
struct Real {
    name: &'static str,
    leaf: &'static str,
    chain: &'static str,
    policy: fn() -> Policy,
    at: UnixTime,
}

const MILAN_V2: Real = Real {
    name: "milan-v2",
    leaf: "vcek.der",
    chain: "ask-ark-milan.pem",
    policy: || milan_policy(&"ab".repeat(64)),
    at: UnixTime::from_secs(1_672_531_200),
};
const GENOA_V3: Real = Real {
    name: "genoa-v3",
    leaf: "vcek.der",
    chain: "ask-ark-genoa.pem",
    policy: || real_policy(&[]),
    at: MARCH_2026,
};
const BERGAMO_V5: Real = Real {
    name: "genoa-v5",
    ..GENOA_V3
};
const TURIN_V5: Real = Real {
    name: "turin-v5",
    chain: "ask-ark-turin.pem",
    ..GENOA_V3
};
const MILAN_VLEK_V3: Real = Real {
    name: "milan-vlek-aws-v3",
    leaf: "vlek.der",
    chain: "asvk-ark-milan.pem",
    policy: || milan_policy(&"ab".repeat(64)),
    at: JUNE_2025,
};

/// Judges the report altered in every way, with the memory of a verifier that
/// has accepted its chain and its leaf.
fn alter_in_every_way(real: &Real) {
    let Some(folder) = folder() else { return };
    let vector = Vector::read(&folder, real.name, real.leaf, real.chain);
    let verifier = Verifier::new((real.policy)());
    let is_authentic = |report: &[u8]| {
        let mut recorded = vector.recorded();
        recorded.report = report;
        let verdict = verifier.appraise_recorded(&recorded, real.at);
        // Facts are told of authentic reports alone.
        verdict.snp.is_some() || verdict.decision == Decision::Accepted
    };
    // Or all that follows would hold for any other reason.
    assert!(is_authentic(&vector.report), "{} is authentic", real.name);

    let mut report = vector.report.clone();
    let mut unnoticed = Vec::new();
    for at in 0..report.len() {
        for bit in 0..8 {
            report[at] ^= 1 << bit;
            if is_authentic(&report) {
                unnoticed.push((at, bit));
            }
            report[at] ^= 1 << bit;
        }
    }
    assert_eq!(unnoticed, [], "{}: bits that were not noticed", real.name);

    for length in 0..vector.report.len() {
        assert!(
            !is_authentic(&vector.report[..length]),
            "{} cut at {length}",
            real.name
        );
    }
    for more in 1..=64 {
        for filler in [0x00, 0xff] {
            report.truncate(vector.report.len());
            report.resize(vector.report.len() + more, filler);
            assert!(!is_authentic(&report), "{} and {more} bytes", real.name);
        }
    }
}

#[test]
fn a_real_milan_report_of_version_2_cannot_be_altered() {
    alter_in_every_way(&MILAN_V2);
}

#[test]
fn a_real_genoa_report_of_version_3_cannot_be_altered() {
    alter_in_every_way(&GENOA_V3);
}

#[test]
fn a_real_bergamo_report_of_version_5_cannot_be_altered() {
    alter_in_every_way(&BERGAMO_V5);
}

#[test]
fn a_real_turin_report_of_version_5_cannot_be_altered() {
    alter_in_every_way(&TURIN_V5);
}

#[test]
fn a_real_report_signed_by_a_providers_key_cannot_be_altered() {
    alter_in_every_way(&MILAN_VLEK_V3);
}
