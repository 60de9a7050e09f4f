//! Pipelines, as their owner and their clients see them: the plan as a file to
//! write and sign, the proof of every stage behind a head, and receipts that
//! every stage had a part in.
//!
//! | module | what it owns |
//! |---|---|
//! | `file` | the plan as a person writes it, in TOML |
//! | `view` | the plan as a person reads it |
//! | `stages` | every stage's evidence: asked for, judged, shown |
//! | `receipt` | whether the parts of a receipt hold and join |

pub(crate) mod file;
pub(crate) mod receipt;
pub(crate) mod stages;
pub(crate) mod view;

use crate::fault::Fault;
use crate::key_file;

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
