//! What several stages answer is what one node answers, token for token.
//!
//! Owns the comparison with `Model::generate` on the committed models, greedy
//! and seeded, for every split and chunk, with and without a draft; the parts
//! that are signed over it; and the distribution of what is drawn.

mod chain;
mod distribution;

use bastide_engine::{ChatMessage, LoadOptions, Model, Role, SamplingParams, TextAssembler, range_digests};
use bastide_pipeline::compute::{DraftRefused, EngineDrafter, EngineLayers};
use bastide_pipeline::head::Drafter;
use bastide_pipeline::message::{Sampling, Target};
use bastide_pipeline::stage::{RowsDigest, row_digest};
use chain::{Chain, LAYERS, SALT, SPLITS, draft, models, run, target};

/// Id of a token, bits of its log-probability, and of the alternatives'.
type Reported = (u32, u32, Vec<(u32, u32)>);

/// What can be compared of a completion.
#[derive(Debug, PartialEq)]
struct Completion {
    text: String,
    tokens: Vec<Reported>,
    finish: Option<bastide_engine::FinishReason>,
    usage: bastide_engine::Usage,
}

fn prompt(text: &str) -> Vec<u32> {
    let messages = [ChatMessage {
        role: Role::User,
        content: text.to_owned(),
    }];
    target(0..LAYERS).render_chat(&messages).unwrap().to_vec()
}

fn params(temperature: f32, seed: u64) -> SamplingParams {
    SamplingParams {
        temperature,
        top_p: if seed.is_multiple_of(2) { 0.95 } else { 1.0 },
        seed,
        max_tokens: 40,
        stop: vec!["\n\n".to_owned()],
        top_logprobs: Some(2),
    }
}

fn sampling(params: &SamplingParams) -> Sampling {
    Sampling {
        temperature: params.temperature,
        top_p: params.top_p,
        seed: params.seed,
        top_logprobs: params.top_logprobs,
    }
}

impl Completion {
    fn new() -> Self {
        Self {
            text: String::new(),
            tokens: Vec::new(),
            finish: None,
            usage: bastide_engine::Usage {
                prompt_tokens: 0,
                completion_tokens: 0,
            },
        }
    }

    fn add(&mut self, step: Option<bastide_engine::Step>) {
        let Some(step) = step else { return };
        self.text.push_str(&step.text);
        for token in &step.tokens {
            let top = token.top.iter().map(|(id, _, logprob)| (*id, logprob.to_bits()));
            self.tokens
                .push((token.id, token.logprob.to_bits(), top.collect()));
        }
    }
}

/// On one node.
fn alone(prompt: &[u32], params: &SamplingParams) -> Completion {
    let model = target(0..LAYERS);
    let mut generation = model.generate(prompt, params.clone()).unwrap();
    let mut completion = Completion::new();
    while generation.finish().is_none() {
        completion.add(generation.next().unwrap());
    }
    completion.finish = generation.finish();
    completion.usage = generation.usage();
    completion
}

/// How the head goes about it.
#[derive(Debug, Clone, Copy)]
struct Manner {
    /// Rows of the prompt in one frame.
    chunk: usize,
    /// Tokens drafted for each verification; 0 is without a draft.
    k: usize,
}

/// On stages: what it came to, and how many drafted tokens were right of how many.
fn together(
    chain: &mut Chain,
    prompt: &[u32],
    params: &SamplingParams,
    manner: Manner,
) -> (Completion, usize, usize) {
    let first = target(0..1);
    let mut drafter = EngineDrafter::new(draft(), &first).unwrap();
    let mut text = TextAssembler::new(&first, prompt.len(), params.clone()).unwrap();
    let sampling = sampling(params);
    let mut drafting = drafter.open(text.positions(), &sampling);
    chain.open(1, text.positions(), sampling);
    let (mut tokens, mut emitted): (Vec<u32>, Vec<u32>) = (prompt.to_vec(), Vec::new());
    let mut completion = Completion::new();
    let (mut right, mut drafted, mut epoch) = (0, 0, 0);
    let mut sent = 0;
    while tokens.len() - sent > manner.chunk {
        let rows = &prompt[sent..sent + manner.chunk];
        let answer = chain.frame(&[(run(1, 0, sent, rows.len(), 0, prompt.len()), rows)]);
        assert!(answer.runs[0].targets.is_empty());
        sent += manner.chunk;
    }
    while text.finish().is_none() {
        let room = text.positions() - tokens.len();
        let guess = drafter.draft(&mut drafting, &tokens, manner.k.min(room), &sampling);
        let mut rows = tokens[sent..].to_vec();
        rows.extend_from_slice(&guess);
        let wanted = guess.len() + 1;
        let answer = chain.frame(&[(run(1, epoch, sent, rows.len(), wanted, tokens.len()), &rows)]);
        drafted += guess.len();
        let mut taken = 0;
        for (index, target) in answer.runs[0].targets.iter().enumerate() {
            let Target { id, logprob, .. } = *target;
            tokens.push(id);
            emitted.push(id);
            taken += 1;
            completion.add(text.push(&first, id, logprob, target.top.clone()));
            if text.finish().is_some() || guess.get(index) != Some(&id) {
                break;
            }
            right += 1;
        }
        // Rows of drafts that were wrong are computed anew, in another epoch.
        epoch += u32::from(taken < wanted);
        sent = tokens.len() - 1;
    }
    completion.finish = text.finish();
    completion.usage = text.usage();

    // Each stage's part joins with the next one's, and the ends are what went in and came out.
    let rows = tokens.len() - 1;
    let parts = chain.finish(1, epoch, rows);
    let digest = |ids: &[u32], first: usize| {
        let mut digest = RowsDigest::new(&SALT);
        for (pos, id) in (first..).zip(ids) {
            digest.push(&row_digest(&SALT, u64::try_from(pos).unwrap(), &id.to_le_bytes()));
        }
        digest.finish()
    };
    assert_eq!(parts[0].input, digest(&tokens[..rows], 0));
    assert_eq!(parts.last().unwrap().output, digest(&emitted, prompt.len()));
    for pair in parts.windows(2) {
        assert_eq!(pair[0].output, pair[1].input);
    }
    assert!(parts.iter().all(|part| usize::try_from(part.rows) == Ok(rows)));
    (completion, right, drafted)
}

