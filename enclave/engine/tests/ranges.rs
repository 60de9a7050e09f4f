//! The digest of a layer range covers exactly what the range computes with.

mod random_model;

use std::ops::Range;
use std::path::Path;

use bastide_engine::{LoadError, LoadOptions, Model, range_digests};
use random_model::{SMALL, Shape, safetensors, tensors};
use ring::digest::{SHA256, digest};

const TINY: Shape = Shape {
    layers: 3,
    hidden: 32,
    heads: 2,
    kv_heads: 1,
    head_dim: 16,
    ffn: 32,
    ..SMALL
};
const ALL: [Range<usize>; 6] = [0..3, 0..1, 0..2, 1..2, 1..3, 2..3];

fn with_model<R>(shape: &Shape, test: impl FnOnce(&Path) -> R) -> R {
    let dir = tempfile::tempdir().unwrap();
    random_model::write(dir.path(), shape, 5);
    test(dir.path())
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

/// As the protocol writes it down, by hand: `of` says which tensors.
fn by_hand(shape: &Shape, range: &Range<usize>, of: impl Fn(&str) -> bool) -> Vec<u8> {
    let mut bytes = b"bastide-stage-weights-v1\0".to_vec();
    let number = |count: usize| u32::try_from(count).unwrap().to_be_bytes();
    bytes.extend(number(range.start));
    bytes.extend(number(range.end));
    for (name, (dimensions, values)) in tensors(shape, 5) {
        if !of(&name) {
            continue;
        }
        bytes.extend(number(name.len()));
        bytes.extend(name.as_bytes());
        bytes.extend([0, 0, 0, 4, b'B', b'F', b'1', b'6']);
        bytes.extend(number(dimensions.len()));
        for dimension in dimensions {
            bytes.extend(u64::try_from(dimension).unwrap().to_be_bytes());
        }
        bytes.extend(u64::try_from(values.len()).unwrap().to_be_bytes());
        bytes.extend(sha256(&values));
    }
    sha256(&bytes)
}

#[test]
fn the_digest_is_over_the_tensors_of_the_range_as_the_protocol_writes_it_down() {
    for tied in [true, false] {
        let shape = Shape { tied, ..TINY };
        with_model(&shape, |dir| {
            let got = range_digests(dir, &ALL).unwrap();
            for (range, got) in ALL.iter().zip(got) {
                let (first, last) = (range.start == 0, range.end == 3);
                let of = |name: &str| match name {
                    "model.embed_tokens.weight" => first || (last && tied),
                    "model.norm.weight" | "lm_head.weight" => last,
                    layer => range
                        .clone()
                        .any(|l| layer.starts_with(&format!("model.layers.{l}."))),
                };
                assert_eq!(
                    got.to_vec(),
                    by_hand(&shape, range, of),
                    "{range:?}, tied: {tied}"
                );
            }
        });
    }
}

#[test]
fn loading_and_reading_come_to_the_same_and_files_do_not_matter() {
    with_model(&TINY, |dir| {
        let expected = range_digests(dir, &ALL).unwrap();
        let all = tensors(&TINY, 5);
        // The same tensors, every other one in another file.
        let half = |odd: bool| {
            let some = all
                .iter()
                .enumerate()
                .filter(|(index, _)| (index % 2 == 1) == odd);
            safetensors(
                &some
                    .map(|(_, (name, tensor))| (name.clone(), tensor.clone()))
                    .collect(),
            )
        };
        let check = || {
            assert_eq!(range_digests(dir, &ALL).unwrap(), expected);
            for (range, expected) in ALL.iter().zip(&expected) {
                let options = LoadOptions {
                    layers: Some(range.clone()),
                    ..LoadOptions::default()
                };
                assert_eq!(Model::load(dir, &options).unwrap().range_digest(), expected);
            }
        };
        check();
        std::fs::write(dir.join("model.safetensors"), half(true)).unwrap();
        std::fs::write(dir.join("a.safetensors"), half(false)).unwrap();
        check();
    });
}

#[test]
fn another_byte_changes_the_ranges_that_have_it_and_no_other() {
    with_model(&TINY, |dir| {
        let before = range_digests(dir, &ALL).unwrap();
        for (name, with) in [
            (
                "model.layers.1.mlp.up_proj.weight",
                [true, false, true, true, true, false],
            ),
            ("model.norm.weight", [true, false, false, false, true, true]),
            ("model.embed_tokens.weight", [true, true, true, false, true, true]),
        ] {
            let mut all = tensors(&TINY, 5);
            all.get_mut(name).unwrap().1[0] ^= 1;
            std::fs::write(dir.join("model.safetensors"), safetensors(&all)).unwrap();
            let after = range_digests(dir, &ALL).unwrap();
            let changed: Vec<bool> = before.iter().zip(&after).map(|(a, b)| a != b).collect();
            assert_eq!(changed, with, "{name}");
        }
    });
}

#[test]
fn what_is_no_range_and_what_is_no_model_is_refused() {
    with_model(&TINY, |dir| {
        for range in [0..0, 2..1, 0..4, 3..4] {
            assert_eq!(range_digests(dir, &[range]).unwrap_err().code(), "model.layers");
        }
        let mut all = tensors(&TINY, 5);
        all.remove("model.layers.2.mlp.up_proj.weight");
        std::fs::write(dir.join("model.safetensors"), safetensors(&all)).unwrap();
        let error = range_digests(dir, &[0..1]).unwrap_err();
        assert!(matches!(error, LoadError::MissingTensor { .. }), "{error}");
    });
}
