//! Rotary positions.
//!
//! Owns the table of sines and cosines and the rotation of a head. The angle
//! is formed in single precision, as the reference implementations do, so that
//! a trained model sees the angles it was trained with. Refuses nothing: the
//! caller stays below the positions the table was made for.

use crate::math;
use crate::spec::DecoderSpec;

/// Sines and cosines for every position.
pub(crate) struct Rope {
    /// Per position: `head_dim / 2` cosines, then as many sines.
    table: Vec<f32>,
    half: usize,
}

impl Rope {
    /// The table for positions below `positions`.
    pub(crate) fn new(spec: &DecoderSpec, positions: usize) -> Self {
        let half = spec.head_dim / 2;
        let log_theta = math::ln(spec.rope_theta);
        let real = |value: usize| f64::from(u32::try_from(value).expect("checked to be small"));
        let frequencies: Vec<f32> = (0..half)
            .map(|i| math::narrow(math::exp(-log_theta * (real(i) / real(half)))))
            .collect();
        let mut table = Vec::with_capacity(positions * half * 2);
        for pos in 0..positions {
            let pos = math::narrow(real(pos));
            let pairs = || frequencies.iter().map(|f| math::sin_cos(f64::from(pos * f)));
            table.extend(pairs().map(|(_, cos)| math::narrow(cos)));
            table.extend(pairs().map(|(sin, _)| math::narrow(sin)));
        }
        Self { table, half }
    }

    /// Rotates one head of `head_dim` values at position `pos`: lane i with lane i + half.
    pub(crate) fn rotate(&self, pos: usize, head: &mut [f32]) {
        let row = &self.table[pos * self.half * 2..][..self.half * 2];
        let (cos, sin) = row.split_at(self.half);
        let (low, high) = head.split_at_mut(self.half);
        for (((a, b), cos), sin) in low.iter_mut().zip(high).zip(cos).zip(sin) {
            let (x, y) = (*a, *b);
            *a = x * cos - y * sin;
            *b = y * cos + x * sin;
        }
    }
}
