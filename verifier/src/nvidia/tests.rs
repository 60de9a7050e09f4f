//! Real devices, which must be authentic, and what was done to their evidence,
//! which must not be; and a made-up device for faults that no real one has.

pub(super) mod files;
mod made;
mod made_faults;
pub(super) mod pki;
mod real;
mod simulated;
mod tampering;
mod topology;
mod vectors;

use std::collections::HashSet;
use std::sync::Mutex;

use bastide_attestation::UnixTime;

use super::{DeviceAnchor, DeviceTrust};
use crate::crypto::{Crypto, provider};
use crate::memo::Memo;

/// 2025-06-01.
const NOW: UnixTime = UnixTime::from_secs(1_748_736_000);

/// A verifier of these anchors, with its own memory.
struct Bench {
    anchors: Vec<DeviceAnchor>,
    memo: Memo,
    crypto: Once,
}

/// Verifies the same signature with the same key once: thousands of changes to
/// one report would otherwise mean thousands of verifications of its chain.
#[derive(Debug, Default)]
struct Once(Mutex<HashSet<Vec<u8>>>);

impl Crypto for Once {
    fn rsa_pss_sha384_verify(&self, _: &[u8], _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn rsa_pkcs1_sha256_verify(&self, _: &[u8], _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn p384_sha384_verify(&self, point: &[u8], message: &[u8], signature: &[u8; 96]) -> bool {
        // Point and signature have fixed lengths where the first can hold.
        let whole = [point, message, signature].concat();
        if self.0.lock().unwrap().contains(&whole) {
            return true;
        }
        let holds = provider().p384_sha384_verify(point, message, signature);
        if holds {
            self.0.lock().unwrap().insert(whole);
        }
        holds
    }
}

impl Bench {
    fn of(anchors: Vec<DeviceAnchor>) -> Self {
        Self {
            anchors,
            memo: Memo::default(),
            crypto: Once::default(),
        }
    }

    fn nvidia() -> Self {
        Self::of(vec![DeviceAnchor::nvidia()])
    }

    fn trust(&self) -> DeviceTrust<'_> {
        DeviceTrust {
            anchors: &self.anchors,
            crypto: &self.crypto,
            now: NOW,
            memo: &self.memo,
        }
    }
}
