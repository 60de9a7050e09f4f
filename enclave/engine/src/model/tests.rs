//! Stale cache rows, and a kernel that panics.

#[path = "../../tests/random_model/mod.rs"]
mod random_model;

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::job::{Job, JobKind, Workspace};
use crate::scratch::Scratch;
use crate::weights::MatrixId;

fn bits(output: Output<'_>) -> Vec<u32> {
    let (Output::Logits(rows) | Output::Hidden(rows)) = output;
    rows.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn rows_beyond_the_position_are_never_read() {
    let dir = tempfile::tempdir().unwrap();
    random_model::write(dir.path(), &random_model::SMALL, 1);
    let model = Model::load(dir.path(), &LoadOptions::default()).unwrap();
    let ids: Vec<u32> = (0..70).map(|i| i * 37 % 256).collect();
    let mut scratch = Scratch::new();
    let mut clean = model.new_cache(96);
    let expected = bits(
        model
            .forward(Input::Ids(&ids), 0, &mut clean, &mut scratch)
            .unwrap(),
    );
    let vocab = model.config().vocab;

    let mut cache = model.new_cache(96);
    cache.poison();
    let mut got = Vec::new();
    for (chunk, wrong) in [(0..1, 5), (1..17, 40), (17..33, 1), (33..70, 20)] {
        // Rows of another continuation, and then rows that are not numbers.
        let other: Vec<u32> = (0..wrong).map(|i| (i * 91 + 3) % 256).collect();
        model
            .forward(Input::Ids(&other), chunk.start, &mut cache, &mut scratch)
            .unwrap();
        cache.truncate(chunk.start);
        cache.poison();
        let rows = model
            .forward(
                Input::Ids(&ids[chunk.clone()]),
                chunk.start,
                &mut cache,
                &mut scratch,
            )
            .unwrap();
        got.extend(bits(rows));
    }
    assert_eq!(got.len(), ids.len() * vocab);
    assert!(got == expected, "stale rows changed a result");
}

/// The request in which it happens is lost, not the threads: they neither spin
/// on nor are they missing from what comes after.
#[test]
fn a_panic_in_a_kernel_leaves_the_threads_usable() {
    let dir = tempfile::tempdir().unwrap();
    random_model::write(dir.path(), &random_model::SMALL, 1);
    let options = LoadOptions {
        threads: NonZeroUsize::new(3).unwrap(),
        ..LoadOptions::default()
    };
    let model = Model::load(dir.path(), &options).unwrap();
    let job = Job {
        kernels: model.kernels,
        weights: Arc::clone(&model.weights),
        n: 64,
        kind: JobKind::Linear(MatrixId::Head),
    };
    assert!(job.worth_sharing());
    let mut out = vec![0.0; job.n * job.out_width()];
    for _ in 0..20 {
        let too_short = [0.0];
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let mut pool = model.workers().unwrap();
            pool.run(&job, &too_short, &mut out, &mut Workspace::default());
        }));
        assert!(ended.is_err());
        assert!(model.workers().unwrap().is_at_rest());
    }
    let ids: Vec<u32> = (0..64).collect();
    let mut cache = model.new_cache(64);
    let mut scratch = Scratch::new();
    model
        .forward(Input::Ids(&ids), 0, &mut cache, &mut scratch)
        .unwrap();
}
