//! Broken, foreign and altered model directories are refused, each with its own reason.
//!
//! Owns the directory-level refusals; headers and configurations are tested beside their code.

mod random_model;

use std::path::Path;

use bastide_engine::{
    ForwardError, Input, LoadError, LoadLimits, LoadOptions, Model, Output, Scratch, describe,
};
use random_model::{SMALL, Shape, safetensors, tensors};

const TINY: Shape = Shape {
    layers: 2,
    ffn: 64,
    ..SMALL
};

fn load(dir: &Path) -> Result<Model, LoadError> {
    Model::load(dir, &LoadOptions::default())
}

/// The error of a directory after `damage`.
fn refused(damage: impl FnOnce(&Path)) -> LoadError {
    let dir = tempfile::tempdir().unwrap();
    random_model::write(dir.path(), &TINY, 3);
    load(dir.path()).expect("sound before the damage");
    damage(dir.path());
    load(dir.path()).expect_err("must be refused")
}

fn edit(dir: &Path, file: &str, from: &str, to: &str) {
    let path = dir.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} contains {from}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_weights_file_cut_short_is_refused_wherever_it_ends() {
    for keep in [0, 7, 8, 100, 2_000, 100_000] {
        let error = refused(|dir| {
            let path = dir.join("model.safetensors");
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(path, &bytes[..keep]).unwrap();
        });
        assert_eq!(error.code(), "model.weights.cut_short", "{keep}: {error}");
        assert!(error.to_string().contains("model.safetensors"), "{error}");
    }
}

#[test]
fn wrong_missing_unknown_and_unfit_tensors_are_refused_by_name() {
    let with = |change: &dyn Fn(&mut random_model::Tensors)| {
        refused(|dir| {
            let mut all = tensors(&TINY, 3);
            change(&mut all);
            std::fs::write(dir.join("model.safetensors"), safetensors(&all)).unwrap();
        })
    };
    let name = "model.layers.1.self_attn.k_proj.weight";
    let error = with(&|all| all.get_mut(name).unwrap().0.swap(0, 1));
    assert_eq!(error.code(), "model.tensor.shape");
    assert!(
        error.to_string().contains(name) && error.to_string().contains("[64, 128]"),
        "{error}"
    );
    let error = with(&|all| drop(all.remove(name)));
    assert_eq!(error.code(), "model.tensor.missing", "{error}");
    let bias = "model.layers.0.self_attn.q_proj.bias";
    let error = with(&|all| drop(all.insert(bias.into(), (vec![1], vec![0, 0]))));
    assert_eq!(error.code(), "model.tensor.unknown", "{error}");
    let error = with(&|all| all.get_mut(name).unwrap().1[..2].copy_from_slice(&[0x80, 0x7f]));
    assert_eq!(error.code(), "model.tensor.not_finite", "{error}");
    let error = refused(|dir| {
        std::fs::copy(dir.join("model.safetensors"), dir.join("second.safetensors")).unwrap();
    });
    assert_eq!(error.code(), "model.tensor.repeated", "{error}");
}

#[test]
fn missing_and_oversized_files_are_named() {
    for file in ["config.json", "tokenizer.json", "chat_template.jinja"] {
        let error = refused(|dir| std::fs::remove_file(dir.join(file)).unwrap());
        assert!(
            matches!(&error, LoadError::Read { file: named, .. } if named == file),
            "{error}"
        );
    }
    let error = refused(|dir| std::fs::remove_file(dir.join("model.safetensors")).unwrap());
    assert_eq!(error.code(), "model.no_weights");
    let dir = tempfile::tempdir().unwrap();
    random_model::write(dir.path(), &TINY, 3);
    let limits = LoadLimits {
        weights_bytes: 1_000,
        ..LoadLimits::default()
    };
    let error = Model::load(
        dir.path(),
        &LoadOptions {
            limits,
            ..LoadOptions::default()
        },
    )
    .unwrap_err();
    assert!(
        matches!(error, LoadError::TooLarge { limit: 1_000, .. }),
        "{error}"
    );
}

