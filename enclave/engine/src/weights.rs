//! The weights of a layer range, in the layout the kernels read.
//!
//! Owns the packing of safetensors tensors into tiles of 16 rows and the list
//! of tensors that a Llama model has. Refuses files whose tensors are not
//! exactly those: wrong shapes, missing or unknown names, values that are not
//! finite. Matrices are kept as bf16; f16 and f32 files are rounded to the
//! nearest bf16 when they are packed.

use std::ops::Range;

use crate::error::LoadError;
use crate::kernels::LANES;
use crate::safetensors::{Dtype, SafetensorsHeader};
use crate::spec::DecoderSpec;

mod range_digest;
mod tensors;

use range_digest::TensorDigests;
use tensors::{Inventory, Slot};

pub use range_digest::range_digests;

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

/// Collects the tensors of a layer range from one file after the other.
pub(crate) struct Loader {
    weights: Weights,
    inventory: Inventory,
    digests: TensorDigests,
}

impl Loader {
    /// Prepares room for the layers `range` of `spec`, which the caller has checked.
    pub(crate) fn new(spec: &DecoderSpec, range: Range<usize>) -> Self {
        let (hidden, ffn) = (spec.hidden, spec.ffn);
        let tail = range.end == spec.layers;
        let inventory = Inventory::new(spec, &range);
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
            embedding: inventory
                .has_embedding()
                .then(|| PackedMatrix::zeroed(spec.vocab, hidden)),
            head: (tail && !spec.tied).then(|| PackedMatrix::zeroed(spec.vocab, hidden)),
            layers,
            final_norm: if tail { vec![0.0; hidden] } else { Vec::new() },
            range,
        };
        Self {
            weights,
            inventory,
            digests: TensorDigests::default(),
        }
    }

    /// Packs the tensors of one file.
    pub(crate) fn add_file(
        &mut self,
        file_name: &str,
        file: &[u8],
        header: &SafetensorsHeader,
    ) -> Result<(), LoadError> {
        for (name, entry) in &header.tensors {
            let Some(slot) = self.inventory.admit(name, entry, file_name)? else {
                continue;
            };
            let bytes = &file[entry.bytes.clone()];
            if !self.place(slot, entry.dtype, bytes) {
                return Err(LoadError::NotFinite {
                    name: name.clone(),
                    file: file_name.to_owned(),
                });
            }
            self.digests.add(name, entry, bytes);
        }
        Ok(())
    }

    /// The weights and their digest, if every tensor was found.
    pub(crate) fn finish(self) -> Result<(Weights, [u8; 32]), LoadError> {
        self.inventory.finish()?;
        let digest = self.digests.of(&self.weights.spec, &self.weights.range);
        Ok((self.weights, digest))
    }

    /// Packs one tensor; false if it holds a value that is not finite.
    fn place(&mut self, slot: Slot, dtype: Dtype, bytes: &[u8]) -> bool {
        let spec = &self.weights.spec;
        let (query, kv) = (spec.attention_width(), spec.kv_heads * spec.head_dim);
        let layers = &mut self.weights.layers;
        let plain = |offset: usize| move |r: usize| r + offset;
        let gate = |r: usize| (r / LANES) * 2 * LANES + r % LANES;
        let up = |r: usize| gate(r) + LANES;
        match slot {
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
