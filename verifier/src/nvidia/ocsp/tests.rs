//! NVIDIA's real responses, and each byte of them changed.

mod synthetic;

use super::*;
use crate::crypto::provider;
use crate::nvidia::rim::tests::{AT_T1, authenticate};
use crate::nvidia::tests::files::{DRIVER, VBIOS, file};
use crate::pem::pem_certificates;
use bastide_attestation::UnixTime;

/// 2025-08-21T12:00:00Z
const AUGUST: u64 = 1_755_777_600;
/// 2025-10-24T12:00:00Z
const OCTOBER: u64 = 1_761_307_200;
const DAY: u64 = 24 * 60 * 60;

const fn at(now: u64) -> Freshness {
    Freshness {
        now: UnixTime::from_secs(now),
        max_age: DAY,
        skew: 0,
    }
}

/// A real response, the certificate it is about and that one's issuer, and a
/// time at which it holds.
struct Real {
    name: &'static str,
    response: Vec<u8>,
    certificate: Vec<u8>,
    issuer: Vec<u8>,
    now: u64,
}

impl Real {
    fn check(&self, response: &[u8], now: u64) -> Result<Good, RevocationFault> {
        check_der(response, &self.certificate, &self.issuer, now)
    }
}

fn check_der(response: &[u8], certificate: &[u8], issuer: &[u8], now: u64) -> Result<Good, RevocationFault> {
    let (certificate, issuer) = (
        Certificate::parse(certificate).unwrap(),
        Certificate::parse(issuer).unwrap(),
    );
    let subject = Subject::new(&certificate, &issuer)?;
    check_ocsp(response, &subject, provider(), &at(now))
}

/// All seven; empty where there are no vectors.
fn real() -> Vec<Real> {
    let (Some(pem), Some(driver), Some(vbios)) =
        (file("h100-550.90.07/chain.pem"), file(DRIVER), file(VBIOS))
    else {
        return Vec::new();
    };
    let gpu = pem_certificates(&pem).unwrap();
    let driver = authenticate(&driver, AT_T1).unwrap();
    let vbios = authenticate(&vbios, AT_T1).unwrap();
    [
        ("gpu_certificate_l2", &gpu[..], 3, AUGUST),
        ("gpu_certificate_l3", &gpu[..], 2, AUGUST),
        ("gpu_certificate_l4", &gpu[..], 1, AUGUST),
        ("gpu_rim_l2", driver.certificates(), 2, OCTOBER),
        ("gpu_driver_rim_l3", driver.certificates(), 1, OCTOBER),
        ("gpu_driver_rim_l4", driver.certificates(), 0, OCTOBER),
        ("gpu_vbios_l4", vbios.certificates(), 0, OCTOBER),
    ]
    .into_iter()
    .map(|(name, chain, index, now)| Real {
        name,
        response: file(&format!("h100-550.90.07/ocsp/{name}.der")).unwrap(),
        certificate: chain[index].clone(),
        issuer: chain[index + 1].clone(),
        now,
    })
    .collect()
}

#[test]
fn every_real_response_says_good_while_it_holds() {
    for real in real() {
        let good = real
            .check(&real.response, real.now)
            .unwrap_or_else(|fault| panic!("{}: {fault}", real.name));
        let from = good.this_update.as_secs();
        assert_eq!(
            (good.produced, good.next_update.unwrap().as_secs()),
            (good.this_update, from + DAY)
        );
        for now in [from, from + DAY] {
            assert!(real.check(&real.response, now).is_ok(), "{} at {now}", real.name);
        }
        let early = RevocationFault::NotYetValid {
            from: good.this_update,
        };
        assert_eq!(real.check(&real.response, from - 1), Err(early));
        let stale = RevocationFault::Stale {
            since: UnixTime::from_secs(from + DAY),
        };
        assert_eq!(real.check(&real.response, from + DAY + 1), Err(stale));
    }
}

#[test]
fn a_real_response_is_about_one_certificate_alone() {
    let all = real();
    for real in &all {
        for other in all.iter().filter(|other| other.certificate != real.certificate) {
            let fault = other.check(&real.response, real.now);
            assert!(
                matches!(fault, Err(RevocationFault::CertIdMismatch(_))),
                "{} for {}",
                real.name,
                other.name
            );
        }
    }
}

#[test]
fn no_change_of_a_byte_of_a_real_response_is_good() {
    let mut tried = 0_usize;
    for real in real() {
        for index in 0..real.response.len() {
            for change in [1 << (index % 8), 0xff] {
                let mut changed = real.response.clone();
                changed[index] ^= change;
                assert!(
                    real.check(&changed, real.now).is_err(),
                    "{} at {index}",
                    real.name
                );
                tried += 1;
            }
        }
        for length in 0..real.response.len() {
            assert!(real.check(&real.response[..length], real.now).is_err());
        }
        assert!(
            real.check(&[&real.response[..], &[0]].concat(), real.now)
                .is_err()
        );
    }
    println!("{tried} changes");
}
