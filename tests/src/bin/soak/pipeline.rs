//! `tests/soak --pipeline`: a head, two stages behind it and a spare, 16 answers
//! at a time, and one of the stages killed every so often. Each answer must be
//! that of one node, token by token; each receipt must hold with every stage's
//! part of it.

mod questions;
mod sessions;
mod slot;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bastide_tests::binaries::Binaries;
use bastide_tests::delay::Delay;
use bastide_tests::http;
use bastide_tests::node::{Node, start_proxy};
use bastide_tests::pipeline::{Options as PipelineOptions, Pipeline, Plan};

use self::questions::Question;
use self::sessions::{Dice, Tally};
use self::slot::Slot;
use crate::load::{Count, Stop, repeat};
use crate::memory::Series;

const STAGES: usize = 3;
/// Answers at a time.
const SESSIONS: u64 = 16;
/// One way between two enclaves.
const HOP: Duration = Duration::from_millis(1);
/// A killed stage is started again after less than this.
const LONGEST_ABSENCE: usize = 8_000;
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// Shorter runs are all warming up.
const MINUTES_TO_JUDGE_MEMORY: u64 = 10;
/// What may be said while a stage is gone: nothing is lost by it, and it is asked again.
const EXCUSED: [&str; 2] = ["503 pipeline_unavailable", "503 pipeline.stage_evidence"];
const TRUST: [&str; 3] = ["--policy", "development", "--allow-simulated"];

/// How it is run.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) minutes: u64,
    pub(crate) kill_every: Duration,
    pub(crate) seed: u64,
}

/// Runs it, and says whether it passed.
///
/// # Errors
/// What could not be started.
pub(crate) fn soak(options: &Options) -> Result<bool, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let questions = answered_by_one_node(folder.path())?;
    let plan = Plan::sign(folder.path(), STAGES, true, "development")?;
    let generations = SESSIONS.to_string();
    let all = ["--generations", generations.as_str()];
    let mut relays = Vec::new();
    let started = PipelineOptions {
        spares: 1,
        all: &all,
        ..PipelineOptions::default()
    };
    let pipeline = Pipeline::start_behind(&plan, folder.path(), started, |stage, address| {
        let relay = Delay::start(&address, HOP);
        let reached = relay.address().to_string();
        relays.push((stage, relay));
        reached
    })?;
    let url = pipeline.url();
    let Pipeline { head, stages } = pipeline;
    let slots: Vec<Slot> = relays
        .into_iter()
        .zip(stages)
        .enumerate()
        .map(|(at, ((stage, relay), process))| {
            Slot::new(
                stage,
                format!("stage {stage}, place {}", at + 1),
                process,
                relay,
                folder.path(),
            )
        })
        .collect();
    let slots = Arc::new(slots);

    let ledger = folder.path().join("ledger.redb");
    let ledger = ledger.to_str().ok_or("the temporary folder's name is no text")?;
    let arguments = [&TRUST[..], &["--ledger", ledger]].concat();
    let proxy = start_proxy(&url, folder.path(), &arguments)?;

    let stop: Stop = Arc::new(AtomicBool::new(false));
    let (tally, kills, receipts) = (
        Arc::<Tally>::default(),
        Arc::<Count>::default(),
        Arc::<Count>::default(),
    );
    let mut threads: Vec<_> = (0..SESSIONS)
        .map(|number| {
            let dice = Dice::new(options.seed.wrapping_add(100 + number));
            let proxy = proxy.ready("listen").to_owned();
            sessions::session(
                dice,
                proxy,
                Arc::clone(&questions),
                Arc::clone(&tally),
                Arc::clone(&stop),
            )
        })
        .collect();
    threads.push(killer(options, &plan, &slots, generations.clone(), &kills, &stop));
    threads.push(auditor(&plan, ledger, &receipts, &stop));

    let mut series: Vec<Series> = [("head", head.id()), ("client", proxy.id())]
        .map(|(name, process)| Series::new(name.to_owned(), process))
        .to_vec();
    series.extend(slots.iter().map(|slot| Series::new(slot.name.clone(), 0)));
    let (began, lasting) = (Instant::now(), Duration::from_secs(options.minutes * 60));
    let mut next = Duration::ZERO;
    while began.elapsed() < lasting {
        if began.elapsed() >= next {
            for (series, slot) in series.iter_mut().skip(2).zip(slots.iter()) {
                series.process = slot.id().unwrap_or(0);
            }
            let line: Vec<String> = series
                .iter_mut()
                .map(|series| sampled(series, began.elapsed()))
                .collect();
            println!(
                "{:>6} s  right {}  wrong {}  again {}  kills {}  KiB {}",
                began.elapsed().as_secs(),
                tally.right.load(Ordering::Relaxed),
                tally.wrong.load(Ordering::Relaxed),
                tally.refused().values().sum::<u64>(),
                kills.read()[0],
                line.join("  ")
            );
            next += SAMPLE_EVERY;
        }
        thread::sleep(Duration::from_millis(100));
    }
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread
            .join()
            .map_err(|_| "a thread of the load panicked".to_owned())?;
    }
    let metrics = http::request(head.ready("metrics"), "GET", "/metrics", "", |_| ())?;
    Ok(report(options, &tally, &kills, &receipts, &series, &metrics.body))
}

/// Every question with what one node says to it.
fn answered_by_one_node(folder: &Path) -> Result<Arc<Vec<Question>>, String> {
    let logs = folder.join("one");
    std::fs::create_dir(&logs).map_err(|error| error.to_string())?;
    let node = Node::start(&logs, &[])?;
    let proxy = start_proxy(&node.url(), &logs, &[&TRUST[..], &["--no-ledger"]].concat())?;
    let mut questions = questions::questions();
    for question in &mut questions {
        let said = question.ask(proxy.ready("listen"), false);
        question.expected = Some(said.map_err(|refused| format!("one node says no: {refused:?}"))?);
    }
    Ok(Arc::new(questions))
}