const QUESTIONS: [&str; 3] = [
    "What is 7 times 8?",
    "Tell me a story about a fox.",
    "Sort: pear, fig, apple",
];

#[test]
fn one_to_four_stages_answer_as_one_node_greedy_and_seeded() {
    for (question, seed) in QUESTIONS.into_iter().zip(0u64..) {
        let prompt = prompt(question);
        for temperature in [0.0, 0.9] {
            let params = params(temperature, seed);
            let expected = alone(&prompt, &params);
            assert!(!expected.text.is_empty());
            for cuts in SPLITS {
                let manner = Manner { chunk: 5, k: 0 };
                let (got, _, _) = together(&mut Chain::new(cuts), &prompt, &params, manner);
                assert_eq!(got, expected, "{cuts:?}, {question}, at {temperature}");
            }
        }
    }
}

#[test]
fn every_chunk_of_a_prompt_comes_to_the_same_answer() {
    let prompt = prompt(QUESTIONS[0]);
    let params = params(0.7, 5);
    let expected = alone(&prompt, &params);
    let mut chain = Chain::new(SPLITS[1]);
    for chunk in 1..=prompt.len() {
        let (got, _, _) = together(&mut chain, &prompt, &params, Manner { chunk, k: 0 });
        assert_eq!(got, expected, "chunks of {chunk}");
    }
}

#[test]
fn speculation_changes_nothing_but_the_number_of_frames() {
    let (mut right, mut drafted) = (0, 0);
    for (question, seed) in QUESTIONS.into_iter().zip(10u64..) {
        let prompt = prompt(question);
        for temperature in [0.0, 0.9] {
            let params = params(temperature, seed);
            let expected = alone(&prompt, &params);
            let mut chain = Chain::new(SPLITS[2]);
            for k in [1, 2, 3, 4, 8, 16] {
                let (got, good, all) = together(&mut chain, &prompt, &params, Manner { chunk: 64, k });
                assert_eq!(got, expected, "{k} drafted, {question}, at {temperature}");
                right += good;
                drafted += all;
            }
        }
    }
    // The draft has learnt what the model has, and draws with its noise.
    assert!(
        right * 2 > drafted,
        "{right} of {drafted} drafted tokens were right"
    );
}

#[test]
fn answers_in_one_frame_are_those_of_frames_of_their_own() {
    let mut chain = Chain::new(SPLITS[2]);
    let prompts: Vec<Vec<u32>> = QUESTIONS.into_iter().map(prompt).collect();
    let all: Vec<SamplingParams> = (0..3).map(|seed| params(0.8, seed)).collect();
    let expected: Vec<Completion> = prompts
        .iter()
        .zip(&all)
        .map(|(p, params)| alone(p, params))
        .collect();
    let mut tokens = prompts.clone();
    for (sequence, params) in (0u64..).zip(&all) {
        chain.open(
            sequence,
            prompts[usize::try_from(sequence).unwrap()].len() + 40,
            sampling(params),
        );
    }
    let mut sent = [0; 3];
    for _ in 0..10 {
        let runs: Vec<_> = (0u64..)
            .zip(tokens.iter().zip(sent))
            .map(|(sequence, (tokens, sent))| {
                let rows = &tokens[sent..];
                (run(sequence, 0, sent, rows.len(), 1, tokens.len()), rows)
            })
            .collect();
        let answer = chain.frame(&runs);
        for (index, targets) in answer.runs.iter().enumerate() {
            sent[index] = tokens[index].len();
            tokens[index].push(targets.targets[0].id);
        }
    }
    for (index, expected) in expected.iter().enumerate() {
        let got = &tokens[index][prompts[index].len()..];
        let expected = expected.tokens.iter().map(|(id, _, _)| *id).take(got.len());
        assert!(
            expected.zip(got).all(|(expected, got)| expected == *got),
            "answer {index}"
        );
    }
}

