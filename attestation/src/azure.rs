//! Azure confidential VMs: a guest there doesn't choose REPORT_DATA. The
//! paravisor (HCL) puts the hash of its own JSON there, the JSON names the
//! vTPM's attestation key, and what the guest wants to say goes into a quote
//! signed by that key. Owns the formats of these three; verifies no signature
//! and no hash between them, which is the verifier's business.
//!
//! Input is hostile: every length is checked against what is there, nothing
//! is accepted that real evidence doesn't need, and nothing panics.

mod hcl;
mod key;
mod pcr;
mod quote;
mod runtime;

pub use hcl::{HclError, HclReport, MAX_HCL_REPORT_BYTES};
pub use key::{RsaKeyError, RsaPublicKey};
pub use pcr::{PCR_COUNT, PcrError, PcrSelection, PcrValues};
pub use quote::{MAX_EXTRA_DATA_BYTES, MAX_QUOTE_BYTES, Quote, QuoteError, QuoteSignature};
pub use runtime::{RuntimeData, RuntimeDataError};
