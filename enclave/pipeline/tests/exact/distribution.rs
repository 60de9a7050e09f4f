//! Over many seeds, what a pipeline draws has the model's distribution.

use std::collections::BTreeMap;

use bastide_engine::{Input, Output, Rows, Scratch};
use bastide_pipeline::compute::EngineDrafter;
use bastide_pipeline::head::Drafter;
use bastide_pipeline::message::Sampling;

use crate::chain::{Chain, LAYERS, SEQUENCES, SPLITS, draft, run, target};

const SEEDS: u64 = 1_536;
const TEMPERATURE: f32 = 1.4;

fn prompt() -> Vec<u32> {
    target(0..LAYERS).tokenizer().encode("fox").unwrap().to_vec()
}

fn sampling(seed: u64) -> Sampling {
    Sampling {
        temperature: TEMPERATURE,
        top_p: 1.0,
        seed,
        top_logprobs: None,
    }
}

/// The probabilities of what follows `ids`.
fn expected(ids: &[u32]) -> Vec<f64> {
    let model = target(0..LAYERS);
    let (mut cache, mut scratch) = (model.new_cache(ids.len()), Scratch::new());
    let output = model.forward_rows(Input::Ids(ids), 0, Rows::Last, &mut cache, &mut scratch);
    let Ok(Output::Logits(logits)) = output else {
        panic!("a whole model gives logits")
    };
    let weights: Vec<f64> = logits
        .iter()
        .map(|logit| (f64::from(*logit) / f64::from(TEMPERATURE)).exp())
        .collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// Pearson's statistic, and five standard deviations above what it is on average. Seeds are fixed, so
/// that the outcome is: this can't fail by chance, and does if the draw is of anything else.
fn assert_drawn_from(expected: &[f64], drawn: &[u32], what: &str) {
    let mut counts: BTreeMap<u32, f64> = BTreeMap::new();
    for id in drawn {
        *counts.entry(*id).or_default() += 1.0;
    }
    let total = f64::from(u32::try_from(drawn.len()).unwrap());
    let (mut statistic, mut bins) = (0.0, 0.0);
    let (mut rest, mut rest_count) = (0.0, 0.0);
    for (id, probability) in (0u32..).zip(expected) {
        let count = counts.get(&id).copied().unwrap_or_default();
        let mean = probability * total;
        if mean >= 5.0 {
            statistic += (count - mean).powi(2) / mean;
            bins += 1.0;
        } else {
            rest += mean;
            rest_count += count;
        }
    }
    if rest >= 5.0 {
        statistic += (rest_count - rest).powi(2) / rest;
        bins += 1.0;
    }
    let freedom: f64 = bins - 1.0;
    assert!(freedom >= 3.0, "{what}: the prompt leaves a choice, {bins} bins");
    let bound = freedom + 5.0 * (2.0 * freedom).sqrt();
    assert!(
        statistic < bound,
        "{what}: {statistic:.1} with {freedom} degrees of freedom"
    );
}

/// Draws two tokens with every seed, `k` of them drafted first, many answers in a frame; and how many
/// drafted tokens were right.
fn draw(k: usize) -> (Vec<[u32; 2]>, usize) {
    let prompt = prompt();
    let mut chain = Chain::new(SPLITS[2]);
    let mut drafter = EngineDrafter::new(draft(), &target(0..1)).unwrap();
    let (mut pairs, mut right) = (Vec::new(), 0);
    let seeds: Vec<u64> = (0..SEEDS).collect();
    for seeds in seeds.chunks(usize::from(SEQUENCES)) {
        let mut tokens: Vec<Vec<u32>> = vec![prompt.clone(); seeds.len()];
        let mut sent = vec![0; seeds.len()];
        for seed in seeds {
            chain.open(*seed, prompt.len() + 8, sampling(*seed));
        }
        while tokens.iter().any(|tokens| tokens.len() < prompt.len() + 2) {
            let mut rows = Vec::new();
            for (index, seed) in seeds.iter().enumerate() {
                let mut own = tokens[index][sent[index]..].to_vec();
                let known = own.len();
                if k > 0 {
                    let mut memory = drafter.open(prompt.len() + 8, &sampling(*seed));
                    own.extend_from_slice(&drafter.draft(&mut memory, &tokens[index], k, &sampling(*seed)));
                }
                rows.push((*seed, index, known, own));
            }
            let runs: Vec<_> = rows
                .iter()
                .map(|(seed, index, known, rows)| {
                    let wanted = rows.len() - known + 1;
                    let (pos, epoch) = (sent[*index], u32::from(sent[*index] > 0));
                    (
                        run(*seed, epoch, pos, rows.len(), wanted, tokens[*index].len()),
                        &rows[..],
                    )
                })
                .collect();
            let answer = chain.frame(&runs);
            for ((_, index, known, rows), targets) in rows.iter().zip(&answer.runs) {
                for (place, target) in targets.targets.iter().enumerate() {
                    tokens[*index].push(target.id);
                    if rows.get(known + place) != Some(&target.id) {
                        break;
                    }
                    right += 1;
                }
                sent[*index] = tokens[*index].len() - 1;
            }
        }
        for (index, seed) in seeds.iter().enumerate() {
            pairs.push([tokens[index][prompt.len()], tokens[index][prompt.len() + 1]]);
            chain.finish(*seed, 1, sent[index]);
        }
    }
    (pairs, right)
}

#[test]
fn what_is_drawn_has_the_models_distribution_with_speculation_and_without() {
    let prompt = prompt();
    let (plain, _) = draw(0);
    let first: Vec<u32> = plain.iter().map(|pair| pair[0]).collect();
    assert_drawn_from(&expected(&prompt), &first, "the first token");

    let (speculative, right) = draw(3);
    assert!(right > 200, "drafts are right now and then: {right}");
    assert!(
        plain == speculative,
        "each seed's tokens are those without a draft"
    );

    // What follows the first token that leaves the most to choose, as often as it was drawn.
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    first.iter().for_each(|id| *counts.entry(*id).or_default() += 1);
    let (common, expected) = counts
        .into_iter()
        .filter(|(_, count)| *count >= 60)
        .map(|(id, count)| {
            let expected = expected(&[&prompt[..], &[id]].concat());
            let count = f64::from(u32::try_from(count).unwrap());
            let bins = expected.iter().filter(|p| **p * count >= 5.0).count();
            (bins, id, expected)
        })
        .max_by_key(|(bins, _, _)| *bins)
        .map(|(_, id, expected)| (id, expected))
        .expect("a first token that is drawn often");
    let second: Vec<u32> = speculative
        .iter()
        .filter(|pair| pair[0] == common)
        .map(|pair| pair[1])
        .collect();
    assert_drawn_from(&expected, &second, "the second token");
}
