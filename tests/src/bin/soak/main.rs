//! A soak: connects, renewals, epoch changes, stalls of the security processor
//! and kills, for as many minutes as asked for, with real processes and a
//! watcher on each wire. Ends with a table, and with 1 if memory grew, if a byte
//! of a request went to a node before it had proved itself, or if nothing worked.

mod load;
mod memory;
mod pipeline;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bastide_tests::http;
use bastide_tests::node::{Node, start_proxy};
use bastide_tests::watcher::{MOST_BYTES_BEFORE_EVIDENCE, MOST_BYTES_OF_A_RECORD, Watcher};

use load::{CANARY, Count, Mortal, Stop};
use memory::{MOST_GROWTH, Series};

const HELP: &str = "\
A soak of the whole chain, with simulated hardware.

Usage: tests/soak [--minutes N] [--stalls N:MS] [--kill-every SECONDS]
       tests/soak --pipeline [--minutes N] [--kill-every SECONDS] [--seed N]

  --minutes N            how long [default: 30]
  --stalls N:MS          every Nth report takes so many milliseconds longer [default: 10:10200]
  --kill-every SECONDS   how often the second node is killed [default: 45],
                         or one of the stages [default: 20]
  --pipeline             a pipeline of three stages and a spare instead, 16 answers at a time,
                         each compared with what one node says
  --seed N               which stage is killed when [default: 1]
";

const SAMPLE_EVERY: Duration = Duration::from_secs(10);
const DEVELOPMENT: [&str; 3] = ["--policy", "development", "--allow-simulated"];

struct Options {
    minutes: u64,
    stalls: String,
    kill_every: Option<u64>,
    pipeline: bool,
    seed: u64,
}

