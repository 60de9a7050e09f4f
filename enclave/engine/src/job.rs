//! Pieces of a forward pass that can be cut into independent chunks.
//!
//! Owns what one chunk computes and where its result goes. A chunk is a range
//! of output rows, or of heads and tokens; its result never depends on who
//! computes it, on the other chunks, or on their number.

use std::sync::Arc;

use crate::cache::LayerCache;
use crate::kernels::{AttendArgs, Kernels, LANES};
use crate::scratch::Buffer;
use crate::weights::{MatrixId, PackedMatrix, Weights};

/// Tiles of one chunk; even, so that gate and up tiles stay together.
const TILES: usize = 8;
/// Tokens of one attention chunk.
const TOKENS: usize = 8;
/// Multiply-adds below which sharing costs more than it saves.
const WORTH_SHARING: usize = 64 * 1024;

/// One parallel step over `n` tokens.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) kernels: Kernels,
    pub(crate) weights: Arc<Weights>,
    pub(crate) n: usize,
    pub(crate) kind: JobKind,
}

#[derive(Clone)]
pub(crate) enum JobKind {
    /// Product with a matrix; output rows are padded to whole tiles.
    Linear(MatrixId),
    /// Product with the gate and up matrices of a layer, then the gated activation.
    Gated(usize),
    /// Attention of every head for the tokens from `pos` on; the input holds the qkv rows.
    Attend { layer: Arc<LayerCache>, pos: usize },
}

/// Memory a thread needs to compute chunks.
#[derive(Default)]
pub(crate) struct Workspace {
    pub(crate) chunk: Buffer,
    pub(crate) scores: Buffer,
}

impl Workspace {
    pub(crate) fn wipe(&mut self) {
        self.chunk.wipe();
        self.scores.wipe();
    }
}

impl Job {
    /// How many chunks there are.
    pub(crate) fn chunks(&self) -> usize {
        match &self.kind {
            JobKind::Linear(id) => tiles(self.weights.matrix(*id)).div_ceil(TILES),
            JobKind::Gated(layer) => tiles(&self.weights.layers[*layer].gate_up).div_ceil(TILES),
            JobKind::Attend { .. } => self.weights.spec.heads * self.n.div_ceil(TOKENS),
        }
    }

    /// Whether it is worth waking another thread.
    pub(crate) fn worth_sharing(&self) -> bool {
        let work = match &self.kind {
            JobKind::Linear(id) => {
                let matrix = self.weights.matrix(*id);
                self.n * matrix.rows * matrix.cols
            }
            JobKind::Gated(layer) => {
                let matrix = &self.weights.layers[*layer].gate_up;
                self.n * matrix.rows * matrix.cols
            }
            JobKind::Attend { pos, .. } => self.n * (pos + self.n) * self.weights.spec.attention_width(),
        };
        work >= WORTH_SHARING && self.chunks() > 1
    }

    /// Values a chunk's computation needs at most.
    pub(crate) fn chunk_len(&self) -> usize {
        match &self.kind {
            JobKind::Linear(_) | JobKind::Gated(_) => self.n * TILES * LANES,
            JobKind::Attend { .. } => self.n.min(TOKENS) * self.weights.spec.head_dim,
        }
    }

    /// Values that the scores of a chunk need at most.
    pub(crate) fn scores_len(&self) -> usize {
        match &self.kind {
            JobKind::Linear(_) | JobKind::Gated(_) => 0,
            JobKind::Attend { pos, .. } => (pos + self.n).div_ceil(LANES) * LANES,
        }
    }

    /// Values in one row of the whole output.
    pub(crate) fn out_width(&self) -> usize {
        match &self.kind {
            JobKind::Linear(id) => self.weights.matrix(*id).padded_rows(),
            JobKind::Gated(_) => self.weights.spec.ffn,
            JobKind::Attend { .. } => self.weights.spec.attention_width(),
        }
    }

    /// Computes one chunk into `out` of [`chunk_len`](Self::chunk_len) values.
    pub(crate) fn compute(&self, chunk: usize, input: &[f32], out: &mut [f32], scores: &mut [f32]) {
        match &self.kind {
            JobKind::Linear(id) => {
                let matrix = self.weights.matrix(*id);
                self.product(matrix, chunk, input, out);
            }
            JobKind::Gated(layer) => {
                let matrix = &self.weights.layers[*layer].gate_up;
                let width = self.product(matrix, chunk, input, out);
                for m in 0..self.n {
                    self.kernels
                        .silu_mul(out, m * width, m * width / 2, width / (2 * LANES));
                }
            }
            JobKind::Attend { layer, pos } => self.attend(layer, *pos, chunk, input, out, scores),
        }
    }

    /// Copies a computed chunk to its place in the whole output.
    pub(crate) fn scatter(&self, chunk: usize, from: &[f32], out: &mut [f32]) {
        let total = self.out_width();
        let (first_token, tokens, at, width) = match &self.kind {
            JobKind::Linear(id) => {
                let width = chunk_tiles(self.weights.matrix(*id), chunk) * LANES;
                (0, self.n, chunk * TILES * LANES, width)
            }
            JobKind::Gated(layer) => {
                let width = chunk_tiles(&self.weights.layers[*layer].gate_up, chunk) * LANES / 2;
                (0, self.n, chunk * TILES * LANES / 2, width)
            }
            JobKind::Attend { .. } => {
                let (head, first) = self.head_and_token(chunk);
                let width = self.weights.spec.head_dim;
                (first, TOKENS.min(self.n - first), head * width, width)
            }
        };
        for (m, row) in from.chunks_exact(width).take(tokens).enumerate() {
            out[(first_token + m) * total + at..][..width].copy_from_slice(row);
        }
    }

    /// Multiplies with the chunk's tiles; returns the width of the rows written.
    fn product(&self, matrix: &PackedMatrix, chunk: usize, input: &[f32], out: &mut [f32]) -> usize {
        let (pairs, tiles) = (matrix.pairs(), chunk_tiles(matrix, chunk));
        let weights = &matrix.chunks[chunk * TILES * pairs..][..tiles * pairs];
        let width = tiles * LANES;
        self.kernels
            .matmul(weights, pairs, input, self.n, &mut out[..self.n * width], width);
        width
    }

    fn head_and_token(&self, chunk: usize) -> (usize, usize) {
        (
            chunk % self.weights.spec.heads,
            chunk / self.weights.spec.heads * TOKENS,
        )
    }

    fn attend(
        &self,
        layer: &LayerCache,
        pos: usize,
        chunk: usize,
        input: &[f32],
        out: &mut [f32],
        scores: &mut [f32],
    ) {
        let spec = &self.weights.spec;
        let (head, first) = self.head_and_token(chunk);
        let kv_head = head / (spec.heads / spec.kv_heads);
        let width = spec.head_dim;
        for (m, out) in out.chunks_exact_mut(width).take(self.n - first).enumerate() {
            let token = first + m;
            self.kernels.attend(AttendArgs {
                q: &input[token * spec.qkv_rows() + head * width..][..width],
                k: layer.keys(kv_head),
                v: layer.values(kv_head),
                len: pos + token + 1,
                scale: spec.score_scale(),
                scores,
                out,
            });
        }
    }
}

fn tiles(matrix: &PackedMatrix) -> usize {
    matrix.rows.div_ceil(LANES)
}

fn chunk_tiles(matrix: &PackedMatrix, chunk: usize) -> usize {
    TILES.min(tiles(matrix) - chunk * TILES)
}
