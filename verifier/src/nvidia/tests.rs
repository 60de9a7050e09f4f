//! Real devices, which must be authentic, and what was done to their evidence,
//! which must not be; and a made-up device for faults that no real one has.

mod made;
mod made_faults;
mod real;
mod simulated;
mod tampering;
mod vectors;

use bastide_attestation::UnixTime;

use super::{DeviceAnchor, DeviceTrust};
use crate::crypto::provider;
use crate::memo::Memo;

/// 2025-06-01.
const NOW: UnixTime = UnixTime::from_secs(1_748_736_000);

/// A verifier of these anchors, with its own memory.
struct Bench {
    anchors: Vec<DeviceAnchor>,
    memo: Memo,
}

impl Bench {
    fn of(anchors: Vec<DeviceAnchor>) -> Self {
        Self {
            anchors,
            memo: Memo::default(),
        }
    }

    fn nvidia() -> Self {
        Self::of(vec![DeviceAnchor::nvidia()])
    }

    fn trust(&self) -> DeviceTrust<'_> {
        DeviceTrust {
            anchors: &self.anchors,
            crypto: provider(),
            now: NOW,
            memo: &self.memo,
        }
    }
}
