//! Loading the model and stating what was loaded: the manifest whose digest
//! goes into every epoch statement.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;

use bastide_attestation::{ManifestDigest, ModelManifest};
use bastide_engine::{LoadOptions, Model};
use serde::Serialize;

use crate::error::StartError;
use crate::json;

/// Loads and checks a whole model directory.
///
/// # Errors
/// [`StartError::Model`] names the file and its fault.
pub fn load(dir: &Path, threads: Option<NonZeroUsize>) -> Result<Model, StartError> {
    load_layers(dir, threads, None)
}

/// As [`load`], and then keeps these layers alone.
///
/// # Errors
/// As there.
pub fn load_layers(
    dir: &Path,
    threads: Option<NonZeroUsize>,
    layers: Option<Range<usize>>,
) -> Result<Model, StartError> {
    let mut options = LoadOptions {
        layers,
        ..LoadOptions::default()
    };
    if let Some(threads) = threads {
        options.threads = threads;
    }
    Model::load(dir, &options).map_err(|source| StartError::Model {
        dir: dir.to_owned(),
        source: Box::new(source),
    })
}

/// Digests of the weights of layer ranges, as a plan names them.
///
/// # Errors
/// [`StartError::Model`] names the file and its fault, or the range that the model hasn't.
pub fn range_digests(dir: &Path, ranges: &[Range<usize>]) -> Result<Vec<[u8; 32]>, StartError> {
    bastide_engine::range_digests(dir, ranges).map_err(|source| StartError::Model {
        dir: dir.to_owned(),
        source: Box::new(source),
    })
}

/// The manifest of a loaded model; with the digest of its draft's, where one drafts.
#[must_use]
pub fn manifest(model: &Model, draft: Option<ManifestDigest>) -> ModelManifest {
    let files = model.manifest();
    ModelManifest {
        weights: files.weights,
        tokenizer: files.tokenizer,
        chat_template: files.chat_template,
        config: files.config,
        engine: model.engine().to_owned(),
        quantisation: model.quantisation().to_owned(),
        draft,
    }
}

/// The manifest and its digest as one line of JSON, `bastide.model-manifest/v1`.
/// With a draft, the manifest is the one of a pipeline that speculates; `ranges` are layer ranges and the
/// digests of their weights.
#[must_use]
pub fn describe(model: &Model, draft: Option<&Model>, ranges: &[(Range<usize>, [u8; 32])]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Layers {
        first: usize,
        end: usize,
        weights: String,
    }
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
        draft: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        ranges: Vec<Layers>,
    }
    let draft = draft.map(|draft| manifest(draft, None).digest());
    let manifest = manifest(model, draft);
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
        draft: draft.map(|draft| draft.to_string()),
        ranges: ranges
            .iter()
            .map(|(layers, weights)| Layers {
                first: layers.start,
                end: layers.end,
                weights: hex::encode(weights),
            })
            .collect(),
    })
}
