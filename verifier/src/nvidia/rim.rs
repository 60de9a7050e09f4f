//! NVIDIA's reference integrity manifests (RIM): signed XML that names the
//! measurements a driver, a VBIOS or a switch's firmware must have \[TCG RIM
//! Information Model; ISO/IEC 19770-2:2015; XML-Signature 1.1\].
//!
//! ```text
//! bytes ──xml──▶ Document ──signature──▶ 4 certificates, digest, signature ──chain──▶ pinned root
//!                    └─────────────────────model──────────────────────────────▶ AuthenticRim
//! ```
//!
//! Reads one profile, the one that every manifest NVIDIA published has; anything
//! else is refused. Fetches nothing.

pub(super) mod base64;
mod canonical;
mod chain;
mod error;
mod expiry;
mod memo;
mod model;
mod signature;
mod xml;

#[cfg(fuzzing)]
mod fuzzing;
#[cfg(test)]
pub(super) mod tests;

#[cfg(fuzzing)]
pub(crate) use fuzzing::fuzz;

pub(crate) use chain::{ChainFault, RimAnchor};
pub(crate) use error::{RimFault, SelectionFault};
pub(crate) use expiry::{Expiry, Standing};
pub(crate) use memo::RimMemo;
pub(crate) use model::{AuthenticRim, Edition, Golden, RimTrust, Version, authenticate_rim};
pub(crate) use xml::XmlFault;

/// The namespace of XML signatures.
const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
