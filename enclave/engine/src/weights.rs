//! The weights of a layer range, in the layout the kernels read.
//!
//! Owns the packing of safetensors tensors into tiles of 16 rows and the list
//! of tensors that a Llama model has. Refuses files whose tensors are not
//! exactly those: wrong shapes, missing or unknown names, values that are not
//! finite. Matrices are kept as bf16; f16 and f32 files are rounded to the
//! nearest bf16 when they are packed.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::LoadError;
use crate::kernels::LANES;
use crate::safetensors::{Dtype, SafetensorsHeader, TensorEntry};
use crate::spec::DecoderSpec;

/// For 16 rows: the bf16 weights of one even k and the odd k after it, row by row.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Chunk(pub(crate) [u16; 2 * LANES]);

/// A matrix of bf16 in tiles of 16 rows; `cols / 2` chunks per tile.
pub(crate) struct PackedMatrix {
    /// Rows, without the padding of the last tile.
    pub(crate) rows: usize,
    /// Columns; even.
    pub(crate) cols: usize,
    /// Tile after tile.
    pub(crate) chunks: Vec<Chunk>,
}

impl PackedMatrix {
    fn zeroed(rows: usize, cols: usize) -> Self {
        debug_assert!(
            cols.is_multiple_of(2),
            "the specification asks for multiples of 16"
        );
        let chunks = vec![Chunk([0; 2 * LANES]); rows.div_ceil(LANES) * (cols / 2)];
        Self { rows, cols, chunks }
    }

    /// Rows including the padding of the last tile.
    pub(crate) fn padded_rows(&self) -> usize {
        self.rows.div_ceil(LANES) * LANES
    }

    /// Chunks per tile.
    pub(crate) fn pairs(&self) -> usize {
        self.cols / 2
    }

    /// The bf16 at row `r` and column `k`, widened.
    pub(crate) fn value(&self, r: usize, k: usize) -> f32 {
        let chunk = &self.chunks[(r / LANES) * self.pairs() + k / 2];
        f32::from_bits(u32::from(chunk.0[(r % LANES) * 2 + k % 2]) << 16)
    }

    /// Writes row `r`, widened, to `out` of `cols` values.
    pub(crate) fn widen_row(&self, r: usize, out: &mut [f32]) {
        for (k, out) in out.iter_mut().enumerate() {
            *out = self.value(r, k);
        }
    }

    fn put(&mut self, r: usize, k: usize, value: u16) {
        let pairs = self.pairs();
        self.chunks[(r / LANES) * pairs + k / 2].0[(r % LANES) * 2 + k % 2] = value;
    }

    /// Packs row-major single-precision values.
    #[cfg(test)]
    pub(crate) fn from_rows(values: &[f32], rows: usize, cols: usize) -> Self {
        let mut matrix = Self::zeroed(rows, cols);
        for (index, value) in values.iter().enumerate() {
            matrix.put(index / cols, index % cols, round_bf16(*value));
        }
        matrix
    }
}

/// The weights of one transformer layer.
pub(crate) struct LayerWeights {
    pub(crate) attention_norm: Vec<f32>,
    /// Query rows, then key rows, then value rows.
    pub(crate) qkv: PackedMatrix,
    pub(crate) output: PackedMatrix,
    pub(crate) ffn_norm: Vec<f32>,
    /// Tiles of gate and up rows in turn.
    pub(crate) gate_up: PackedMatrix,
    pub(crate) down: PackedMatrix,
}

/// Which matrix a product is with.
#[derive(Clone, Copy)]
pub(crate) enum MatrixId {
    Qkv(usize),
    Output(usize),
    Down(usize),
    Head,
}

/// All weights of a layer range.
pub(crate) struct Weights {
    pub(crate) spec: DecoderSpec,
    pub(crate) range: Range<usize>,
    /// Present if the range holds the first layer, or the last one of a tied model.
    embedding: Option<PackedMatrix>,
    /// Present if the range holds the last layer of an untied model.
    head: Option<PackedMatrix>,
    /// Layers of the range; index 0 is layer `range.start`.
    pub(crate) layers: Vec<LayerWeights>,
    /// The final norm; empty unless the range holds the last layer.
    pub(crate) final_norm: Vec<f32>,
}

impl Weights {
    /// Whether the range begins with the embedding.
    pub(crate) fn is_head_of_model(&self) -> bool {
        self.range.start == 0
    }

    /// Whether the range ends with the logits.
    pub(crate) fn is_tail_of_model(&self) -> bool {
        self.range.end == self.spec.layers
    }

    /// The embedding, if this range begins with it.
    pub(crate) fn embedding(&self) -> Option<&PackedMatrix> {
        self.embedding.as_ref().filter(|_| self.is_head_of_model())
    }

