//! The latency model's parameters, each measured by itself: a hop, a frame in
//! each stage, a drafted token.
//!
//! Owns what is counted where. A hop is a message over an attested link and a
//! relay, from one task to another; a frame in a stage is what the stage does of
//! it from bytes to bytes. What a ring takes beyond both is waking threads, and
//! the head. Refuses a stage that doesn't compute.

use std::thread;
use std::time::{Duration, Instant};

use bastide_attestation::Salt;
use bastide_attestation::pipeline::latency::{self, StageCost};
use bastide_pipeline::head::Drafter;
use bastide_pipeline::message::{
    Envelope, Epoch, Frame, Join, Message, Open, Payload, RingId, Run, Sampling, SequenceId,
};
use bastide_pipeline::stage::{Origin, StageEffect};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use crate::delay::Delay;
use crate::measure::K;
use crate::ring::{Fleet, PLAN};

pub(crate) const GREEDY: Sampling = Sampling {
    temperature: 0.0,
    top_p: 1.0,
    seed: 0,
    top_logprobs: None,
};
/// Passes of which the median counts, and the pause before each.
const PASSES: usize = 41;
const PAUSE: Duration = Duration::from_millis(4);
/// Round trips of which the median counts, and the bytes of each: a frame of a
/// few rows of the committed model, in its bucket.
const TRIPS: usize = 15;
const FRAME: usize = 4_096;
/// Frames of one answer under way at most.
const MOST_DEPTH: u8 = 16;
const RING: RingId = RingId(1);

/// The model's parameters.
#[derive(Debug)]
pub(crate) struct Costs {
    stages: Vec<StageCost>,
    /// Seconds of the draft for a token.
    draft_s: f64,
}

impl Costs {
    /// Measures them.
    pub(crate) async fn measure(fleet: &Fleet, one_way: Duration) -> Self {
        let hop = hop(fleet, one_way).await;
        let stages = (0..fleet.stages()).map(|stage| stage_cost(fleet, stage, hop));
        let stages = stages.collect();
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
            stages,
            draft_s: took / f64::from(tokens),
        }
    }

    /// The model.
    pub(crate) fn model(&self) -> latency::Ring {
        latency::Ring::new(&self.stages, self.draft_s)
    }

    /// Seconds that a token of a frame of `run` takes where it takes longest: in
    /// the draft, in the slowest stage, or, since stages and draft share this
    /// machine's processors, its share of them.
    fn step(&self, run: f64) -> f64 {
        let frame = |stage: &StageCost| (stage.row_s + (run - 1.0) * stage.further_row_s) / run;
        let token: f64 = self.draft_s + self.stages.iter().map(frame).sum::<f64>();
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let processors = f64::from(u32::try_from(processors).unwrap_or(u32::MAX));
        let slowest = self.stages.iter().map(frame).fold(self.draft_s, f64::max);
        slowest.max(token / processors)
    }

    /// Frames of `run` tokens that fill a turn, and one more: what is guessed
    /// beyond is thrown away after a mistake, and others have to wait for it.
    pub(crate) fn depth(&self, run: u8) -> u8 {
        let frame = f64::from(run) * self.step(f64::from(run));
        let fill = (1..MOST_DEPTH).find(|depth| f64::from(*depth) * frame >= self.model().lap_s());
        fill.map_or(MOST_DEPTH, |depth| depth + 1)
    }

    /// The model of stages that share this machine's processors.
    pub(crate) fn model_of_shared(&self, run: u32) -> latency::Ring {
        latency::Ring::new(&self.stages, self.step(f64::from(run)))
    }

    /// Seconds that a further row adds to a turn.
    pub(crate) fn further_row_s(&self) -> f64 {
        self.stages.iter().map(|stage| stage.further_row_s).sum()
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

/// Seconds that a frame takes from one stage to the next: half of a round trip
/// over an attested link, through a relay, to a task that sends it back.
async fn hop(fleet: &Fleet, one_way: Duration) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let accepting = fleet.endpoint(1);
    let echo = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("the relay connects");
        stream.set_nodelay(true).expect("an open socket");
        let mut link = accepting.accept_over(stream).await.expect("a genuine peer");
        while let Ok(Some(message)) = link.recv().await {
            link.send(message).await.expect("the link holds");
        }
    });
    let delay = Delay::start(&address.to_string(), one_way);
    let connecting = fleet.endpoint(0);
    let link = connecting.connect(1, delay.address().to_string().as_str()).await;
    let mut link = link.expect("a genuine peer");
    let mut trips = Vec::new();
    for _ in 0..TRIPS {
        tokio::time::sleep(PAUSE).await;
        let began = Instant::now();
        link.send(vec![1; FRAME]).await.expect("the link holds");
        link.recv().await.expect("the link holds").expect("it comes back");
        trips.push(began.elapsed().as_secs_f64());
    }
    link.close().await.expect("it ends in order");
    echo.await.expect("the echo doesn't panic");
    median(trips) / 2.0
}