#[test]
fn a_draft_follows_what_was_thrown_away_and_stays_within_its_room() {
    let model = draft();
    let mut drafter = EngineDrafter::new(draft(), &target(0..1)).unwrap();
    let prompt = prompt(QUESTIONS[1]);
    for temperature in [0.0, 0.9] {
        let params = params(temperature, 4);
        let sampling = sampling(&params);
        // The draft alone, which is what it drafts with nothing thrown away.
        let mut generation = model.generate(&prompt, params).unwrap();
        let mut tokens = prompt.clone();
        while let Some(step) = generation.next().unwrap() {
            tokens.extend(step.tokens.iter().map(|token| token.id));
        }
        assert!(tokens.len() > prompt.len() + 8, "a story");
        let mut memory = drafter.open(tokens.len(), &sampling);
        for (wrong, right) in [(3, 0), (0, 4), (5, 2), (1, 7), (0, 1)] {
            let mut other = tokens[..prompt.len() + right].to_vec();
            other.extend(std::iter::repeat_n(9, wrong));
            drafter.draft(&mut memory, &other, 2, &sampling);
            let at = prompt.len() + right;
            let k = 8.min(tokens.len() - at);
            let drafted = drafter.draft(&mut memory, &tokens[..at], k, &sampling);
            assert_eq!(*drafted, tokens[at..at + k], "after {wrong} wrong ones");
        }
    }
    let greedy = sampling(&params(0.0, 0));
    let mut memory = drafter.open(prompt.len(), &greedy);
    assert_eq!(
        drafter.draft(&mut memory, &prompt, 8, &greedy).len(),
        1,
        "its row is never computed"
    );
    assert!(
        drafter
            .draft(&mut memory, &[&prompt[..], &[1]].concat(), 8, &greedy)
            .is_empty()
    );
    assert!(drafter.draft(&mut memory, &[], 8, &greedy).is_empty());
    assert!(
        drafter.draft(&mut memory, &[70_000], 8, &greedy).is_empty(),
        "no such token"
    );
    assert_eq!(drafter.draft(&mut memory, &prompt, 8, &greedy).len(), 1);
}

#[test]
fn a_draft_of_other_tokens_or_of_some_layers_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let copy = |name: &str, change: &dyn Fn(String) -> String| {
        let from = models().join("bastide-5m-draft").join(name);
        if name.ends_with(".safetensors") {
            std::fs::copy(from, dir.path().join(name)).unwrap();
        } else {
            std::fs::write(
                dir.path().join(name),
                change(std::fs::read_to_string(from).unwrap()),
            )
            .unwrap();
        }
    };
    for name in ["config.json", "chat_template.jinja", "model.safetensors"] {
        copy(name, &|text| text);
    }
    // The same tokens, written in another way: what isn't known to be equal isn't.
    copy("tokenizer.json", &|text| format!("{text}\n"));
    let other = Model::load(dir.path(), &LoadOptions::default()).unwrap();
    let refused = |draft: Model| EngineDrafter::new(draft.into(), &target(0..1)).err();
    assert_eq!(refused(other), Some(DraftRefused::Tokenizer));
    let some = LoadOptions {
        layers: Some(0..1),
        ..LoadOptions::default()
    };
    let some = Model::load(&models().join("bastide-5m-draft"), &some).unwrap();
    assert_eq!(refused(some), Some(DraftRefused::Partial));
}

#[test]
fn a_stage_says_which_weights_it_has_and_how_long_a_row_takes() {
    let dir = models().join("bastide-5m");
    let digests = range_digests(&dir, &[0..2, 2..6]).unwrap();
    for (range, digest) in [0..2, 2..6].into_iter().zip(digests) {
        let model = target(range);
        let layers = EngineLayers::new(model.clone());
        let row_us = layers.measure_row_us();
        assert!((1..1_000_000).contains(&row_us), "{row_us} µs");
        let terms = bastide_pipeline::compute::stage_terms(&model, chain::PLAN, 1, 3, 4, row_us);
        assert_eq!((terms.weights, terms.width), (digest, 256));
        assert_eq!(usize::try_from(terms.max_positions), Ok(model.max_positions()));
    }
}
