//! The verifier's private decoders, for `tests/fuzz` alone: compiled only with
//! `--cfg fuzzing`, which no build of the product sets. Says of each decoder
//! what must hold for any input; a broken promise panics, and is found.

use bastide_attestation::nvidia::Family;
use bastide_attestation::snp::{Generation, SigningKey};
use bastide_attestation::{GpuNonce, UnixTime, binding, sha256};

use crate::anchors::Pin;
use crate::certificate::{Certificate, common_name};
use crate::crl::RevocationList;
use crate::crypto::Crypto;
use crate::hexadecimal;
use crate::memo::Memo;
use crate::nvidia::nras::{NrasExpectation, NrasFault, NrasResult};
use crate::nvidia::{self, DeviceAnchor, DeviceTrust, check_nras, firmware_id, verify_chain};
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

/// What NVIDIA's service said, every signature taken for good. Three forms, by
/// the first byte: `[` is a bundle, `{` is a key set; anything else is followed
/// by a line of overall claims, in which 64 zeros stand for the digest of the
/// device's token, and a line of that device's claims.
pub fn nras(bytes: &[u8]) {
    let jwks = format!(r#"{{"keys":[{{"kid":"k","kty":"EC","crv":"P-384","x":"{A64}","y":"{A64}"}}]}}"#);
    match bytes {
        [] => {}
        [b'[', ..] => require_asked_for(nras_verdict(bytes, jwks.as_bytes())),
        [b'{', ..] => assert!(nras_verdict(b"[]", bytes).is_err()),
        [_, claims @ ..] => {
            let claims = String::from_utf8_lossy(claims);
            let (overall, device) = claims.split_once('\n').unwrap_or_default();
            let device = token(device);
            let digest = hexadecimal::encode(sha256(&[device.as_bytes()]));
            let overall = token(&overall.replacen(&"0".repeat(64), &digest, 1));
            let bundle = format!(r#"[["JWT","{overall}"],{{"GPU-0":"{device}"}}]"#);
            require_asked_for(nras_verdict(bundle.as_bytes(), jwks.as_bytes()));
        }
    }
}

/// 48 bytes of zeros.
const A64: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// The time of the seeds.
const NRAS_NOW: u64 = 1_756_168_926;

fn nras_verdict(bundle: &[u8], jwks: &[u8]) -> Result<NrasResult, NrasFault> {
    let expected = NrasExpectation {
        nonce: GpuNonce::new([0x4d; 32]),
        gpus: 1,
        now: UnixTime::from_secs(NRAS_NOW),
        skew: 60,
    };
    check_nras(bundle, jwks, &expected, &Credulous)
}

/// One device, named as is allowed, and tokens that are valid now.
fn require_asked_for(verdict: Result<NrasResult, NrasFault>) {
    match verdict {
        Ok(result) => {
            assert_eq!(result.devices.len(), 1);
            assert!(result.issued.as_secs() <= NRAS_NOW + 60);
            assert!(result.expires.as_secs() > NRAS_NOW - 60);
            for device in &result.devices {
                assert!(device.name.starts_with("GPU-") && device.name.len() <= 7);
                for text in [&device.ueid, &device.driver, &device.vbios, &device.hwmodel] {
                    assert!(matches!(text.len(), 1..=128) && text.is_ascii());
                }
            }
        }
        // Foreign text is cut and filtered.
        Err(fault) => assert!(!fault.to_string().contains(char::is_control)),
    }
}

/// A token of these claims, with a signature of nobody.
fn token(claims: &str) -> String {
    // {"alg":"ES384","kid":"k"}
    let header = "eyJhbGciOiJFUzM4NCIsImtpZCI6ImsifQ";
    format!("{header}.{}.{A64}{A64}", base64url(claims.as_bytes()))
}

fn base64url(bytes: &[u8]) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - group.len()));
        let sixes = [18, 12, 6, 0].map(|shift| bits >> shift & 63);
        let digits = sixes
            .iter()
            .take(group.len() + 1)
            .filter_map(|six| digits.get(usize::try_from(*six).ok()?));
        text.extend(digits.map(|digit| char::from(*digit)));
    }
    text
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
