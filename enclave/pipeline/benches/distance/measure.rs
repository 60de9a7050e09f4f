//! What is measured: answers over a ring.
//!
//! Owns clocks. Refuses an answer that isn't what one node says: the benchmark
//! ends there.

use std::time::Instant;

use bastide_attestation::Salt;
use bastide_engine::{ChatMessage, Model, Role, SamplingParams};
use bastide_pipeline::head::Drafter;
use bastide_pipeline::node::{Ask, HeadUpdate, PipelineHead};
use zeroize::Zeroizing;

use crate::costs::GREEDY;
use crate::ring::Fleet;

/// Tokens that a verification of the synchronous form drafts.
pub(crate) const K: u8 = 8;
/// What one node says to a prompt, and where the draft agrees with it.
pub(crate) struct Text {
    pub(crate) prompt: Vec<u32>,
    /// With the token that ends it.
    pub(crate) answer: Vec<u32>,
    /// Whether the draft, told everything before, says the same token.
    pub(crate) agreed: Vec<bool>,
}

impl Text {
    pub(crate) fn new(model: &Model, fleet: &Fleet, question: &str, budget: usize) -> Self {
        let message = ChatMessage {
            role: Role::User,
            content: question.to_owned(),
        };
        let prompt = model.render_chat(&[message]).expect("the template renders");
        let params = SamplingParams {
            temperature: 0.0,
            max_tokens: budget,
            top_logprobs: Some(0),
            ..SamplingParams::default()
        };
        let mut generation = model.generate(&prompt, params).expect("it fits");
        let mut answer = Vec::new();
        while let Some(step) = generation.next().expect("it computes") {
            answer.extend(step.tokens.iter().map(|token| token.id));
        }
        let mut drafter = fleet.drafter();
        let mut draft = drafter.open(prompt.len() + answer.len() + 1, &GREEDY);
        let mut known = prompt.clone();
        let mut agreed = Vec::new();
        for id in &answer {
            let drafted = drafter.draft(&mut draft, &known, 1, &GREEDY);
            agreed.push(drafted.first() == Some(id));
            known.push(*id);
        }
        Self {
            prompt,
            answer,
            agreed,
        }
    }

    /// Turns of the ring that the pipelined form can't do without: the first,
    /// and one after each token that the draft got wrong but the last.
    pub(crate) fn turns(&self) -> usize {
        let wrong = self.agreed.iter().rev().skip(1).filter(|agreed| !**agreed);
        1 + wrong.count()
    }
}

/// One answer over a ring.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Answered {
    /// Seconds from asking to the last token.
    pub(crate) seconds: f64,
    pub(crate) tokens: u32,
    /// Frames whose targets counted, the prompt's included.
    pub(crate) rounds: u32,
}

/// Asks for an answer of at most `budget` tokens, and compares it with one node's.
pub(crate) async fn answer(head: &PipelineHead, text: &Text, budget: usize) -> Answered {
    let budget = budget.min(text.answer.len());
    let ask = Ask {
        prompt: Zeroizing::new(text.prompt.clone()),
        budget: u32::try_from(budget).expect("a short answer"),
        sampling: GREEDY,
        salt: Salt::new([0x77; 32]),
        stop: None,
    };
    let began = Instant::now();
    let mut answer = head.submit(ask).await.expect("the head runs");
    let (mut ids, mut seconds, mut rounds) = (Vec::new(), 0.0, 0);
    loop {
        match answer.next().await.expect("an answer ends by Done or Failed") {
            HeadUpdate::Tokens(targets) => {
                seconds = began.elapsed().as_secs_f64();
                // The targets of one frame are one update.
                rounds += 1;
                ids.extend(targets.iter().map(|target| target.id));
            }
            HeadUpdate::Done(record) => {
                assert_eq!(ids, text.answer[..budget], "a ring says what one node says");
                assert!(record.replans.is_empty(), "no stage was lost");
                return Answered {
                    seconds,
                    tokens: record.produced,
                    rounds,
                };
            }
            HeadUpdate::Failed(code) => panic!("the answer ended with {code}"),
        }
    }
}