    /// The matrix `id`. Only a tail has [`MatrixId::Head`].
    pub(crate) fn matrix(&self, id: MatrixId) -> &PackedMatrix {
        match id {
            MatrixId::Qkv(layer) => &self.layers[layer].qkv,
            MatrixId::Output(layer) => &self.layers[layer].output,
            MatrixId::Down(layer) => &self.layers[layer].down,
            MatrixId::Head => self
                .head
                .as_ref()
                .or(self.embedding.as_ref())
                .expect("only a tail computes logits"),
        }
    }

    /// Bytes of packed weights that one token reads.
    pub(crate) fn bytes_per_token(&self) -> usize {
        let layers: usize = self
            .layers
            .iter()
            .flat_map(|layer| [&layer.qkv, &layer.output, &layer.gate_up, &layer.down])
            .map(|matrix| matrix.chunks.len())
            .sum();
        let head = if self.is_tail_of_model() {
            self.matrix(MatrixId::Head).chunks.len()
        } else {
            0
        };
        (layers + head) * size_of::<Chunk>()
    }

    /// Reads every packed byte once; what a decode step cannot be faster than.
    pub(crate) fn checksum(&self) -> u64 {
        let layers = self
            .layers
            .iter()
            .flat_map(|layer| [&layer.qkv, &layer.output, &layer.gate_up, &layer.down]);
        let head = self.is_tail_of_model().then(|| self.matrix(MatrixId::Head));
        let mut sums = [0u16; 2 * LANES];
        for chunk in layers.chain(head).flat_map(|matrix| &matrix.chunks) {
            for (sum, value) in sums.iter_mut().zip(chunk.0) {
                *sum ^= value;
            }
        }
        sums.iter().map(|sum| u64::from(*sum)).sum()
    }
}

/// Where a tensor goes.
#[derive(Clone, Copy)]
enum Slot {
    Embedding,
    Head,
    FinalNorm,
    AttentionNorm(usize),
    FfnNorm(usize),
    Query(usize),
    Key(usize),
    Value(usize),
    Output(usize),
    Gate(usize),
    Up(usize),
    Down(usize),
    /// Belongs to the model but not to this range.
    Elsewhere,
}

struct Wanted {
    shape: Vec<usize>,
    slot: Slot,
    seen: bool,
}

/// Collects the tensors of a layer range from one file after the other.
pub(crate) struct Loader {
    weights: Weights,
    wanted: BTreeMap<String, Wanted>,
}

impl Loader {
    /// Prepares room for the layers `range` of `spec`, which the caller has checked.
    pub(crate) fn new(spec: &DecoderSpec, range: Range<usize>) -> Self {
        let (hidden, ffn) = (spec.hidden, spec.ffn);
        let tail = range.end == spec.layers;
        let with_embedding = range.start == 0 || (tail && spec.tied);
        let layers = range
            .clone()
            .map(|_| LayerWeights {
                attention_norm: vec![0.0; hidden],
                qkv: PackedMatrix::zeroed(spec.qkv_rows(), hidden),
                output: PackedMatrix::zeroed(hidden, spec.attention_width()),
                ffn_norm: vec![0.0; hidden],
                gate_up: PackedMatrix::zeroed(2 * ffn, hidden),
                down: PackedMatrix::zeroed(hidden, ffn),
            })
            .collect();
        let weights = Weights {
            spec: spec.clone(),
            embedding: with_embedding.then(|| PackedMatrix::zeroed(spec.vocab, hidden)),
            head: (tail && !spec.tied).then(|| PackedMatrix::zeroed(spec.vocab, hidden)),
            layers,
            final_norm: if tail { vec![0.0; hidden] } else { Vec::new() },
            range,
        };
        let wanted = wanted(&weights);
        Self { weights, wanted }
    }

