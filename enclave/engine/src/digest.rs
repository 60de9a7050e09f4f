//! The identity of a model directory.
//!
//! Owns the digests of its files and `manifest.json` (`bastide.model/v1`).
//! Digests are of the exact bytes that are then used: each file is read once.
//! Refuses a directory whose manifest names other bytes, another engine or
//! another quantisation. It judges nothing else: whether a manifest is one to
//! trust is the verifier's question.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ring::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::error::LoadError;
use crate::{ENGINE_ID, QUANTISATION};

/// The value of `schema` in a model manifest.
pub const MANIFEST_SCHEMA: &str = "bastide.model/v1";

/// SHA-256 of the files of a model directory, over the bytes that were loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDigests {
    /// Over every `*.safetensors` file in the order of their names, each preceded by its length in
    /// bytes as eight big-endian bytes.
    pub weights: [u8; 32],
    /// `tokenizer.json`.
    pub tokenizer: [u8; 32],
    /// `chat_template.jinja`.
    pub chat_template: [u8; 32],
    /// `config.json`.
    pub config: [u8; 32],
}

/// The file `manifest.json` of a model directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelManifest {
    /// Always [`MANIFEST_SCHEMA`].
    pub schema: String,
    /// The model's name, as the API lists it.
    pub name: String,
    /// Digests of the files.
    pub files: ManifestFiles,
    /// The arithmetic: [`ENGINE_ID`].
    pub engine: String,
    /// The weight format computed with.
    pub quantisation: String,
}

/// [`FileDigests`] as 64 lower-case hexadecimal digits each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFiles {
    /// See [`FileDigests::weights`].
    pub weights: String,
    /// See [`FileDigests::tokenizer`].
    pub tokenizer: String,
    /// See [`FileDigests::chat_template`].
    pub chat_template: String,
    /// See [`FileDigests::config`].
    pub config: String,
}

impl ModelManifest {
    /// The manifest of the files with these digests, computed by this engine.
    pub fn new(name: &str, digests: &FileDigests) -> Self {
        Self {
            schema: MANIFEST_SCHEMA.to_owned(),
            name: name.to_owned(),
            files: ManifestFiles {
                weights: hex(&digests.weights),
                tokenizer: hex(&digests.tokenizer),
                chat_template: hex(&digests.chat_template),
                config: hex(&digests.config),
            },
            engine: ENGINE_ID.to_owned(),
            quantisation: QUANTISATION.to_owned(),
        }
    }

    /// Parses the bytes of a `manifest.json`.
    ///
    /// # Errors
    /// [`LoadError::ManifestSyntax`] if it is not a `bastide.model/v1` object.
    pub fn parse(bytes: &[u8]) -> Result<Self, LoadError> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| LoadError::ManifestSyntax {
            reason: error.to_string(),
        })?;
        if manifest.schema != MANIFEST_SCHEMA {
            return Err(LoadError::ManifestSyntax {
                reason: format!("schema is `{}`, expected `{MANIFEST_SCHEMA}`", manifest.schema),
            });
        }
        Ok(manifest)
    }

    /// Checks that this manifest describes exactly what was loaded.
    pub(crate) fn check(&self, digests: &FileDigests) -> Result<(), LoadError> {
        let got = Self::new(&self.name, digests);
        for (subject, expected, got) in [
            ("the weights", &self.files.weights, got.files.weights),
            ("`tokenizer.json`", &self.files.tokenizer, got.files.tokenizer),
            (
                "`chat_template.jinja`",
                &self.files.chat_template,
                got.files.chat_template,
            ),
            ("`config.json`", &self.files.config, got.files.config),
            ("the engine", &self.engine, got.engine),
            ("the quantisation", &self.quantisation, got.quantisation),
        ] {
            if *expected != got {
                return Err(LoadError::ManifestMismatch {
                    subject,
                    expected: expected.clone(),
                    got,
                });
            }
        }
        Ok(())
    }
}

/// Computes the manifest of a model directory from its files, ignoring any `manifest.json` in it.
///
/// The name is the directory's. The files are hashed, not checked: load the model for that.
///
/// # Errors
/// [`LoadError::Read`], [`LoadError::TooLarge`] and [`LoadError::NoWeights`].
pub fn describe(dir: &Path) -> Result<ModelManifest, LoadError> {
    let limits = LoadLimits::default();
    let mut weights = WeightsDigest::default();
    for name in weight_files(dir)? {
        weights.add(&read(dir, &name, limits.weights_bytes)?);
    }
    let file = |name: &str| read(dir, name, limits.text_bytes).map(|bytes| sha256(&bytes));
    let digests = FileDigests {
        weights: weights.finish(),
        tokenizer: file(TOKENIZER)?,
        chat_template: file(CHAT_TEMPLATE)?,
        config: file(CONFIG)?,
    };
    Ok(ModelManifest::new(&directory_name(dir), &digests))
}

/// The name of a model without a manifest: its directory's.
pub(crate) fn directory_name(dir: &Path) -> String {
    dir.file_name()
        .map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}

pub(crate) const TOKENIZER: &str = "tokenizer.json";
pub(crate) const CHAT_TEMPLATE: &str = "chat_template.jinja";
pub(crate) const CONFIG: &str = "config.json";
pub(crate) const MANIFEST: &str = "manifest.json";

/// What loading may consume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadLimits {
    /// Bytes in one weights file.
    pub weights_bytes: u64,
    /// Bytes in one of the other files.
    pub text_bytes: u64,
    /// Positions offered, where the model was trained for more.
    pub max_positions: usize,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self {
            weights_bytes: 64 << 30,
            text_bytes: 64 << 20,
            max_positions: 32_768,
        }
    }
}

/// The digest over all weights files.
pub(crate) struct WeightsDigest(Context);

impl Default for WeightsDigest {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl WeightsDigest {
    pub(crate) fn add(&mut self, file: &[u8]) {
        self.0.update(
            &u64::try_from(file.len())
                .expect("a length fits 64 bits")
                .to_be_bytes(),
        );
        self.0.update(file);
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

/// SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes)
        .as_ref()
        .try_into()
        .expect("SHA-256 has 32 bytes")
}

/// The names of the weights files, in order.
pub(crate) fn weight_files(dir: &Path) -> Result<Vec<String>, LoadError> {
    let failed = |source| LoadError::Read {
        file: ".".to_owned(),
        source,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        if let Ok(name) = entry.map_err(failed)?.file_name().into_string()
            && name.ends_with(".safetensors")
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    if names.is_empty() {
        Err(LoadError::NoWeights)
    } else {
        Ok(names)
    }
}

/// Reads a file once, whole, into memory of its own.
pub(crate) fn read(dir: &Path, name: &str, limit: u64) -> Result<Vec<u8>, LoadError> {
    let failed = |source| LoadError::Read {
        file: name.to_owned(),
        source,
    };
    let file = File::open(dir.join(name)).map_err(failed)?;
    let expected = file.metadata().map_err(failed)?.len();
    let too_large = || LoadError::TooLarge {
        file: name.to_owned(),
        limit,
    };
    if expected > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(
        usize::try_from(expected)
            .map_err(|_| too_large())?
            .saturating_add(1),
    );
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len <= limit) {
        Ok(bytes)
    } else {
        Err(too_large())
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
