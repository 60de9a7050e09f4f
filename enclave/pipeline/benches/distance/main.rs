//! One model over several enclaves at a distance: tokens per second of rings of
//! attested links with a relay in each hop that delays, beside what the latency
//! model says, and beside the same ring over bare TCP.
//!
//! ```text
//! cargo bench -p bastide-pipeline --features plain-transport --bench distance -- \
//!     -o docs/reference/pipeline-speed.svg --page docs/reference/pipeline-speed.md
//! ```
//!
//! With `--llama-cpp FOLDER` instead of `-o`, where FOLDER is what
//! `tests/peers/llama-rpc` built: beside llama.cpp's RPC back end.
//!
//! Without `--bench`, which cargo adds, it makes one short round and writes
//! nothing. Owns no claim: it prints what this machine does, and says which
//! targets it meets. Ends with a panic where a ring says something else than
//! one node.

mod costs;
#[path = "../../../../tests/src/delay.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the end-to-end tests' own relay; they use more of it"
)]
mod delay;
#[path = "../../tests/node/enclave.rs"]
mod enclave;
mod llama;
mod measure;
mod peer;
mod plot;
#[path = "../../../../tests/src/recorder.rs"]
#[expect(dead_code, unreachable_pub, reason = "the relay names its directions by it")]
mod recorder;
mod report;
mod ring;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bastide_pipeline::head::Speculation;

use costs::Costs;
use measure::{Answered, K, Text};
use report::{Form, Row, Table};
use ring::{Fleet, Transport};

/// Of the models' own 20 fixed questions (`engine/training/sample.py`).
const QUESTIONS: &[&str] = &[
    "What is Bastide?",
    "Can the host read my prompt?",
    "What is an enclave?",
    "What is a receipt?",
    "Explain speculative decoding in detail.",
    "Why does a Merkle tree matter?",
    "Who are you?",
    "Hello!",
    "What is 17 + 25?",
    "What is 81 - 34?",
    "What is 7 * 8?",
    "What is 68 + 57?",
    "What is the capital of Norway?",
    "Which day comes after Friday?",
    "Which month comes before March?",
    "Count from 5 to 12.",
    "Sort these words: pear, apple, fox, door",
    "Write a JSON list of red, fox, bell.",
    "Which is larger, 38 or 83?",
    "Tell me a story about a fox.",
];
/// Tokens of an answer at most; the models end most of theirs before.
const BUDGET: usize = 64;
const FORMS: [Form; 3] = [Form::Plain, Form::Synchronous, Form::Pipelined];

/// Tokens of a frame in the pipelined form.
const RUN: u8 = 4;

/// What is measured, and how much of it.
struct Scope {
    stages: &'static [u16],
    /// Round trips between neighbours, milliseconds, and how often each is
    /// measured: the median counts. What the machine does besides shows where
    /// turns are short.
    trips: &'static [(u32, usize)],
    questions: usize,
    budget: usize,
}

const WHOLE: Scope = Scope {
    stages: &[2, 3, 4],
    trips: &[(2, 9), (20, 3), (50, 1), (100, 1)],
    questions: 20,
    budget: BUDGET,
};
/// So that the benchmark can't rot: seconds.
const SHORT: Scope = Scope {
    stages: &[2],
    trips: &[(4, 3)],
    questions: 2,
    budget: 8,
};
/// Where hops are longer than this, an answer without a draft takes too long
/// for all questions, and what attestation costs is too little to see.
const FAR_MS: u32 = 20;
/// Questions, and tokens of each, that are asked without a draft over long hops.
const FAR: (usize, usize) = (5, 16);

/// Arguments: `-o SVG`, `--page MARKDOWN`, `--llama-cpp FOLDER`, relative to the repository.
struct Arguments {
    whole: bool,
    plot: Option<PathBuf>,
    page: Option<PathBuf>,
    llama: Option<PathBuf>,
}

fn arguments() -> Arguments {
    let mut parsed = Arguments {
        whole: false,
        plot: None,
        page: None,
        llama: None,
    };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        let mut path = || {
            let path = given.next();
            let path = path.unwrap_or_else(|| panic!("{argument} wants a file"));
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
        };
        match argument.as_str() {
            "--bench" => parsed.whole = true,
            "-o" => parsed.plot = Some(path()),
            "--page" => parsed.page = Some(path()),
            "--llama-cpp" => parsed.llama = Some(path()),
            other => eprintln!(
                "distance: {other:?} is ignored; it knows -o FILE.svg, --page FILE.md and --llama-cpp FOLDER"
            ),
        }
    }
    parsed
}

fn main() {
    let arguments = arguments();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let (text, marks) = if let Some(folder) = &arguments.llama {
        (runtime.block_on(peer::compare(folder)), peer::MARKS)
    } else {
        let scope = if arguments.whole { &WHOLE } else { &SHORT };
        let table = runtime.block_on(measure_all(scope));
        if let Some(path) = &arguments.plot {
            std::fs::write(path, plot::svg(&table)).expect("the plot is written");
        }
        (table.markdown(), report::MARKS)
    };
    println!("{text}");
    if let Some(path) = &arguments.page {
        let page = std::fs::read_to_string(path).expect("the page is there");
        std::fs::write(path, report::replaced(&page, marks, &text)).expect("the page is written");
    }
}

