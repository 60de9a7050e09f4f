//! Loading the model and stating what was loaded: the manifest whose digest
//! goes into every epoch statement.

use std::num::NonZeroUsize;
use std::path::Path;

use bastide_attestation::ModelManifest;
use bastide_engine::{LoadOptions, Model};
use serde::Serialize;

use crate::error::StartError;
use crate::json;

/// Loads and checks a whole model directory.
///
/// # Errors
/// [`StartError::Model`] names the file and its fault.
pub fn load(dir: &Path, threads: Option<NonZeroUsize>) -> Result<Model, StartError> {
    let mut options = LoadOptions::default();
    if let Some(threads) = threads {
        options.threads = threads;
    }
    Model::load(dir, &options).map_err(|source| StartError::Model {
        dir: dir.to_owned(),
        source: Box::new(source),
    })
}

/// The manifest of a loaded model.
#[must_use]
pub fn manifest(model: &Model) -> ModelManifest {
    let files = model.manifest();
    ModelManifest {
        weights: files.weights,
        tokenizer: files.tokenizer,
        chat_template: files.chat_template,
        config: files.config,
        engine: model.engine().to_owned(),
        quantisation: model.quantisation().to_owned(),
        draft: None,
    }
}

/// The manifest and its digest as one line of JSON, `bastide.model-manifest/v1`.
#[must_use]
pub fn describe(model: &Model) -> Vec<u8> {
    #[derive(Serialize)]
    struct Described<'a> {
        schema: &'static str,
        model: &'a str,
        manifest: String,
        weights: String,
        tokenizer: String,
        chat_template: String,
        config: String,
        engine: &'a str,
        quantisation: &'a str,
        draft: (),
    }
    let manifest = manifest(model);
    json::encode(&Described {
        schema: "bastide.model-manifest/v1",
        model: model.name(),
        manifest: manifest.digest().to_string(),
        weights: hex::encode(manifest.weights),
        tokenizer: hex::encode(manifest.tokenizer),
        chat_template: hex::encode(manifest.chat_template),
        config: hex::encode(manifest.config),
        engine: &manifest.engine,
        quantisation: &manifest.quantisation,
        draft: (),
    })
}