/// What a stage takes for frames of one row and of more, with nothing else to
/// do: from the message that came to the one that goes.
fn stage_cost(fleet: &Fleet, number: u16, hop_s: f64) -> StageCost {
    let mut stage = fleet.stage(number);
    let bounds = fleet.bounds();
    let width = stage.terms().width;
    let tail = stage.terms().is_tail();
    let from = if number == 0 {
        Origin::Head
    } else {
        Origin::Previous
    };
    let envelope = |message| Envelope { ring: RING, message };
    let join = Message::Join(Join {
        plan: PLAN,
        stage: number,
        next: (!tail).then(|| "127.0.0.1:1".to_owned()),
    });
    stage.handle(Origin::Head, envelope(join)).expect("it joins");
    if !tail {
        stage.next_linked(RING);
    }
    let open = Message::Open(Open {
        sequence: SequenceId(1),
        epoch: Epoch(0),
        positions: 128,
        salt: Salt::new([0x77; 32]),
        sampling: GREEDY,
    });
    stage.handle(from, envelope(open)).expect("it opens");
    let mut count = 0;
    let mut frames = |pos: u32, rows: u16| {
        let values = usize::try_from(width).expect("a small model") * usize::from(rows);
        let frames = (0..=PASSES).map(|_| {
            count += 1;
            let run = Run {
                sequence: SequenceId(1),
                epoch: Epoch(0),
                pos,
                rows,
                wanted: rows,
                committed: 0,
            };
            let payload = match from {
                Origin::Head => Payload::Ids(Zeroizing::new(vec![9; usize::from(rows)])),
                Origin::Previous => Payload::Activations {
                    width,
                    values: Zeroizing::new(vec![0.5; values]),
                },
            };
            let frame = Frame {
                number: count,
                runs: vec![run],
                payload,
            };
            let came = envelope(Message::Frame(frame));
            came.encode().expect("it is encoded").to_vec()
        });
        frames.collect::<Vec<_>>().into_iter()
    };
    let (mut before, mut one, mut more) = (frames(0, 32), frames(32, 1), frames(32, 1 + u16::from(K)));
    let mut pass = |frames: &mut std::vec::IntoIter<Vec<u8>>| {
        let came = frames.next().expect("a frame for each pass");
        let came = Envelope::decode(&came, &bounds).expect("it is a message");
        for effect in stage.handle(from, came).expect("it is computed") {
            let (StageEffect::ToNext(goes) | StageEffect::ToHead(goes)) = effect else {
                panic!("a stage with a frame hands it on");
            };
            let fault = matches!(goes.message, Message::Fault(_));
            assert!(!fault, "rows are computed");
            goes.encode().expect("it is encoded");
        }
    };
    pass(&mut before);
    let one = timed(|| pass(&mut one));
    let more = timed(|| pass(&mut more));
    StageCost {
        hop_s,
        row_s: one,
        further_row_s: ((more - one) / f64::from(K)).max(0.0),
    }
}
