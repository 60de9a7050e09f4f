//! The tiers against each other, bit for bit, and against plain sums.

use super::*;
use crate::weights::PackedMatrix;

fn noise(seed: &mut u64) -> f32 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    f32::from(u16::try_from(*seed >> 48).unwrap()) / 32_768.0 - 1.0
}

fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut seed = seed;
    (0..count).map(|_| noise(&mut seed)).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn products_agree_between_tiers_token_counts_and_a_plain_sum() {
    for (rows, cols) in [(16, 16), (48, 32), (176, 96)] {
        let weights = values(rows * cols, 1);
        let matrix = PackedMatrix::from_rows(&weights, rows, cols);
        for n in [1, 2, 3, 5, 8, 15, 17] {
            let x = values(n * cols, 2);
            let mut reference = vec![0.0; n * rows];
            for m in 0..n {
                portable::matmul(
                    &matrix.chunks,
                    cols / 2,
                    &x[m * cols..][..cols],
                    1,
                    &mut reference[m * rows..],
                    rows,
                );
                for r in 0..rows {
                    let exact: f64 = (0..cols)
                        .map(|k| f64::from(matrix.value(r, k)) * f64::from(x[m * cols + k]))
                        .sum();
                    assert!((exact - f64::from(reference[m * rows + r])).abs() < 1e-4);
                }
            }
            for tier in Tier::available() {
                let mut out = vec![f32::NAN; n * rows];
                Kernels::new(tier)
                    .unwrap()
                    .matmul(&matrix.chunks, cols / 2, &x, n, &mut out, rows);
                assert_eq!(bits(&out), bits(&reference), "{tier:?} {rows}x{cols} {n}");
            }
        }
    }
}

#[test]
fn norm_activation_and_attention_agree_between_tiers() {
    for tier in Tier::available() {
        let (kernels, portable) = (Kernels::new(tier).unwrap(), Kernels::new(Tier::Portable).unwrap());
        let (x, w) = (values(96, 3), values(96, 4));
        let run = |k: Kernels| {
            let mut out = vec![0.0; 96];
            k.rms_norm(&x, &w, 1e-5, &mut out);
            let mut row: Vec<f32> = x.iter().map(|v| v * 9.0).collect();
            k.silu_mul(&mut row, 0, 0, 3);
            let head = values(1_000 * 48, 5);
            let lanes: Vec<Lanes> = head.as_chunks::<LANES>().0.iter().map(|c| Lanes(*c)).collect();
            for len in [1, 15, 16, 17, 65, 200] {
                let (mut scores, mut mixed) = (vec![0.0; 208], vec![0.0; 48]);
                k.attend(AttendArgs {
                    q: &x[..48],
                    k: &lanes,
                    v: &lanes,
                    len,
                    scale: 0.3,
                    scores: &mut scores,
                    out: &mut mixed,
                });
                out.extend(mixed);
            }
            out.extend(row);
            bits(&out)
        };
        assert_eq!(run(kernels), run(portable), "{tier:?}");
    }
}

#[test]
fn attention_never_depends_on_rows_beyond_its_length() {
    let q = values(32, 6);
    let clean = vec![Lanes(values(16, 7).try_into().unwrap()); 64 * 32];
    for len in [1, 5, 16, 33] {
        let run = |poison: bool| {
            let (mut k, mut v) = (clean.clone(), clean.clone());
            if poison {
                for position in len..512 {
                    for d in 0..32 {
                        k[(position / LANES) * 32 + d].0[position % LANES] = f32::NAN;
                    }
                    v[position * 2] = Lanes([f32::NAN; LANES]);
                    v[position * 2 + 1] = Lanes([f32::NAN; LANES]);
                }
            }
            let (mut scores, mut out) = (vec![f32::NAN; 64], vec![0.0; 32]);
            let kernels = Kernels::detect();
            kernels.attend(AttendArgs {
                q: &q,
                k: &k,
                v: &v,
                len,
                scale: 1.0,
                scores: &mut scores,
                out: &mut out,
            });
            bits(&out)
        };
        assert_eq!(run(false), run(true));
    }
}
