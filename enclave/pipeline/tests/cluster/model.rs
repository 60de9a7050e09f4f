//! A small model whose every row depends on all rows before it, in every layer.
//!
//! Owns the arithmetic that stages share with the one node that they are
//! compared with. A row that is computed from a wrong or stale cache comes out
//! differently.

use bastide_pipeline::message::Sampling;

pub(crate) const VOCABULARY: u32 = 97;
pub(crate) const EOS: u32 = 3;
pub(crate) const LAYERS: u32 = 12;

fn mix(a: u32, b: u32) -> u32 {
    let mut z = (u64::from(a) << 32 | u64::from(b)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u32::try_from((z ^ (z >> 31)) & 0x00ff_ffff).unwrap()
}

/// KV cache of a range of layers: for each row, each layer's state.
#[derive(Default, Clone)]
pub(crate) struct Cache {
    rows: Vec<Vec<u32>>,
}

impl Cache {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn cut(&mut self, pos: usize) {
        self.rows.truncate(pos);
    }

    /// One row through the layers; 24 bits, which an f32 holds exactly.
    pub(crate) fn row(&mut self, layers: std::ops::Range<u32>, input: u32) -> u32 {
        let before = self.rows.last().cloned();
        let mut value = input;
        let mut states = Vec::new();
        for (place, layer) in layers.enumerate() {
            let past = before.as_ref().map_or(7, |before| before[place]);
            value = mix(mix(past, layer), value);
            states.push(value);
        }
        self.rows.push(states);
        value
    }
}

/// The token of position `pos`, given the last layer's row before it.
pub(crate) fn choose(row: u32, sampling: &Sampling, pos: u32) -> u32 {
    let noise = if sampling.temperature > 0.0 {
        u32::try_from(sampling.seed & 0xffff_ffff).unwrap() ^ mix(pos, 1)
    } else {
        0
    };
    mix(row, noise) % VOCABULARY
}

/// What one node answers.
pub(crate) fn plain(prompt: &[u32], budget: u32, max_positions: u32, sampling: &Sampling) -> Vec<u32> {
    let mut cache = Cache::default();
    let mut row = 0;
    for id in prompt {
        row = cache.row(0..LAYERS, *id);
    }
    let mut answer = Vec::new();
    let room = max_positions - u32::try_from(prompt.len()).unwrap();
    while u32::try_from(answer.len()).unwrap() < budget.min(room) {
        let id = choose(row, sampling, u32::try_from(cache.len()).unwrap());
        answer.push(id);
        if id == EOS {
            break;
        }
        row = cache.row(0..LAYERS, id);
    }
    answer
}