fn main() -> ExitCode {
    let mut options = Options {
        minutes: 30,
        stalls: "10:10200".to_owned(),
        kill_every: None,
        pipeline: false,
        seed: 1,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--pipeline" {
            options.pipeline = true;
            continue;
        }
        let value = arguments.next();
        let number = value.as_deref().and_then(|text| text.parse().ok());
        match (argument.as_str(), number, value) {
            ("--minutes", Some(minutes @ 1..=1440), _) => options.minutes = minutes,
            ("--kill-every", Some(seconds @ 5..=86_400), _) => options.kill_every = Some(seconds),
            ("--seed", Some(seed), _) => options.seed = seed,
            ("--stalls", _, Some(stalls)) => options.stalls = stalls,
            _ => {
                eprint!("{HELP}");
                return ExitCode::from(2);
            }
        }
    }
    let ended = if options.pipeline {
        pipeline::soak(&pipeline::Options {
            minutes: options.minutes,
            kill_every: Duration::from_secs(options.kill_every.unwrap_or(20)),
            seed: options.seed,
        })
    } else {
        soak(&options)
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn authority(node: &Node) -> &str {
    node.shim.ready("listen").trim_start_matches("tcp:")
}

fn soak(options: &Options) -> Result<bool, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let logs = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(&path)
            .map(|()| path)
            .map_err(|error| error.to_string())
    };
    let kill_every = options.kill_every.unwrap_or(45);
    let stalling = ["--simulated-stalls", options.stalls.as_str()];
    // One node that stays up, and is measured; one that is killed again and again.
    let steady = Node::start(&logs("steady")?, &stalling)?;
    let mortal_logs = logs("mortal")?;
    let mortal = Node::start(&mortal_logs, &[])?;

    let watched = Watcher::start(authority(&steady), CANARY, true);
    let watched_mortal = Watcher::start(authority(&mortal), CANARY, true);
    // The same node for a client whose policy refuses it: nothing may follow, ever.
    let refusing = Watcher::start(authority(&steady), CANARY, false);
    let url = |watcher: &Watcher| format!("https://{}", watcher.address());

    let admitted = start_proxy(&url(&watched), &logs("proxy")?, &DEVELOPMENT)?;
    let surviving = start_proxy(&url(&watched_mortal), &logs("proxy-mortal")?, &DEVELOPMENT)?;
    let refused = start_proxy(
        &url(&refusing),
        &logs("proxy-refusing")?,
        &["--policy", "production"],
    )?;

    let mut series: Vec<Series> = [
        ("enclave", steady.enclave.id()),
        ("shim", steady.shim.id()),
        ("client", admitted.id()),
        ("client of the killed node", surviving.id()),
        ("client that refuses", refused.id()),
    ]
    .map(|(name, process)| Series::new(name.to_owned(), process))
    .to_vec();

    let stop: Stop = Arc::new(AtomicBool::new(false));
    let counts: [Arc<Count>; 5] = core::array::from_fn(|_| Arc::default());
    let [answers, sessions, killed_answers, refusals, kills] = counts.clone();
    let mut threads = Vec::new();
    for (proxy, count, stream) in [
        (&admitted, &answers, false),
        (&admitted, &answers, true),
        (&surviving, &killed_answers, false),
        (&refused, &refusals, false),
    ] {
        let (proxy, count) = (proxy.ready("listen").to_owned(), Arc::clone(count));
        threads.push(load::repeat(&stop, Duration::from_millis(300), move || {
            load::prompt(&proxy, stream, &count);
        }));
    }
    for _ in 0..2 {
        let (node, count) = (url(&watched), Arc::clone(&sessions));
        threads.push(load::repeat(&stop, Duration::from_millis(50), move || {
            load::verify(&node, &count);
        }));
    }
    let mortal = Arc::new(Mortal::new(mortal, &mortal_logs, &[], watched_mortal.clone()));
    let (killed, every) = (Arc::clone(&kills), Duration::from_secs(kill_every));
    let mut last = Instant::now();
    threads.push(load::repeat(&stop, Duration::from_millis(200), move || {
        if last.elapsed() >= every {
            mortal.kill(&killed);
            last = Instant::now();
        }
    }));

    let (began, lasting) = (Instant::now(), Duration::from_secs(options.minutes * 60));
    let mut next = Duration::ZERO;
    while began.elapsed() < lasting {
        if began.elapsed() >= next {
            let line: Vec<String> = series
                .iter_mut()
                .map(|series| {
                    series.sample(began.elapsed());
                    series
                        .samples
                        .last()
                        .map_or_else(|| "-".to_owned(), |(_, kib)| kib.to_string())
                })
                .collect();
            println!("{:>6} s  {}", began.elapsed().as_secs(), line.join("  "));
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
    let metrics = http::request(steady.enclave.ready("metrics"), "GET", "/metrics", "", |_| ())?;

    println!(
        "\nsoak of {} min, stalls {}, a kill every {kill_every} s\n",
        options.minutes, options.stalls
    );
    println!("| work | done | refused | failed |\n|---|---|---|---|");
    for (what, count) in [
        ("prompts to the steady node", &answers),
        ("sessions attested and closed", &sessions),
        ("prompts to the killed node", &killed_answers),
        ("prompts under a policy that refuses", &refusals),
        ("kills", &kills),
    ] {
        let [done, refused, failed] = count.read();
        println!("| {what} | {done} | {refused} | {failed} |");
    }
    for line in metrics
        .body
        .lines()
        .filter(|line| line.starts_with("bastide_enclave_attest_") && line.contains("_total"))
    {
        println!("\n{line}");
    }
    let mut good = true;
    println!(
        "\n| wire | connections | answered | largest record before an answer | most bytes without one | bytes | faults |\n|---|---|---|---|---|---|---|"
    );
    for (wire, watcher) in [
        ("steady", &watched),
        ("killed", &watched_mortal),
        ("refused", &refusing),
    ] {
        let seen = watcher.seen();
        println!(
            "| {wire} | {} | {} | {} | {} | {} | {} |",
            seen.connections,
            seen.answered,
            seen.largest_before_answer,
            seen.most_without_answer,
            seen.bytes,
            seen.faults.len()
        );
        for fault in seen.faults.iter().take(10) {
            println!("\n{wire}: {fault}");
        }
        good &= seen.faults.is_empty() && seen.connections > 0;
    }
    println!("\n(limits: {MOST_BYTES_OF_A_RECORD} bytes a record, {MOST_BYTES_BEFORE_EVIDENCE} in all)");
    good &= memory::report(&series);
    println!(
        "\n(flat: at most {MOST_GROWTH} KiB a minute from the middle third to the last, or 3 MiB in all)"
    );
    // Work was done, and where it must not be it was not.
    good &= [&answers, &sessions, &killed_answers, &kills]
        .iter()
        .all(|count| count.read()[0] > 0);
    good &= refusals.read()[0] == 0 && refusals.read()[1] > 0;
    println!("\n{}", if good { "soak: passed" } else { "soak: FAILED" });
    Ok(good)
}
