//! The verifier's private decoders, for `tests/fuzz` alone: compiled only with
//! `--cfg fuzzing`, which no build of the product sets. Says of each decoder
//! what must hold for any input; a broken promise panics, and is found.

use bastide_attestation::nvidia::Family;
use bastide_attestation::snp::{Generation, SigningKey};
use bastide_attestation::{UnixTime, binding};

use crate::anchors::Pin;
use crate::certificate::{Certificate, common_name};
use crate::crl::RevocationList;
use crate::crypto::Crypto;
use crate::memo::Memo;
use crate::nvidia::{self, DeviceAnchor, DeviceTrust, firmware_id, verify_chain};
use crate::pem::pem_certificates;
use crate::snp::VekExtensions;

/// A certificate, as a leaf of each generation and kind, and as an authority.
pub fn leaf(bytes: &[u8]) {
    let Ok(certificate) = Certificate::parse(bytes) else {
        return;
    };
    assert_eq!(certificate.der, bytes);
    for part in [
        certificate.tbs,
        certificate.serial,
        certificate.issuer,
        certificate.subject,
        certificate.spki,
        certificate.signature,
    ] {
        require_within(part, bytes);
    }
    assert_eq!(
        certificate.extensions.iter().count(),
        certificate.extensions.len()
    );
    let _ = (
        common_name(certificate.issuer),
        common_name(certificate.subject),
        certificate.require_authority(),
        certificate.require_end_entity(),
    );
    for generation in [Generation::Milan, Generation::Genoa, Generation::Turin] {
        for kind in [SigningKey::Vcek, SigningKey::Vlek] {
            let Ok(extensions) = VekExtensions::read(&certificate, generation, kind) else {
                continue;
            };
            assert!(!certificate.duplicate_extension);
            assert_eq!(extensions.tcb.fmc.is_some(), generation == Generation::Turin);
            assert_eq!(extensions.hwid.is_some(), kind == SigningKey::Vcek);
            assert_eq!(extensions.provider.is_some(), kind == SigningKey::Vlek);
            if let Some(hwid) = extensions.hwid {
                assert_eq!(hwid.len(), generation.hwid_len());
                require_within(hwid, bytes);
            }
            let _ = extensions.is_for(generation);
        }
    }
    // One family at most: their extensions exclude each other.
    let families =
        [Family::Hopper, Family::Blackwell].map(|family| firmware_id(&certificate, family).is_ok());
    assert_ne!(families, [true, true]);
}

/// A device's certificate chain in PEM, under whatever root it ends in, every
/// signature taken for good: what is left is what else a chain must be.
pub fn device_chain(bytes: &[u8]) {
    let Ok(ders) = pem_certificates(bytes) else {
        return;
    };
    let Some(Ok(root)) = ders.last().map(|der| Certificate::parse(der)) else {
        return;
    };
    let anchor = DeviceAnchor {
        name: "fuzzed".to_owned(),
        root: Pin {
            spki: binding::spki_digest(root.spki),
            certificate: None,
        },
        simulated: true,
        added_by_policy: true,
    };
    let trust = DeviceTrust {
        anchors: &[anchor],
        crypto: &Credulous,
        now: UnixTime::from_secs(1_748_736_000),
        memo: &Memo::default(),
    };
    let Ok(chain) = verify_chain(&ders, &trust) else {
        return;
    };
    assert_eq!(ders.len(), 5);
    for (revocable, der) in chain.revocable().iter().zip(ders.iter().skip(1)) {
        assert_eq!(&revocable.der, der);
        assert_eq!(revocable.issuer_point.len(), 97);
    }
    let leaf = &chain.leaf().certificate;
    assert!(leaf.require_end_entity().is_ok());
    let _ = firmware_id(leaf, chain.family);
}

/// Takes every signature for good.
#[derive(Debug)]
struct Credulous;

impl Crypto for Credulous {
    fn rsa_pss_sha384_verify(&self, _: &[u8], _: &[u8], _: &[u8]) -> bool {
        true
    }

    fn rsa_pkcs1_sha256_verify(&self, _: &[u8], _: &[u8], _: &[u8]) -> bool {
        true
    }

    fn p384_sha384_verify(&self, _: &[u8], _: &[u8], _: &[u8; 96]) -> bool {
        true
    }
}

/// A revocation list.
pub fn revocation_list(bytes: &[u8]) {
    let Ok(list) = RevocationList::parse(bytes) else {
        return;
    };
    assert_eq!(list.der, bytes);
    for part in [list.tbs, list.issuer, list.signature] {
        require_within(part, bytes);
    }
    assert_eq!(list.revoked.serials().count(), list.revoked.len());
    // Each look reads the list again; a few are enough.
    for serial in list.revoked.serials().take(4) {
        require_within(serial, bytes);
        assert!(list.revokes(serial));
    }
}

/// Certificates in PEM.
pub fn pem(bytes: &[u8]) {
    if let Ok(blocks) = pem_certificates(bytes) {
        assert!(!blocks.is_empty());
        assert!(blocks.iter().map(Vec::len).sum::<usize>() < bytes.len());
    }
}

/// A manifest of NVIDIA's: what is read has one canonical form, which is read to
/// the same again, and nothing but NVIDIA's key makes it authentic.
pub fn rim_xml(bytes: &[u8]) {
    nvidia::rim::fuzz(bytes);
}

/// An OCSP response.
pub fn ocsp(bytes: &[u8]) {
    let Ok(response) = nvidia::ocsp::Response::parse(bytes) else {
        return;
    };
    for part in [
        response.tbs,
        response.hash_algorithm,
        response.issuer_name_hash,
        response.issuer_key_hash,
        response.serial,
        response.algorithm,
        response.signature,
    ] {
        require_within(part, bytes);
    }
    if let Some(der) = response.certificate {
        require_within(der, bytes);
        if let Ok(certificate) = Certificate::parse(der) {
            assert_eq!(certificate.der, der);
        }
    }
}

/// Nothing is borrowed from anywhere but the input.
fn require_within(part: &[u8], whole: &[u8]) {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    assert!(whole.start <= part.start && part.end <= whole.end);
}
