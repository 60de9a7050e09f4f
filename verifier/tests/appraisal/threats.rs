//! T10 and T19 of docs/spec/threats.md: GPU evidence that was swapped, and chips
//! that are broken.

use bastide_attestation::nvidia::DeviceEvidence;
use bastide_attestation::{Decision, sha256};
use bastide_attester::simulator::nvidia::GpuOptions;

use crate::support::gpu_policies::{self, EIGHT};
use crate::support::gpus::Gpus;
use crate::support::pki::{Kind, amd};
use crate::support::report::TCB_OFFSETS;
use crate::support::{Case, NOW, policies};

use crate::support::der::integer;

fn other_machine() -> Gpus {
    Gpus::simulated(GpuOptions {
        machine: 1,
        ..GpuOptions::new(NOW)
    })
}

/// The code under which a machine with these GPUs is refused, its statement
/// naming `named` and its host sending `sent`.
fn code(named: &Gpus, sent: &Gpus) -> Option<&'static str> {
    Case::with_gpus(Kind::Genoa, named.part())
        .with(|case| case.gpu = Some(sent.part()))
        .make()
        .live_verdict(&gpu_policies::with(&[]))
        .code
}

#[test]
fn t10_gpu_evidence_that_the_host_swaps_is_refused_by_its_digest() {
    let (own, other) = (Gpus::one(), other_machine());
    assert_eq!(code(&own, &own), None);
    // Genuine, fresh, of the same nonce even: and still not what the enclave saw.
    assert_eq!(code(&own, &other), Some("gpu.evidence.digest"));
    let mut altered = own.clone();
    altered.devices[0].chain.push(b'\n');
    assert_eq!(code(&own, &altered), Some("gpu.evidence.digest"));
    let mut twice = own.clone();
    twice.devices.push(own.devices[0].clone());
    assert_eq!(code(&own, &twice), Some("gpu.evidence.digest"));
}

#[test]
fn t10_gpu_evidence_in_another_order_is_other_evidence() {
    let own = Gpus::eight();
    let mut turned = own.clone();
    turned.devices.rotate_left(1);
    let policy = gpu_policies::with(&EIGHT);
    let verdict = |sent: &Gpus| {
        Case::with_gpus(Kind::Genoa, own.part())
            .with(|case| case.gpu = Some(sent.part()))
            .make()
            .live_verdict(&policy)
    };
    assert_eq!(verdict(&own).decision, Decision::Accepted);
    assert_eq!(verdict(&turned).code, Some("gpu.evidence.digest"));
}

#[test]
fn t10_an_answer_to_another_nonce_is_refused_though_the_statement_names_it() {
    // What a host gets from a GPU for a challenge of its own, or kept from before.
    let mut own = Gpus::one();
    own.seed[31] ^= 1;
    assert_eq!(code(&own, &own), Some("gpu.nonce.mismatch"));
    // The nonce counts rounds and boots as well as the seed.
    let own = Gpus::one();
    for change in [
        (|case: &mut Case| case.statement.gpu_epoch += 1) as fn(&mut Case),
        |case| case.statement.boot_id = bastide_attestation::BootId::new([2; 16]),
    ] {
        let verdict = Case::with_gpus(Kind::Genoa, own.part())
            .with(change)
            .make()
            .live_verdict(&gpu_policies::with(&[]));
        assert_eq!(verdict.code, Some("gpu.nonce.mismatch"));
    }
}

#[test]
fn t10_reports_and_chains_of_two_gpus_do_not_mix() {
    let (own, other) = (Gpus::one(), other_machine());
    let mut mixed = own.clone();
    mixed.devices[0] = DeviceEvidence {
        report: own.devices[0].report.clone(),
        chain: other.devices[0].chain.clone(),
    };
    assert_ne!(sha256(&[&mixed.part().evidence]), sha256(&[&own.part().evidence]));
    assert_eq!(code(&mixed, &mixed), Some("gpu.report.signature"));
}

/// What stops a chip whose firmware is known to be broken: the floor, in the
/// version that signed as in those that the platform reports.
#[test]
fn t19_a_chip_below_the_floor_is_refused_in_every_component() {
    let at_the_floor = Case::new(Kind::Genoa).make().live_verdict(&policies::with(&[]));
    assert_eq!(at_the_floor.decision, Decision::Accepted);
    for offset in TCB_OFFSETS {
        for (byte, floor, number) in [(0, 10_u8, 1_u8), (6, 27, 3), (7, 84, 8)] {
            let verdict = Case::new(Kind::Genoa)
                .with(|case| {
                    case.report.bytes[offset + byte] = floor - 1;
                    if offset == 0x180 {
                        case.leaf.set(&amd(&[3, number]), integer(floor - 1));
                    }
                })
                .make()
                .live_verdict(&policies::with(&[]));
            let place = format!("0x{offset:x} + {byte}");
            assert_eq!(verdict.code, Some("snp.tcb.below_floor"), "{place}");
        }
    }
}

/// What stops one broken chip among good ones: it is not on the list, or no
/// longer. Nothing in a report shows that its keys were taken out.
#[test]
fn t19_a_chip_that_the_policy_does_not_name_is_refused() {
    let made = Case::new(Kind::Genoa).make();
    let chip = hex::encode(&made.report[0x1a0..0x1e0]);
    let listed = |chip: &str, until: &str| {
        let list = format!(
            "key = \"vcek\"\nchips = [{{ chip_id = \"{chip}\", not_before = 2026-01-01, \
             not_after = {until}, reason = \"rack 7\" }}]"
        );
        let policy = policies::with(&[("key = \"vcek\"", &list), ("\"snp.chip_id\", ", "")]);
        made.live_verdict(&policy).code
    };
    assert_eq!(listed(&chip, "2026-12-31"), None);
    let other = format!("f{}", &chip[1..]);
    assert_ne!(chip, other);
    assert_eq!(listed(&other, "2026-12-31"), Some("snp.chip.not_allowed"));
    // Taken off the list with a date: from then on it is refused.
    assert_ne!(listed(&chip, "2026-02-28"), None);
}
