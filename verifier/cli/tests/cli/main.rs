//! The command as a person or a script meets it: real processes, their exit
//! codes, what is on stdout and what on stderr. What needs a running node is in
//! the workspace's end-to-end tests.

mod appraise;
mod azure;
mod credential;
mod endorsements;
mod gpu_endorsements;
mod inspect;
mod ledger;
mod measure;
mod pipeline;
mod policy;
mod process;
mod proxied;
mod proxy;
mod receipt;
mod schema;
mod screen;
mod signatures;

/// Builds OVMF images; shared with the tests of what reads them.
#[path = "../../../measure/tests/support/ovmf.rs"]
#[expect(dead_code, reason = "the tests of the reader change more of an image")]
mod ovmf;

/// Pipelines of simulated guests; shared with the tests of who judges them.
#[path = "../support/pipeline.rs"]
#[expect(dead_code, reason = "the tests of who judges them change more of a pipeline")]
mod simulated_pipeline;
