//! Appraisals of ours beside sev's, on the same evidence in the same process:
//! by criterion, then in turns, so that a change of the machine's speed falls on
//! all of them. The table at the end is of medians of the latter.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bastide_peers::{Evidence, OURS, SEV};
use criterion::Criterion;

/// Rounds of the table.
const ROUNDS: usize = 301;

/// One way to do one kind of work: prepares, and gives what is to be timed.
struct Contender<'e> {
    work: &'static str,
    name: String,
    run: Box<dyn Fn() -> Duration + 'e>,
}

fn timed(work: impl FnOnce() -> bool) -> Duration {
    let start = Instant::now();
    let held = black_box(work());
    let elapsed = start.elapsed();
    assert!(held, "everything is authentic");
    elapsed
}

fn contenders<'e>(evidence: &'e Evidence) -> Vec<Contender<'e>> {
    let mut all = Vec::new();
    let mut add = |work, name: String, run: Box<dyn Fn() -> Duration + 'e>| {
        all.push(Contender { work, name, run });
    };
    for (name, crypto) in OURS {
        let ours = format!("ours, {name}");
        let full = move || {
            let verifier = evidence.verifier(crypto);
            timed(|| evidence.appraise(&verifier))
        };
        add(FULL, ours.clone(), Box::new(full));
        let new_leaf = move || {
            let verifier = evidence.verifier_with_chain(crypto);
            timed(|| evidence.appraise(&verifier))
        };
        add(NEW_LEAF, ours.clone(), Box::new(new_leaf));
        let verifier = evidence.verifier(crypto);
        assert!(evidence.appraise(&verifier), "the evidence is authentic");
        add(AGAIN, ours, Box::new(move || timed(|| evidence.appraise(&verifier))));
        let bare = move || timed(|| evidence.bare_p384(crypto));
        add(AGAIN, format!("bare P-384, {name}"), Box::new(bare));
    }
    add(FULL, SEV.to_owned(), Box::new(|| timed(|| evidence.sev_full())));
    let leaf = evidence.sev_leaf();
    let again = move || timed(|| evidence.sev_again(&leaf));
    add(AGAIN, SEV.to_owned(), Box::new(again));
    all
}

const FULL: &str = "full: 3 RSA-4096-PSS, 1 P-384";
const NEW_LEAF: &str = "chain remembered: 1 RSA-4096-PSS, 1 P-384";
const AGAIN: &str = "leaf remembered: 1 P-384";

fn main() {
    let evidence = Evidence::load();
    let contenders = contenders(&evidence);

    let mut criterion = Criterion::default().configure_from_args();
    for work in [FULL, NEW_LEAF, AGAIN] {
        let mut group = criterion.benchmark_group(work);
        for contender in contenders.iter().filter(|contender| contender.work == work) {
            group.bench_function(&contender.name, |bencher| {
                bencher.iter_custom(|times| (0..times).map(|_| (contender.run)()).sum());
            });
        }
        group.finish();
    }
    criterion.final_summary();

    let mut times: Vec<Vec<Duration>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (times, contender) in times.iter_mut().zip(&contenders) {
            times.push((contender.run)());
        }
    }
    let medians: Vec<Duration> = times
        .iter_mut()
        .map(|times| {
            times.sort_unstable();
            times[ROUNDS / 2]
        })
        .collect();
    println!("\n{}, medians of {ROUNDS} in turns:", evidence.origin);
    for work in [FULL, NEW_LEAF, AGAIN] {
        println!("  {work}");
        let of_work = || {
            contenders
                .iter()
                .zip(&medians)
                .filter(|(contender, _)| contender.work == work)
        };
        let sev = of_work().find(|(contender, _)| contender.name == SEV);
        for (contender, median) in of_work() {
            let micros = median.as_secs_f64() * 1e6;
            let ratio = sev.map_or_else(String::new, |(_, sev)| {
                format!("{:.2} × {SEV}", median.as_secs_f64() / sev.as_secs_f64())
            });
            println!("    {:<24}{micros:>9.0} µs  {ratio}", contender.name);
        }
    }
}
