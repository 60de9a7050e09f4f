//! Endorsements of NVIDIA's: reference integrity manifests (RIMs), OCSP answers
//! and revocation lists. Owns their names, their form, which of them a device's
//! evidence needs, and (feature `kds`) the clients of NVIDIA's services.
//!
//! | part | what it owns |
//! |---|---|
//! | `name` | which endorsement: key, file name, address |
//! | `endorsement` | whether bytes are the endorsement of a name |
//! | `certificate`, `tlv` | the few fields of a certificate that questions are made of |
//! | `ocsp` | questions to an OCSP responder, and what an answer is about |
//! | `rim` | the certificates inside a manifest |
//! | `sources` | what evidence of devices needs |
//! | `kept` | what a directory has of it |
//! | `answer`, `services`, `sync` (feature `kds`) | downloads |
//!
//! Nothing here is verified: whether a manifest, an answer or a list is any good
//! is the verifier's business. What is kept is what was received, byte by byte.

#[cfg(feature = "kds")]
mod answer;
mod certificate;
mod endorsement;
mod kept;
mod name;
mod ocsp;
mod rim;
#[cfg(feature = "kds")]
mod services;
mod sources;
#[cfg(feature = "kds")]
mod sync;
mod tlv;

pub use endorsement::Endorsement;
pub use kept::{Absent, Kept, kept};
pub use name::{CertificateId, CrlPath, Name, NameError, RimId, RimIdError};
pub use ocsp::OcspQuestion;
#[cfg(feature = "kds")]
pub use services::{Addresses, Services};
pub use sources::{SourceError, Sources, Wanted};
#[cfg(feature = "kds")]
pub use sync::{Gathered, Outcome, Refresh, Synced, gpu_endorsements, sync};

#[cfg(test)]
pub(crate) mod made;
#[cfg(test)]
pub(crate) use name::tests::any_name;
#[cfg(test)]
mod vectors;
