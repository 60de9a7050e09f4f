//! Evidence of NVIDIA GPUs and NVSwitches: from a report and a certificate
//! chain, as the driver returned them, to an authentic device, and what its
//! measurements and certificates are held against. Which devices a policy
//! wants is not decided here.
//!
//! - [`device`]: report, chain and firmware digest, to an [`AuthenticDevice`];
//! - [`rim`]: reference integrity manifests, from bytes to an authentic one;
//! - [`golden`]: measurements against the manifests;
//! - [`revocation`] and [`ocsp`]: whether a certificate was revoked;
//! - [`nras`]: what NVIDIA's own service said, where someone asked it;
//! - [`topology`]: which devices make one machine;
//! - [`versions`]: versions of driver and VBIOS, and which are too old.

mod anchors;
mod chain;
mod device;
mod dice;
mod fault;
pub(crate) mod golden;
mod names;
pub(crate) mod nras;
pub(crate) mod ocsp;
pub(crate) mod revocation;
pub(crate) mod rim;
pub(crate) mod topology;
mod usage;
pub(crate) mod versions;

pub(crate) use anchors::DeviceAnchor;
pub(crate) use chain::{ChainCertificate, DeviceTrust};
pub(crate) use device::{AuthenticDevice, authenticate_device};
pub(crate) use fault::DeviceFault;
#[cfg(fuzzing)]
pub(crate) use {chain::verify_chain, dice::firmware_id, nras::check_nras};

#[cfg(test)]
mod test_pki;
#[cfg(test)]
mod test_vectors;
#[cfg(test)]
mod tests;
