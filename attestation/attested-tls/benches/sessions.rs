//! `cargo bench -p bastide-attested-tls --bench sessions`: sessions a second over
//! real TLS on loopback, client and node on the same two threads: plain TLS, a
//! report for each session, a report for all who wait, and signatures of the
//! session key. By turns in one run, so that what else the machine does falls on
//! all alike. The security processor takes 8 ms and signs nothing, and the client
//! checks the binding alone: report signatures are the verifier's benchmark.

#[expect(dead_code, reason = "other tests and benchmarks use the rest")]
#[path = "../tests/session/doubles.rs"]
mod doubles;
mod node;

use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use node::{Client, Kind, Server};

const AT_ONCE: usize = 64;
const REPORT: Duration = Duration::from_millis(8);

const KINDS: [(&str, Kind); 4] = [
    ("plain TLS 1.3", Kind::Plain),
    ("a report for each session", Kind::OneEach),
    ("a report for all who wait", Kind::Batched),
    ("signatures of the session key", Kind::Known),
];

/// Sessions by `AT_ONCE` clients for this long: how many, and from how many reports.
async fn run(kind: Kind, length: Duration) -> (usize, u64, Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("a port").port();
    let server = Server::new(kind, REPORT);
    let client = Client::new(kind, port, server.certificate());
    let serving = tokio::spawn(std::sync::Arc::clone(&server).serve(listener, usize::MAX));
    // Whoever knows a statement has had a report once.
    client.session().await;
    let begin = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..AT_ONCE {
        let client = client.clone();
        clients.spawn(async move {
            let mut sessions = 0;
            while begin.elapsed() < length {
                client.session().await;
                sessions += 1;
            }
            sessions
        });
    }
    let sessions = clients.join_all().await.into_iter().sum();
    let took = begin.elapsed();
    serving.abort();
    (sessions, server.reports(), took)
}

fn main() {
    // Without `--bench` this is a test: a moment is enough.
    let whole = std::env::args().any(|argument| argument == "--bench");
    let (rounds, length) = if whole { (4, 3000) } else { (1, 50) };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut totals = [(0_usize, 0_u64, Duration::ZERO); KINDS.len()];
    for _ in 0..rounds {
        for ((_, kind), total) in KINDS.into_iter().zip(&mut totals) {
            let (sessions, reports, took) = runtime.block_on(run(kind, Duration::from_millis(length)));
            *total = (total.0 + sessions, total.1 + reports, total.2 + took);
        }
    }
    let rate = |(sessions, _, took): (usize, u64, Duration)| {
        f64::from(u32::try_from(sessions).expect("not so many")) / took.as_secs_f64()
    };
    let plain = rate(totals[0]);
    for ((name, _), total) in KINDS.into_iter().zip(totals) {
        println!(
            "sessions, {name}: {:.0}/s, {:.2} of plain, {} sessions, {} reports",
            rate(total),
            rate(total) / plain,
            total.0,
            total.1
        );
    }
}