    /// Packs the tensors of one file.
    pub(crate) fn add_file(
        &mut self,
        file_name: &str,
        file: &[u8],
        header: &SafetensorsHeader,
    ) -> Result<(), LoadError> {
        for (name, entry) in &header.tensors {
            let Some(wanted) = self.wanted.get_mut(name) else {
                if ignorable(name, &self.weights.spec) {
                    continue;
                }
                return Err(LoadError::UnknownTensor {
                    name: name.clone(),
                    file: file_name.to_owned(),
                });
            };
            if std::mem::replace(&mut wanted.seen, true) {
                return Err(LoadError::RepeatedTensor {
                    name: name.clone(),
                    file: file_name.to_owned(),
                });
            }
            let same = entry.shape.len() == wanted.shape.len()
                && entry
                    .shape
                    .iter()
                    .zip(&wanted.shape)
                    .all(|(got, want)| usize::try_from(*got) == Ok(*want));
            if !same {
                return Err(LoadError::Shape {
                    name: name.clone(),
                    file: file_name.to_owned(),
                    got: entry.shape.clone(),
                    expected: wanted.shape.clone(),
                });
            }
            let slot = wanted.slot;
            if !self.place(slot, entry, file) {
                return Err(LoadError::NotFinite {
                    name: name.clone(),
                    file: file_name.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// The weights, if every tensor was found.
    pub(crate) fn finish(self) -> Result<Weights, LoadError> {
        if let Some((name, wanted)) = self.wanted.into_iter().find(|(_, wanted)| !wanted.seen) {
            return Err(LoadError::MissingTensor {
                name,
                expected: wanted.shape,
            });
        }
        Ok(self.weights)
    }

    /// Packs one tensor; false if it holds a value that is not finite.
    fn place(&mut self, slot: Slot, entry: &TensorEntry, file: &[u8]) -> bool {
        let spec = &self.weights.spec;
        let (query, kv) = (spec.attention_width(), spec.kv_heads * spec.head_dim);
        let layers = &mut self.weights.layers;
        let bytes = &file[entry.bytes.clone()];
        let dtype = entry.dtype;
        let plain = |offset: usize| move |r: usize| r + offset;
        let gate = |r: usize| (r / LANES) * 2 * LANES + r % LANES;
        let up = |r: usize| gate(r) + LANES;
        match slot {
            Slot::Elsewhere => true,
            Slot::Embedding => self
                .weights
                .embedding
                .as_mut()
                .is_none_or(|m| pack(m, bytes, dtype, plain(0))),
            Slot::Head => self
                .weights
                .head
                .as_mut()
                .is_none_or(|m| pack(m, bytes, dtype, plain(0))),
            Slot::FinalNorm => vector(&mut self.weights.final_norm, bytes, dtype),
            Slot::AttentionNorm(l) => vector(&mut layers[l].attention_norm, bytes, dtype),
            Slot::FfnNorm(l) => vector(&mut layers[l].ffn_norm, bytes, dtype),
            Slot::Query(l) => pack(&mut layers[l].qkv, bytes, dtype, plain(0)),
            Slot::Key(l) => pack(&mut layers[l].qkv, bytes, dtype, plain(query)),
            Slot::Value(l) => pack(&mut layers[l].qkv, bytes, dtype, plain(query + kv)),
            Slot::Output(l) => pack(&mut layers[l].output, bytes, dtype, plain(0)),
            Slot::Gate(l) => pack(&mut layers[l].gate_up, bytes, dtype, gate),
            Slot::Up(l) => pack(&mut layers[l].gate_up, bytes, dtype, up),
            Slot::Down(l) => pack(&mut layers[l].down, bytes, dtype, plain(0)),
        }
    }
}

/// Every tensor of the model, with its place in this range.
fn wanted(weights: &Weights) -> BTreeMap<String, Wanted> {
    let spec = &weights.spec;
    let mut all = BTreeMap::new();
    let mut want = |name: String, shape: &[usize], slot: Slot| {
        all.insert(
            name,
            Wanted {
                shape: shape.to_vec(),
                slot,
                seen: false,
            },
        );
    };
    let here = |present: bool, slot: Slot| if present { slot } else { Slot::Elsewhere };
    let matrix = [spec.vocab, spec.hidden];
    want(
        "model.embed_tokens.weight".to_owned(),
        &matrix,
        here(weights.embedding.is_some(), Slot::Embedding),
    );
    if !spec.tied {
        want(
            "lm_head.weight".to_owned(),
            &matrix,
            here(weights.head.is_some(), Slot::Head),
        );
    }
    want(
        "model.norm.weight".to_owned(),
        &[spec.hidden],
        here(weights.is_tail_of_model(), Slot::FinalNorm),
    );
    let (hidden, query, kv) = (spec.hidden, spec.attention_width(), spec.kv_heads * spec.head_dim);
    for layer in 0..spec.layers {
        let inside = weights.range.contains(&layer);
        let local = layer.wrapping_sub(weights.range.start);
        let mut want = |suffix: &str, shape: &[usize], slot: Slot| {
            want(
                format!("model.layers.{layer}.{suffix}.weight"),
                shape,
                here(inside, slot),
            );
        };
        want("input_layernorm", &[hidden], Slot::AttentionNorm(local));
        want("post_attention_layernorm", &[hidden], Slot::FfnNorm(local));
        want("self_attn.q_proj", &[query, hidden], Slot::Query(local));
        want("self_attn.k_proj", &[kv, hidden], Slot::Key(local));
        want("self_attn.v_proj", &[kv, hidden], Slot::Value(local));
        want("self_attn.o_proj", &[hidden, query], Slot::Output(local));
        want("mlp.gate_proj", &[spec.ffn, hidden], Slot::Gate(local));
        want("mlp.up_proj", &[spec.ffn, hidden], Slot::Up(local));
        want("mlp.down_proj", &[hidden, spec.ffn], Slot::Down(local));
    }
    all
}

/// Tensors that exporters write although the model does not use them: copies and tables.
fn ignorable(name: &str, spec: &DecoderSpec) -> bool {
    (spec.tied && name == "lm_head.weight") || name.ends_with(".self_attn.rotary_emb.inv_freq")
}

/// Packs a row-major tensor, row r going to row `target(r)`.
fn pack(matrix: &mut PackedMatrix, bytes: &[u8], dtype: Dtype, target: impl Fn(usize) -> usize) -> bool {
    let cols = matrix.cols;
    let mut finite = true;
    let mut place = |index: usize, value: u16| {
        finite &= value & 0x7f80 != 0x7f80;
        matrix.put(target(index / cols), index % cols, value);
    };
    match dtype {
        Dtype::Bf16 => {
            for (index, value) in bytes.as_chunks::<2>().0.iter().enumerate() {
                place(index, u16::from_le_bytes(*value));
            }
        }
        Dtype::F16 => {
            for (index, value) in bytes.as_chunks::<2>().0.iter().enumerate() {
                place(index, round_bf16(widen_f16(u16::from_le_bytes(*value))));
            }
        }
        Dtype::F32 => {
            for (index, value) in bytes.as_chunks::<4>().0.iter().enumerate() {
                place(index, round_bf16(f32::from_le_bytes(*value)));
            }
        }
    }
    finite
}

/// Widens a tensor of one dimension.
fn vector(out: &mut [f32], bytes: &[u8], dtype: Dtype) -> bool {
    match dtype {
        Dtype::Bf16 => {
            for (out, value) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *out = f32::from_bits(u32::from(u16::from_le_bytes(*value)) << 16);
            }
        }
        Dtype::F16 => {
            for (out, value) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *out = widen_f16(u16::from_le_bytes(*value));
            }
        }
        Dtype::F32 => {
            for (out, value) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *out = f32::from_le_bytes(*value);
            }
        }
    }
    out.iter().all(|value| value.is_finite())
}

/// The nearest bf16, ties to even; not-a-number and infinity stay not finite.
fn round_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = if value.is_finite() {
        bits + 0x7fff + ((bits >> 16) & 1)
    } else {
        bits | 0x7f80_0000
    };
    u16::try_from(rounded >> 16).expect("sixteen bits remain")
}

/// IEEE half to single precision, exactly.
fn widen_f16(half: u16) -> f32 {
    let sign = u32::from(half >> 15) << 31;
    let exponent = u32::from(half >> 10) & 0x1f;
    let mantissa = u32::from(half & 0x3ff);
    match exponent {
        0 => {
            let tiny = f32::from(half & 0x3ff) * f32::from_bits(103 << 23);
            f32::from_bits(tiny.to_bits() | sign)
        }
        31 => f32::from_bits(sign | 0x7f80_0000 | (mantissa << 13)),
        _ => f32::from_bits(sign | ((exponent + 112) << 23) | (mantissa << 13)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_widen_and_singles_round_as_ieee_says() {
        assert_eq!(widen_f16(0x3c00), 1.0);
        assert_eq!(widen_f16(0xc000), -2.0);
        assert_eq!(widen_f16(0x0001), 5.960_464_5e-8);
        assert!(widen_f16(0x7c00).is_infinite());
        assert_eq!(round_bf16(1.0), 0x3f80);
        assert_eq!(round_bf16(f32::from_bits(0x3f80_8000)), 0x3f80);
        assert_eq!(round_bf16(f32::from_bits(0x3f81_8000)), 0x3f82);
        assert_eq!(round_bf16(f32::NAN) & 0x7f80, 0x7f80);
        assert_eq!(round_bf16(f32::MAX) & 0x7f80, 0x7f80);
    }

    #[test]
    fn a_packed_matrix_gives_its_rows_back() {
        let values: Vec<f32> = (0..20u16 * 16).map(|v| f32::from(v % 200)).collect();
        let matrix = PackedMatrix::from_rows(&values, 20, 16);
        assert_eq!((matrix.padded_rows(), matrix.chunks.len()), (32, 16));
        let mut row = vec![0.0; 16];
        matrix.widen_row(19, &mut row);
        assert_eq!(row, values[19 * 16..]);
    }
}