#[test]
fn tokenizers_and_templates_that_would_be_misread_are_refused() {
    let decoder = "\"trim_offsets\":true,\"type\":\"ByteLevel\"";
    let error = refused(|dir| edit(dir, "tokenizer.json", decoder, "\"type\":\"Metaspace\""));
    assert!(error.to_string().contains("ByteLevel"), "{error}");
    let error = refused(|dir| edit(dir, "tokenizer.json", "\"id\":259", "\"id\":99999"));
    assert!(error.to_string().contains("vocab_size 260"), "{error}");
    let error = refused(|dir| edit(dir, "tokenizer.json", "\"rstrip\":false", "\"rstrip\":true"));
    assert_eq!(error.code(), "model.tokenizer", "{error}");
    let error = refused(|dir| std::fs::write(dir.join("tokenizer.json"), "{").unwrap());
    assert_eq!(error.code(), "model.tokenizer", "{error}");
    let error = refused(|dir| std::fs::write(dir.join("chat_template.jinja"), "{% for %}").unwrap());
    assert_eq!(error.code(), "model.chat_template", "{error}");
    let error = refused(|dir| std::fs::write(dir.join("chat_template.jinja"), "\u{e000}").unwrap());
    assert!(error.to_string().contains("U+E000"), "{error}");
    let error = refused(|dir| edit(dir, "config.json", "\"silu\"", "\"gelu\""));
    assert_eq!(error.code(), "model.config.unsupported", "{error}");
}

#[test]
fn a_manifest_must_match_every_file_and_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    random_model::write(dir.path(), &TINY, 3);
    let mut manifest = describe(dir.path()).unwrap();
    manifest.name = "tiny".to_owned();
    let text = serde_json::to_string_pretty(&manifest).unwrap();
    let path = dir.path().join("manifest.json");
    std::fs::write(&path, &text).unwrap();
    let model = load(dir.path()).unwrap();
    assert_eq!((model.name(), model.quantisation()), ("tiny", "bf16"));
    for (file, subject) in [
        ("config.json", "`config.json`"),
        ("tokenizer.json", "`tokenizer.json`"),
        ("chat_template.jinja", "`chat_template.jinja`"),
    ] {
        let original = std::fs::read(dir.path().join(file)).unwrap();
        let mut changed = original.clone();
        changed.push(b'\n');
        std::fs::write(dir.path().join(file), changed).unwrap();
        let error = load(dir.path()).unwrap_err();
        assert!(error.to_string().starts_with(subject), "{error}");
        std::fs::write(dir.path().join(file), original).unwrap();
    }
    std::fs::write(
        dir.path().join("model.safetensors"),
        safetensors(&tensors(&TINY, 4)),
    )
    .unwrap();
    assert!(
        load(dir.path())
            .unwrap_err()
            .to_string()
            .starts_with("the weights")
    );
    std::fs::write(
        dir.path().join("model.safetensors"),
        safetensors(&tensors(&TINY, 3)),
    )
    .unwrap();
    std::fs::write(&path, text.replace("bastide-engine/", "other-engine/")).unwrap();
    assert!(
        load(dir.path())
            .unwrap_err()
            .to_string()
            .starts_with("the engine")
    );
    std::fs::write(&path, text.replace("model/v1", "model/v2")).unwrap();
    assert_eq!(load(dir.path()).unwrap_err().code(), "model.manifest.syntax");
    std::fs::write(&path, text.replacen('{', "{\"extra\":1,", 1)).unwrap();
    assert_eq!(load(dir.path()).unwrap_err().code(), "model.manifest.syntax");
}

