//! The reasons a model is refused or a forward pass cannot run.
//!
//! Owns the error types of loading and of the forward pass, and their stable
//! codes. Messages carry file names, tensor names, shapes and counts; they
//! never carry a token, a text or an activation.

use std::io;

use crate::safetensors::SafetensorsError;

/// Why a model directory was refused. Nothing of it is served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file could not be read.
    #[error("cannot read `{file}` of the model directory")]
    Read {
        /// The file's name inside the model directory.
        file: String,
        /// What the operating system answered.
        #[source]
        source: io::Error,
    },
    /// A file is larger than the limits allow.
    #[error("`{file}` is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The file's name inside the model directory.
        file: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The directory holds no `*.safetensors` file.
    #[error("the model directory holds no `.safetensors` file, expected at least one")]
    NoWeights,
    /// A weights file is not a safetensors file within the limits.
    #[error("`{file}` is not a usable safetensors file")]
    Safetensors {
        /// The file's name inside the model directory.
        file: String,
        /// What was wrong with it.
        source: SafetensorsError,
    },
    /// `config.json` is not JSON of the expected form.
    #[error("`config.json` cannot be parsed at line {line}, column {column}: {reason}")]
    ConfigSyntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser expected and met.
        reason: String,
    },
    /// `config.json` asks for something this engine does not do.
    #[error("`config.json` has `{field}` {got}, expected {expected}")]
    Config {
        /// The field.
        field: &'static str,
        /// The value found, as text.
        got: String,
        /// What this engine accepts.
        expected: String,
    },
    /// A tensor the model needs is in none of the files.
    #[error("tensor `{name}` is missing from the weights, expected shape {expected:?}")]
    MissingTensor {
        /// The tensor.
        name: String,
        /// The shape the configuration asks for.
        expected: Vec<usize>,
    },
    /// A tensor is in two files.
    #[error("tensor `{name}` occurs again in `{file}`, expected once over all files")]
    RepeatedTensor {
        /// The tensor.
        name: String,
        /// The second file.
        file: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("tensor `{name}` in `{file}` has shape {got:?}, expected {expected:?} from `config.json`")]
    Shape {
        /// The tensor.
        name: String,
        /// Its file.
        file: String,
        /// The shape in the file.
        got: Vec<u64>,
        /// The shape the configuration asks for.
        expected: Vec<usize>,
    },
    /// A tensor that this architecture does not have: the numbers would be wrong without it.
    #[error("tensor `{name}` in `{file}` is not part of a Llama model of this configuration")]
    UnknownTensor {
        /// The tensor.
        name: String,
        /// Its file.
        file: String,
    },
    /// A weight is infinite or not a number.
    #[error("tensor `{name}` in `{file}` holds a value that is not finite")]
    NotFinite {
        /// The tensor.
        name: String,
        /// Its file.
        file: String,
    },
    /// `tokenizer.json` cannot be used.
    #[error("`tokenizer.json` cannot be used: {reason}")]
    Tokenizer {
        /// What was wrong, what is expected.
        reason: String,
    },
    /// `chat_template.jinja` cannot be used.
    #[error("`chat_template.jinja` cannot be used: {reason}")]
    ChatTemplate {
        /// What was wrong, what is expected.
        reason: String,
    },
    /// `manifest.json` is not of the form `bastide.model/v1`.
    #[error("`manifest.json` cannot be used: {reason}")]
    ManifestSyntax {
        /// What was wrong, what is expected.
        reason: String,
    },
    /// The directory is not the one that `manifest.json` describes.
    #[error("{subject} does not match `manifest.json`: expected {expected}, got {got}")]
    ManifestMismatch {
        /// The file (or `engine`, `quantisation`) that differs.
        subject: &'static str,
        /// The manifest's value.
        expected: String,
        /// The value found.
        got: String,
    },
    /// The layer range is empty or outside the model.
    #[error("layers {start}..{end} are not a range of this model's {layers} layers")]
    Layers {
        /// First layer asked for.
        start: usize,
        /// One past the last layer asked for.
        end: usize,
        /// Layers in the model.
        layers: usize,
    },
    /// A worker thread could not be started.
    #[error("cannot start an engine thread")]
    Thread(#[source] io::Error),
}

