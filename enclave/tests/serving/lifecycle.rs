//! Up, down, leases, and an attester that fails for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bastide_attestation::{Attestation, Attester, AttesterError, StatementBytes, UnixTime};
use bastide_attested_tls::{HttpVersions, PoolError, SendError};
use bastide_attester::simulator::{Generation, Simulator, SimulatorOptions};
use bastide_enclave::Limits;
use bastide_enclave::startup::Ended;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request};
use serde_json::json;

use crate::serving::node::{Node, ask};

#[tokio::test(flavor = "multi_thread")]
async fn draining_finishes_the_running_answer_and_takes_no_new_one() {
    let node = Node::start().await;
    assert!(node.monitor("/readyz").await.starts_with("HTTP/1.1 200"));
    let mut client = node.connect().await;
    assert_eq!(client.send(Method::GET, "/readyz", "").await.status, 200);
    let running = tokio::spawn(async move {
        let more = json!({"temperature": 2, "seed": 3, "max_tokens": 500, "stream": true});
        client.chat(&ask("Tell me a story", &more)).await
    });
    while !node.monitor("/metrics").await.contains("generations_running 1") {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    node.life.drain();
    assert!(node.monitor("/readyz").await.starts_with("HTTP/1.1 503"));
    assert!(node.monitor("/livez").await.starts_with("HTTP/1.1 200"));
    assert!(node.try_connect().await.is_err());
    let answer = running.await.unwrap();
    assert_eq!(answer.status, 200);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(
        text.contains("data: [DONE]\n\nevent: bastide.receipt\n"),
        "{text}"
    );
    assert_eq!(node.running.await.unwrap(), Ended::Drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_hold_up_draining() {
    let node = Node::start().await;
    let _idle = node.connect().await;
    node.life.drain();
    let ended = tokio::time::timeout(Duration::from_secs(10), node.running).await;
    assert_eq!(ended.unwrap().unwrap(), Ended::Drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_outlives_the_drain_limit_is_cut() {
    let node = Node::with(Limits {
        drain: Duration::from_millis(20),
        ..Limits::default()
    })
    .await;
    let mut client = node.connect().await;
    let running = tokio::spawn(async move {
        let more = json!({"temperature": 2, "seed": 3, "max_tokens": 900});
        client.chat(&ask("Tell me a story", &more)).await.status
    });
    while !node.monitor("/metrics").await.contains("generations_running 1") {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    node.life.drain();
    assert_eq!(node.running.await.unwrap(), Ended::Drained);
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_stops_when_its_client_goes_away() {
    let node = Node::start().await;
    let mut client = node.connect().await;
    let more = json!({"temperature": 2, "seed": 3, "max_tokens": 900});
    let request = tokio::spawn(async move { client.chat(&ask("Tell me a story", &more)).await.status });
    while !node.monitor("/metrics").await.contains("generations_running 1") {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    request.abort();
    for _ in 0..500 {
        let metrics = node.monitor("/metrics").await;
        if metrics.contains("{outcome=\"abandoned\"} 1\n") && metrics.contains("generations_running 0\n") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the generation went on: {}", node.monitor("/metrics").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ends_closes_the_connection() {
    let node = Node::with(Limits {
        lease: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    let mut client = node.connect().await;
    assert_eq!(client.send(Method::GET, "/v1/models", "").await.status, 200);
    for _ in 0..200 {
        if !client.connection.is_usable() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the connection outlived its lease");
}

/// GOAWAY, `connection: close` and 403 are all the same to whoever asks: the
/// next request goes over a connection that is attested anew. The lease here is one
/// that the client doesn't know of, so that a close can cross a request. Over HTTP/2
/// the node says whether it began with it, and nobody notices.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_goes_on_over_new_connections_when_leases_end() {
    let (answered, crossed) = ask_while_leases_end(HttpVersions::Any).await;
    assert_eq!((answered, crossed), (40, 0));
    // Over HTTP/1.1 nobody says what became of a request that a close crosses:
    // whoever asked is told so. One in eight asks meets a lease's end, and few of
    // those cross it.
    let (answered, crossed) = ask_while_leases_end(HttpVersions::Http1).await;
    assert!(answered > 30 && answered + crossed == 40, "{answered} of 40");
}

/// Asks 40 times: how many got an answer, and how many were cut without one.
async fn ask_while_leases_end(http: HttpVersions) -> (usize, usize) {
    let node = Node::with(Limits {
        lease: Duration::from_millis(150),
        ..Limits::default()
    })
    .await;
    let pool = node.pool(http);
    let (mut answered, mut crossed) = (0, 0);
    for _ in 0..40 {
        let request = Request::get("/v1/models").body(Full::new(Bytes::new())).unwrap();
        let (connection, response) = match pool.send(request).await {
            Err(PoolError::Send(error)) if matches!(*error, SendError::Interrupted(_)) => {
                crossed += 1;
                continue;
            }
            sent => sent.unwrap(),
        };
        answered += 1;
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
        connection.done();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (answered, crossed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_closed() {
    let node = Node::with(Limits {
        idle: Duration::from_millis(200),
        ..Limits::default()
    })
    .await;
    let client = node.connect().await;
    for _ in 0..200 {
        if !client.connection.is_usable() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the connection outlived its idle time");
}

/// A simulator that can be told to lose its key.
struct Failing {
    simulator: Simulator,
    lost: AtomicBool,
}

impl Attester for Failing {
    fn attest(&self, statement: &StatementBytes) -> Result<Attestation, AttesterError> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(AttesterError::Unattestable {
                reason: "the VMPCK is wiped".to_owned(),
            });
        }
        self.simulator.attest(statement)
    }

    fn name(&self) -> &'static str {
        self.simulator.name()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enclave_that_cannot_attest_any_more_drains_and_says_so() {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let options = SimulatorOptions::new(Generation::Turin, UnixTime::from_secs(now.as_secs()));
    let attester = Arc::new(Failing {
        simulator: Simulator::new(options).unwrap(),
        lost: AtomicBool::new(false),
    });
    let node = Node::attested_by(Limits::default(), Arc::clone(&attester) as Arc<dyn Attester>).await;
    let _attested_before = node.connect().await;
    attester.lost.store(true, Ordering::Relaxed);
    assert!(node.try_connect().await.is_err());
    let ended = tokio::time::timeout(Duration::from_secs(20), node.running).await;
    assert_eq!(ended.unwrap().unwrap(), Ended::Unattestable);
}
