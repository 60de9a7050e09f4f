//! Kernels written once, over arrays of sixteen lanes.
//!
//! Owns the source of every operation that is not the matrix product. Each
//! tier compiles these bodies for its own instruction set, so the tiers agree
//! by construction: the compiler may not reorder or contract floating-point
//! operations, and every fused multiply-add is written out.

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
fn reduce(lanes: [f32; LANES]) -> f32 {
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

/// e^x in single precision; 0 below -87, at most e^88. Relative error below 2e-7.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x > -87.0 { x } else { -87.0 };
    let clamped = if clamped < 88.0 { clamped } else { 88.0 };
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-0.693_359_4, clamped);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4_f32;
    p = p.mul_add(r, 1.398_2e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 0.5);
    p = p.mul_add(r * r, r) + 1.0;
    // The low bits of `shifted` hold n in two's complement; the shift drops the rest.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < -87.0 { 0.0 } else { p * power }
}

#[inline(always)]
pub(super) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let mut sums = [0.0f32; LANES];
    for chunk in x.as_chunks::<LANES>().0 {
        for i in 0..LANES {
            sums[i] = chunk[i].mul_add(chunk[i], sums[i]);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "widths are below 2^24")]
    let mean = reduce(sums) / x.len() as f32;
    let factor = 1.0 / (mean + eps).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = (x * factor) * weight;
    }
}

#[inline(always)]
pub(super) fn silu_mul(row: &mut [f32], at_in: usize, at_out: usize, groups: usize) {
    debug_assert!(at_out <= at_in, "results never overtake what is still to be read");
    for group in 0..groups {
        let mut pair = [0.0f32; 2 * LANES];
        pair.copy_from_slice(&row[at_in + group * 2 * LANES..][..2 * LANES]);
        let out: &mut [f32] = &mut row[at_out + group * LANES..][..LANES];
        for i in 0..LANES {
            let gate = pair[i];
            out[i] = gate / (1.0 + exp(-gate)) * pair[LANES + i];
        }
    }
}

#[inline(always)]
pub(super) fn attend(args: AttendArgs<'_>) {
    let AttendArgs {
        q,
        k,
        v,
        len,
        scale,
        scores,
        out,
    } = args;
    let blocks = len.div_ceil(LANES);
    let scores = &mut scores[..blocks * LANES];
    let max = score_keys(q, k, len, scale, scores);
    let sum = exponentiate(scores, max);
    let width = out.len() / LANES;
    let mut done = 0;
    while width - done >= 4 {
        mix_values::<4>(v, width, done, &scores[..len], sum, out);
        done += 4;
    }
    while done < width {
        mix_values::<1>(v, width, done, &scores[..len], sum, out);
        done += 1;
    }
}

/// Scores every key and returns the largest; lanes at and beyond `len` become minus infinity.
#[inline(always)]
fn score_keys(q: &[f32], k: &[Lanes], len: usize, scale: f32, scores: &mut [f32]) -> f32 {
    let width = q.len();
    let blocks = scores.len() / LANES;
    let mut block = 0;
    while blocks - block >= 4 {
        score_blocks::<4>(
            q,
            &k[block * width..][..4 * width],
            scale,
            &mut scores[block * LANES..][..4 * LANES],
        );
        block += 4;
    }
    while block < blocks {
        score_blocks::<1>(
            q,
            &k[block * width..][..width],
            scale,
            &mut scores[block * LANES..][..LANES],
        );
        block += 1;
    }
    for score in &mut scores[len..] {
        *score = f32::NEG_INFINITY;
    }
    let mut largest = [f32::NEG_INFINITY; LANES];
    for chunk in scores.as_chunks::<LANES>().0 {
        for i in 0..LANES {
            largest[i] = if chunk[i] > largest[i] {
                chunk[i]
            } else {
                largest[i]
            };
        }
    }
    largest
        .into_iter()
        .fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a })
}

#[inline(always)]
fn score_blocks<const B: usize>(q: &[f32], k: &[Lanes], scale: f32, scores: &mut [f32]) {
    let width = q.len();
    let mut acc = [[0.0f32; LANES]; B];
    for (d, q) in q.iter().enumerate() {
        for (b, acc) in acc.iter_mut().enumerate() {
            let key = &k[b * width + d].0;
            for i in 0..LANES {
                acc[i] = q.mul_add(key[i], acc[i]);
            }
        }
    }
    for (b, acc) in acc.iter().enumerate() {
        for i in 0..LANES {
            scores[b * LANES + i] = acc[i] * scale;
        }
    }
}

/// Replaces every score by e^(score - max) and returns their sum.
#[inline(always)]
fn exponentiate(scores: &mut [f32], max: f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    for chunk in scores.as_chunks_mut::<LANES>().0 {
        for i in 0..LANES {
            chunk[i] = exp(chunk[i] - max);
            sums[i] += chunk[i];
        }
    }
    reduce(sums)
}

#[inline(always)]
fn mix_values<const C: usize>(v: &[Lanes], width: usize, first: usize, p: &[f32], sum: f32, out: &mut [f32]) {
    let mut acc = [[0.0f32; LANES]; C];
    for (row, p) in v.chunks_exact(width).zip(p) {
        let row = &row[first..first + C];
        for (value, acc) in row.iter().zip(acc.iter_mut()) {
            for (acc, value) in acc.iter_mut().zip(&value.0) {
                *acc = p.mul_add(*value, *acc);
            }
        }
    }
    for (c, acc) in acc.iter().enumerate() {
        let out = &mut out[(first + c) * LANES..][..LANES];
        for i in 0..LANES {
            out[i] = acc[i] / sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_accurate_and_ends_at_zero() {
        for step in -8600..8700 {
            let x = f64::from(step) * 0.01;
            let x = crate::math::narrow(x);
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 3e-7, "{x}");
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-0.0), 1.0);
        assert!(exp(1e30).is_finite());
    }
}
