//! Kernels written once, over sixteen lanes of any instruction set.
//!
//! Owns the source of every operation that is not the matrix product. Each
//! tier compiles these bodies for its own instruction set, so the tiers agree
//! by construction: the compiler may not reorder or contract floating-point
//! operations, and every fused multiply-add is written out.

use super::isa::Isa;
use super::{LANES, Lanes};

/// The values of one attention call.
pub(crate) struct AttendArgs<'a> {
    /// The query, already rotated; `head_dim` values.
    pub(crate) q: &'a [f32],
    /// Keys of this head: per block of 16 positions, `head_dim` vectors whose lanes are positions.
    pub(crate) k: &'a [Lanes],
    /// Values of this head: per position, `head_dim / 16` vectors.
    pub(crate) v: &'a [Lanes],
    /// Keys to attend to, at least one. Rows at and beyond it have no influence.
    pub(crate) len: usize,
    /// Factor on the scores.
    pub(crate) scale: f32,
    /// Room for `len` rounded up to 16 scores.
    pub(crate) scores: &'a mut [f32],
    /// The result, `head_dim` values.
    pub(crate) out: &'a mut [f32],
}

/// Adds sixteen lanes in one fixed tree.
#[inline(always)]
fn reduce<I: Isa>(isa: I, v: I::V) -> f32 {
    let mut lanes = [0.0; LANES];
    isa.store(v, &mut lanes);
    let mut eight = [0.0; 8];
    for i in 0..8 {
        eight[i] = lanes[i] + lanes[i + 8];
    }
    let four = [
        eight[0] + eight[4],
        eight[1] + eight[5],
        eight[2] + eight[6],
        eight[3] + eight[7],
    ];
    (four[0] + four[2]) + (four[1] + four[3])
}

/// e^x per lane; 0 below -87, at most e^88. Relative error below 3e-7.
#[inline(always)]
fn exp<I: Isa>(isa: I, x: I::V) -> I::V {
    let (low, high, round) = (isa.splat(-87.0), isa.splat(88.0), isa.splat(12_582_912.0));
    let clamped = isa.if_greater(x, low, x, low);
    let clamped = isa.if_greater(high, clamped, clamped, high);
    let shifted = isa.fma(clamped, isa.splat(std::f32::consts::LOG2_E), round);
    let n = isa.sub(shifted, round);
    let r = isa.fma(n, isa.splat(-0.693_359_4), clamped);
    let r = isa.fma(n, isa.splat(2.121_944_4e-4), r);
    let mut p = isa.splat(1.987_569_1e-4);
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = isa.fma(p, r, isa.splat(coefficient));
    }
    p = isa.add(isa.fma(p, isa.mul(r, r), r), isa.splat(1.0));
    let value = isa.mul(p, isa.power_of_two(shifted));
    isa.if_greater(low, x, isa.splat(0.0), value)
}

#[inline(always)]
pub(super) fn rms_norm<I: Isa>(isa: I, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let mut sums = isa.splat(0.0);
    for chunk in x.as_chunks().0 {
        let chunk = isa.load(chunk);
        sums = isa.fma(chunk, chunk, sums);
    }
    #[expect(clippy::cast_precision_loss, reason = "widths are below 2^24")]
    let mean = reduce(isa, sums) / x.len() as f32;
    let factor = isa.splat(1.0 / (mean + eps).sqrt());
    let weights = weight.as_chunks().0;
    for ((out, x), weight) in out.as_chunks_mut().0.iter_mut().zip(x.as_chunks().0).zip(weights) {
        let scaled = isa.mul(isa.load(x), factor);
        isa.store(isa.mul(scaled, isa.load(weight)), out);
    }
}

#[inline(always)]
pub(super) fn silu_mul<I: Isa>(isa: I, row: &mut [f32], at_in: usize, at_out: usize, groups: usize) {
    assert!(at_out <= at_in, "results never overtake what is still to be read");
    let one = isa.splat(1.0);
    for group in 0..groups {
        let pair = row[at_in + group * 2 * LANES..][..2 * LANES].as_chunks().0;
        let (gate, up) = (isa.load(&pair[0]), isa.load(&pair[1]));
        let negative = isa.sub(isa.splat(0.0), gate);
        let activated = isa.div(gate, isa.add(one, exp(isa, negative)));
        let out = &mut row[at_out + group * LANES..][..LANES].as_chunks_mut().0[0];
        isa.store(isa.mul(activated, up), out);
    }
}

