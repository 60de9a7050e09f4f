//! The same model at the same distances by llama.cpp's RPC back end and by a
//! ring of attested links, in one run.
//!
//! Owns the comparison and its table.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use bastide_pipeline::head::Speculation;

use crate::costs::Costs;
use crate::llama::Llama;
use crate::measure::{Answered, K, Text};
use crate::report::Marks;
use crate::ring::{self, Fleet};
use crate::{BUDGET, FAR, FAR_MS, QUESTIONS, RUN, ask_all};

/// The page's marks around this table.
pub(crate) const MARKS: Marks = (
    "<!-- llama.cpp: written by the benchmark -->",
    "<!-- end of llama.cpp -->",
);

const STAGES: [u16; 3] = [2, 3, 4];
/// Round trips to another machine, milliseconds.
const TRIPS: [u32; 4] = [2, 20, 50, 100];

/// Tokens per second of one arrangement.
struct Row {
    stages: u16,
    trip: u32,
    /// llama.cpp: plain, and with its own speculation.
    llama: [f64; 2],
    /// Ours: plain, synchronous, pipelined, and as the head chooses.
    ours: [f64; 4],
}

/// Measures everything, and gives the table.
pub(crate) async fn compare(folder: &Path) -> String {
    let began = Instant::now();
    let whole = ring::load("bastide-5m", None);
    let (mut rows, mut same, mut asked) = (Vec::new(), 0, 0);
    for stages in STAGES {
        let fleet = Fleet::new(stages).await;
        let texts: Vec<Text> = QUESTIONS
            .iter()
            .map(|question| Text::new(&whole, &fleet, question, BUDGET))
            .collect();
        for trip in TRIPS {
            let hop = Duration::from_micros(u64::from(trip) * 500);
            let few = if trip > FAR_MS { FAR } else { (texts.len(), BUDGET) };
            let mut llama = [0.0; 2];
            for (drafts, rate) in [false, true].into_iter().zip(&mut llama) {
                let (count, budget) = if drafts { (texts.len(), BUDGET) } else { few };
                let server = Llama::start(folder, stages, hop, drafts);
                let mut answers = Vec::new();
                // The first isn't counted.
                server.answer(&texts[0], budget);
                for text in &texts[..count] {
                    let said = server.answer(text, budget);
                    same += usize::from(said.same);
                    asked += 1;
                    answers.push(said.answered);
                }
                *rate = speed(&answers);
            }
            let depth = Costs::measure(&fleet, hop).await.depth(RUN);
            let forms = [
                Speculation::Off,
                Speculation::Synchronous { k: K },
                Speculation::Pipelined { k: RUN, depth },
                Speculation::Auto,
            ];
            let mut ours = [0.0; 4];
            for (speculation, rate) in forms.into_iter().zip(&mut ours) {
                let (count, budget) = if speculation == Speculation::Off {
                    few
                } else {
                    (texts.len(), BUDGET)
                };
                let (answers, _) = ask_all(&fleet, hop, speculation, &texts[..count], budget, false).await;
                *rate = speed(&answers);
            }
            eprintln!(
                "{:4.0} s  {stages} stages, {trip} ms: {llama:.1?} {ours:.1?}",
                began.elapsed().as_secs_f64()
            );
            rows.push(Row {
                stages,
                trip,
                llama,
                ours,
            });
        }
    }
    markdown(&rows, same, asked)
}

fn speed(answers: &[Answered]) -> f64 {
    let tokens: u32 = answers.iter().map(|answer| answer.tokens).sum();
    f64::from(tokens) / answers.iter().map(|answer| answer.seconds).sum::<f64>()
}

fn markdown(rows: &[Row], same: usize, asked: usize) -> String {
    let mut text = format!(
        "{same} of llama.cpp's {asked} answers were our one node's, token for token; of ours all.\n\n\
         | stages | round trip | llama.cpp | with its draft | ours, plain | synchronous | pipelined | chosen | plain to plain | best to best |\n\
         |---|---|---|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let best = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "| {} | {} ms | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} × | **{:.2} ×** |",
            row.stages,
            row.trip,
            row.llama[0],
            row.llama[1],
            row.ours[0],
            row.ours[1],
            row.ours[2],
            row.ours[3],
            row.ours[0] / row.llama[0],
            best(&row.ours) / best(&row.llama),
        );
    }
    text
}
