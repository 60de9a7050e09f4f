//! The model: weights, tokenizer, layer ranges, KV cache and sampling, on the CPU.
//!
//! Owns everything between text and text: a Llama-architecture decoder read
//! from `config.json`, `*.safetensors`, `tokenizer.json` and
//! `chat_template.jinja`. Refuses models it would compute wrongly, and files
//! that are not what `manifest.json` says. It opens no socket, writes no file
//! and logs nothing; prompts, tokens, activations and cached keys are
//! overwritten when they are dropped, and their types have no `Debug`.
//!
//! INVARIANT: what is computed for a token depends on the weights and on the
//! tokens before it, bit for bit: not on the split into layer ranges, the rows
//! processed together, the number of threads or the instruction set. The
//! sampled token depends on its logits, the seed and its position. So split,
//! batched, speculative and replayed runs give the same text.
//!
//! | module | owns |
//! |---|---|
//! | `spec` | the checked shape of a model |
//! | `safetensors`, `weights` | the container, the packed matrices |
//! | `kernels`, `math` | arithmetic that agrees between machines |
//! | `job`, `pool`, `scratch` | cutting work into chunks, threads, memory |
//! | `model`, `rope`, `cache` | loading and the forward pass |
//! | `tokenizer`, `template` | text to ids and back |
//! | `sampler`, `stream`, `assembler`, `generate` | from logits to a streamed completion |
//! | `digest` | file digests and the model manifest |

mod assembler;
mod cache;
mod digest;
mod error;
mod generate;
mod job;
#[expect(
    unsafe_code,
    reason = "instruction sets beyond the build target; see the module's UNSAFETY note"
)]
mod kernels;
mod math;
mod model;
mod pool;
mod rope;
mod safetensors;
mod sampler;
mod scratch;
mod spec;
mod stream;
mod template;
mod tokenizer;
mod weights;

pub use assembler::{FinishReason, Step, TextAssembler, TokenLogprob, Usage};
pub use cache::KvCache;
pub use digest::{FileDigests, LoadLimits, MANIFEST_SCHEMA, ManifestFiles, ModelManifest, describe};
pub use error::{ForwardError, LoadError};
pub use generate::{GenerateError, Generation, OwnedGeneration, SamplingParams};
pub use kernels::Tier;
pub use model::{Input, LoadOptions, Model, Output, Rows, Segment};
pub use safetensors::{
    Dtype, MAX_DIMENSIONS, MAX_HEADER_BYTES, MAX_TENSORS, SafetensorsError, SafetensorsHeader, TensorEntry,
    parse_safetensors_header,
};
pub use sampler::{Sampler, logprobs};
pub use scratch::Scratch;
pub use spec::DecoderSpec;
pub use template::{ChatMessage, Role, TemplateError};
pub use tokenizer::{Tokenizer, TokenizerError};
pub use weights::range_digests;

/// The arithmetic of this build, for the model manifest: it changes whenever a bit of a result may change.
pub const ENGINE_ID: &str = concat!(
    "bastide-engine/",
    env!("CARGO_PKG_VERSION"),
    " llama bf16-weights f32-accumulate f32-kv fma-chain-by-row-and-k-parity noise-v1"
);

/// The weight format computed with.
pub const QUANTISATION: &str = "bf16";
