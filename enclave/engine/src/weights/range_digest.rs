//! The digest of the weights of a layer range: `docs/spec/pipeline.md`, Plan.
//!
//! Owns what it covers: the names, types, shapes and bytes of exactly the
//! tensors that the range computes with, as they are in the files, whichever
//! files those are. So that it can be made of a file after the other, and for
//! many ranges at once, it covers the SHA-256 of each tensor's bytes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use ring::digest::{Context, SHA256};

use super::tensors::Inventory;
use crate::digest::{self, LoadLimits};
use crate::error::LoadError;
use crate::safetensors::{Dtype, TensorEntry, parse_safetensors_header};
use crate::spec::DecoderSpec;

/// Digests of tensors by name, each over type, shape and bytes.
#[derive(Default)]
pub(super) struct TensorDigests(BTreeMap<String, Vec<u8>>);

impl TensorDigests {
    /// Notes a tensor with its bytes.
    pub(super) fn add(&mut self, name: &str, entry: &TensorEntry, bytes: &[u8]) {
        let mut record = Vec::new();
        for text in [name, dtype_name(entry.dtype)] {
            record.extend(short(text.len()).to_be_bytes());
            record.extend(text.as_bytes());
        }
        record.extend(short(entry.shape.len()).to_be_bytes());
        for dimension in &entry.shape {
            record.extend(dimension.to_be_bytes());
        }
        record.extend(
            u64::try_from(bytes.len())
                .expect("a length fits 64 bits")
                .to_be_bytes(),
        );
        record.extend(digest::sha256(bytes));
        self.0.insert(name.to_owned(), record);
    }

    /// The digest of a range, whose tensors were all noted.
    pub(super) fn of(&self, spec: &DecoderSpec, range: &Range<usize>) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        context.update(b"bastide-stage-weights-v1\0");
        context.update(&short(range.start).to_be_bytes());
        context.update(&short(range.end).to_be_bytes());
        for name in Inventory::new(spec, range).names() {
            context.update(&self.0[name]);
        }
        context
            .finish()
            .as_ref()
            .try_into()
            .expect("SHA-256 has 32 bytes")
    }
}

/// The type's name in safetensors files.
const fn dtype_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::Bf16 => "BF16",
        Dtype::F16 => "F16",
        Dtype::F32 => "F32",
    }
}

/// A count of the kind that headers and configurations are limited to.
fn short(count: usize) -> u32 {
    u32::try_from(count).expect("headers and layers are limited")
}

/// The digests of the weights of `ranges` of a model directory, which is read once and not kept.
///
/// Values are not looked at: load the model for that. See
/// [`Model::range_digest`](crate::Model::range_digest) for those that were loaded.
///
/// # Errors
/// [`LoadError::Layers`] for what is no range of the model; else as loading does, short of the
/// tokenizer, the template, the manifest and what the tensors hold.
pub fn range_digests(dir: &Path, ranges: &[Range<usize>]) -> Result<Vec<[u8; 32]>, LoadError> {
    let limits = LoadLimits::default();
    let spec = DecoderSpec::parse(&digest::read(dir, digest::CONFIG, limits.text_bytes)?)?;
    for range in ranges {
        spec.check_range(range)?;
    }
    let mut inventory = Inventory::new(&spec, &(0..spec.layers));
    let mut digests = TensorDigests::default();
    for file in digest::weight_files(dir)? {
        let bytes = digest::read(dir, &file, limits.weights_bytes)?;
        let header = parse_safetensors_header(&bytes).map_err(|source| LoadError::Safetensors {
            file: file.clone(),
            source,
        })?;
        for (name, entry) in &header.tensors {
            if inventory.admit(name, entry, &file)?.is_some() {
                digests.add(name, entry, &bytes[entry.bytes.clone()]);
            }
        }
    }
    inventory.finish()?;
    Ok(ranges.iter().map(|range| digests.of(&spec, range)).collect())
}
