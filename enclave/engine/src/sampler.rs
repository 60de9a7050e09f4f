//! From logits to a token.
//!
//! Owns the choice of the next token and its log-probabilities. The choice is
//! a pure function of (logits, seed, position): no state is carried from one
//! token to the next, so that a token drafted, batched, split or replayed
//! elsewhere is the same token. Refuses nothing; parameters are checked where
//! a generation starts.
//!
//! Noise, version 1: key = SHA-256("bastide noise v1" ‖ seed u64be ‖ position
//! u64be), read as four big-endian words k0..k3. For token v,
//! u = (mix(mix(k0 + v·γ) ^ k1) >> 11 + ½) / 2^53 with SplitMix64's `mix` and
//! γ = 0x9e3779b97f4a7c15. The token is the one with the least −ln(u) / w,
//! where w is its weight e^((logit − max) / temperature): the Gumbel-max trick
//! in its exponential form. Ties go to the lower id.

use ring::digest::{Context, SHA256};
use zeroize::Zeroizing;

use crate::math;

/// Chooses tokens for one sequence.
#[derive(Debug, Clone)]
pub struct Sampler {
    temperature: f64,
    top_p: f64,
    seed: u64,
}

/// Memory for one choice.
#[derive(Default)]
pub(crate) struct Candidates {
    weights: Zeroizing<Vec<f64>>,
    order: Zeroizing<Vec<u32>>,
}

impl Sampler {
    /// A sampler; temperature 0 takes the most likely token. `top_p` outside 0..1 leaves every token in.
    pub fn new(temperature: f32, top_p: f32, seed: u64) -> Self {
        Self {
            temperature: f64::from(temperature),
            top_p: f64::from(top_p),
            seed,
        }
    }

    /// The token at absolute position `pos`, given its logits.
    pub fn target(&self, logits: &[f32], pos: usize) -> u32 {
        self.choose(logits, pos, &mut Candidates::default())
    }

    pub(crate) fn choose(&self, logits: &[f32], pos: usize, memory: &mut Candidates) -> u32 {
        let (best, max) = argmax(logits);
        if self.temperature <= 0.0 {
            return best;
        }
        let Candidates { weights, order } = memory;
        weights.clear();
        weights.extend(logits.iter().map(|logit| {
            let exponent = (f64::from(*logit) - f64::from(max)) / self.temperature;
            // Below this a token is never drawn; not-a-number compares false and is left out too.
            if exponent > -600.0 {
                math::exp(exponent)
            } else {
                0.0
            }
        }));
        if self.top_p < 1.0 {
            keep_nucleus(weights, order, self.top_p);
        }
        let noise = Noise::new(self.seed, pos);
        let mut chosen = (f64::INFINITY, best);
        for (id, weight) in (0u32..).zip(weights.iter()) {
            if *weight > 0.0 {
                let arrival = -math::ln(noise.uniform(id)) / weight;
                if arrival < chosen.0 {
                    chosen = (arrival, id);
                }
            }
        }
        chosen.1
    }
}

/// The largest logit and the lowest id that has it.
fn argmax(logits: &[f32]) -> (u32, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (id, logit) in (0u32..).zip(logits) {
        if *logit > best.1 {
            best = (id, *logit);
        }
    }
    best
}

/// Zeroes every weight outside the smallest set, most likely first, that has `top_p` of the mass.
fn keep_nucleus(weights: &mut [f64], order: &mut Vec<u32>, top_p: f64) {
    let weight_of = |id: u32| weights[usize::try_from(id).expect("ids index the vocabulary")];
    order.clear();
    order.extend(
        (0u32..)
            .zip(weights.iter())
            .filter(|(_, weight)| **weight > 0.0)
            .map(|(id, _)| id),
    );
    order.sort_unstable_by(|a, b| weight_of(*b).total_cmp(&weight_of(*a)).then(a.cmp(b)));
    let total: f64 = order.iter().map(|id| weight_of(*id)).sum();
    let mut mass = 0.0;
    let mut kept = 0;
    for id in order.iter() {
        if kept > 0 && mass >= top_p * total {
            break;
        }
        mass += weight_of(*id);
        kept += 1;
    }
    for id in &order[kept..] {
        weights[usize::try_from(*id).expect("ids index the vocabulary")] = 0.0;
    }
}

/// The noise of one position.
struct Noise {
    k0: u64,
    k1: u64,
}

