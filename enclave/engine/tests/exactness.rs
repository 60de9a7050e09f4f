//! One token's result depends on its prefix alone: not on splits, chunks, threads or instruction sets.
//!
//! Owns the bitwise equality of every way to compute the same rows.

mod random_model;

use std::num::NonZeroUsize;
use std::path::Path;

use bastide_engine::{Input, KvCache, LoadOptions, Model, Output, Rows, Sampler, Scratch, Tier};
use proptest::prelude::*;
use random_model::{SMALL, Shape};

const TOKENS: usize = 64;

fn ids(count: usize) -> Vec<u32> {
    (0..count)
        .map(|i| u32::try_from((i * 53 + i * i * 7) % 256).unwrap())
        .collect()
}

fn load(dir: &Path, layers: std::ops::Range<usize>, threads: usize, tier: Tier) -> Model {
    let threads = NonZeroUsize::new(threads).unwrap();
    let options = LoadOptions {
        layers: Some(layers),
        threads,
        ..LoadOptions::default()
    };
    Model::load(dir, &options)
        .unwrap()
        .with_tier(tier)
        .expect("an available tier")
}

/// A model cut into stages, each with its own cache.
struct Pipeline {
    stages: Vec<(Model, KvCache)>,
    scratch: Scratch,
}

impl Pipeline {
    fn new(dir: &Path, stages: usize, threads: usize, tier: Tier) -> Self {
        let step = SMALL.layers / stages;
        let stages = (0..stages)
            .map(|stage| {
                let model = load(dir, stage * step..(stage + 1) * step, threads, tier);
                let cache = model.new_cache(96);
                (model, cache)
            })
            .collect();
        Self {
            stages,
            scratch: Scratch::new(),
        }
    }

    /// The bits of the logits of `ids` at `pos`.
    fn run(&mut self, ids: &[u32], pos: usize) -> Vec<u32> {
        let mut hidden: Option<Vec<f32>> = None;
        for (model, cache) in &mut self.stages {
            let input = hidden.as_deref().map_or(Input::Ids(ids), Input::Hidden);
            match model.forward(input, pos, cache, &mut self.scratch).unwrap() {
                Output::Hidden(rows) => hidden = Some(rows.to_vec()),
                Output::Logits(rows) => return rows.iter().map(|value| value.to_bits()).collect(),
            }
        }
        panic!("the last stage gives logits");
    }

    fn run_chunked(&mut self, ids: &[u32], chunk: usize) -> Vec<u32> {
        ids.chunks(chunk)
            .enumerate()
            .flat_map(|(index, rows)| self.run(rows, index * chunk))
            .collect()
    }
}

fn with_model<R>(shape: &Shape, test: impl FnOnce(&Path) -> R) -> R {
    let dir = tempfile::tempdir().unwrap();
    random_model::write(dir.path(), shape, 11);
    test(dir.path())
}

#[test]
fn splits_chunks_threads_and_tiers_give_the_same_bits() {
    with_model(&SMALL, |dir| {
        let ids = ids(TOKENS);
        let expected = Pipeline::new(dir, 1, 1, Tier::detect()).run(&ids, 0);
        let finite = expected.iter().all(|bits| f32::from_bits(*bits).is_finite());
        assert!(finite, "the random model computes numbers");
        for tier in Tier::available() {
            for stages in [1, 2, 3, 6] {
                for threads in [1, 2] {
                    let mut pipeline = Pipeline::new(dir, stages, threads, tier);
                    let chunks: &[usize] = if tier == Tier::Portable {
                        &[1, 64]
                    } else {
                        &[1, 2, 3, 4, 5, 7, 8, 13, 16, 33, 64]
                    };
                    for chunk in chunks {
                        let got = pipeline.run_chunked(&ids, *chunk);
                        assert!(
                            got == expected,
                            "{tier:?}, {stages} stages, {threads} threads, chunks of {chunk}"
                        );
                    }
                }
            }
        }
    });
}

#[test]
fn every_chunk_size_gives_the_same_bits() {
    with_model(&SMALL, |dir| {
        let ids = ids(TOKENS);
        let mut pipeline = Pipeline::new(dir, 1, 2, Tier::detect());
        let expected = pipeline.run(&ids, 0);
        for chunk in 1..=TOKENS {
            assert!(pipeline.run_chunked(&ids, chunk) == expected, "chunks of {chunk}");
        }
    });
}

