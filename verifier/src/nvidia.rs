//! NVIDIA devices: from a report and a certificate chain, as the driver
//! returned them, to an authentic device. Judges neither what the device
//! measured nor whether its certificates were revoked, nor which devices a
//! policy wants: that starts where an [`AuthenticDevice`] is.

mod anchors;
mod chain;
mod device;
mod dice;
mod fault;
mod names;

pub(crate) use anchors::DeviceAnchor;
pub(crate) use chain::{ChainCertificate, DeviceTrust};
pub(crate) use device::{AuthenticDevice, authenticate_device};
pub(crate) use fault::DeviceFault;
#[cfg(fuzzing)]
pub(crate) use {chain::verify_chain, dice::firmware_id};

#[cfg(test)]
mod tests;
