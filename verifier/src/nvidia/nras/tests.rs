//! Tokens under a key of the tests' own, shaped as the service's are: no real
//! bundle verifies without the key set of its day.

mod claims;
mod tokens;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bastide_attestation::sha256;
use p384::ecdsa::SigningKey;
use p384::ecdsa::signature::Signer as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::crypto::provider;

const NOW: u64 = 1_756_168_926;
const NONCE: [u8; 32] = [0x4d; 32];

fn key(number: u8) -> SigningKey {
    SigningKey::from_slice(&[number; 48]).expect("below the order")
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of this header and these claims, given as JSON text.
fn sign_text(number: u8, header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature: p384::ecdsa::Signature = key(number).sign(signed.as_bytes());
    format!("{signed}.{}", encode(signature.to_bytes()))
}

fn header() -> Value {
    json!({ "kid": "kid-1", "alg": "ES384" })
}

fn sign(claims: &Value) -> String {
    sign_text(1, &header().to_string(), &claims.to_string())
}

fn jwk(number: u8, kid: &str) -> Value {
    let point = key(number).verifying_key().to_encoded_point(false);
    let (x, y) = (point.x().unwrap(), point.y().unwrap());
    json!({
        "kty": "EC", "crv": "P-384", "alg": "ES384", "use": "sig", "kid": kid,
        "x": encode(x), "y": encode(y), "x5c": ["MIIB"],
    })
}

/// A key set with the key that signs, another, and one of another kind.
fn jwks() -> Value {
    let rsa = json!({ "kty": "RSA", "kid": "kid-rsa", "n": "AQAB", "e": "AQAB" });
    json!({ "keys": [jwk(2, "kid-2"), rsa, jwk(1, "kid-1")] })
}

/// Claims of a bundle before anything is signed.
#[derive(Debug, Clone)]
struct Made {
    overall: Value,
    devices: BTreeMap<String, Value>,
}

impl Made {
    fn of(version: &str, gpus: usize) -> Self {
        let device = |number: usize| {
            let name = format!("GPU-{number}");
            (name, device(version, number))
        };
        let mut overall = times();
        merge(
            &mut overall,
            json!({
                "sub": "NVIDIA-PLATFORM-ATTESTATION",
                "x-nvidia-ver": version,
                "x-nvidia-overall-att-result": true,
            }),
        );
        Self {
            overall,
            devices: (0..gpus).map(device).collect(),
        }
    }

    /// The first device's claims.
    fn first(&mut self) -> &mut Value {
        self.devices.values_mut().next().unwrap()
    }

    /// Signs the devices' tokens.
    fn tokens(&self) -> BTreeMap<String, String> {
        let token = |(name, claims): (&String, &Value)| (name.clone(), sign(claims));
        self.devices.iter().map(token).collect()
    }

    /// Signs everything, the overall token about the tokens given.
    fn about(&self, tokens: &BTreeMap<String, String>) -> String {
        let mut overall = self.overall.clone();
        if overall.get("submods").is_none() {
            overall["submods"] = tokens
                .iter()
                .map(|(name, token)| (name.clone(), submod("SHA-256", token)))
                .collect();
        }
        sign(&overall)
    }

    fn bundle(&self) -> Vec<u8> {
        let tokens = self.tokens();
        bundle(&self.about(&tokens), &tokens)
    }

    fn verdict(&self) -> Result<NrasResult, NrasFault> {
        check(&self.bundle(), self.devices.len())
    }
}

fn times() -> Value {
    json!({
        "iss": "https://nras.attestation.nvidia.com",
        "iat": NOW, "nbf": NOW, "exp": NOW + 3_600, "jti": "1a38c103",
        "eat_nonce": hex::encode(NONCE),
    })
}

fn merge(into: &mut Value, from: Value) {
    let Value::Object(from) = from else {
        panic!("not an object");
    };
    into.as_object_mut().unwrap().extend(from);
}

/// Claims of one GPU that passed.
fn device(version: &str, number: usize) -> Value {
    let mut claims = times();
    merge(
        &mut claims,
        json!({
            "measres": "success", "secboot": true, "dbgstat": "disabled",
            "hwmodel": "GH100 A01 GSP BROM", "oemid": "5703", "ueid": format!("6429601892980{number}"),
            "x-nvidia-attestation-warning": null,
            "x-nvidia-gpu-driver-version": "570.133.20",
            "x-nvidia-gpu-vbios-version": "96.00.CF.00.02",
            "x-nvidia-gpu-arch-check": true,
            "x-nvidia-gpu-attestation-report-parsed": true,
            "x-nvidia-gpu-attestation-report-nonce-match": true,
            "x-nvidia-gpu-attestation-report-signature-verified": true,
            "x-nvidia-gpu-vbios-index-no-conflict": true,
        }),
    );
    for rim in ["driver", "vbios"] {
        for step in [
            "fetched",
            "schema-validated",
            "signature-verified",
            "measurements-available",
        ] {
            claims[format!("x-nvidia-gpu-{rim}-rim-{step}")] = true.into();
        }
    }
    if version == "2.0" {
        for chain in [
            "attestation-report-cert-chain",
            "driver-rim-cert",
            "vbios-rim-cert",
        ] {
            claims[format!("x-nvidia-gpu-{chain}-validated")] = true.into();
        }
        return claims;
    }
    for claim in [
        "attestation-report-cert-chain-fwid-match",
        "driver-rim-version-match",
        "vbios-rim-version-match",
    ] {
        claims[format!("x-nvidia-gpu-{claim}")] = true.into();
    }
    for chain in ["attestation-report", "driver-rim", "vbios-rim"] {
        claims[format!("x-nvidia-gpu-{chain}-cert-chain")] = json!({
            "x-nvidia-cert-status": "valid",
            "x-nvidia-cert-ocsp-status": "good",
            "x-nvidia-cert-expiration-date": "9999-12-31T23:59:59Z",
            "x-nvidia-cert-revocation-reason": null,
        });
    }
    merge(
        &mut claims,
        json!({
            "x-nvidia-device-type": "gpu", "x-nvidia-gpu-claims-version": "3.0",
            "x-nvidia-error-details": null, "x-nvidia-mismatch-measurement-records": null,
        }),
    );
    claims
}

fn submod(algorithm: &str, token: &str) -> Value {
    json!(["DIGEST", [algorithm, hex::encode(sha256(&[token.as_bytes()]))]])
}

fn bundle(overall: &str, tokens: &BTreeMap<String, String>) -> Vec<u8> {
    json!([["JWT", overall], tokens]).to_string().into_bytes()
}

fn check(bundle: &[u8], gpus: usize) -> Result<NrasResult, NrasFault> {
    check_with(bundle, jwks().to_string().as_bytes(), NOW, gpus)
}

fn check_with(bundle: &[u8], jwks: &[u8], now: u64, gpus: usize) -> Result<NrasResult, NrasFault> {
    let expected = NrasExpectation {
        nonce: GpuNonce::new(NONCE),
        gpus,
        now: UnixTime::from_secs(now),
        skew: 60,
    };
    check_nras(bundle, jwks, &expected, provider())
}

#[test]
fn what_the_service_said_of_gpus_that_passed_is_returned() {
    for (version, gpus) in [("2.0", 1), ("3.0", 1), ("3.0", 8)] {
        let result = Made::of(version, gpus).verdict().unwrap();
        assert_eq!(result.devices.len(), gpus);
        for (number, device) in result.devices.iter().enumerate() {
            let expected = NrasDevice {
                name: format!("GPU-{number}"),
                ueid: format!("6429601892980{number}"),
                driver: "570.133.20".to_owned(),
                vbios: "96.00.CF.00.02".to_owned(),
                hwmodel: "GH100 A01 GSP BROM".to_owned(),
            };
            assert_eq!(*device, expected);
        }
        assert_eq!(result.issued, UnixTime::from_secs(NOW));
        assert_eq!(result.expires, UnixTime::from_secs(NOW + 3_600));
    }
}

#[test]
fn the_first_token_to_expire_is_the_one_that_counts() {
    let mut made = Made::of("3.0", 3);
    made.devices.get_mut("GPU-1").unwrap()["exp"] = (NOW + 7).into();
    assert_eq!(made.verdict().unwrap().expires, UnixTime::from_secs(NOW + 7));
}

#[test]
fn another_number_of_gpus_is_refused() {
    let bundle = Made::of("3.0", 2).bundle();
    for expected in [0, 1, 3] {
        let fault = NrasFault::GpuCount { expected, got: 2 };
        assert_eq!(check(&bundle, expected), Err(fault));
    }
}

#[test]
fn a_machine_that_did_not_pass_is_refused() {
    for result in [json!(false), json!("true"), json!(1), json!(null)] {
        let mut made = Made::of("3.0", 1);
        made.overall["x-nvidia-overall-att-result"] = result;
        assert_eq!(made.verdict(), Err(NrasFault::OverallResult));
    }
    let mut made = Made::of("3.0", 1);
    made.overall
        .as_object_mut()
        .unwrap()
        .remove("x-nvidia-overall-att-result");
    assert_eq!(made.verdict(), Err(NrasFault::OverallResult));
}

#[test]
fn a_device_s_token_that_is_not_the_one_spoken_of_is_refused() {
    let made = Made::of("3.0", 2);
    let tokens = made.tokens();
    let overall = made.about(&tokens);
    let device = "GPU-1".to_owned();
    // Genuine, signed by the same key, of the same GPU; and of the other one.
    let mut again = made.devices["GPU-1"].clone();
    again["jti"] = "another".into();
    for token in [sign(&again), tokens["GPU-0"].clone()] {
        let mut changed = tokens.clone();
        changed.insert(device.clone(), token);
        let fault = NrasFault::DigestMismatch {
            device: device.clone(),
        };
        assert_eq!(check(&bundle(&overall, &changed), 2), Err(fault));
    }
}

#[test]
fn devices_and_what_the_overall_token_speaks_of_are_the_same() {
    let made = Made::of("3.0", 2);
    let tokens = made.tokens();
    let device = || "GPU-1".to_owned();
    let mut one = tokens.clone();
    one.remove("GPU-1");
    // The overall token speaks of two, one token came.
    let fault = check(&bundle(&made.about(&tokens), &one), 1);
    assert_eq!(fault, Err(NrasFault::TokenMissing { device: device() }));
    // It speaks of one, two came.
    let fault = check(&bundle(&made.about(&one), &tokens), 2);
    assert_eq!(fault, Err(NrasFault::SubmodMissing { device: device() }));
    // It speaks of something else besides.
    for extra in ["CPU-0", "GPU-7", "é", "GPU-0 "] {
        let mut overall = made.clone();
        let mut submods: Value = tokens
            .iter()
            .map(|(name, token)| (name.clone(), submod("SHA-256", token)))
            .collect();
        submods[extra] = submod("SHA-256", "anything");
        overall.overall["submods"] = submods;
        let fault = check(&bundle(&overall.about(&tokens), &tokens), 2);
        assert!(
            matches!(fault, Err(NrasFault::TokenMissing { .. })),
            "{extra}: {fault:?}"
        );
    }
}

#[test]
fn two_spellings_of_the_digest_are_known() {
    let made = Made::of("3.0", 1);
    let tokens = made.tokens();
    let token = &tokens["GPU-0"];
    let verdict = |submods: Value| {
        let mut made = made.clone();
        made.overall["submods"] = submods;
        check(&bundle(&made.about(&tokens), &tokens), 1)
    };
    for algorithm in ["SHA-256", "SHA256"] {
        verdict(json!({ "GPU-0": submod(algorithm, token) })).unwrap();
    }
    let digest = hex::encode(sha256(&[token.as_bytes()]));
    for submods in [
        json!({ "GPU-0": submod("SHA-1", token) }),
        json!({ "GPU-0": submod("sha-256", token) }),
        json!({ "GPU-0": ["DIGEST", ["SHA-256", digest, digest]] }),
        json!({ "GPU-0": ["DIGEST", ["SHA-256", format!("{digest}00")]] }),
        json!({ "GPU-0": ["DIGEST", ["SHA-256", 7]] }),
        json!({ "GPU-0": ["JWT", ["SHA-256", digest]] }),
        json!({ "GPU-0": ["DIGEST", "SHA-256", digest] }),
        json!({ "GPU-0": token }),
        json!([]),
        json!(null),
    ] {
        let fault = verdict(submods.clone()).unwrap_err();
        assert!(
            matches!(&fault, NrasFault::Claim { claim, .. } if claim == "submods"),
            "{submods}: {fault}"
        );
    }
}

#[test]
fn one_gpu_under_two_names_is_refused() {
    let mut made = Made::of("3.0", 3);
    made.devices.get_mut("GPU-2").unwrap()["ueid"] = made.devices["GPU-0"]["ueid"].clone();
    let (device, same_as) = ("GPU-2".to_owned(), "GPU-0".to_owned());
    assert_eq!(
        made.verdict(),
        Err(NrasFault::DuplicateDevice { device, same_as })
    );
}

#[test]
fn what_is_no_bundle_is_refused() {
    let made = Made::of("3.0", 1);
    let tokens = made.tokens();
    let overall = made.about(&tokens);
    let token = &tokens["GPU-0"];
    for bundle in [
        json!([["JWT", overall]]),
        json!([["JWT", overall], tokens, {}]),
        json!([overall, tokens]),
        json!([["jwt", overall], tokens]),
        json!([["JWT", overall, overall], tokens]),
        json!([["JWT", 1], tokens]),
        json!([["JWT", overall], [token]]),
        json!([["JWT", overall], { "GPU-0": [token] }]),
        json!([["JWT", overall], { "gpu-0": token }]),
        json!([["JWT", overall], { "GPU-": token }]),
        json!([["JWT", overall], { "GPU-0000": token }]),
        json!([["JWT", overall], { "GPU-0": token, "NVSWITCH-0": token }]),
        json!({ "JWT": overall, "GPU-0": token }),
        json!(overall),
    ] {
        let fault = check(bundle.to_string().as_bytes(), 1).unwrap_err();
        assert!(matches!(fault, NrasFault::Bundle { .. }), "{fault}");
    }
    let good = bundle(&overall, &tokens);
    check(&good, 1).unwrap();
    for tail in ["x", "[]", "\0", ","] {
        let fault = check(&[&good, tail.as_bytes()].concat(), 1).unwrap_err();
        assert!(matches!(fault, NrasFault::BundleJson(_)), "{fault}");
    }
    let twice = format!(r#"[["JWT","{overall}"],{{"GPU-0":"{token}","GPU-0":"{token}"}}]"#);
    let fault = check(twice.as_bytes(), 1).unwrap_err();
    assert!(fault.to_string().contains("twice"), "{fault}");
}

#[test]
fn more_bytes_than_may_come_are_refused_before_they_are_read() {
    let spaces = vec![b' '; MAX_BUNDLE_BYTES + 1];
    let got = spaces.len();
    assert_eq!(check(&spaces, 1), Err(NrasFault::BundleTooLarge { got }));
    let spaces = vec![b' '; MAX_JWKS_BYTES + 1];
    let got = spaces.len();
    let fault = check_with(&[], &spaces, NOW, 1);
    assert_eq!(fault, Err(NrasFault::JwksTooLarge { got }));
    let mut made = Made::of("3.0", 1);
    made.first()["padding"] = "x".repeat(MAX_TOKEN_BYTES).into();
    let fault = made.verdict().unwrap_err();
    assert!(matches!(fault, NrasFault::TokenTooLarge { .. }), "{fault}");
}

#[test]
fn a_byte_that_changes_anywhere_in_the_bundle_is_refused() {
    let mut bundle = Made::of("2.0", 1).bundle();
    for at in 0..bundle.len() {
        bundle[at] ^= 1;
        assert!(check(&bundle, 1).is_err(), "byte {at}");
        bundle[at] ^= 1;
    }
    check(&bundle, 1).unwrap();
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bundle: Vec<u8>, jwks: Vec<u8>) {
        prop_assert!(check_with(&bundle, &jwks, NOW, 1).is_err());
        prop_assert!(check(&bundle, 1).is_err());
    }

    #[test]
    fn no_text_in_the_place_of_a_token_makes_it_panic(overall in "\\PC{0,40}", device in "[A-Za-z0-9_.-]{0,60}") {
        let tokens = [("GPU-0".to_owned(), device)].into();
        prop_assert!(check(&bundle(&overall, &tokens), 1).is_err());
    }

    #[test]
    fn no_claims_make_it_panic(claims in "\\{(\"[a-z_]{1,9}\":(1|-1|null|\"x\"|\\[\\]),){0,4}\"iss\":1\\}|\\PC{0,30}", first: bool) {
        let made = Made::of("3.0", 1);
        let signed = sign_text(1, &header().to_string(), &claims);
        let mut tokens = made.tokens();
        let overall = if first { signed } else {
            tokens.insert("GPU-0".to_owned(), signed);
            made.about(&tokens)
        };
        prop_assert!(check(&bundle(&overall, &tokens), 1).is_err());
    }

    #[test]
    fn a_cut_bundle_is_refused(cut in 0_usize..4_000) {
        let bundle = Made::of("2.0", 1).bundle();
        prop_assert!(check(&bundle[..cut.min(bundle.len() - 1)], 1).is_err());
    }
}
