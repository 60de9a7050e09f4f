//! `cargo bench -p bastide-attested-tls --bench batcher`: T12's load on the lane
//! alone, in real time. Ten thousand sessions a second ask for evidence, of a
//! security processor that takes 8 ms, and of one that has ten reports in ten
//! seconds and stalls 10.2 s on each beyond. The promise itself is a test, in
//! virtual time: `lane_m/pace/tests.rs`.

#[expect(dead_code, reason = "appraisers are for whoever has sessions")]
#[path = "../tests/session/doubles.rs"]
mod doubles;

use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bastide_attestation::{Attestation, Attester, AttesterError, Binder, StatementBytes};
use bastide_attested_tls::{LaneError, LaneLimits, LaneM};
use tokio::task::JoinSet;

use doubles::{blank_report, facts, is_bound};

const A_SECOND: u32 = 10_000;
const REPORT: Duration = Duration::from_millis(8);
const STALL: Duration = Duration::from_millis(10_200);

/// A processor, with a bucket or without.
struct Psp(Option<Mutex<Bucket>>);

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    const MOST: f64 = 10.0;

    fn full() -> Self {
        Self {
            tokens: Self::MOST,
            at: Instant::now(),
        }
    }

    /// Whether this report is free; a second gives one.
    fn take(&mut self) -> bool {
        self.tokens = Self::MOST.min(self.tokens + self.at.elapsed().as_secs_f64());
        self.at = Instant::now();
        let free = self.tokens >= 1.0;
        if free {
            self.tokens -= 1.0;
        }
        free
    }
}

impl Attester for Psp {
    fn attest(&self, statement: &StatementBytes) -> Result<Attestation, AttesterError> {
        let free = self
            .0
            .as_ref()
            .is_none_or(|bucket| bucket.lock().expect("no one panics with it").take());
        sleep(if free { REPORT } else { STALL });
        Ok(blank_report(statement))
    }

    fn name(&self) -> &'static str {
        "bench"
    }
}

fn binder(number: u32) -> Binder {
    let mut bytes = [3; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Binder::new(bytes)
}

/// Offers sessions in groups of ten, a group each millisecond, for `length`.
/// Returns how long each waited from when it was due, and how many were refused.
async fn offer(lane: &LaneM, length: Duration) -> (Vec<Duration>, usize) {
    let begin = Instant::now();
    let mut sessions: JoinSet<Result<Duration, LaneError>> = JoinSet::new();
    let groups = u32::try_from(length.as_millis()).expect("a short time");
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    for group in 0..groups {
        tick.tick().await;
        let due = begin + Duration::from_millis(1) * group;
        for number in 0..A_SECOND / 1000 {
            let lane = lane.clone();
            let binder = binder(group * (A_SECOND / 1000) + number);
            sessions.spawn(async move {
                let attested = lane.attest(binder).await?;
                let waited = due.elapsed();
                // One in a few is looked at, so that checking isn't what is timed.
                assert!(number != 0 || is_bound(&attested.evidence(), &binder));
                Ok(waited)
            });
        }
    }
    let (mut waits, mut refused) = (Vec::new(), 0);
    while let Some(ended) = sessions.join_next().await {
        match ended.expect("no session panics") {
            Ok(waited) => waits.push(waited),
            Err(_) => refused += 1,
        }
    }
    waits.sort_unstable();
    (waits, refused)
}

fn main() {
    // Without `--bench` this is a test: a moment is enough.
    let whole = std::env::args().any(|argument| argument == "--bench");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let limits = LaneLimits {
        probe: 12,
        ..LaneLimits::default()
    };
    for (name, bucket, length) in [
        ("8 ms a report", None, if whole { 20_000 } else { 100 }),
        (
            "8 ms, 10 in 10 s, else 10.2 s",
            whole.then(|| Mutex::new(Bucket::full())),
            if whole { 60_000 } else { 100 },
        ),
    ] {
        let began = Instant::now();
        let lane = LaneM::start(Arc::new(Psp(bucket)), facts(), limits).expect("threads");
        runtime
            .block_on(lane.attest(binder(u32::MAX)))
            .expect("the processor is honest");
        let probed = began.elapsed();
        let before = lane.counters().epochs;
        let (waits, refused) = runtime.block_on(offer(&lane, Duration::from_millis(length)));
        let at = |percent: usize| waits[(waits.len() * percent / 100).min(waits.len() - 1)];
        let reports = lane.counters().epochs - before;
        println!(
            "batcher, {name}: probe {probed:.1?}, then {} sessions in {length} ms from {reports} reports, pace {:?}: \
             p50 {:.1?}, p99 {:.1?}, longest {:.1?}, refused {refused}",
            waits.len(),
            lane.counters().pace,
            at(50),
            at(99),
            at(100),
        );
    }
}