async fn measure_all(scope: &Scope) -> Table {
    let began = Instant::now();
    let whole = ring::load("bastide-5m", None);
    let mut rows = Vec::new();
    let mut agreed = (0, 0);
    for stages in scope.stages {
        let fleet = Fleet::new(*stages).await;
        let questions = QUESTIONS.iter().take(scope.questions);
        let texts: Vec<Text> = questions
            .map(|question| Text::new(&whole, &fleet, question, scope.budget))
            .collect();
        let flags = || texts.iter().flat_map(|text| &text.agreed);
        agreed = (flags().filter(|agreed| **agreed).count(), flags().count());
        for (trip, times) in scope.trips {
            let hop = Duration::from_micros(u64::from(*trip) * 500);
            let mut measured: [Vec<Row>; 3] = Default::default();
            for _ in 0..*times {
                for (form, measured) in FORMS.into_iter().zip(&mut measured) {
                    let (count, budget) = match form {
                        Form::Plain if *trip > FAR_MS => FAR,
                        _ => (texts.len(), scope.budget),
                    };
                    let asked = &texts[..count.min(texts.len())];
                    // Right before the answers: machines have better and worse minutes.
                    let costs = Costs::measure(&fleet, hop).await;
                    let speculation = match form {
                        Form::Plain => Speculation::Off,
                        Form::Synchronous => Speculation::Synchronous { k: K },
                        Form::Pipelined => Speculation::Pipelined {
                            k: RUN,
                            depth: costs.depth(RUN),
                        },
                    };
                    let compare = *trip <= FAR_MS;
                    let (answers, cost) = ask_all(&fleet, hop, speculation, asked, budget, compare).await;
                    let row = row(*stages, *trip, form, &costs, asked, &answers, cost);
                    eprintln!("{:4.0} s  {costs:?} {row:?}", began.elapsed().as_secs_f64());
                    measured.push(row);
                }
            }
            rows.extend(measured.into_iter().filter_map(report::median));
        }
    }
    Table { rows, agreed }
}

/// Asks all questions of an attested ring, and where `compare` is set of a bare
/// one in turns: answers, and how much longer the attested ones took.
async fn ask_all(
    fleet: &Fleet,
    hop: Duration,
    speculation: Speculation,
    texts: &[Text],
    budget: usize,
    compare: bool,
) -> (Vec<Answered>, Option<f64>) {
    let ring = fleet.start(Transport::Attested, hop, speculation).await;
    // Links open, and the head learns how far it is.
    for text in texts.iter().take(2) {
        measure::answer(&ring.head, text, 8).await;
    }
    #[cfg(feature = "plain-transport")]
    if compare {
        let bare = fleet.start(Transport::Bare, hop, speculation).await;
        for text in texts.iter().take(2) {
            measure::answer(&bare.head, text, 8).await;
        }
        let (mut answers, mut ratios) = (Vec::new(), Vec::new());
        for (number, text) in texts.iter().enumerate() {
            // Each is first as often as the other.
            let mut without = Answered::default();
            if number % 2 == 0 {
                without = measure::answer(&bare.head, text, budget).await;
            }
            let with = measure::answer(&ring.head, text, budget).await;
            if number % 2 == 1 {
                without = measure::answer(&bare.head, text, budget).await;
            }
            ratios.push(with.seconds / without.seconds);
            answers.push(with);
        }
        ratios.sort_by(f64::total_cmp);
        let middle = ratios.get(ratios.len() / 2).copied();
        return (answers, middle.map(|ratio| ratio - 1.0));
    }
    #[cfg(not(feature = "plain-transport"))]
    let _ = compare;
    let mut answers = Vec::new();
    for text in texts {
        answers.push(measure::answer(&ring.head, text, budget).await);
    }
    (answers, None)
}

fn row(
    stages: u16,
    trip: u32,
    form: Form,
    costs: &Costs,
    texts: &[Text],
    answers: &[Answered],
    attestation: Option<f64>,
) -> Row {
    let tokens = f64::from(answers.iter().map(|answer| answer.tokens).sum::<u32>());
    let seconds: f64 = answers.iter().map(|answer| answer.seconds).sum();
    let rounds = f64::from(answers.iter().map(|answer| answer.rounds).sum::<u32>());
    let turns: usize = texts.iter().map(Text::turns).sum();
    let turns = match form {
        Form::Plain => tokens,
        Form::Synchronous => rounds,
        Form::Pipelined => f64::from(u32::try_from(turns).unwrap_or(u32::MAX)),
    };
    let per_turn = tokens / turns;
    let rate = match form {
        Form::Plain => costs.model().plain(),
        Form::Synchronous => {
            let acceptance = report::acceptance(u32::from(K), per_turn);
            costs.model().synchronous(u32::from(K), acceptance)
        }
        Form::Pipelined => {
            let window = u32::from(costs.depth(RUN)) * u32::from(RUN);
            costs
                .model_of_shared(u32::from(RUN))
                .pipelined(u32::from(RUN), window, 1.0 - 1.0 / per_turn)
        }
    };
    // The closed forms know nothing of a prompt, whose rows go with the first turn.
    let prompts: usize = texts.iter().map(|text| text.prompt.len() - 1).sum();
    let prompts = f64::from(u32::try_from(prompts).unwrap_or(u32::MAX));
    let predicted = tokens / (tokens / rate + prompts * costs.further_row_s());
    Row {
        stages,
        trip,
        form,
        lap: costs.model().lap_s(),
        per_turn,
        measured: tokens / seconds,
        predicted,
        attestation,
    }
}