#[test]
fn an_untied_model_splits_exactly_too() {
    with_model(&Shape { tied: false, ..SMALL }, |dir| {
        let ids = ids(20);
        let expected = Pipeline::new(dir, 1, 1, Tier::detect()).run(&ids, 0);
        assert!(Pipeline::new(dir, 3, 1, Tier::detect()).run_chunked(&ids, 6) == expected);
    });
}

#[test]
fn the_last_row_alone_equals_the_last_of_all_rows() {
    with_model(&SMALL, |dir| {
        let model = load(dir, 0..SMALL.layers, 2, Tier::detect());
        let (mut cache, mut scratch) = (model.new_cache(96), Scratch::new());
        let ids = ids(37);
        let all = match model
            .forward(Input::Ids(&ids), 0, &mut cache, &mut scratch)
            .unwrap()
        {
            Output::Logits(rows) => rows[rows.len() - random_model::VOCAB..].to_vec(),
            Output::Hidden(_) => panic!("a whole model gives logits"),
        };
        match model
            .forward_rows(Input::Ids(&ids), 0, Rows::Last, &mut cache, &mut scratch)
            .unwrap()
        {
            Output::Logits(rows) => assert!(rows == all),
            Output::Hidden(_) => panic!("a whole model gives logits"),
        }
    });
}

#[test]
fn sequences_at_work_at_once_do_not_disturb_each_other() {
    with_model(&SMALL, |dir| {
        let model = load(dir, 0..SMALL.layers, 2, Tier::detect());
        let run = |first: u32| {
            let (mut cache, mut scratch) = (model.new_cache(96), Scratch::new());
            let ids: Vec<u32> = (0..40).map(|i| (first + i * 3) % 256).collect();
            let mut all = Vec::new();
            for (pos, id) in ids.iter().enumerate() {
                match model
                    .forward(Input::Ids(&[*id]), pos, &mut cache, &mut scratch)
                    .unwrap()
                {
                    Output::Logits(rows) => all.extend(rows.iter().map(|value| value.to_bits())),
                    Output::Hidden(_) => panic!("a whole model gives logits"),
                }
            }
            all
        };
        let alone: Vec<_> = (0..4).map(run).collect();
        let together: Vec<_> = std::thread::scope(|scope| {
            let run = &run;
            let threads: Vec<_> = (0..4).map(|first| scope.spawn(move || run(first))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(alone == together);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// What speculation relies on: any drafts, any rollbacks, the same tokens.
    #[test]
    fn drafting_with_rollback_equals_plain_decoding(
        seed in any::<u64>(), drafts in proptest::collection::vec((1usize..9, 0usize..9), 1..12)
    ) {
        with_model(&SMALL, |dir| {
            let sampler = Sampler::new(0.9, 0.95, seed);
            let prompt = ids(9);
            let vocab = random_model::VOCAB;
            let mut plain = prompt.clone();
            let mut pipeline = Pipeline::new(dir, 1, 1, Tier::detect());
            let logits = |bits: &[u32]| bits.iter().map(|b| f32::from_bits(*b)).collect::<Vec<_>>();
            let mut rows = pipeline.run(&plain, 0);
            while plain.len() < 40 {
                let last = logits(&rows[rows.len() - vocab..]);
                plain.push(sampler.target(&last, plain.len()));
                rows = pipeline.run(&plain[plain.len() - 1..], plain.len() - 1);
            }

            let mut split = Pipeline::new(dir, 2, 1, Tier::detect());
            split.run(&prompt[..8], 0);
            let mut committed = prompt.clone();
            for (count, right) in drafts.iter().cycle() {
                if committed.len() >= 30 { break; }
                // A draft that is right for a while and then wrong.
                let pos = committed.len() - 1;
                let mut frame = vec![committed[pos]];
                for i in 0..*count {
                    let truth = plain[committed.len() + i];
                    frame.push(if i < *right { truth } else { (truth + 1) % 256 });
                }
                let rows = split.run(&frame, pos);
                for (i, row) in rows.chunks(vocab).enumerate() {
                    let target = sampler.target(&logits(row), pos + i + 1);
                    committed.push(target);
                    if frame.get(i + 1) != Some(&target) { break; }
                }
            }
            prop_assert_eq!(&committed[..30], &plain[..30]);
            Ok(())
        })?;
    }
}
