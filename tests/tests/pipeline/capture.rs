//! What a host and a network see: every link between stages and the client's
//! connection, recorded, and searched for what must not be there.

use std::num::NonZeroUsize;
use std::ops::Range;

use bastide_engine::{ChatMessage, Input, LoadOptions, Model, Output, Role, Scratch};
use bastide_tests::node::model_folder;
use bastide_tests::pipeline::{Options, Pipeline};
use bastide_tests::recorder::Recorder;

use crate::ask::{PROMPT, Said, ask, one_node, plan, proxy};

/// The planned cuts of the committed model in three stages.
const CUTS: [Range<usize>; 3] = [0..2, 2..4, 4..6];

#[test]
fn nothing_of_prompt_tokens_or_activations_is_on_any_wire_in_clear() {
    let logs = tempfile::tempdir().unwrap();
    let mut links = Vec::new();
    let options = Options {
        head: &["--speculation", "pipelined:4:2"],
        ..Options::default()
    };
    let pipeline = Pipeline::start_behind(plan(3), logs.path(), options, |_, address| {
        let recorder = Recorder::start(&address);
        let reached = recorder.address().to_string();
        links.push(recorder);
        reached
    })
    .unwrap();
    let client = Recorder::start(pipeline.url().trim_start_matches("https://"));
    let proxy = proxy(&format!("https://{}", client.address()), logs.path(), &[]);
    let said = Said::of(&ask(&proxy, PROMPT, None, false, |_| ()));
    assert_eq!(said, one_node()[0]);

    let needles = needles(&said);
    for (name, wire) in [
        ("stage 1", &links[0]),
        ("stage 2", &links[1]),
        ("client", &client),
    ] {
        for (what, needle) in &needles {
            assert!(!wire.saw(needle), "{what} was seen on the wire of {name}");
        }
        let sent = wire.application_data();
        let (least, random) = (4_096, looks_random(&sent));
        assert!(sent.len() > least, "{name}: {} bytes", sent.len());
        assert!(random, "{name}: {} bytes don't look random", sent.len());
    }
    // The head's own link, and the ring's, to stage 1; the head's and stage 1's to stage 2.
    for link in &links {
        assert_eq!(link.connections().len(), 2, "{:?}", link.connections());
        let most = link.connections().iter().map(|sizes| sizes.to_node).max();
        assert!(
            most > Some(64 * 1024),
            "the prompt's rows went by: {most:?} bytes"
        );
    }
    // What was looked for would have been found, and does not look random.
    let clear: Vec<u8> = needles.iter().flat_map(|(_, needle)| needle.clone()).collect();
    assert!(!looks_random(&clear.repeat(1 + 65_536 / clear.len())));
}

/// Text, ids and rows of this prompt and answer, as bytes. The rows are those
/// that the stages handed on: they come to the answer's first token.
fn needles(said: &Said) -> Vec<(String, Vec<u8>)> {
    let mut needles = vec![("the prompt".to_owned(), PROMPT.as_bytes().to_vec())];
    for word in ["story about", "zugzwang-canary"] {
        needles.push((format!("`{word}`"), word.as_bytes().to_vec()));
    }
    for words in said.text.as_bytes().chunks(12).filter(|words| words.len() == 12) {
        needles.push(("the answer".to_owned(), words.to_vec()));
    }
    let stages = CUTS.map(load);
    let message = ChatMessage {
        role: Role::User,
        content: PROMPT.to_owned(),
    };
    let prompt = stages[0].render_chat(&[message]).unwrap();
    let answer = stages[0].tokenizer().encode(&said.text).unwrap();
    for ids in prompt.windows(3).chain(answer.windows(3)) {
        let bytes = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        needles.push((format!("ids {ids:?}"), bytes));
    }
    let mut rows: Vec<f32> = Vec::new();
    for (stage, model) in stages.iter().enumerate() {
        let input = match stage {
            0 => Input::Ids(&prompt),
            _ => Input::Hidden(&rows),
        };
        let (mut cache, mut scratch) = (model.new_cache(prompt.len()), Scratch::new());
        match model.forward(input, 0, &mut cache, &mut scratch).unwrap() {
            Output::Hidden(handed_on) => {
                // One value of f32 is no evidence; two in a row are, of a row that isn't constant.
                for pair in handed_on.chunks(64).map(|row| &row[..2]) {
                    let bytes = pair.iter().flat_map(|value| value.to_le_bytes()).collect();
                    needles.push((format!("activations of stage {stage}"), bytes));
                }
                rows = handed_on.to_vec();
            }
            Output::Logits(rows) => {
                let last = rows.chunks_exact(model.config().vocab).next_back().unwrap();
                let first = (0..).zip(last).max_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap().0;
                assert_eq!(Some(&first), answer.first(), "rows that come to the answer");
            }
        }
    }
    needles
}

fn load(layers: Range<usize>) -> Model {
    let options = LoadOptions {
        layers: Some(layers),
        threads: NonZeroUsize::MIN,
        ..LoadOptions::default()
    };
    Model::load(&model_folder(), &options).unwrap()
}

/// Whether bytes are as evenly spread as chance would have it: χ² over the 256
/// values is 255 in the mean, with a deviation of 22.6. Eight of those are
/// allowed. Text, padding and numbers are off by thousands.
fn looks_random(bytes: &[u8]) -> bool {
    let mut counts = [0_u32; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    let expected = bytes.len() as f64 / 256.0;
    let chi_square: f64 = counts
        .iter()
        .map(|count| (f64::from(*count) - expected).powi(2) / expected)
        .sum();
    chi_square < 255.0 + 8.0 * 22.6
}