impl Noise {
    fn new(seed: u64, pos: usize) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(b"bastide noise v1");
        context.update(&seed.to_be_bytes());
        context.update(&u64::try_from(pos).expect("a position fits 64 bits").to_be_bytes());
        let digest = context.finish();
        let word = |index: usize| {
            let bytes = digest.as_ref().as_chunks::<8>().0[index];
            u64::from_be_bytes(bytes)
        };
        Self {
            k0: word(0),
            k1: word(1),
        }
    }

    /// A number strictly between 0 and 1 for token `id`.
    fn uniform(&self, id: u32) -> f64 {
        let start = self
            .k0
            .wrapping_add(u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let bits = mix(mix(start) ^ self.k1) >> 11;
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let real = bits as f64;
        (real + 0.5) * (1.0 / 9_007_199_254_740_992.0)
    }
}

/// SplitMix64's finaliser [Steele, Lea, Flood 2014].
fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Natural-log probability of `id` and of the `count` most likely tokens, most likely first, at temperature 1.
pub fn logprobs(logits: &[f32], id: u32, count: usize) -> (f32, Vec<(u32, f32)>) {
    let max = f64::from(argmax(logits).1);
    let sum: f64 = logits
        .iter()
        .map(|logit| math::exp(f64::from(*logit) - max))
        .sum();
    let log_sum = max + math::ln(sum);
    let of = |logit: f32| math::narrow(f64::from(logit) - log_sum);
    let mut top: Vec<(u32, f32)> = Vec::with_capacity(count + 1);
    for (id, logit) in (0u32..).zip(logits) {
        let place = top.partition_point(|(_, other)| other >= logit);
        if place < count {
            top.insert(place, (id, *logit));
            top.truncate(count);
        }
    }
    for (_, value) in &mut top {
        *value = of(*value);
    }
    let own = usize::try_from(id)
        .ok()
        .and_then(|id| logits.get(id))
        .map_or(f32::NEG_INFINITY, |l| of(*l));
    (own, top)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_lowest_id_of_the_largest() {
        let sampler = Sampler::new(0.0, 1.0, 7);
        assert_eq!(sampler.target(&[1.0, 3.0, 3.0, f32::NAN], 0), 1);
        assert_eq!(sampler.target(&[f32::NAN, f32::NEG_INFINITY], 0), 0);
    }

    #[test]
    fn draws_follow_the_distribution() {
        let logits: Vec<f32> = [0.5f64, 0.3, 0.15, 0.05]
            .iter()
            .map(|p| math::narrow(p.ln()))
            .collect();
        for (temperature, expected) in [
            (1.0f32, [0.5, 0.3, 0.15, 0.05]),
            (0.5, [0.6849, 0.2466, 0.0616, 0.0068]),
        ] {
            let sampler = Sampler::new(temperature, 1.0, 42);
            let mut counts = [0u32; 4];
            for pos in 0..20_000 {
                counts[usize::try_from(sampler.target(&logits, pos)).unwrap()] += 1;
            }
            for (count, expected) in counts.iter().zip(expected) {
                // Five standard deviations.
                let deviation = (expected * (1.0 - expected) / 20_000.0_f64).sqrt() * 5.0;
                assert!(
                    (f64::from(*count) / 20_000.0 - expected).abs() < deviation,
                    "{counts:?}"
                );
            }
        }
    }

    #[test]
    fn different_seeds_and_positions_are_independent_and_equal_ones_equal() {
        let logits = vec![0.0f32; 64];
        let draw = |seed, pos| Sampler::new(1.0, 1.0, seed).target(&logits, pos);
        assert_eq!(draw(1, 5), draw(1, 5));
        let same_seed = (0..1_000).filter(|pos| draw(1, *pos) == draw(2, *pos)).count();
        let same_pos = (0..1_000).filter(|pos| draw(1, *pos) == draw(1, pos + 1)).count();
        assert!(
            same_seed < 40 && same_pos < 40,
            "{same_seed} {same_pos}, expected about 16"
        );
    }

    #[test]
    fn the_nucleus_is_the_smallest_set_and_ties_go_to_low_ids() {
        let logits = vec![0.0f32; 10];
        let sampler = Sampler::new(1.0, 0.25, 3);
        let drawn: std::collections::BTreeSet<u32> =
            (0..500).map(|pos| sampler.target(&logits, pos)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
        let narrow = Sampler::new(1.0, 1e-6, 3);
        assert!((0..50).all(|pos| narrow.target(&[0.0, 2.0, 1.0], pos) == 1));
    }

    #[test]
    fn log_probabilities_are_normalised_and_sorted() {
        let logits = [1.0f32, 3.0, 2.0, 3.0];
        let (own, top) = logprobs(&logits, 0, 3);
        assert_eq!(top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 3, 2]);
        let sum: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
        assert!((f64::from(own) - (1.0 - sum.ln())).abs() < 1e-6);
        assert!(logprobs(&logits, 0, 0).1.is_empty());
    }
}
