//! Faults that no real device has, each of which must be named.

use std::sync::OnceLock;

use bastide_attestation::nvidia::{DeviceKind, Family, OpaqueError};
use bastide_attestation::{UnixTime, sha256};
use proptest::prelude::*;

use super::made::{
    BASIC_CONSTRAINTS, COMPOSITE_DEVICE_ID, DICE_TCB_INFO, FIELDS, FWID, KEY_USAGE, Made, Plan,
    composite_device_id, constraints, fwid, integer, legacy, sequence, tcb_info, tlv,
};
use super::vectors::to_pem;
use super::{Bench, NOW};
use crate::nvidia::{DeviceAnchor, DeviceFault, authenticate_device};

/// The verdict over a Hopper GPU whose certificate `index` was changed.
fn changed(index: usize, change: impl FnOnce(&mut Plan)) -> DeviceFault {
    let mut made = Made::hopper();
    change(&mut made.certificates[index]);
    made.verdict().unwrap_err()
}

/// Renames a certificate, consistently.
fn renamed(mut made: Made, index: usize, name: &str) -> Result<(), DeviceFault> {
    name.clone_into(&mut made.certificates[index].subject);
    if let Some(below) = index.checked_sub(1) {
        name.clone_into(&mut made.certificates[below].issuer);
    }
    if index == 4 {
        name.clone_into(&mut made.certificates[4].issuer);
    }
    made.verdict()
}

#[test]
fn a_made_up_device_is_authentic_under_its_root_alone() {
    assert_eq!(Made::hopper().verdict(), Ok(()));
    assert_eq!(Made::blackwell().verdict(), Ok(()));
    let made = Made::hopper();
    let (report, ders) = (made.report(), made.ders());
    let chain = to_pem(&ders);
    let digest = sha256(&[&ders[4]]);
    let under = |anchor| {
        let bench = Bench::of(vec![anchor]);
        authenticate_device(&report, &chain, None, &bench.trust()).map(|_| ())
    };
    assert_eq!(under(Made::anchor(Some(digest))), Ok(()));
    for anchor in [Made::anchor(Some([0; 32])), DeviceAnchor::nvidia()] {
        let spki = Made::anchor(None).root.spki;
        assert_eq!(under(anchor), Err(DeviceFault::RootNotPinned { spki }));
    }
    let bench = Bench::of(vec![]);
    assert!(authenticate_device(&report, &chain, None, &bench.trust()).is_err());
}

#[test]
fn names_that_no_family_has_are_refused_at_their_place() {
    for (index, names) in [
        (
            0,
            &[
                "GH100 A01 FSP FMC LF",
                "GH100 A01 GSP BROM",
                "GH100 a01 GSP FMC LF",
                "GH100 A1 GSP FMC LF",
                "GH100 A01 GSP FMC",
                "GH100 A01 GSP x FMC LF",
                "GH101 A01 GSP FMC LF",
                "LS_10 A01 GSP FMC LF",
                "GR100 A01 GSP FMC LF",
                "",
            ][..],
        ),
        (
            1,
            &["GH100 A02 GSP BROM", "GB100 A01 GSP BROM", "GH100 A01 FSP BROM"],
        ),
        (
            2,
            &[
                "NVIDIA GH100 Provisioner ICA",
                "NVIDIA GH100 Provisioner ICA ",
                "NVIDIA GH100 Provisioner ICA x",
                "NVIDIA GB100 Provisioner ICA 1",
            ],
        ),
        (3, &["NVIDIA GB100 Identity", "NVIDIA LS_10 Identity"]),
        (4, &["NVIDIA Device Identity", "NVIDIA CoRIM signing Root CA"]),
    ] {
        for name in names {
            let verdict = renamed(Made::hopper(), index, name);
            assert!(
                matches!(&verdict, Err(DeviceFault::NameTemplate { index: of, .. }) if *of == index),
                "{name}: {verdict:?}"
            );
        }
    }
    for (index, name) in [
        (2, "NVIDIA GH100 Provisioner ICA 00017"),
        (2, "NVIDIA GH100 Provisioner ICA 2"),
    ] {
        assert_eq!(renamed(Made::hopper(), index, name), Ok(()), "{name}");
    }
    // Another chip of Blackwell's must be so called all the way up.
    let verdict = renamed(Made::blackwell(), 3, "NVIDIA GB100 Identity");
    assert!(matches!(verdict, Err(DeviceFault::NameTemplate { index: 3, .. })));
    let verdict = renamed(Made::blackwell(), 0, "GB202 A01 GSP FMC LF");
    assert!(matches!(verdict, Err(DeviceFault::NameTemplate { index: 0, .. })));
}

