//! Answers of NVIDIA's remote service under a key of the tests' own, in the
//! form of its claims 3.0. Holds no expectation.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bastide_attestation::{UnixTime, sha256};
use p384::ecdsa::signature::Signer as _;
use serde_json::{Value, json};

use super::gpu_pki;

/// Number of the key that signs tokens here.
const SIGNER: u8 = 11;

/// The key set that the tokens verify with.
pub(crate) fn keys() -> Vec<u8> {
    let point = gpu_pki::key(SIGNER).verifying_key().to_encoded_point(false);
    let half = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let (x, y) = (point.as_bytes()[1..49].to_vec(), point.as_bytes()[49..].to_vec());
    let key = json!({ "kty": "EC", "crv": "P-384", "alg": "ES384", "use": "sig", "kid": "test",
        "x": half(&x), "y": half(&y) });
    json!({ "keys": [key] }).to_string().into_bytes()
}

/// A bundle about the one GPU that a verdict has these facts of, with changes
/// to the overall claims and to the GPU's.
pub(crate) fn bundle(
    facts: &BTreeMap<&'static str, String>,
    at: UnixTime,
    change: impl FnOnce(&mut Value, &mut Value),
) -> Vec<u8> {
    let times = json!({
        "iss": "https://nras.attestation.nvidia.com", "jti": "1",
        "iat": at.as_secs(), "nbf": at.as_secs(), "exp": at.as_secs() + 3_600,
        "eat_nonce": facts["nonce"],
    });
    let mut device = times.clone();
    let claims = json!({
        "measres": "success", "secboot": true, "dbgstat": "disabled", "oemid": "5703",
        "hwmodel": facts["hwmodel"], "ueid": facts["ueid"],
        "x-nvidia-device-type": "gpu",
        "x-nvidia-gpu-claims-version": "3.0",
        "x-nvidia-gpu-driver-version": facts["driver"],
        "x-nvidia-gpu-vbios-version": facts["vbios"],
        "x-nvidia-attestation-warning": null,
        "x-nvidia-error-details": null,
        "x-nvidia-mismatch-measurement-records": null,
    });
    merge(&mut device, claims);
    for passed in [
        "arch-check",
        "attestation-report-parsed",
        "attestation-report-nonce-match",
        "attestation-report-signature-verified",
        "attestation-report-cert-chain-fwid-match",
        "vbios-index-no-conflict",
        "driver-rim-fetched",
        "driver-rim-schema-validated",
        "driver-rim-signature-verified",
        "driver-rim-measurements-available",
        "driver-rim-version-match",
        "vbios-rim-fetched",
        "vbios-rim-schema-validated",
        "vbios-rim-signature-verified",
        "vbios-rim-measurements-available",
        "vbios-rim-version-match",
    ] {
        device[format!("x-nvidia-gpu-{passed}")] = true.into();
    }
    for chain in ["attestation-report", "driver-rim", "vbios-rim"] {
        device[format!("x-nvidia-gpu-{chain}-cert-chain")] = json!({
            "x-nvidia-cert-status": "valid",
            "x-nvidia-cert-ocsp-status": "good",
            "x-nvidia-cert-expiration-date": "9999-12-31T23:59:59Z",
            "x-nvidia-cert-revocation-reason": null,
        });
    }
    let mut overall = times;
    let claims = json!({
        "sub": "NVIDIA-PLATFORM-ATTESTATION",
        "x-nvidia-ver": "3.0",
        "x-nvidia-overall-att-result": true,
    });
    merge(&mut overall, claims);
    change(&mut overall, &mut device);
    let token = signed(&device);
    let digest = hex::encode(sha256(&[token.as_bytes()]));
    overall["submods"] = json!({ "GPU-0": ["DIGEST", ["SHA-256", digest]] });
    json!([["JWT", signed(&overall)], { "GPU-0": token }])
        .to_string()
        .into_bytes()
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

fn signed(claims: &Value) -> String {
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "kid": "test", "alg": "ES384" });
    let text = format!("{}.{}", encode(header), encode(claims.clone()));
    let signature: p384::ecdsa::Signature = gpu_pki::key(SIGNER).sign(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}
