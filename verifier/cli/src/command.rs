//! The subcommands, one file each: arguments, help with examples, and `run`.

pub(crate) mod appraise;
pub(crate) mod chat;
pub(crate) mod credential;
pub(crate) mod endorsements;
pub(crate) mod explain;
pub(crate) mod inspect;
pub(crate) mod key;
pub(crate) mod ledger;
pub(crate) mod measure;
pub(crate) mod pipeline;
pub(crate) mod policy;
pub(crate) mod proxy;
pub(crate) mod receipt;
pub(crate) mod result;
pub(crate) mod verify;

use std::future::Future;

use crate::fault::Fault;

/// Runs a command's asynchronous part to its end. Tasks that it left are dropped.
fn block_on<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Fault::internal(format!("no runtime: {error}")))?;
    let result = runtime.block_on(work);
    // A thread may be waiting for a line that never comes.
    runtime.shutdown_background();
    result
}
