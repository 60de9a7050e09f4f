//! Appraisal from the outside: evidence in, verdicts out, through the public
//! interface alone.

#[path = "../support/mod.rs"]
mod support;

mod accepted;
mod adversarial;
mod azure;
mod azure_real;
mod exhaustive;
mod gpu_accepted;
mod gpu_policy_files;
mod gpu_real;
mod oracle;
mod policy_decisions;
mod policy_files;
mod real;
mod rejections;
mod tampering;
mod threats;
