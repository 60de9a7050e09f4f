//! What NVIDIA's Remote Attestation Service (NRAS) said about a machine's GPUs:
//! a detached EAT bundle, one token for all and one for each GPU, all signed
//! with ES384 \[RFC 7515, RFC 7518 §3.4, RFC 7519, RFC 9711\].
//!
//! A second opinion: nothing here makes a device authentic, and tokens don't
//! state a GPU's mode. The caller compares the result with its own. Fetches
//! nothing and trusts the key set that it is given: whoever fetched it from
//! NVIDIA vouches for it, as the certificates in it are not looked at.
//!
//! An overall token that says `true` and has the right nonce is not enough: for
//! evidence of another nonce the service still writes the request's nonce into
//! it. So every device's token is held against the nonce too.

mod claims;
mod fault;
mod jwks;
mod jws;

use std::collections::BTreeMap;

use bastide_attestation::nvidia::MAX_DEVICES;
use bastide_attestation::{GpuNonce, Json, UnixTime, sha256};

use crate::crypto::Crypto;

use claims::{Claims, Generation};
use jwks::KeySet;
use jws::Token;

pub(crate) use fault::NrasFault;
pub(crate) use jwks::MAX_JWKS_BYTES;

/// Most bytes of one token. Real ones have at most 4 KiB.
pub(crate) const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Most bytes of a bundle: the tokens of as many devices as there may be, the
/// overall one, and what is around them.
pub(crate) const MAX_BUNDLE_BYTES: usize = (MAX_DEVICES + 1) * (MAX_TOKEN_BYTES + 64);
/// What the overall token is called, in the bundle and in faults.
const OVERALL: &str = "JWT";

/// What a bundle is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NrasExpectation {
    /// The nonce that the GPUs were asked with, and the service was told.
    pub(crate) nonce: GpuNonce,
    /// How many GPUs.
    pub(crate) gpus: usize,
    /// The time of the appraisal.
    pub(crate) now: UnixTime,
    /// Seconds by which the service's clock may differ.
    pub(crate) skew: u64,
}

/// What the service said, every GPU having passed. Made by [`check_nras`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NrasResult {
    /// Every GPU, in the order of their names as text.
    pub(crate) devices: Vec<NrasDevice>,
    /// When the overall token was issued.
    pub(crate) issued: UnixTime,
    /// When the first of all tokens expires.
    pub(crate) expires: UnixTime,
}

/// What the service said about one GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NrasDevice {
    /// The service's name for it, `GPU-0` and so on.
    pub(crate) name: String,
    /// `ueid`: the leaf certificate's serial number in decimal.
    pub(crate) ueid: String,
    /// Version of its driver.
    pub(crate) driver: String,
    /// Version of its VBIOS.
    pub(crate) vbios: String,
    /// `hwmodel`: the boot ROM certificate's common name.
    pub(crate) hwmodel: String,
}

/// Checks a bundle against a key set, both JSON as the service published them.
///
/// # Errors
/// [`NrasFault`] names the first check that failed.
pub(crate) fn check_nras(
    bundle: &[u8],
    jwks: &[u8],
    expected: &NrasExpectation,
    crypto: &dyn Crypto,
) -> Result<NrasResult, NrasFault> {
    let keys = KeySet::parse(jwks)?;
    let bundle = Bundle::parse(bundle)?;
    if bundle.devices.len() != expected.gpus {
        return Err(NrasFault::GpuCount {
            expected: expected.gpus,
            got: bundle.devices.len(),
        });
    }
    let overall = Token::parse(OVERALL, &bundle.overall)?.verify(&keys, crypto)?;
    let overall = Claims::new(OVERALL, &overall);
    overall.require_overall_subject()?;
    let times = overall.times(expected)?;
    overall.require_nonce(expected.nonce)?;
    let digests = overall.submods()?;
    if let Some(extra) = digests.keys().find(|name| !bundle.devices.contains_key(*name)) {
        return Err(NrasFault::TokenMissing {
            device: fault::shown(extra),
        });
    }

    let mut expires = times.expires;
    let mut devices: Vec<NrasDevice> = Vec::new();
    for (name, token) in &bundle.devices {
        let Some(digest) = digests.get(name) else {
            return Err(NrasFault::SubmodMissing { device: name.clone() });
        };
        if sha256(&[token.as_bytes()]) != *digest {
            return Err(NrasFault::DigestMismatch { device: name.clone() });
        }
        let token = Token::parse(name, token)?.verify(&keys, crypto)?;
        let claims = Claims::new(name, &token);
        claims.require_device_subject()?;
        expires = expires.min(claims.times(expected)?.expires);
        claims.require_nonce(expected.nonce)?;
        claims.require_passed(Generation::of(&overall, &claims)?)?;
        let device = claims.device()?;
        if let Some(same) = devices.iter().find(|other| other.ueid == device.ueid) {
            return Err(NrasFault::DuplicateDevice {
                device: device.name,
                same_as: same.name.clone(),
            });
        }
        devices.push(device);
    }
    overall.require_overall_result()?;
    Ok(NrasResult {
        devices,
        issued: times.issued,
        expires,
    })
}

/// A bundle's tokens: `[["JWT", overall], {"GPU-0": token, …}]`.
#[derive(Debug)]
struct Bundle {
    overall: String,
    devices: BTreeMap<String, String>,
}

impl Bundle {
    fn parse(bytes: &[u8]) -> Result<Self, NrasFault> {
        if bytes.len() > MAX_BUNDLE_BYTES {
            return Err(NrasFault::BundleTooLarge { got: bytes.len() });
        }
        let wrong = |expected| NrasFault::Bundle { expected };
        let document = Json::parse(bytes).map_err(NrasFault::BundleJson)?;
        let Some([overall, devices]) = document.as_list() else {
            return Err(wrong("an array of the overall token and the devices' tokens"));
        };
        let Some([kind, overall]) = overall.as_list() else {
            return Err(wrong("[\"JWT\", token] first"));
        };
        let overall = overall.as_text().filter(|_| kind.as_text() == Some(OVERALL));
        let overall = overall.ok_or_else(|| wrong("[\"JWT\", token] first"))?.to_owned();
        let devices = devices
            .as_object()
            .ok_or_else(|| wrong("an object of tokens second"))?;
        let devices = devices
            .iter()
            .map(|(name, token)| {
                if !is_gpu(name) {
                    return Err(wrong("devices named GPU-0 to GPU-999"));
                }
                let token = token.as_text().ok_or_else(|| wrong("text as a device's token"))?;
                Ok((name.clone(), token.to_owned()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { overall, devices })
    }
}

/// `GPU-` and one to three digits.
fn is_gpu(name: &str) -> bool {
    name.strip_prefix("GPU-").is_some_and(|number| {
        matches!(number.len(), 1..=3) && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests;