#[test]
fn each_link_is_checked() {
    for index in 0..5 {
        let fault = changed(index, |plan| "NVIDIA".clone_into(&mut plan.issuer));
        assert_eq!(fault, DeviceFault::ChainIssuer { index });
        let fault = changed(index, |plan| plan.signer = 9);
        assert_eq!(fault, DeviceFault::ChainSignature { index });
        let fault = changed(index, |plan| plan.validity[1] = "20250531235959");
        assert!(
            matches!(fault, DeviceFault::CertificateTime { index: of, .. } if of == index),
            "{fault}"
        );
        let fault = changed(index, |plan| plan.hash = 2);
        assert!(
            matches!(fault, DeviceFault::CertificateAlgorithm { index: of, .. } if of == index),
            "{fault}"
        );
        let fault = changed(index, |plan| plan.extensions.push(plan.extensions[0].clone()));
        assert!(matches!(fault, DeviceFault::Certificate { index: of, .. } if of == index));
        let fault = changed(index, |plan| plan.serial = vec![1; 21]);
        assert!(matches!(fault, DeviceFault::Certificate { index: of, .. } if of == index));
    }
}

#[test]
fn a_certificate_is_valid_on_its_first_and_last_second() {
    let mut made = Made::hopper();
    made.certificates[2].validity = ["20250601000000", "20250601000000"];
    assert_eq!(made.verdict(), Ok(()));
    made.certificates[2].validity = ["20250601000001", "20250601000002"];
    let fault = DeviceFault::CertificateTime {
        index: 2,
        not_before: UnixTime::from_secs(NOW.as_secs() + 1),
        not_after: UnixTime::from_secs(NOW.as_secs() + 2),
        now: NOW,
    };
    assert_eq!(made.verdict(), Err(fault));
}

#[test]
fn an_authority_must_be_marked_as_one_and_a_leaf_must_not() {
    for index in 1..5 {
        for value in [None, Some(constraints(false, None))] {
            let fault = changed(index, |plan| match value {
                Some(value) => plan.set(BASIC_CONSTRAINTS, value),
                None => plan.remove(BASIC_CONSTRAINTS),
            });
            assert!(matches!(fault, DeviceFault::NotAuthority { index: of, .. } if of == index));
        }
    }
    let fault = changed(0, |plan| plan.set(BASIC_CONSTRAINTS, constraints(true, None)));
    assert!(matches!(fault, DeviceFault::NotAuthority { index: 0, .. }));
    for index in [0, 3] {
        let fault = changed(index, |plan| plan.set(&[0x2a, 3], vec![]));
        let expected = "no critical extension that is unknown here";
        assert_eq!(fault, DeviceFault::NotAuthority { index, expected });
    }
}

#[test]
fn a_limit_of_authorities_below_is_kept() {
    for index in 1..5 {
        let below = u8::try_from(index - 1).unwrap();
        let mut made = Made::hopper();
        made.certificates[index].set(BASIC_CONSTRAINTS, constraints(true, Some(below)));
        assert_eq!(made.verdict(), Ok(()));
        if let Some(allowed) = below.checked_sub(1) {
            let value = constraints(true, Some(allowed));
            let fault = changed(index, |plan| plan.set(BASIC_CONSTRAINTS, value));
            let got = index - 1;
            assert_eq!(fault, DeviceFault::PathLength { index, allowed, got });
        }
    }
}

#[test]
fn keys_for_other_uses_are_refused() {
    for index in 0..5 {
        for value in [
            None,
            Some(vec![3, 2, 5, 0xa0]),
            // The same bits, not minimal.
            Some(vec![3, 3, 7, 0x80, 0]),
            Some(vec![3, 2, 0, if index == 0 { 0x80 } else { 4 }]),
            Some(if index == 0 {
                vec![3, 2, 2, 4]
            } else {
                vec![3, 2, 7, 0x80]
            }),
        ] {
            let fault = changed(index, |plan| match value {
                Some(value) => plan.set(KEY_USAGE, value),
                None => plan.remove(KEY_USAGE),
            });
            assert!(matches!(fault, DeviceFault::KeyUsage { index: of, .. } if of == index));
        }
    }
}

#[test]
fn firmware_must_be_named_by_certificate_and_report_and_be_the_same() {
    let leaf = DeviceFault::FwidMissing { place: "leaf" };
    assert_eq!(changed(0, |plan| plan.remove(COMPOSITE_DEVICE_ID)), leaf);
    let mut made = Made::blackwell();
    made.certificates[0].remove(DICE_TCB_INFO);
    assert_eq!(made.verdict(), Err(leaf));

    let mut made = Made::hopper();
    made.opaque = legacy(&FIELDS[..6]);
    assert_eq!(made.verdict(), Err(DeviceFault::FwidMissing { place: "report" }));
    made.opaque = legacy(&[&FIELDS[..6], &[(20, &[1; 48])]].concat());
    assert_eq!(made.verdict(), Err(DeviceFault::FwidMismatch));
}