/// Kills one of the stages every so often, and starts it again some seconds later.
fn killer(
    options: &Options,
    plan: &Plan,
    slots: &Arc<Vec<Slot>>,
    generations: String,
    kills: &Arc<Count>,
    stop: &Stop,
) -> thread::JoinHandle<()> {
    let (every, mut dice) = (options.kill_every, Dice::new(options.seed));
    let (plan, slots, kills) = (plan.clone(), Arc::clone(slots), Arc::clone(kills));
    let mut last = Instant::now();
    repeat(stop, Duration::from_millis(100), move || {
        if last.elapsed() < every {
            return;
        }
        last = Instant::now();
        let slot = &slots[dice.throw(slots.len())];
        slot.kill();
        thread::sleep(Duration::from_millis(dice.throw(LONGEST_ABSENCE) as u64));
        match slot.start(&plan, &["--generations", &generations]) {
            Ok(()) => Count::add(&kills.done),
            Err(message) => {
                eprintln!("{message}");
                Count::add(&kills.failed);
            }
        }
    })
}

/// Verifies the latest receipt in the client's ledger, offline, with the evidence
/// of every stage that the ledger keeps.
fn auditor(plan: &Plan, ledger: &str, receipts: &Arc<Count>, stop: &Stop) -> thread::JoinHandle<()> {
    let (owner, ledger, receipts) = (plan.owner.clone(), ledger.to_owned(), Arc::clone(receipts));
    repeat(stop, SAMPLE_EVERY, move || {
        let mut verify = Command::new(&Binaries::build().cli);
        verify.args(["receipt", "verify", "ledger:last", "--ledger", &ledger]);
        let output = verify.args(TRUST).arg("--owner").arg(&owner).output();
        match output {
            Ok(output) if output.status.success() => Count::add(&receipts.done),
            Ok(output) => {
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8_lossy(&said);
                // Nothing was answered yet.
                if !said.contains("ledger.no_entry") && !said.contains("ledger.missing") {
                    eprintln!("{said}");
                    Count::add(&receipts.refused);
                }
            }
            Err(_) => Count::add(&receipts.failed),
        }
    })
}

fn sampled(series: &mut Series, at: Duration) -> String {
    let before = series.samples.len();
    series.sample(at);
    match series.samples.get(before) {
        Some((_, kib)) => kib.to_string(),
        None => "-".to_owned(),
    }
}

/// Values of the head's own counters.
fn counters(metrics: &str) -> BTreeMap<&str, &str> {
    let lines = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("bastide_enclave_pipeline_"));
    lines.filter_map(|line| line.split_once(' ')).collect()
}

fn report(
    options: &Options,
    tally: &Tally,
    kills: &Count,
    receipts: &Count,
    series: &[Series],
    metrics: &str,
) -> bool {
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (right, wrong, tokens) = (read(&tally.right), read(&tally.wrong), read(&tally.tokens));
    println!(
        "\npipeline soak of {} min: {STAGES} stages and a spare, {SESSIONS} answers at a time, a kill every {} s, seed {}\n",
        options.minutes,
        options.kill_every.as_secs(),
        options.seed
    );
    println!("| what | how often |\n|---|---|");
    println!("| answers, token by token those of one node | {right} |");
    println!("| tokens in them | {tokens} |");
    println!("| wrong answers | {wrong} |");
    let refused = tally.refused();
    for (code, count) in &refused {
        println!("| no answer, and asked again: {code} | {count} |");
    }
    let [killed, _, not_started] = kills.read();
    println!("| stages killed and started again | {killed} |");
    println!("| stages that did not start again | {not_started} |");
    let [verified, bad, unrun] = receipts.read();
    println!("| receipts verified offline, all stages | {verified} |");
    println!("| receipts refused offline | {bad} |");
    println!("| slowest answer, ms | {} |", read(&tally.slowest));
    let counters = counters(metrics);
    for (name, value) in counters.iter().filter(|(name, _)| name.ends_with("_total")) {
        println!("| head: {name} | {value} |");
    }
    for note in tally
        .notes
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .iter()
    {
        println!("\n{note}");
    }
    let mut flat = crate::memory::report(series);
    if options.minutes < MINUTES_TO_JUDGE_MEMORY {
        println!("\n(memory is judged in runs of {MINUTES_TO_JUDGE_MEMORY} minutes and more)");
        flat = true;
    }
    let unexcused: u64 = refused
        .iter()
        .filter(|(code, _)| !EXCUSED.contains(&code.as_str()))
        .map(|(_, count)| count)
        .sum();
    let replans = counters.get("replans_total").copied().unwrap_or("0");
    let good = wrong == 0
        && replans != "0"
        && right > 0
        && unexcused == 0
        && killed > 0
        && not_started == 0
        && verified > 0
        && bad + unrun == 0
        && flat;
    println!(
        "\npipeline soak: {}: {right} answers, {wrong} wrong, {killed} kills, {replans} answers taken up again, \
         {} asked again ({unexcused} without excuse), {verified} receipts verified, memory {}",
        if good { "passed" } else { "FAILED" },
        refused.values().sum::<u64>(),
        match flat {
            _ if options.minutes < MINUTES_TO_JUDGE_MEMORY => "not judged",
            true => "flat",
            false => "GROWS",
        }
    );
    good
}
