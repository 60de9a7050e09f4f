//! The committed models: they load, they agree with the trainer's reference, their tokenizer is faithful.
//!
//! Owns the comparison with `reference.json`, which `training/sample.py` writes with its own forward
//! pass. `BASTIDE_MODELS` names another folder of model directories to test.

use std::path::{Path, PathBuf};

use bastide_engine::{
    ChatMessage, Input, KvCache, LoadOptions, Model, Output, Role, Rows, Sampler, SamplingParams, Scratch,
    Tier, describe,
};

fn models() -> Vec<PathBuf> {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let root = std::env::var_os("BASTIDE_MODELS").map_or(committed, PathBuf::from);
    let mut all: Vec<PathBuf> = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("model.safetensors").exists())
        .collect();
    all.sort();
    assert!(!all.is_empty(), "the repository has models");
    all
}

fn load(dir: &Path) -> Model {
    Model::load(dir, &LoadOptions::default()).unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
}

#[test]
fn they_load_and_match_their_manifests() {
    for dir in models() {
        let model = load(&dir);
        assert_eq!(describe(&dir).unwrap().files.weights.len(), 64);
        assert_eq!(model.tokenizer().vocab_size(), model.config().vocab);
        assert!(!model.config().eos.is_empty(), "a turn can end");
    }
}

#[test]
fn all_tiers_answer_with_the_same_tokens() {
    for dir in models() {
        let answers: Vec<String> = Tier::available()
            .into_iter()
            .map(|tier| {
                let model = load(&dir).with_tier(tier).unwrap();
                let messages = [ChatMessage {
                    role: Role::User,
                    content: "What is 7 times 8?".to_owned(),
                }];
                let prompt = model.render_chat(&messages).unwrap();
                let params = SamplingParams {
                    max_tokens: 24,
                    temperature: 0.7,
                    seed: 9,
                    ..SamplingParams::default()
                };
                let mut generation = model.generate(&prompt, params).unwrap();
                let mut text = String::new();
                while let Some(step) = generation.next().unwrap() {
                    text.push_str(&step.text);
                }
                text
            })
            .collect();
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    }
}

#[test]
fn any_text_survives_the_tokenizer() {
    for dir in models() {
        let model = load(&dir);
        for text in [
            "Hello, 123 worlds!",
            "naïve € 𝛌 日本語\n\ttab",
            "<|end|> <|user|>",
            "  spaces  ",
        ] {
            let ids = model.tokenizer().encode(text).unwrap();
            assert!(ids.iter().all(|id| !model.tokenizer().is_special(*id)));
            assert_eq!(model.tokenizer().decode(&ids), text);
        }
    }
}

#[derive(serde::Deserialize)]
struct Reference {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    prompt: String,
    ids: Vec<u32>,
    last_logits_top5: Vec<Top>,
    greedy: Vec<u32>,
}

#[derive(serde::Deserialize)]
struct Top {
    id: u32,
    logit: f32,
}

/// The logits after the last of `ids`.
fn last_logits(model: &Model, ids: &[u32], pos: usize, cache: &mut KvCache) -> Vec<f32> {
    match model
        .forward_rows(Input::Ids(ids), pos, Rows::Last, cache, &mut Scratch::new())
        .unwrap()
    {
        Output::Logits(rows) => rows.to_vec(),
        Output::Hidden(_) => panic!("a whole model gives logits"),
    }
}

#[test]
fn they_agree_with_the_reference_forward_pass() {
    for dir in models() {
        let Ok(text) = std::fs::read_to_string(dir.join("reference.json")) else {
            println!("ignored: no reference.json in {}", dir.display());
            continue;
        };
        let reference: Reference = serde_json::from_str(&text).unwrap();
        assert!(!reference.cases.is_empty(), "a reference has cases");
        let model = load(&dir);
        for case in reference.cases {
            let messages = [ChatMessage {
                role: Role::User,
                content: case.prompt.clone(),
            }];
            assert_eq!(model.render_chat(&messages).unwrap(), case.ids, "{}", case.prompt);
            let mut cache = model.new_cache(model.max_positions());
            let mut logits = last_logits(&model, &case.ids, 0, &mut cache);
            for top in &case.last_logits_top5 {
                let got = logits[usize::try_from(top.id).unwrap()];
                assert!(
                    (got - top.logit).abs() < 1e-3,
                    "{}: {got}, expected {}",
                    case.prompt,
                    top.logit
                );
            }
            let greedy = Sampler::new(0.0, 1.0, 0);
            for (index, expected) in case.greedy.iter().enumerate() {
                let pos = case.ids.len() + index;
                assert_eq!(
                    greedy.target(&logits, pos),
                    *expected,
                    "{}, token {index}",
                    case.prompt
                );
                logits = last_logits(&model, &[*expected], pos, &mut cache);
            }
        }
    }
}
