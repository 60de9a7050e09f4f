//! The kernels for AVX2 with FMA.
//!
//! Owns the register blocking for 16 registers of 8 lanes: a tile is two
//! halves of 8 rows, so one (tile, token) takes four accumulators. Lane order
//! as in the other tiers.

use std::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_and_si256, _mm256_castsi256_ps, _mm256_fmadd_ps, _mm256_load_si256,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_slli_epi32, _mm256_storeu_ps,
};

use super::isa::Avx2;
use super::{AttendArgs, LANES, lanes};
use crate::weights::Chunk;

/// The caller has checked the lengths, as `Kernels::matmul` does.
#[target_feature(enable = "avx2,fma")]
pub(super) fn matmul(w: &[Chunk], pairs: usize, x: &[f32], n: usize, out: &mut [f32], stride: usize) {
    let mut m = 0;
    while n - m >= 2 {
        tokens::<1, 2>(w, pairs, x, m, out, stride);
        m += 2;
    }
    if n - m == 1 {
        tokens::<2, 1>(w, pairs, x, m, out, stride);
    }
}

/// All tiles for `M` tokens from `m` on, `T` tiles at a time.
#[target_feature(enable = "avx2,fma")]
fn tokens<const T: usize, const M: usize>(
    w: &[Chunk],
    pairs: usize,
    x: &[f32],
    m: usize,
    out: &mut [f32],
    stride: usize,
) {
    let x = &x[m * pairs * 2..][..M * pairs * 2];
    let out = &mut out[m * stride..];
    let mut blocks = w.chunks_exact(pairs * T);
    let mut tile = 0;
    for block in &mut blocks {
        block_product::<T, M>(block, pairs, x, &mut out[tile * LANES..], stride);
        tile += T;
    }
    for block in blocks.remainder().chunks_exact(pairs) {
        block_product::<1, M>(block, pairs, x, &mut out[tile * LANES..], stride);
        tile += 1;
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn block_product<const T: usize, const M: usize>(
    w: &[Chunk],
    pairs: usize,
    x: &[f32],
    out: &mut [f32],
    stride: usize,
) {
    assert_eq!(w.len(), T * pairs, "the block is whole tiles");
    assert_eq!(x.len(), M * pairs * 2, "the tokens are whole rows");
    assert!(
        out.len() >= (M - 1) * stride + T * LANES,
        "the output holds the block"
    );
    let high = _mm256_set1_epi32(i32::from_ne_bytes(0xffff_0000_u32.to_ne_bytes()));
    let mut acc: [[[[__m256; 2]; 2]; M]; T] = [[[[_mm256_setzero_ps(); 2]; 2]; M]; T];
    for p in 0..pairs {
        for t in 0..T {
            for half in 0..2 {
                // SAFETY: t < T and p < pairs, so the index is below T * pairs, the
                // length checked above; `Chunk` is 64 bytes aligned to 64, and
                // `half` selects one of its two 32-byte halves.
                let both = unsafe {
                    let chunk = w.as_ptr().add(t * pairs + p);
                    _mm256_load_si256(chunk.cast::<std::arch::x86_64::__m256i>().add(half))
                };
                let even = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(both));
                let odd = _mm256_castsi256_ps(_mm256_and_si256(both, high));
                for m in 0..M {
                    // SAFETY: m < M and p < pairs, so both indices are below
                    // M * pairs * 2, the length checked above.
                    let (x0, x1) = unsafe {
                        let at = m * pairs * 2 + 2 * p;
                        (*x.get_unchecked(at), *x.get_unchecked(at + 1))
                    };
                    let acc = &mut acc[t][m][half];
                    acc[0] = _mm256_fmadd_ps(even, _mm256_set1_ps(x0), acc[0]);
                    acc[1] = _mm256_fmadd_ps(odd, _mm256_set1_ps(x1), acc[1]);
                }
            }
        }
    }
    for (t, acc) in acc.iter().enumerate() {
        for (m, halves) in acc.iter().enumerate() {
            let out = &mut out[m * stride + t * LANES..][..LANES];
            for (out, [even, odd]) in out.as_chunks_mut::<8>().0.iter_mut().zip(halves) {
                // SAFETY: `out` is exactly 8 values; the store needs no alignment.
                unsafe { _mm256_storeu_ps(out.as_mut_ptr(), _mm256_add_ps(*even, *odd)) };
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    // SAFETY: this function is compiled for, and so only reached on, a CPU with these instructions.
    lanes::rms_norm(unsafe { Avx2::new() }, x, weight, eps, out);
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn silu_mul(row: &mut [f32], at_in: usize, at_out: usize, groups: usize) {
    // SAFETY: this function is compiled for, and so only reached on, a CPU with these instructions.
    lanes::silu_mul(unsafe { Avx2::new() }, row, at_in, at_out, groups);
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn attend(args: AttendArgs<'_>) {
    // SAFETY: this function is compiled for, and so only reached on, a CPU with these instructions.
    lanes::attend(unsafe { Avx2::new() }, args);
}