impl LoadError {
    /// A stable dotted code for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "model.read",
            Self::TooLarge { .. } => "model.too_large",
            Self::NoWeights => "model.no_weights",
            Self::Safetensors { source, .. } => source.code(),
            Self::ConfigSyntax { .. } => "model.config.syntax",
            Self::Config { .. } => "model.config.unsupported",
            Self::MissingTensor { .. } => "model.tensor.missing",
            Self::RepeatedTensor { .. } => "model.tensor.repeated",
            Self::Shape { .. } => "model.tensor.shape",
            Self::UnknownTensor { .. } => "model.tensor.unknown",
            Self::NotFinite { .. } => "model.tensor.not_finite",
            Self::Tokenizer { .. } => "model.tokenizer",
            Self::ChatTemplate { .. } => "model.chat_template",
            Self::ManifestSyntax { .. } => "model.manifest.syntax",
            Self::ManifestMismatch { .. } => "model.manifest.mismatch",
            Self::Layers { .. } => "model.layers",
            Self::Thread(_) => "model.thread",
        }
    }
}

/// Why a forward pass did not run. The cache is left as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// There were no rows to process.
    #[error("the input has no rows, expected at least one")]
    Empty,
    /// Token ids were given to a range that does not begin with the embedding, or activations to one that does.
    #[error("this layer range starts at layer {first_layer}, so its input must be {expected}")]
    InputKind {
        /// First layer of the loaded range.
        first_layer: usize,
        /// `token ids` or `activations`.
        expected: &'static str,
    },
    /// The activations are not whole rows.
    #[error("the input has {got} activations, expected a multiple of the hidden size {hidden}")]
    Ragged {
        /// Values given.
        got: usize,
        /// Values per row.
        hidden: usize,
    },
    /// An activation is infinite or not a number.
    #[error("the input activations hold a value that is not finite")]
    NotFinite,
    /// A token id is outside the vocabulary.
    #[error("the input holds a token id outside the vocabulary of {vocab} entries")]
    TokenOutOfRange {
        /// Entries of the vocabulary.
        vocab: usize,
    },
    /// `pos` is beyond what the cache holds: rows in between were never computed.
    #[error("position {pos} leaves a gap after the {cached} cached positions")]
    Gap {
        /// The position asked for.
        pos: usize,
        /// Positions in the cache.
        cached: usize,
    },
    /// The rows do not fit.
    #[error("{rows} rows at position {pos} exceed the capacity of {capacity} positions")]
    Capacity {
        /// First position.
        pos: usize,
        /// Rows to append.
        rows: usize,
        /// Positions that the cache and the model allow.
        capacity: usize,
    },
    /// The rows are not as many as the segments say.
    #[error("the input has {got} rows, its segments have {expected}")]
    Segments {
        /// Rows given.
        got: usize,
        /// Rows that the segments have together.
        expected: usize,
    },
    /// More logits are wanted than a segment has rows.
    #[error("logits of {wanted} rows are wanted from a segment of {rows}")]
    Wanted {
        /// Rows wanted.
        wanted: usize,
        /// Rows of the segment.
        rows: usize,
    },
    /// The cache was made for another model or layer range.
    #[error("the cache belongs to another model or layer range")]
    ForeignCache,
}

impl ForwardError {
    /// A stable dotted code for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "forward.empty",
            Self::InputKind { .. } => "forward.input_kind",
            Self::Ragged { .. } => "forward.ragged",
            Self::NotFinite => "forward.not_finite",
            Self::TokenOutOfRange { .. } => "forward.token_out_of_range",
            Self::Gap { .. } => "forward.gap",
            Self::Capacity { .. } => "forward.capacity",
            Self::Segments { .. } => "forward.segments",
            Self::Wanted { .. } => "forward.wanted",
            Self::ForeignCache => "forward.foreign_cache",
        }
    }
}
