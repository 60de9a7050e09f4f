//! SEV-SNP: from an unverified report and its endorsements to an authentic
//! report, and the policy's checks on one.

mod authenticity;
mod chain;
mod evaluate;
mod vek;

pub(crate) use authenticity::{Authentic, Sources, Trust, authenticate, describe_roots, key_name};
pub(crate) use chain::Memo;
pub(crate) use evaluate::{IGNORED, Pinning, evaluate};
#[cfg(fuzzing)]
pub(crate) use vek::VekExtensions;
