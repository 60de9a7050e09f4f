//! Keys and values of the positions already processed.
//!
//! Owns the memory of one sequence on one layer range, addressed by absolute
//! position: writing at a position is the rollback. Rows at and beyond the
//! length are never read before they are rewritten. The memory is overwritten
//! with zeros when the cache is dropped. Refuses to be used with another
//! model than the one it was made for.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::kernels::{LANES, Lanes};
use crate::spec::DecoderSpec;

/// The keys and values of one layer.
pub(crate) struct LayerCache {
    /// Per head: per block of 16 positions, `head_dim` vectors whose lanes are positions.
    keys: Zeroizing<Vec<Lanes>>,
    /// Per head: per position, `head_dim / 16` vectors.
    values: Zeroizing<Vec<Lanes>>,
    head_dim: usize,
    blocks: usize,
}

impl LayerCache {
    fn new(kv_heads: usize, head_dim: usize, capacity: usize) -> Self {
        let blocks = capacity.div_ceil(LANES);
        let lanes = kv_heads * blocks * head_dim;
        Self {
            keys: Zeroizing::new(vec![Lanes::default(); lanes]),
            values: Zeroizing::new(vec![Lanes::default(); lanes]),
            head_dim,
            blocks,
        }
    }

    /// Stores one head's key and value, `head_dim` values each, at position `pos`.
    pub(crate) fn store(&mut self, head: usize, pos: usize, key: &[f32], value: &[f32]) {
        let lanes = self.blocks * self.head_dim;
        let block = &mut self.keys[head * lanes + (pos / LANES) * self.head_dim..][..self.head_dim];
        for (lanes, key) in block.iter_mut().zip(key) {
            lanes.0[pos % LANES] = *key;
        }
        let width = self.head_dim / LANES;
        let row = &mut self.values[head * lanes + pos * width..][..width];
        for (lanes, value) in row.iter_mut().zip(value.as_chunks::<LANES>().0) {
            lanes.0 = *value;
        }
    }

    /// Keys of one head, in blocks.
    pub(crate) fn keys(&self, head: usize) -> &[Lanes] {
        let lanes = self.blocks * self.head_dim;
        &self.keys[head * lanes..][..lanes]
    }

    /// Values of one head, position by position.
    pub(crate) fn values(&self, head: usize) -> &[Lanes] {
        let lanes = self.blocks * self.head_dim;
        &self.values[head * lanes..][..lanes]
    }
}

/// The keys and values of one sequence, for the layers of one [`Model`](crate::Model).
#[expect(
    missing_debug_implementations,
    reason = "it holds a user's text in another form"
)]
pub struct KvCache {
    model: u64,
    len: usize,
    capacity: usize,
    pub(crate) layers: Vec<Arc<LayerCache>>,
}

impl KvCache {
    pub(crate) fn new(model: u64, spec: &DecoderSpec, layers: usize, capacity: usize) -> Self {
        let layer = || Arc::new(LayerCache::new(spec.kv_heads, spec.head_dim, capacity));
        Self {
            model,
            len: 0,
            capacity,
            layers: (0..layers).map(|_| layer()).collect(),
        }
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Positions there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets the positions from `len` on. Their memory is overwritten when they are next used or the cache is dropped.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    pub(crate) fn belongs_to(&self, model: u64) -> bool {
        self.model == model
    }

    pub(crate) fn set_len(&mut self, len: usize) {
        self.len = len;
    }

    /// The only handle to a layer's memory, for writing.
    pub(crate) fn layer_mut(&mut self, layer: usize) -> &mut LayerCache {
        Arc::get_mut(&mut self.layers[layer]).expect("the pool gives its handle back before a job ends")
    }

    /// Fills every position from `len` on with values that are not numbers.
    #[cfg(test)]
    pub(crate) fn poison(&mut self) {
        let (len, capacity) = (self.len, self.capacity.div_ceil(LANES) * LANES);
        for layer in &mut self.layers {
            let layer = Arc::get_mut(layer).unwrap();
            let head_dim = layer.head_dim;
            let heads = layer.keys.len() / (layer.blocks * head_dim);
            let poison = vec![f32::NAN; head_dim];
            for head in 0..heads {
                for pos in len..capacity {
                    layer.store(head, pos, &poison, &poison);
                }
            }
        }
    }
}