#[test]
fn weights_may_be_spread_over_files_and_types() {
    let dir = tempfile::tempdir().unwrap();
    random_model::write(dir.path(), &TINY, 3);
    let logits = |dir: &Path| {
        let model = load(dir).unwrap();
        let (mut cache, mut scratch) = (model.new_cache(8), Scratch::new());
        match model
            .forward(Input::Ids(&[1, 2, 3]), 0, &mut cache, &mut scratch)
            .unwrap()
        {
            Output::Logits(rows) => rows.to_vec(),
            Output::Hidden(_) => panic!("a whole model gives logits"),
        }
    };
    let whole = logits(dir.path());
    let mut first = tensors(&TINY, 3);
    let second = first.split_off("model.layers.1");
    std::fs::write(dir.path().join("model.safetensors"), safetensors(&first)).unwrap();
    std::fs::write(dir.path().join("part.safetensors"), as_singles(&second)).unwrap();
    assert!(logits(dir.path()) == whole, "bf16 values are the same as singles");
}

/// The same tensors with every value widened to 32 bits.
fn as_singles(all: &random_model::Tensors) -> Vec<u8> {
    let widened = all
        .iter()
        .map(|(name, (shape, bytes))| {
            let wide = bytes.chunks(2).flat_map(|b| [0, 0, b[0], b[1]]).collect();
            (name.clone(), (shape.clone(), wide))
        })
        .collect();
    let file = safetensors(&widened);
    let header = usize::try_from(u64::from_le_bytes(file[..8].try_into().unwrap())).unwrap();
    let text = std::str::from_utf8(&file[8..8 + header])
        .unwrap()
        .replace("\"BF16\"", "\"F32\"");
    let mut out = u64::try_from(text.len()).unwrap().to_le_bytes().to_vec();
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(&file[8 + header..]);
    out
}

#[test]
fn layer_ranges_and_inputs_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    random_model::write(dir.path(), &TINY, 3);
    let range = |start: usize, end: usize| {
        Model::load(
            dir.path(),
            &LoadOptions {
                layers: Some(start..end),
                ..LoadOptions::default()
            },
        )
    };
    for (start, end) in [(1, 1), (0, 3), (2, 1)] {
        assert_eq!(range(start, end).unwrap_err().code(), "model.layers");
    }
    let (head, tail) = (range(0, 1).unwrap(), range(1, 2).unwrap());
    let mut scratch = Scratch::new();
    let mut cache = head.new_cache(4);
    let mut code = |model: &Model, cache: &mut _, input: Input<'_>, pos: usize| -> ForwardError {
        model
            .forward(input, pos, cache, &mut scratch)
            .err()
            .expect("must be refused")
    };
    let row = vec![0.5; TINY.hidden];
    assert_eq!(
        code(&head, &mut cache, Input::Hidden(&row), 0).code(),
        "forward.input_kind"
    );
    assert_eq!(code(&head, &mut cache, Input::Ids(&[]), 0), ForwardError::Empty);
    assert_eq!(
        code(&head, &mut cache, Input::Ids(&[260]), 0),
        ForwardError::TokenOutOfRange { vocab: 260 }
    );
    assert_eq!(
        code(&head, &mut cache, Input::Ids(&[1]), 1),
        ForwardError::Gap { pos: 1, cached: 0 }
    );
    assert_eq!(
        code(&head, &mut cache, Input::Ids(&[1; 5]), 0),
        ForwardError::Capacity {
            pos: 0,
            rows: 5,
            capacity: 4
        }
    );
    assert_eq!(
        code(&tail, &mut cache, Input::Hidden(&row), 0),
        ForwardError::ForeignCache
    );
    let mut cache = tail.new_cache(4);
    assert_eq!(
        code(&tail, &mut cache, Input::Ids(&[1]), 0).code(),
        "forward.input_kind"
    );
    assert_eq!(
        code(&tail, &mut cache, Input::Hidden(&row[1..]), 0).code(),
        "forward.ragged"
    );
    assert_eq!(
        code(&tail, &mut cache, Input::Hidden(&[f32::NAN; 128]), 0),
        ForwardError::NotFinite
    );
}
