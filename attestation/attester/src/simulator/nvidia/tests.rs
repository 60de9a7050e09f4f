//! The simulated devices against the readers of `bastide_attestation` and
//! `x509-cert`. What a verifier makes of them is tested there.

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use bastide_attestation::binding::spki_digest;
use bastide_attestation::nvidia::{DeviceFacts, SpdmReport};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
const NONCE: GpuNonce = GpuNonce::new([7; 32]);

fn evidence(options: GpuOptions) -> GpuEvidence {
    SimulatedGpus::new(options).unwrap().evidence(&NONCE).unwrap()
}

fn chain(device: &DeviceEvidence) -> Vec<Certificate> {
    let pem = core::str::from_utf8(&device.chain).unwrap();
    let blocks = pem.split_inclusive("-----END CERTIFICATE-----\n");
    blocks
        .map(|block| {
            let (label, certificate) = der::pem::decode_vec(block.as_bytes()).unwrap();
            assert_eq!(label, "CERTIFICATE");
            Certificate::from_der(&certificate).unwrap()
        })
        .collect()
}

#[test]
fn every_report_parses_and_its_leaf_signed_it() {
    for encoding in [Encoding::Legacy, Encoding::Nvdaod] {
        let evidence = evidence(GpuOptions {
            encoding,
            ..GpuOptions::protected_pcie(NOW)
        });
        assert_eq!(evidence.devices().len(), 12);
        for (place, device) in evidence.devices().iter().enumerate() {
            let report = SpdmReport::parse(&device.report).unwrap();
            assert_eq!(report.nonce(), NONCE);
            let facts = DeviceFacts::parse(&report).unwrap();
            assert_eq!(facts.gpu().is_some(), place < 8);
            let certificates = chain(device);
            assert_eq!(certificates.len(), 5);
            let key = certificates[0].tbs_certificate().subject_public_key_info();
            let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, key.subject_public_key.raw_bytes());
            key.verify(report.signed_bytes(), report.signature()).unwrap();
        }
        let decoded = GpuEvidence::decode(&evidence.encode()).unwrap();
        assert_eq!(decoded, evidence);
    }
}

#[test]
fn every_certificate_names_the_simulation() {
    let evidence = evidence(GpuOptions::protected_pcie(NOW));
    for certificate in evidence.devices().iter().flat_map(chain) {
        let subject = certificate.tbs_certificate().subject().to_string();
        assert!(subject.contains("O=Bastide simulation"), "{subject}");
    }
    for authority in Authority::ALL {
        let certificate = Certificate::from_der(authority.certificate()).unwrap();
        let subject = certificate.tbs_certificate().subject().to_string();
        assert!(subject.contains("O=Bastide simulation"), "{subject}");
    }
}

#[test]
fn the_committed_authorities_are_what_their_keys_give() {
    for authority in Authority::ALL {
        let committed = Certificate::from_der(authority.certificate()).unwrap();
        let minted = Certificate::from_der(&roots::mint(authority).unwrap()).unwrap();
        assert_eq!(
            committed.tbs_certificate(),
            minted.tbs_certificate(),
            "{authority:?}"
        );
        let spki = committed.tbs_certificate().subject_public_key_info();
        assert_eq!(spki_digest(&spki.to_der().unwrap()), authority.spki_digest());
    }
}

#[test]
fn a_machine_has_the_same_devices_at_each_start_with_new_keys() {
    let first = |machine| {
        let evidence = evidence(GpuOptions {
            machine,
            ..GpuOptions::new(NOW)
        });
        chain(&evidence.devices()[0]).remove(0)
    };
    let (one, again, other) = (first(1), first(1), first(2));
    let serial = |leaf: &Certificate| leaf.tbs_certificate().serial_number().clone();
    assert_eq!(serial(&one), serial(&again));
    assert_ne!(serial(&one), serial(&other));
    let key = |leaf: &Certificate| leaf.tbs_certificate().subject_public_key_info().clone();
    assert_ne!(key(&one), key(&again));
}

#[test]
fn endorsements_are_small_enough_for_an_envelope() {
    let gpus = SimulatedGpus::new(GpuOptions::protected_pcie(NOW)).unwrap();
    let endorsements = gpus.endorsements(NOW).unwrap();
    // Three of the manifests' chain, two provisioners, their authority, 12 boot ROMs.
    assert_eq!((endorsements.rims.len(), endorsements.ocsp.len()), (3, 18));
    let decoded = GpuEndorsements::decode(&endorsements.encode());
    assert_eq!(decoded, Ok(endorsements));
}

#[test]
fn options_that_cannot_be_are_refused() {
    let base = || GpuOptions::new(NOW);
    let faulty = |faults| GpuOptions { faults, ..base() };
    let none = GpuFaults::default;
    for options in [
        GpuOptions { count: 0, ..base() },
        GpuOptions { count: 9, ..base() },
        GpuOptions {
            mode: Mode::Mpt,
            ..base()
        },
        GpuOptions {
            mode: Mode::Ppcie,
            ..base()
        },
        GpuOptions {
            driver: String::new(),
            ..base()
        },
        GpuOptions {
            driver: "550\"/>".to_owned(),
            ..base()
        },
        GpuOptions {
            driver: "5".repeat(33),
            ..base()
        },
        GpuOptions {
            vbios: "96.00.9f.00.01".to_owned(),
            ..base()
        },
        GpuOptions {
            switch_bios: "96.10.6D.00".to_owned(),
            ..base()
        },
        faulty(GpuFaults {
            revoked: Some(0),
            ..none()
        }),
        faulty(GpuFaults {
            revoked: Some(4),
            ..none()
        }),
        faulty(GpuFaults {
            wrong_measurement: Some(64),
            ..none()
        }),
        faulty(GpuFaults {
            duplicate_device: true,
            ..none()
        }),
    ] {
        let fault = SimulatedGpus::new(options.clone()).unwrap_err();
        assert!(
            matches!(fault, AttesterError::Unavailable { .. }),
            "{options:?}: {fault}"
        );
    }
}
