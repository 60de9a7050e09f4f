//! Evidence of NVIDIA GPUs and NVSwitches: from a report and a certificate
//! chain, as the driver returned them, to an authentic device, and what its
//! measurements and certificates are held against.
//!
//! - [`evaluate`]: all of it in order, as checks of a verdict;
//! - [`authenticity`]: the devices' own checks;
//! - [`manifests`] and [`revoked`]: what NVIDIA issued, found and held against devices;
//! - [`device`]: report, chain and firmware digest, to an [`AuthenticDevice`];
//! - [`rim`]: reference integrity manifests, from bytes to an authentic one;
//! - [`golden`]: measurements against the manifests;
//! - [`revocation`] and [`ocsp`]: whether a certificate was revoked;
//! - [`nras`]: what NVIDIA's own service said, where someone asked it;
//! - [`topology`]: which devices make one machine;
//! - [`versions`]: versions of driver and VBIOS, and which are too old.

mod anchors;
mod authenticity;
mod chain;
mod device;
mod dice;
mod evaluate;
mod fault;
pub(crate) mod golden;
mod manifests;
mod names;
pub(crate) mod nras;
pub(crate) mod ocsp;
pub(crate) mod revocation;
mod revoked;
pub(crate) mod rim;
mod second_opinion;
pub(crate) mod topology;
mod ueid;
mod usage;
pub(crate) mod versions;

pub(crate) use anchors::DeviceAnchor;
#[cfg(any(test, fuzzing))]
pub(crate) use chain::DeviceTrust;
pub(crate) use device::AuthenticDevice;
pub(crate) use evaluate::{GpuReport, GpuTrust, appraise_gpus, kind};
pub(crate) use manifests::{Matching, standing};
pub(crate) use topology::TopologyRules;
pub(crate) use ueid::Ueid;
pub(crate) use versions::{DriverRules, DriverVersion, VbiosMinimum, VbiosRules};
#[cfg(fuzzing)]
pub(crate) use {chain::verify_chain, dice::firmware_id, nras::check_nras};
#[cfg(test)]
pub(crate) use {device::authenticate_device, fault::DeviceFault};

#[cfg(test)]
mod tests;
