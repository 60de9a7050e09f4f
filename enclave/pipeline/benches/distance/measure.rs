//! What is measured: the parameters of the model by themselves, and answers
//! over a ring.
//!
//! Owns clocks. Refuses an answer that isn't what one node says: the benchmark
//! ends there.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bastide_attestation::Salt;
use bastide_attestation::pipeline::latency::{self, StageCost};
use bastide_engine::{ChatMessage, Model, Role, SamplingParams};
use bastide_pipeline::compute::EngineLayers;
use bastide_pipeline::head::Drafter;
use bastide_pipeline::message::{Epoch, Payload, Run, Sampling, SequenceId};
use bastide_pipeline::node::{Ask, HeadUpdate, PipelineHead};
use bastide_pipeline::stage::Layers;
use zeroize::Zeroizing;

use crate::delay::Delay;
use crate::ring::Fleet;

/// Tokens that a verification of the synchronous form drafts.
pub(crate) const K: u8 = 8;
const GREEDY: Sampling = Sampling {
    temperature: 0.0,
    top_p: 1.0,
    seed: 0,
    top_logprobs: None,
};
/// Passes of which the median counts, and the pause before each.
const PASSES: usize = 41;
const PAUSE: Duration = Duration::from_millis(4);
/// Round trips through a relay of which the median counts, and the bytes of
/// each: a frame of a few rows of the committed model, in its bucket.
const TRIPS: u32 = 9;
const FRAME: usize = 4_096;

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

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}

/// Median seconds of some passes, the first left out. Each comes after a pause,
/// as it does in a ring: by then the caches are somebody else's.
fn timed(mut pass: impl FnMut()) -> f64 {
    pass();
    let times = (0..PASSES).map(|_| {
        thread::sleep(PAUSE);
        let began = Instant::now();
        pass();
        began.elapsed().as_secs_f64()
    });
    median(times.collect())
}

/// Seconds that a frame takes through a relay, one way: half of a round trip to
/// a thread that sends it back.
fn hop(one_way: Duration) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let echo = thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut frame = [0; FRAME];
        for _ in 0..TRIPS {
            stream.read_exact(&mut frame)?;
            stream.write_all(&frame)?;
        }
        Ok::<_, std::io::Error>(())
    });
    let delay = Delay::start(&address.to_string(), one_way);
    let mut stream = TcpStream::connect(delay.address()).expect("the relay listens");
    stream.set_nodelay(true).expect("an open socket");
    let trips = (0..TRIPS).map(|_| {
        let began = Instant::now();
        stream.write_all(&[1; FRAME]).expect("the relay takes it");
        stream.read_exact(&mut [0; FRAME]).expect("it comes back");
        began.elapsed().as_secs_f64()
    });
    let trip = median(trips.collect());
    let echoed = echo.join().expect("the echo doesn't panic");
    echoed.expect("the echo's socket holds");
    trip / 2.0
}

/// What a stage takes for frames of one row and of more, with nothing else to do.
fn stage_cost(model: &Arc<Model>, hop_s: f64) -> StageCost {
    let mut layers = EngineLayers::new(Arc::clone(model));
    let mut sequence = layers.open(128, &GREEDY);
    let width = model.config().hidden;
    let mut rows = |pos: u32, rows: u16| {
        let run = Run {
            sequence: SequenceId(1),
            epoch: Epoch(0),
            pos,
            rows,
            wanted: rows,
            committed: 0,
        };
        let count = usize::from(rows);
        let payload = if model.layers().start == 0 {
            Payload::Ids(Zeroizing::new(vec![9; count]))
        } else {
            Payload::Activations {
                width: u32::try_from(width).expect("a small model"),
                values: Zeroizing::new(vec![0.5; width * count]),
            }
        };
        let computed = layers.run(&mut [(run, &mut sequence)], &payload);
        assert!(computed.is_ok(), "rows are computed");
    };
    rows(0, 32);
    let one = timed(|| rows(32, 1));
    let more = timed(|| rows(32, 1 + u16::from(K)));
    StageCost {
        hop_s,
        row_s: one,
        further_row_s: ((more - one) / f64::from(K)).max(0.0),
    }
}

/// The model's parameters.
#[derive(Debug)]
pub(crate) struct Costs {
    stages: Vec<StageCost>,
    /// Seconds of the draft for a token.
    draft_s: f64,
}

impl Costs {
    /// Measures them, each by itself.
    pub(crate) fn measure(fleet: &Fleet, one_way: Duration) -> Self {
        let hop = hop(one_way);
        let stages = fleet.models().iter().map(|model| stage_cost(model, hop));
        let mut drafter = fleet.drafter();
        let mut draft = drafter.open(128, &GREEDY);
        // A prompt whose last token is new each time, so that each draft is computed.
        let mut ids = vec![9; 32];
        let mut drafted = 0;
        let took = timed(|| {
            if let Some(last) = ids.last_mut() {
                *last = if *last == 9 { 10 } else { 9 };
            }
            drafted = drafter.draft(&mut draft, &ids, usize::from(K), &GREEDY).len();
        });
        let tokens = u32::try_from(drafted.max(1)).expect("a few");
        Self {
            stages: stages.collect(),
            draft_s: took / f64::from(tokens),
        }
    }

    /// The model.
    pub(crate) fn model(&self) -> latency::Ring {
        latency::Ring::new(&self.stages, self.draft_s)
    }

    /// The model of stages that share this machine's processors: all that a
    /// token of a frame of `run` takes, in the draft and in every stage, takes at
    /// least its share of them.
    pub(crate) fn model_of_shared(&self, run: u32) -> latency::Ring {
        let run = f64::from(run);
        let frame = |stage: &StageCost| (stage.row_s + (run - 1.0) * stage.further_row_s) / run;
        let token: f64 = self.draft_s + self.stages.iter().map(frame).sum::<f64>();
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let processors = f64::from(u32::try_from(processors).unwrap_or(u32::MAX));
        latency::Ring::new(&self.stages, self.draft_s.max(token / processors))
    }

    /// Seconds that a further row adds to a turn.
    pub(crate) fn further_row_s(&self) -> f64 {
        self.stages.iter().map(|stage| stage.further_row_s).sum()
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
