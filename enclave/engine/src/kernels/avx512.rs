//! The kernels for AVX-512F.
//!
//! Owns the register blocking for 32 registers of 16 lanes. A chunk of 64
//! bytes holds, for 16 rows, the bf16 weights of one even and one odd k: a
//! shift gives the even ones as f32, a mask the odd ones.

use std::arch::x86_64::{
    __m512, _mm512_add_ps, _mm512_and_si512, _mm512_castsi512_ps, _mm512_fmadd_ps, _mm512_load_si512,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_slli_epi32, _mm512_storeu_ps,
};

use super::isa::Avx512;
use super::{AttendArgs, LANES, lanes};
use crate::weights::Chunk;

/// The caller has checked the lengths, as `Kernels::matmul` does.
#[target_feature(enable = "avx512f,avx2,fma")]
pub(super) fn matmul(w: &[Chunk], pairs: usize, x: &[f32], n: usize, out: &mut [f32], stride: usize) {
    let mut m = 0;
    while n - m >= 8 {
        tokens::<1, 8>(w, pairs, x, m, out, stride);
        m += 8;
    }
    if n - m >= 4 {
        tokens::<2, 4>(w, pairs, x, m, out, stride);
        m += 4;
    }
    if n - m >= 2 {
        tokens::<4, 2>(w, pairs, x, m, out, stride);
        m += 2;
    }
    if n - m == 1 {
        tokens::<8, 1>(w, pairs, x, m, out, stride);
    }
}

/// All tiles for `M` tokens from `m` on, `T` tiles at a time.
#[target_feature(enable = "avx512f,avx2,fma")]
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

#[target_feature(enable = "avx512f,avx2,fma")]
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
    let high = _mm512_set1_epi32(i32::from_ne_bytes(0xffff_0000_u32.to_ne_bytes()));
    let mut acc: [[[__m512; 2]; M]; T] = [[[_mm512_setzero_ps(); 2]; M]; T];
    for p in 0..pairs {
        for (t, acc) in acc.iter_mut().enumerate() {
            // SAFETY: t < T and p < pairs, so the index is below T * pairs, the
            // length checked above; `Chunk` is 64 bytes aligned to 64.
            let both = unsafe { _mm512_load_si512(w.as_ptr().add(t * pairs + p).cast()) };
            let even = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(both));
            let odd = _mm512_castsi512_ps(_mm512_and_si512(both, high));
            for (m, [even_sum, odd_sum]) in acc.iter_mut().enumerate() {
                // SAFETY: m < M and p < pairs, so both indices are below
                // M * pairs * 2, the length checked above.
                let (x0, x1) = unsafe {
                    let at = m * pairs * 2 + 2 * p;
                    (*x.get_unchecked(at), *x.get_unchecked(at + 1))
                };
                *even_sum = _mm512_fmadd_ps(even, _mm512_set1_ps(x0), *even_sum);
                *odd_sum = _mm512_fmadd_ps(odd, _mm512_set1_ps(x1), *odd_sum);
            }
        }
    }
    for (t, acc) in acc.iter().enumerate() {
        for (m, [even, odd]) in acc.iter().enumerate() {
            let out = &mut out[m * stride + t * LANES..][..LANES];
            // SAFETY: `out` is exactly 16 values; the store needs no alignment.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), _mm512_add_ps(*even, *odd)) };
        }
    }
}

#[target_feature(enable = "avx512f,avx2,fma")]
pub(super) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    // SAFETY: this function is compiled for, and so only reached on, a CPU with these instructions.
    lanes::rms_norm(unsafe { Avx512::new() }, x, weight, eps, out);
}

#[target_feature(enable = "avx512f,avx2,fma")]
pub(super) fn silu_mul(row: &mut [f32], at_in: usize, at_out: usize, groups: usize) {
    // SAFETY: this function is compiled for, and so only reached on, a CPU with these instructions.
    lanes::silu_mul(unsafe { Avx512::new() }, row, at_in, at_out, groups);
}

#[target_feature(enable = "avx512f,avx2,fma")]
pub(super) fn attend(args: AttendArgs<'_>) {
    // SAFETY: this function is compiled for, and so only reached on, a CPU with these instructions.
    lanes::attend(unsafe { Avx512::new() }, args);
}
