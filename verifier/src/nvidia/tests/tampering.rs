//! What was changed anywhere is refused, of every kind of real device.

use super::Bench;
use super::vectors::{Vector, machine, single, to_pem};
use crate::certificate::Certificate;
use crate::nvidia::{DeviceFault, authenticate_device};

/// Order of P-384's group.
const ORDER: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf\
                     581a0db248b0a77aecec196accc52973";

/// A Hopper GPU, a Blackwell GPU and a switch.
fn vectors() -> Vec<Vector> {
    let Some((_, switches)) = machine() else {
        return Vec::new();
    };
    ["h100-580.159.03", "b200-575.32"]
        .into_iter()
        .filter_map(single)
        .chain(switches.into_iter().take(1))
        .collect()
}

fn verdict(bench: &Bench, report: &[u8], chain: &[u8]) -> Result<(), DeviceFault> {
    authenticate_device(report, chain, None, &bench.trust()).map(|_| ())
}

#[test]
fn a_flipped_bit_in_any_byte_of_a_report_is_refused() {
    let bench = Bench::nvidia();
    for vector in vectors() {
        let mut report = vector.report.clone();
        for at in 0..report.len() {
            let bit = 1 << (at % 8);
            report[at] ^= bit;
            let verdict = verdict(&bench, &report, &vector.chain);
            assert!(verdict.is_err(), "{} byte {at} bit {bit}", vector.name);
            report[at] ^= bit;
        }
        assert_eq!(verdict(&bench, &report, &vector.chain), Ok(()));
    }
}

#[test]
fn a_report_cut_anywhere_or_with_a_byte_more_is_refused() {
    let bench = Bench::nvidia();
    for vector in vectors() {
        for length in 0..vector.report.len() {
            let verdict = verdict(&bench, &vector.report[..length], &vector.chain);
            assert!(
                matches!(verdict, Err(DeviceFault::Spdm(_))),
                "{} {length}",
                vector.name
            );
        }
        let longer = [&vector.report[..], &[0]].concat();
        let fault = verdict(&bench, &longer, &vector.chain).unwrap_err();
        assert!(fault.to_string().contains("1 byte(s) follow"), "{fault}");
    }
}

#[test]
fn a_flipped_bit_in_a_certificate_is_refused() {
    let bench = Bench::nvidia();
    for vector in vectors() {
        let mut ders = vector.ders();
        for index in 0..ders.len() {
            for at in (index % 3..ders[index].len()).step_by(3) {
                let bit = 1 << (at % 8);
                ders[index][at] ^= bit;
                let verdict = verdict(&bench, &vector.report, &to_pem(&ders));
                assert!(verdict.is_err(), "{} certificate {index} byte {at}", vector.name);
                ders[index][at] ^= bit;
            }
            ders[index].push(0);
            let longer = verdict(&bench, &vector.report, &to_pem(&ders));
            assert!(
                matches!(longer, Err(DeviceFault::Certificate { .. })),
                "{longer:?}"
            );
            ders[index].pop();
        }
        assert_eq!(verdict(&bench, &vector.report, &to_pem(&ders)), Ok(()));
    }
}

#[test]
fn a_signature_has_one_number_of_unused_bits() {
    let bench = Bench::nvidia();
    for vector in vectors() {
        for index in 0..5 {
            let mut ders = vector.ders();
            let signature = Certificate::parse(&ders[index]).unwrap().signature.len();
            let at = ders[index].len() - signature - 1;
            assert_eq!(ders[index][at], 0);
            for unused in 1..=7 {
                ders[index][at] = unused;
                let verdict = verdict(&bench, &vector.report, &to_pem(&ders));
                assert!(
                    matches!(verdict, Err(DeviceFault::BitStringUnusedBits { index: of, .. }) if of == index),
                    "{verdict:?}"
                );
            }
        }
    }
}

#[test]
fn certificates_swapped_missing_or_too_many_are_refused() {
    let bench = Bench::nvidia();
    for vector in vectors() {
        let ders = vector.ders();
        for one in 0..5 {
            for other in 0..one {
                let mut swapped = ders.clone();
                swapped.swap(one, other);
                assert!(verdict(&bench, &vector.report, &to_pem(&swapped)).is_err());
            }
            let mut missing = ders.clone();
            missing.remove(one);
            let fault = Err(DeviceFault::ChainLength { got: 4 });
            assert_eq!(verdict(&bench, &vector.report, &to_pem(&missing)), fault);
            let mut twice = ders.clone();
            twice.insert(one, ders[one].clone());
            let fault = Err(DeviceFault::ChainLength { got: 6 });
            assert_eq!(verdict(&bench, &vector.report, &to_pem(&twice)), fault);
            let mut instead = ders.clone();
            instead[one] = ders[(one + 1) % 5].clone();
            assert!(verdict(&bench, &vector.report, &to_pem(&instead)).is_err());
        }
    }
}

#[test]
fn a_chain_that_is_no_pem_or_too_long_is_refused() {
    let bench = Bench::nvidia();
    for vector in vectors() {
        for chain in [&b""[..], b"\xff", b"-----BEGIN CERTIFICATE-----"] {
            let verdict = verdict(&bench, &vector.report, chain);
            assert!(matches!(verdict, Err(DeviceFault::PemInvalid(_))), "{verdict:?}");
        }
        let padded = [&vector.chain[..], &vec![b'\n'; 20 * 1024]].concat();
        let got = padded.len();
        let fault = Err(DeviceFault::ChainTooLarge { got });
        assert_eq!(verdict(&bench, &vector.report, &padded), fault);
    }
}

#[test]
fn a_signature_of_zeros_is_refused() {
    let bench = Bench::nvidia();
    for vector in vectors() {
        let start = vector.report.len() - 96;
        for half in [start..start + 48, start + 48..start + 96] {
            let mut report = vector.report.clone();
            report[half].fill(0);
            let fault = Err(DeviceFault::SignatureShape);
            assert_eq!(verdict(&bench, &report, &vector.chain), fault);
        }
        let mut report = vector.report.clone();
        report[start..].fill(0xff);
        let fault = Err(DeviceFault::SignatureInvalid);
        assert_eq!(verdict(&bench, &report, &vector.chain), fault);
    }
}

/// ECDSA itself allows it: so no hash of a report may serve to recognise a replay.
#[test]
fn the_other_of_a_signature_s_two_forms_is_authentic_too() {
    let bench = Bench::nvidia();
    let order = hex::decode(ORDER).unwrap();
    for vector in vectors() {
        let mut report = vector.report.clone();
        let start = report.len() - 48;
        let mut borrow = 0;
        for (s, n) in report[start..].iter_mut().zip(&order).rev() {
            let difference = i16::from(*n) - i16::from(*s) - borrow;
            borrow = i16::from(difference < 0);
            *s = u8::try_from(difference.rem_euclid(256)).unwrap();
        }
        assert_ne!(report, vector.report);
        assert_eq!(verdict(&bench, &report, &vector.chain), Ok(()));
    }
}
