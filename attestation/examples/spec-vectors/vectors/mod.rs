//! Every file of test vectors, made from this crate's code. Inputs are fixed:
//! the files change when the protocol does, and never otherwise.
//!
//! A file is a JSON object: `schema`, `about`, and arrays of vectors. Byte
//! strings are hex. What must be refused says why in `why`; `error` is what this
//! implementation says, and another one may say it differently.

mod binding;
mod epoch_log;
mod exchange;
mod known_answers;
mod links;
mod merkle;
mod pipeline;
mod receipt;
mod statement;

use std::path::Path;

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

const SCHEMA: &str = "bastide.vectors/v1";

/// Names and contents of the files.
pub(crate) fn files() -> Vec<(&'static str, Value)> {
    vec![
        ("known-answers.json", known_answers::file()),
        ("binding.json", binding::file()),
        ("merkle.json", merkle::file()),
        ("statements.json", statement::file()),
        ("exchange.json", exchange::file()),
        ("receipts.json", receipt::file()),
        ("epoch-log.json", epoch_log::file()),
        ("links.json", links::file()),
        ("pipelines.json", pipeline::file()),
    ]
}

/// Vectors in a file: entries of its arrays.
pub(crate) fn count(file: &Value) -> usize {
    file.as_object()
        .into_iter()
        .flat_map(|members| members.values())
        .filter_map(Value::as_array)
        .map(Vec::len)
        .sum()
}

/// Requires that the file at `path` says what `file` does.
pub(crate) fn compare(path: &Path, file: &Value) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let have: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    // The values and not the text: whether members are sorted depends on a
    // feature of serde_json that any other crate may turn on.
    if have == *file {
        return Ok(());
    }
    Err(format!(
        "{} is not what the code gives; write it again with `cargo run -p bastide-attestation --example \
         spec-vectors -- docs/spec/vectors`, and say in the commit why the protocol changed",
        path.display()
    ))
}

/// Writes the file.
pub(crate) fn write(path: &Path, file: &Value) -> Result<(), String> {
    let text = serde_json::to_string_pretty(file).map_err(|error| error.to_string())?;
    std::fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))
}

fn with_head(about: &str, mut arrays: Value) -> Value {
    arrays["schema"] = json!(SCHEMA);
    arrays["about"] = json!(about);
    arrays
}

/// Bytes that look like nothing else in a file: `tag`, then counting up.
fn pattern<const N: usize>(tag: u8) -> [u8; N] {
    core::array::from_fn(|at| tag.wrapping_add(u8::try_from(at % 251).unwrap_or(0)))
}

/// An Ed25519 key of a fixed seed, with its public half.
fn ed25519(seed: [u8; 32]) -> (Ed25519KeyPair, [u8; 32]) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("every 32 bytes are a seed");
    let public = pair
        .public_key()
        .as_ref()
        .try_into()
        .expect("a public key has 32 bytes");
    (pair, public)
}

fn sign(pair: &Ed25519KeyPair, message: &[u8]) -> [u8; 64] {
    pair.sign(message)
        .as_ref()
        .try_into()
        .expect("a signature has 64 bytes")
}
