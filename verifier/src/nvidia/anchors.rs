//! Where trust in an NVIDIA device starts: NVIDIA's Device Identity CA, pinned,
//! and what an anchor is. A root that comes with a chain is never an anchor by
//! itself: it must hash to a pin.

use bastide_attestation::SpkiDigest;

use crate::anchors::{Pin, unhex};

/// CN that a root's certificate must have.
pub(super) const ROOT_NAME: &str = "NVIDIA Device Identity CA";

/// The root of devices' certificate chains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceAnchor {
    /// Name for verdicts, for example `NVIDIA Device Identity CA`.
    pub(crate) name: String,
    /// The root.
    pub(crate) root: Pin,
    /// Whether the private keys are public and nothing under it is confidential.
    pub(crate) simulated: bool,
    /// Whether a policy added it, as opposed to being pinned in this crate.
    pub(crate) added_by_policy: bool,
}

impl DeviceAnchor {
    /// NVIDIA's root of all GPUs and NVSwitches.
    #[must_use]
    pub(crate) fn nvidia() -> Self {
        Self {
            name: ROOT_NAME.to_owned(),
            root: DEVICE_IDENTITY_CA,
            simulated: false,
            added_by_policy: false,
        }
    }
}

/// NVIDIA Device Identity CA, serial number 2D3670B1CA100411C1FEC0E82A065B54,
/// of 2021-11-05.
pub(super) const DEVICE_IDENTITY_CA: Pin = Pin {
    spki: SpkiDigest::new(unhex(
        "a90c4eb5acfd3e3d03a25db6a26b84f720ad0503196c627c21ddd48dd85b06a4",
    )),
    certificate: Some(unhex(
        "102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48",
    )),
};
