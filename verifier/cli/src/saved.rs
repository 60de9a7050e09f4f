//! An answer kept for later: evidence, receipt, salt and both bodies, in a
//! folder of its own that only its owner can read.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bastide_attestation::{Receipt, Salt};

use crate::fault::Fault;
use crate::file::{self, Existing};
use crate::pipeline::stages::Chain;

/// What is kept of one answer.
#[derive(Clone, Copy)]
pub(crate) struct Kept<'a> {
    /// The evidence envelope as it came.
    pub(crate) evidence: &'a [u8],
    /// The receipt, verified.
    pub(crate) receipt: &'a Receipt,
    /// The salt of its commitments.
    pub(crate) salt: &'a Salt,
    /// Request body as sent.
    pub(crate) request: &'a [u8],
    /// Response body that is committed to.
    pub(crate) response: &'a [u8],
}

/// Writes one answer into a new folder under `parent` and returns it. Names
/// sort by time.
///
/// # Errors
/// [`Fault`] of usage if a file can't be written.
pub(crate) fn keep(parent: &Path, kept: &Kept<'_>) -> Result<PathBuf, Fault> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = parent.join(format!(
        "{:013}-{:04}-{:05}",
        since.as_millis(),
        count,
        std::process::id()
    ));
    file::make_folder(&folder)?;
    let salt = format!("{}\n", kept.salt);
    for (name, bytes) in [
        ("evidence.cmw", kept.evidence),
        ("receipt.cose", kept.receipt.as_bytes()),
        ("salt.hex", salt.as_bytes()),
        ("request.body", kept.request),
        ("response.body", kept.response),
    ] {
        file::write(&folder.join(name), bytes, Existing::Keep)?;
    }
    Ok(folder)
}

/// Adds the plan and the stages' envelopes to an answer of a pipeline.
///
/// # Errors
/// As [`keep`].
pub(crate) fn keep_chain(folder: &Path, chain: &Chain) -> Result<(), Fault> {
    file::write(&folder.join("plan.cose"), chain.plan.as_bytes(), Existing::Keep)?;
    for (number, stage) in chain.stages.iter().enumerate() {
        if let Some(envelope) = &stage.evidence {
            file::write(
                &folder.join(format!("stage-{number}.cmw")),
                envelope,
                Existing::Keep,
            )?;
        }
    }
    Ok(())
}
