//! Rows of several sequences in one pass: each result is that of a pass of its own.
//!
//! Owns the bitwise equality of batched passes, and what they refuse.

mod random_model;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::OnceLock;

use bastide_engine::{ForwardError, Input, KvCache, LoadOptions, Model, Output, Scratch, Segment};
use proptest::prelude::*;
use random_model::{SMALL, VOCAB};

const TOKENS: usize = 40;
const SEQUENCES: usize = 4;

/// The token of one sequence at one position.
fn id(sequence: usize, pos: usize) -> u32 {
    u32::try_from((sequence * 31 + pos * 53 + pos * pos * 7) % 256).unwrap()
}

fn load(dir: &Path, layers: std::ops::Range<usize>) -> Model {
    let options = LoadOptions {
        layers: Some(layers),
        threads: NonZeroUsize::new(2).unwrap(),
        ..LoadOptions::default()
    };
    Model::load(dir, &options).unwrap()
}

/// The model in one, two and three ranges, and the bits of every logit of every sequence.
struct Known {
    splits: Vec<Vec<Model>>,
    expected: Vec<Vec<u32>>,
}

fn known() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        random_model::write(dir.path(), &SMALL, 11);
        let splits: Vec<Vec<Model>> = [vec![0, 6], vec![0, 2, 6], vec![0, 1, 3, 6]]
            .iter()
            .map(|cuts| {
                cuts.windows(2)
                    .map(|cut| load(dir.path(), cut[0]..cut[1]))
                    .collect()
            })
            .collect();
        let whole = &splits[0][0];
        let expected = (0..SEQUENCES)
            .map(|sequence| {
                let ids: Vec<u32> = (0..TOKENS).map(|pos| id(sequence, pos)).collect();
                let (mut cache, mut scratch) = (whole.new_cache(TOKENS), Scratch::new());
                match whole
                    .forward(Input::Ids(&ids), 0, &mut cache, &mut scratch)
                    .unwrap()
                {
                    Output::Logits(rows) => rows.iter().map(|value| value.to_bits()).collect(),
                    Output::Hidden(_) => panic!("a whole model gives logits"),
                }
            })
            .collect();
        Known { splits, expected }
    })
}

/// One sequence's rows in a pass: from `pos` on, the last `wanted` of them with logits.
#[derive(Debug, Clone, Copy)]
struct Part {
    sequence: usize,
    pos: usize,
    rows: usize,
    wanted: usize,
}

