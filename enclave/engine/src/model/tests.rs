//! Stale cache rows.

#[path = "../../tests/random_model/mod.rs"]
mod random_model;

use super::*;
use crate::scratch::Scratch;

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