#[inline(always)]
pub(super) fn attend<I: Isa>(isa: I, args: AttendArgs<'_>) {
    let AttendArgs {
        q,
        k,
        v,
        len,
        scale,
        scores,
        out,
    } = args;
    let scores = &mut scores[..len.next_multiple_of(LANES)];
    let max = score_keys(isa, q, k, len, scale, scores);
    let sum = exponentiate(isa, scores, max);
    let width = out.len() / LANES;
    let mut done = 0;
    while width - done >= 4 {
        mix_values::<I, 4>(isa, v, width, done, &scores[..len], sum, out);
        done += 4;
    }
    while done < width {
        mix_values::<I, 1>(isa, v, width, done, &scores[..len], sum, out);
        done += 1;
    }
}

/// Scores every key and returns the largest; lanes at and beyond `len` become minus infinity.
#[inline(always)]
fn score_keys<I: Isa>(isa: I, q: &[f32], k: &[Lanes], len: usize, scale: f32, scores: &mut [f32]) -> f32 {
    let width = q.len();
    let blocks = scores.len() / LANES;
    let mut block = 0;
    while blocks - block >= 8 {
        let keys = &k[block * width..][..8 * width];
        score_blocks::<I, 8>(isa, q, keys, scale, &mut scores[block * LANES..]);
        block += 8;
    }
    while blocks - block >= 2 {
        let keys = &k[block * width..][..2 * width];
        score_blocks::<I, 2>(isa, q, keys, scale, &mut scores[block * LANES..]);
        block += 2;
    }
    if block < blocks {
        let keys = &k[block * width..][..width];
        score_blocks::<I, 1>(isa, q, keys, scale, &mut scores[block * LANES..]);
    }
    scores[len..].fill(f32::NEG_INFINITY);
    let mut largest = isa.splat(f32::NEG_INFINITY);
    for chunk in scores.as_chunks().0 {
        let chunk = isa.load(chunk);
        largest = isa.if_greater(chunk, largest, chunk, largest);
    }
    let mut lanes = [0.0; LANES];
    isa.store(largest, &mut lanes);
    lanes
        .into_iter()
        .fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a })
}

/// Scores of `B` blocks: per key one chain in the order of the dimensions.
#[inline(always)]
fn score_blocks<I: Isa, const B: usize>(isa: I, q: &[f32], k: &[Lanes], scale: f32, scores: &mut [f32]) {
    let width = q.len();
    let keys: [&[Lanes]; B] = std::array::from_fn(|b| &k[b * width..][..width]);
    let mut acc = [isa.splat(0.0); B];
    for d in 0..width {
        let query = isa.splat(q[d]);
        for (acc, keys) in acc.iter_mut().zip(&keys) {
            *acc = isa.fma(query, isa.load(&keys[d].0), *acc);
        }
    }
    let scale = isa.splat(scale);
    for (acc, scores) in acc.iter().zip(scores.as_chunks_mut().0) {
        isa.store(isa.mul(*acc, scale), scores);
    }
}

/// Replaces every score by e^(score - max) and returns their sum.
#[inline(always)]
fn exponentiate<I: Isa>(isa: I, scores: &mut [f32], max: f32) -> f32 {
    let max = isa.splat(max);
    let mut sums = isa.splat(0.0);
    for chunk in scores.as_chunks_mut().0 {
        let value = exp(isa, isa.sub(isa.load(chunk), max));
        isa.store(value, chunk);
        sums = isa.add(sums, value);
    }
    reduce(isa, sums)
}

/// `C` vectors of the weighted sum of the values: per lane one chain in the order of the keys.
#[inline(always)]
fn mix_values<I: Isa, const C: usize>(
    isa: I,
    v: &[Lanes],
    width: usize,
    first: usize,
    p: &[f32],
    sum: f32,
    out: &mut [f32],
) {
    let mut acc = [isa.splat(0.0); C];
    for (row, p) in v.chunks_exact(width).zip(p) {
        let p = isa.splat(*p);
        for (value, acc) in row[first..first + C].iter().zip(&mut acc) {
            *acc = isa.fma(p, isa.load(&value.0), *acc);
        }
    }
    let sum = isa.splat(sum);
    for (acc, out) in acc.iter().zip(out[first * LANES..].as_chunks_mut().0) {
        isa.store(isa.div(*acc, sum), out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::Portable;
    use super::*;

    fn one(x: f32) -> f32 {
        exp(Portable, [x; LANES])[3]
    }

    #[test]
    fn the_exponential_is_accurate_and_ends_at_zero() {
        for step in -8600..8700 {
            let x = crate::math::narrow(f64::from(step) * 0.01);
            let exact = f64::from(x).exp();
            assert!((f64::from(one(x)) / exact - 1.0).abs() < 3e-7, "{x}");
        }
        assert_eq!(one(f32::NEG_INFINITY), 0.0);
        assert_eq!(one(-0.0), 1.0);
        assert!(one(1e30).is_finite());
    }
}
