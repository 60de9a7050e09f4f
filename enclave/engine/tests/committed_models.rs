//! The committed models: they load, they agree with the trainer's reference, their tokenizer is faithful.
//!
//! Owns the comparison with `reference.json`, which the trainer writes with its own forward pass.

use std::path::{Path, PathBuf};

use bastide_engine::{ChatMessage, LoadOptions, Model, Role, SamplingParams, Tier, describe};

fn models() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
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
