//! A loaded model.
//!
//! Owns loading: each file is read once, hashed, and those bytes are used; and
//! what a model says of itself. Refuses directories that are not exactly one
//! model, or not the one their manifest names.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::cache::KvCache;
use crate::digest::{self, FileDigests, LoadLimits, ModelManifest, WeightsDigest};
use crate::error::LoadError;
use crate::kernels::{Kernels, Tier};
use crate::pool::Pool;
use crate::rope::Rope;
use crate::safetensors::parse_safetensors_header;
use crate::spec::DecoderSpec;
use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;
use crate::weights::{Loader, Weights};
use crate::{ENGINE_ID, QUANTISATION};

mod forward;

pub use forward::{Input, Output, Rows, Segment};

/// How to load a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// The layers to load; all if `None`. A range from 0 includes the embedding, a range to the end the head.
    pub layers: Option<Range<usize>>,
    /// Threads that compute, the caller's included. Results do not depend on it.
    pub threads: NonZeroUsize,
    /// What loading may consume.
    pub limits: LoadLimits,
}

impl Default for LoadOptions {
    fn default() -> Self {
        let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            layers: None,
            threads,
            limits: LoadLimits::default(),
        }
    }
}

/// The weights of a layer range, its tokenizer and its threads. Immutable; share it in an `Arc`.
pub struct Model {
    id: u64,
    name: String,
    weights: Arc<Weights>,
    kernels: Kernels,
    rope: Rope,
    digests: FileDigests,
    range_digest: [u8; 32],
    tokenizer: Tokenizer,
    template: ChatTemplate,
    max_positions: usize,
    pool: Mutex<Pool>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("name", &self.name)
            .field("layers", &self.weights.range)
            .field("tier", &self.kernels.tier())
            .finish_non_exhaustive()
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Model {
    /// Loads a model directory: `config.json`, `*.safetensors`, `tokenizer.json`,
    /// `chat_template.jinja`, and `manifest.json` if there is one, which must then match.
    ///
    /// # Errors
    /// A [`LoadError`] that names the file and what is wrong with it.
    pub fn load(dir: &Path, options: &LoadOptions) -> Result<Self, LoadError> {
        let limits = &options.limits;
        let text = |name: &str| digest::read(dir, name, limits.text_bytes);
        let config = text(digest::CONFIG)?;
        let spec = DecoderSpec::parse(&config)?;
        let range = options.layers.clone().unwrap_or(0..spec.layers);
        spec.check_range(&range)?;
        let tokenizer_bytes = text(digest::TOKENIZER)?;
        let tokenizer = Tokenizer::parse(&tokenizer_bytes, spec.vocab)?;
        let template_bytes = text(digest::CHAT_TEMPLATE)?;
        let template = ChatTemplate::parse(&template_bytes, &tokenizer, &spec)?;
        let mut loader = Loader::new(&spec, range);
        let mut weights_digest = WeightsDigest::default();
        for name in digest::weight_files(dir)? {
            let file = digest::read(dir, &name, limits.weights_bytes)?;
            weights_digest.add(&file);
            let header = parse_safetensors_header(&file).map_err(|source| LoadError::Safetensors {
                file: name.clone(),
                source,
            })?;
            loader.add_file(&name, &file, &header)?;
        }
        let digests = FileDigests {
            weights: weights_digest.finish(),
            tokenizer: digest::sha256(&tokenizer_bytes),
            chat_template: digest::sha256(&template_bytes),
            config: digest::sha256(&config),
        };
        let mut name = digest::directory_name(dir);
        if dir.join(digest::MANIFEST).exists() {
            let manifest = ModelManifest::parse(&text(digest::MANIFEST)?)?;
            manifest.check(&digests)?;
            name = manifest.name;
        }
        let max_positions = spec.max_positions.min(limits.max_positions).max(1);
        let (weights, range_digest) = loader.finish()?;
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            name,
            rope: Rope::new(&spec, max_positions),
            weights: Arc::new(weights),
            kernels: Kernels::detect(),
            digests,
            range_digest,
            tokenizer,
            template,
            max_positions,
            pool: Mutex::new(Pool::new(options.threads).map_err(LoadError::Thread)?),
        })
    }

    /// Uses another instruction set, which changes the speed and no bit of the results.
    /// `None` if this CPU lacks it.
    #[must_use]
    pub fn with_tier(mut self, tier: Tier) -> Option<Self> {
        self.kernels = Kernels::new(tier)?;
        Some(self)
    }

    /// The instruction set in use.
    pub fn tier(&self) -> Tier {
        self.kernels.tier()
    }

    /// The name in `manifest.json`, or the directory's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Digests of the bytes that were loaded.
    pub fn manifest(&self) -> &FileDigests {
        &self.digests
    }

    /// Digest of the weights of the layers loaded; see [`range_digests`](crate::range_digests).
    pub fn range_digest(&self) -> &[u8; 32] {
        &self.range_digest
    }

    /// The shape of the whole model.
    pub fn config(&self) -> &DecoderSpec {
        &self.weights.spec
    }

    /// The layers loaded.
    pub fn layers(&self) -> Range<usize> {
        self.weights.range.clone()
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    pub(crate) fn template(&self) -> &ChatTemplate {
        &self.template
    }

    /// Positions a sequence may have, prompt and completion together.
    pub fn max_positions(&self) -> usize {
        self.max_positions
    }

    /// The weight format computed with, for the model manifest.
    pub fn quantisation(&self) -> &'static str {
        QUANTISATION
    }

    /// The arithmetic, for the model manifest.
    pub fn engine(&self) -> &'static str {
        ENGINE_ID
    }

    /// Bytes of weights that one decoded token reads.
    pub fn bytes_per_token(&self) -> usize {
        self.weights.bytes_per_token()
    }

    /// Reads every byte of the weights once, and does nothing else with them: the memory limit of a decode step.
    pub fn read_weights(&self) -> u64 {
        self.weights.checksum()
    }

    /// An empty cache for `capacity` positions, at most [`max_positions`](Self::max_positions).
    pub fn new_cache(&self, capacity: usize) -> KvCache {
        let capacity = capacity.clamp(1, self.max_positions);
        KvCache::new(self.id, self.config(), self.weights.layers.len(), capacity)
    }
}

#[cfg(test)]
mod tests;
