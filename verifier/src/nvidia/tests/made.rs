//! A made-up device, and what is said of it under its root.

#[path = "../../../tests/support/der.rs"]
mod der;
#[path = "../../../tests/support/gpu_pki.rs"]
mod gpu_pki;

use bastide_attestation::{SpkiDigest, binding};

use super::Bench;
use super::vectors::to_pem;
use crate::anchors::Pin;
use crate::nvidia::{DeviceAnchor, DeviceFault, authenticate_device};

pub(super) use der::{integer, sequence, tlv};
pub(super) use gpu_pki::{
    BASIC_CONSTRAINTS, COMPOSITE_DEVICE_ID, DICE_TCB_INFO, FIELDS, FWID, KEY_USAGE, Made, Plan,
    composite_device_id, constraints, fwid, legacy, tcb_info,
};

impl Made {
    /// The root's key, as a policy would pin it.
    pub(super) fn anchor(certificate: Option<[u8; 32]>) -> DeviceAnchor {
        let spki: SpkiDigest = binding::spki_digest(&Self::root_spki());
        DeviceAnchor {
            name: "made up".to_owned(),
            root: Pin { spki, certificate },
            simulated: true,
            added_by_policy: true,
        }
    }

    pub(super) fn verdict(&self) -> Result<(), DeviceFault> {
        let bench = Bench::of(vec![DeviceAnchor::nvidia(), Self::anchor(None)]);
        let (report, chain) = (self.report(), to_pem(&self.ders()));
        authenticate_device(&report, &chain, None, &bench.trust()).map(|device| {
            assert!(device.anchor().simulated);
        })
    }
}
