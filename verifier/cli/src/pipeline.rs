//! Pipelines, as their owner and their clients see them: the plan as a file to
//! write and sign, the proof of every stage behind a head, and receipts that
//! every stage had a part in.
//!
//! | module | what it owns |
//! |---|---|
//! | `capacity` | what an attested node says it can carry |
//! | `weights`, `split` | the model's layers, and who computes which |
//! | `file` | the plan as a person writes it, in TOML |
//! | `view` | the plan as a person reads it |
//! | `asking` | every stage's evidence, asked for |
//! | `stages` | the same, judged and shown |
//! | `admission` | the same, before anybody has a connection to a head |
//! | `receipt` | whether the parts of a receipt hold and join |
//! | `vouching` | the same for answers while they come |
//! | `trust` | whose plans a person accepts |

pub(crate) mod admission;
mod asking;
pub(crate) mod capacity;
pub(crate) mod file;
pub(crate) mod receipt;
pub(crate) mod split;
pub(crate) mod stages;
pub(crate) mod trust;
pub(crate) mod view;
pub(crate) mod vouching;
pub(crate) mod weights;

use crate::fault::Fault;
use crate::key_file;

/// Pipelines of simulated guests, which the tests of the command have, too.
#[cfg(test)]
#[path = "../tests/support/pipeline.rs"]
mod simulated;

/// That a node has no stages.
pub(crate) fn no_head() -> Fault {
    Fault::rejected(
        "pipeline.none",
        "the node is attested and is no head of a pipeline: it computes the whole model itself",
    )
    .with_remedy("leave out --pipeline, or name the pipeline's head")
}

/// Public keys of owners, as they are named on the command line.
///
/// # Errors
/// [`Fault`] if one can't be read.
pub(crate) fn owners(named: &[String]) -> Result<Vec<[u8; 32]>, Fault> {
    let mut owners = Vec::new();
    for name in named {
        owners.extend(key_file::public_keys(name)?.iter().map(|key| *key.as_bytes()));
    }
    Ok(owners)
}
