//! SEV-SNP formats: the attestation report from its raw 1,184 bytes, TCB
//! versions per generation, products, and the bit fields a policy speaks of.
//! Reads and names; judges nothing but form.

mod bits;
mod product;
mod report;
mod tcb;
mod vek;

pub use bits::{GuestPolicy, KeyInfo, PlatformInfo, SigningKey};
pub use product::{Cpuid, Generation, Product};
pub use report::{REPORT_BYTES, ReportError, SIGNED_BYTES, SnpReport};
pub use tcb::{TcbShortfall, TcbVersion};
pub use vek::{KDS_ADDRESS, VcekId, VekId, VekIdError, VekMismatch};