#[test]
fn a_dice_extension_of_another_form_is_refused() {
    let values = [
        composite_device_id(2, &FWID),
        composite_device_id(1, &FWID[1..]),
        [composite_device_id(1, &FWID), vec![0]].concat(),
        sequence(&[integer(1), fwid(&FWID)]),
        sequence(&[integer(1), sequence(&[]), fwid(&FWID), integer(1)]),
        tcb_info(&[0x80, 0, 0, 1]),
        vec![],
    ];
    for value in values {
        let fault = changed(0, |plan| {
            plan.remove(COMPOSITE_DEVICE_ID);
            plan.extensions.push((COMPOSITE_DEVICE_ID, false, value));
        });
        assert!(matches!(fault, DeviceFault::Dice { .. }), "{fault}");
    }
    let both = changed(0, |plan| {
        plan.extensions
            .push((DICE_TCB_INFO, false, tcb_info(&[0x80, 0, 0, 1])));
    });
    assert!(matches!(both, DeviceFault::Dice { .. }), "{both}");
}

#[test]
fn firmware_that_can_be_debugged_is_refused() {
    let of = |value: Vec<u8>| {
        let mut made = Made::blackwell();
        made.certificates[0].remove(DICE_TCB_INFO);
        made.certificates[0]
            .extensions
            .push((DICE_TCB_INFO, false, value));
        made.verdict()
    };
    assert_eq!(of(tcb_info(&[0x80, 0, 0, 1])), Ok(()));
    assert_eq!(of(tcb_info(&[0x90, 0, 0, 1])), Err(DeviceFault::DebugTcb));
    for flags in [0xc000_0001_u32, 0xa000_0001] {
        let fault = DeviceFault::InsecureTcb { flags };
        assert_eq!(of(tcb_info(&flags.to_be_bytes())), Err(fault));
    }
    for value in [
        tcb_info(&[0x80]),
        sequence(&[tlv(0xa6, &fwid(&FWID))]),
        sequence(&[tlv(0x87, &[0, 0x80, 0, 0, 1])]),
        sequence(&[tlv(0xa6, &[]), tlv(0x87, &[0, 0x80, 0, 0, 1])]),
        sequence(&[tlv(0xa6, &fwid(&FWID)), tlv(0x87, &[1, 0x80, 0, 0, 0])]),
    ] {
        let verdict = of(value);
        assert!(matches!(verdict, Err(DeviceFault::Dice { .. })), "{verdict:?}");
    }
}

#[test]
fn what_a_report_says_is_looked_at_only_after_its_signature() {
    let mut made = Made::hopper();
    made.opaque = b"nothing that could be read".to_vec();
    assert!(matches!(made.verdict(), Err(DeviceFault::Opaque(_))));
    made.signer = 1;
    assert_eq!(made.verdict(), Err(DeviceFault::SignatureInvalid));
}

#[test]
fn opaque_data_s_faults_are_passed_on() {
    let mut made = Made::hopper();
    made.opaque = legacy(&[&FIELDS[..], &[(20, &FWID)]].concat());
    let fault = DeviceFault::Opaque(OpaqueError::Duplicate { id: 20 });
    assert_eq!(made.verdict(), Err(fault));
}

#[test]
fn a_switch_s_report_with_a_gpu_s_chain_is_refused() {
    let mut made = Made::hopper();
    made.blocks = 31;
    let fault = DeviceFault::KindMismatch {
        report: DeviceKind::NvSwitch,
        chain: Family::Hopper,
    };
    assert_eq!(made.verdict(), Err(fault));
}

/// A report with its certificates, signed once: that is what takes long.
fn signed() -> (Vec<u8>, Vec<Vec<u8>>) {
    static SIGNED: OnceLock<(Vec<u8>, Vec<Vec<u8>>)> = OnceLock::new();
    let sign = |made: Made| (made.report(), made.ders());
    SIGNED.get_or_init(|| sign(Made::blackwell())).clone()
}

proptest! {
    #[test]
    fn one_changed_byte_never_panics_and_is_never_authentic(place: prop::sample::Index, byte: u8) {
        let (mut report, mut ders) = signed();
        let bytes = report.iter_mut().chain(ders.iter_mut().flatten());
        let bytes: Vec<&mut u8> = bytes.collect();
        let count = bytes.len();
        let target = bytes.into_iter().nth(place.index(count)).unwrap();
        prop_assume!(*target != byte);
        *target = byte;
        let bench = Bench::of(vec![Made::anchor(None)]);
        let verdict = authenticate_device(&report, &to_pem(&ders), None, &bench.trust());
        prop_assert!(verdict.is_err());
    }

    #[test]
    fn text_that_is_no_chain_never_panics(chain: Vec<u8>, report: Vec<u8>) {
        let bench = Bench::nvidia();
        prop_assert!(authenticate_device(&signed().0, &chain, None, &bench.trust()).is_err());
        prop_assert!(authenticate_device(&report, &chain, None, &bench.trust()).is_err());
    }
}