/// The bits of the logits that a batch comes to over all ranges; `off` is added to every id.
fn pass(
    models: &[Model],
    caches: &mut [Vec<KvCache>],
    scratch: &mut Scratch,
    parts: &[Part],
    off: u32,
) -> Vec<u32> {
    let ids: Vec<u32> = parts
        .iter()
        .flat_map(|part| (part.pos..part.pos + part.rows).map(|pos| (id(part.sequence, pos) + off) % 256))
        .collect();
    let mut hidden: Option<Vec<f32>> = None;
    for (model, caches) in models.iter().zip(caches) {
        let mut segments: Vec<Segment<'_>> = Vec::new();
        let mut free: Vec<Option<&mut KvCache>> = caches.iter_mut().map(Some).collect();
        for part in parts {
            segments.push(Segment {
                cache: free[part.sequence].take().expect("each sequence once"),
                pos: part.pos,
                rows: part.rows,
                wanted: part.wanted,
            });
        }
        let input = hidden.as_deref().map_or(Input::Ids(&ids), Input::Hidden);
        match model.forward_batch(input, &mut segments, scratch).unwrap() {
            Output::Hidden(rows) => hidden = Some(rows.to_vec()),
            Output::Logits(rows) => return rows.iter().map(|value| value.to_bits()).collect(),
        }
    }
    panic!("the last range gives logits");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Steps: for each sequence, how far back its rows begin, how many they are (none: it is not in this
    /// batch) and how many of them are wanted; and whether rows of another text came first.
    #[test]
    fn a_batch_comes_to_the_bits_of_its_sequences_alone(
        split in 0usize..3,
        steps in proptest::collection::vec(
            (proptest::collection::vec((0usize..6, 0usize..12, 0usize..13), SEQUENCES), any::<bool>(), any::<bool>()),
            1..8,
        ),
    ) {
        let Known { splits, expected } = known();
        let models = &splits[split];
        let mut caches: Vec<Vec<KvCache>> = models
            .iter()
            .map(|model| (0..SEQUENCES).map(|_| model.new_cache(TOKENS)).collect())
            .collect();
        let mut scratch = Scratch::new();
        let mut held = [0usize; SEQUENCES];
        for (step, wrong, reversed) in steps {
            let mut parts = Vec::new();
            for (sequence, (back, rows, wanted)) in step.into_iter().enumerate() {
                let pos = held[sequence].saturating_sub(back);
                let rows = rows.min(TOKENS - pos);
                if rows > 0 {
                    held[sequence] = pos + rows;
                    parts.push(Part { sequence, pos, rows, wanted: wanted.min(rows) });
                }
            }
            if reversed {
                parts.reverse();
            }
            if parts.is_empty() {
                continue;
            }
            if wrong {
                pass(models, &mut caches, &mut scratch, &parts, 1);
            }
            let got = pass(models, &mut caches, &mut scratch, &parts, 0);
            let rows = parts.iter().flat_map(|part| {
                let end = part.pos + part.rows;
                (end - part.wanted..end).flat_map(|pos| &expected[part.sequence][pos * VOCAB..][..VOCAB])
            });
            prop_assert!(rows.eq(&got), "{parts:?}");
        }
    }
}

#[test]
fn a_batch_that_does_not_fit_is_refused_and_changes_no_cache() {
    let model = &known().splits[0][0];
    let foreign = &known().splits[1][0];
    let mut scratch = Scratch::new();
    let (mut one, mut two) = (model.new_cache(8), model.new_cache(8));
    model
        .forward(Input::Ids(&[1, 2]), 0, &mut one, &mut scratch)
        .unwrap();
    let mut refused = |ids: &[u32], first: [usize; 3], second: [usize; 3], cache: Option<&mut KvCache>| {
        let segment = |cache, [pos, rows, wanted]: [usize; 3]| Segment {
            cache,
            pos,
            rows,
            wanted,
        };
        let mut segments = [
            segment(&mut one, first),
            segment(cache.unwrap_or(&mut two), second),
        ];
        let error = model
            .forward_batch(Input::Ids(ids), &mut segments, &mut scratch)
            .err();
        assert_eq!((one.len(), two.len()), (2, 0), "as they were");
        error
    };
    let ids = [1, 2, 3];
    assert_eq!(
        refused(&ids, [0, 1, 0], [0, 1, 1], None),
        Some(ForwardError::Segments { got: 3, expected: 2 })
    );
    assert_eq!(
        refused(&ids, [0, 1, 0], [0, usize::MAX, 0], None),
        Some(ForwardError::Capacity {
            pos: 0,
            rows: usize::MAX,
            capacity: 8
        })
    );
    assert_eq!(
        refused(&ids, [0, 1, 2], [0, 2, 0], None),
        Some(ForwardError::Wanted { wanted: 2, rows: 1 })
    );
    assert_eq!(
        refused(&ids, [0, 1, 0], [1, 2, 0], None),
        Some(ForwardError::Gap { pos: 1, cached: 0 })
    );
    assert_eq!(
        refused(&ids, [0, 3, 0], [0, 0, 0], None),
        Some(ForwardError::Empty)
    );
    assert_eq!(
        refused(&[1, 2, 9_999], [0, 1, 0], [0, 2, 0], None),
        Some(ForwardError::TokenOutOfRange { vocab: VOCAB })
    );
    let other = &mut foreign.new_cache(8);
    assert_eq!(
        refused(&ids, [0, 1, 0], [0, 2, 0], Some(other)),
        Some(ForwardError::ForeignCache)
    );
    assert_eq!(
        model.forward_batch(Input::Ids(&[]), &mut [], &mut scratch).err(),
        Some(ForwardError::Empty)
    );
}
