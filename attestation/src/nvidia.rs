//! Evidence of NVIDIA GPUs and NVSwitches: the SPDM report as NVML and NSCQ
//! return it, the opaque data inside, and the bundle in which reports and
//! certificate chains travel. Owns these formats; verifies no signature, no
//! certificate and no measurement, which is the verifier's business.
//!
//! Input is hostile: every length is checked against what is there, nothing is
//! accepted that real evidence doesn't need, and nothing panics. What the
//! opaque data say may be looked at only after the report's signature holds:
//! see [`SpdmReport::opaque_unverified`].

mod endorsements;
mod evidence;
mod facts;
mod family;
mod field;
mod opaque;
mod spdm;

pub use crate::digest::{Fwid, Pdi};
pub use endorsements::{
    GpuEndorsements, GpuEndorsementsError, MAX_GPU_CRL_BYTES, MAX_OCSP_BYTES, MAX_RIM_BYTES,
};
pub use evidence::{
    DeviceEvidence, GpuEvidence, GpuEvidenceError, MAX_CHAIN_BYTES, MAX_DEVICES, MAX_GPU_EVIDENCE_BYTES,
};
pub use facts::{DeviceFacts, GpuFacts, LINKS_OF_A_GPU, Mode, Nvdec0, SwitchFacts};
pub use family::{DeviceKind, Family};
pub use opaque::{OpaqueError, OpaqueVersion, OtherField};
pub use spdm::{BLOCKS_OF_A_GPU, BLOCKS_OF_A_SWITCH, MAX_REPORT_BYTES, SpdmError, SpdmReport};
