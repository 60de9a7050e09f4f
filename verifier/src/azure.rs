//! Azure confidential VMs: from an HCL report with an authentic SNP report
//! inside to an authentic quote of the vTPM, and the policy's check on its PCRs.
//!
//! ```text
//! VCEK ──signs──▶ SNP report ──REPORT_DATA──▶ runtime data ──names──▶ attestation key ──signs──▶ quote
//!                                                                                                │ extraData: this statement
//!                                                                                                └ PCR digest: these values
//! ```
//!
//! The hardware vouches for the paravisor alone, and the paravisor's vTPM for
//! everything after it.

mod authenticity;
mod evaluate;

pub(crate) use authenticity::{QuoteSources, Vtpm, authenticate_vtpm, read_hcl_report};
pub(crate) use evaluate::{PCR_NAMES, evaluate_pcrs, evaluate_platform};
