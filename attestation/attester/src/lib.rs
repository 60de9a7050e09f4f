//! Produces evidence: asks the SNP guest device for reports over epoch
//! statements, and staples what endorses them. Owns every way to a security
//! processor; judges no evidence, knows no session and no TLS.
//!
//! An attester takes the bytes of a statement, never 64 bytes of a caller's:
//! REPORT_DATA is always `bastide_attestation::binding::report_data`.
//!
//! - [`device`]: a real SEV-SNP guest, through configfs-tsm or `/dev/sev-guest`;
//! - [`nvml`]: NVIDIA GPUs, their reports and their ready state;
//! - `simulator` (feature, off by default): AMD's and NVIDIA's formats, signed
//!   under roots whose keys are public in this repository. A build without the
//!   feature has no such module:
//!
#![cfg_attr(feature = "simulator", doc = "```")]
#![cfg_attr(not(feature = "simulator"), doc = "```compile_fail,E0432")]
//! use bastide_attester::simulator::Simulator;
//! ```
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::panic,
        clippy::unreachable,
        clippy::as_conversions
    )
)]

pub mod device;
pub mod nvml;
#[cfg(feature = "simulator")]
pub mod simulator;

#[cfg(feature = "simulator")]
pub use simulator::SIMULATED_MEASUREMENT;
