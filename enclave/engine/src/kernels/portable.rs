//! The kernels in plain Rust.
//!
//! Owns the reference for the lane order. `f32::mul_add` is correctly rounded
//! with or without an FMA instruction, so this tier agrees with the others;
//! without one it is slow.

use super::isa::Portable;
use super::{AttendArgs, LANES, lanes};
use crate::weights::Chunk;

pub(super) fn matmul(w: &[Chunk], pairs: usize, x: &[f32], n: usize, out: &mut [f32], stride: usize) {
    for (t, tile) in w.chunks_exact(pairs).enumerate() {
        for m in 0..n {
            let row = &x[m * pairs * 2..][..pairs * 2];
            let mut even = [0.0f32; LANES];
            let mut odd = [0.0f32; LANES];
            for (chunk, pair) in tile.iter().zip(row.as_chunks::<2>().0) {
                for i in 0..LANES {
                    even[i] = widen(chunk.0[2 * i]).mul_add(pair[0], even[i]);
                    odd[i] = widen(chunk.0[2 * i + 1]).mul_add(pair[1], odd[i]);
                }
            }
            for (i, out) in out[m * stride + t * LANES..][..LANES].iter_mut().enumerate() {
                *out = even[i] + odd[i];
            }
        }
    }
}

fn widen(bf16: u16) -> f32 {
    f32::from_bits(u32::from(bf16) << 16)
}

pub(super) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    lanes::rms_norm(Portable, x, weight, eps, out);
}

pub(super) fn silu_mul(row: &mut [f32], at_in: usize, at_out: usize, groups: usize) {
    lanes::silu_mul(Portable, row, at_in, at_out, groups);
}

pub(super) fn attend(args: AttendArgs<'_>) {
    lanes::attend(Portable, args);
}
