//! A node and its clients as two processes, so that the node's instructions alone
//! can be counted: `session-cost serve KIND SESSIONS FOLDER REPORT` ends after so
//! many sessions, `session-cost connect KIND SESSIONS FOLDER` has them, sixteen at a
//! time. KIND is `plain`, `batched` or `known`, REPORT is how long a report takes in
//! milliseconds. `benches/callgrind` and `benches/cpu-time` run both.

#[expect(dead_code, reason = "other tests and benchmarks use the rest")]
#[path = "../tests/session/doubles.rs"]
mod doubles;
#[expect(dead_code, reason = "one report for each session is for rates")]
#[path = "../benches/node/mod.rs"]
mod node;

use std::path::Path;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use node::{Client, Kind, Server};

const AT_ONCE: usize = 16;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, kind, sessions, folder, report @ ..] = arguments.as_slice() else {
        panic!("expected `serve` or `connect`, a kind, how many sessions, and a folder");
    };
    let kind = match kind.as_str() {
        "plain" => Kind::Plain,
        "batched" => Kind::Batched,
        "known" => Kind::Known,
        _ => panic!("expected `plain`, `batched` or `known`"),
    };
    let sessions: usize = sessions.parse().expect("expected how many sessions");
    let folder = Path::new(folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    match role.as_str() {
        "serve" => {
            let report = report.first().and_then(|report| report.parse().ok());
            let report = Duration::from_millis(report.expect("expected how long a report takes"));
            runtime.block_on(serve(kind, sessions, folder, report));
        }
        "connect" => runtime.block_on(connect(kind, sessions, folder)),
        _ => panic!("expected `serve` or `connect`"),
    }
}

async fn serve(kind: Kind, sessions: usize, folder: &Path, report: Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("a port").port();
    let server = Server::new(kind, report);
    std::fs::write(folder.join("certificate"), server.certificate()).expect("a folder");
    // Last, and whole: who waits for it finds everything.
    std::fs::write(folder.join("part"), port.to_string()).expect("a folder");
    std::fs::rename(folder.join("part"), folder.join("port")).expect("a folder");
    server.serve(listener, sessions).await;
}

async fn connect(kind: Kind, sessions: usize, folder: &Path) {
    let port = loop {
        match std::fs::read_to_string(folder.join("port")) {
            Ok(port) => break port.parse().expect("the node writes a port"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let certificate = std::fs::read(folder.join("certificate")).expect("the node writes it");
    let client = Client::new(kind, port, &CertificateDer::from(certificate));
    // The first alone: who knows a statement has had a report once.
    client.session().await;
    let mut clients = JoinSet::new();
    for _ in 1..sessions {
        if clients.len() == AT_ONCE {
            drop(clients.join_next().await);
        }
        let client = client.clone();
        clients.spawn(async move { client.session().await });
    }
    while let Some(ended) = clients.join_next().await {
        ended.expect("no session fails");
    }
}
