//! NVIDIA GPUs and switches: what their evidence is compared with. Appraises no
//! session and decides no policy.
//!
//! - [`rim`]: reference integrity manifests, from bytes to an authentic one;
//! - [`golden`]: measurements against the manifests;
//! - [`revocation`] and [`ocsp`]: whether a certificate was revoked;
//! - [`usage`]: what the key of a certificate may be used for.

pub(crate) mod golden;
pub(crate) mod ocsp;
pub(crate) mod revocation;
pub(crate) mod rim;
mod usage;

#[cfg(test)]
mod test_pki;
#[cfg(test)]
mod test_vectors;
