//! What is taken for a certificate and its key, and what is not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bastide_attestation::binding::spki_digest;
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, PublicKeyData as _,
};

use super::super::{IdentityError, ServerIdentity};
use super::{MOST_CERTIFICATES, UnixTime};

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// A certificate for `localhost`, 2020 to 2030, and its key.
fn issued(change: impl FnOnce(&mut CertificateParams)) -> (String, String, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    (
        pem("CERTIFICATE", certificate.der()),
        pem("PRIVATE KEY", &key.serialize_der()),
        key,
    )
}

/// 2026-01-01.
const NOW: UnixTime = UnixTime::from_secs(1_767_225_600);

fn refused(certificates: &str, key: &str, now: UnixTime, words: &str) {
    let error = ServerIdentity::from_pem(certificates.as_bytes(), key.as_bytes(), now).unwrap_err();
    assert!(error.to_string().contains(words), "`{words}` in: {error}");
}

#[test]
fn an_identity_is_that_of_the_certificates_key() {
    let (certificate, private, key) = issued(|_| {});
    let identity = ServerIdentity::from_pem(certificate.as_bytes(), private.as_bytes(), NOW).unwrap();
    assert_eq!(identity.spki(), spki_digest(&key.subject_public_key_info()));
    assert!(!identity.config.ticketer.enabled());
    assert_eq!(identity.config.send_tls13_tickets, 0);
}

#[test]
fn what_no_client_would_take_is_refused_at_the_start() {
    let (certificate, key, _) = issued(|_| {});
    let (other, other_key, _) = issued(|_| {});
    refused(&certificate, &other_key, NOW, "not that of the first certificate");
    refused(
        &format!("{other}{certificate}"),
        &key,
        NOW,
        "not that of the first certificate",
    );
    let (early, late) = (
        UnixTime::from_secs(1_500_000_000),
        UnixTime::from_secs(2_000_000_000),
    );
    refused(&certificate, &key, early, "valid from 2020-01-01T00:00:00Z on");
    refused(&certificate, &key, late, "valid until 2030-01-01T00:00:00Z");
    let (authority, its_key, _) = issued(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    refused(&authority, &its_key, NOW, "an authority's");
    let (client, its_key, _) =
        issued(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    refused(&client, &its_key, NOW, "no client would take it");
}

#[test]
fn a_file_holds_what_it_is_for_and_nothing_else() {
    let (certificate, key, _) = issued(|_| {});
    for nothing in ["", "hello", "-----BEGIN NOTHING-----\n-----END NOTHING-----\n"] {
        refused(nothing, &key, NOW, "found none");
        refused(&certificate, nothing, NOW, "found none");
    }
    refused(&key, &certificate, NOW, "certificates alone");
    refused(&format!("{certificate}{key}"), &key, NOW, "certificates alone");
    refused(&certificate, &format!("{key}{key}"), NOW, "one private key");
    refused(&certificate, &certificate, NOW, "found none");
    let cut = &certificate[..certificate.len() / 2];
    refused(cut, &key, NOW, "no PEM");
    refused(&certificate, &key[..key.len() / 2], NOW, "no PEM");
    refused(
        &pem("CERTIFICATE", b"certificate"),
        &key,
        NOW,
        "certificate 1 is no X.509",
    );
    refused(
        &format!("{certificate}{}", pem("CERTIFICATE", &[0x30, 0])),
        &key,
        NOW,
        "certificate 2 is no X.509",
    );
    refused(
        &certificate,
        &pem("PRIVATE KEY", b"key"),
        NOW,
        "RSA, ECDSA or Ed25519",
    );
    refused(
        &certificate,
        &pem("ENCRYPTED PRIVATE KEY", b"key"),
        NOW,
        "no password",
    );
    let longest = certificate.repeat(MOST_CERTIFICATES);
    assert!(ServerIdentity::from_pem(longest.as_bytes(), key.as_bytes(), NOW).is_ok());
    refused(
        &format!("{longest}{certificate}"),
        &key,
        NOW,
        "at most 8 certificates",
    );
    let names: Vec<_> = (0..400)
        .map(|name| format!("{name:0>60}.example").try_into().unwrap())
        .map(rcgen::SanType::DnsName)
        .collect();
    let (large, its_key, _) = issued(|params| params.subject_alt_names = names);
    refused(&large.repeat(3), &its_key, NOW, "at most 61440 bytes");
}

/// Nothing that is said of a key's file shows what is in it.
#[test]
fn no_error_quotes_a_key() {
    let (certificate, key, _) = issued(|_| {});
    for at in 0..key.len() {
        let mut damaged = key.clone().into_bytes();
        damaged[at] = b'*';
        let Err(error) = ServerIdentity::from_pem(certificate.as_bytes(), &damaged, NOW) else {
            continue;
        };
        assert!(
            matches!(error, IdentityError::PrivateKey { .. } | IdentityError::Mismatch),
            "{error:?}"
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(certificates: Vec<u8>, key: Vec<u8>) {
        prop_assert!(ServerIdentity::from_pem(&certificates, &key, NOW).is_err());
    }

    #[test]
    fn damaged_files_never_panic(at in 0_usize..2000, byte: u8) {
        let (certificate, key, _) = issued(|_| {});
        let mut both = [certificate.into_bytes(), key.into_bytes()];
        let which = usize::from(at >= both[0].len());
        let place = at % both[which].len();
        both[which][place] = byte;
        drop(ServerIdentity::from_pem(&both[0], &both[1], NOW));
    }
}
