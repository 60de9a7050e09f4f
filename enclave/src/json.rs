//! The one way JSON is written here: from our own structs of texts and
//! numbers, for which serialising can't fail.

use serde::Serialize;

/// One line of JSON, without a line break.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our structs hold texts and numbers with text keys only")
}
