//! Who may come in before anything is attested, over real sockets: floods from
//! one address and what becomes of the others, peers that are slow on purpose,
//! shares of the queue, and a thousand connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bastide_attestation::Receipt;
use bastide_enclave::Limits;
use bastide_enclave::admission::{AdmissionLimits, ClientKey};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::serving::node::{Node, ask};

const HERE: [u8; 4] = [127, 0, 0, 1];
const THERE: [u8; 4] = [127, 0, 0, 2];

/// Addresses count, though they are this machine's.
fn by_address(change: impl FnOnce(&mut AdmissionLimits)) -> Limits {
    let mut limits = Limits::default();
    limits.admission.client_key = ClientKey::Address;
    change(&mut limits.admission);
    limits
}

/// How often a limit turned somebody away.
async fn refusals(node: &Node, limit: &str) -> u64 {
    counted(node, &format!("refusals_total{{limit=\"{limit}\"}}")).await
}

/// A counter, as the node has it.
async fn counted(node: &Node, name: &str) -> u64 {
    let text = node.monitor("/metrics").await;
    let series = format!("bastide_enclave_{name} ");
    text.lines()
        .find_map(|line| line.strip_prefix(&series)?.parse().ok())
        .unwrap_or_else(|| panic!("{series} in {text}"))
}

/// Whether the other end has closed, within a moment.
async fn is_closed(stream: &mut TcpStream, within: Duration) -> bool {
    let mut byte = [0];
    matches!(
        tokio::time::timeout(within, stream.read(&mut byte)).await,
        Ok(Ok(0) | Err(_))
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_handshakes_from_one_address_does_not_stop_another() {
    let node = Node::with(by_address(|limits| {
        limits.client_handshakes = 8;
        limits.handshakes = 32;
    }))
    .await;
    let mut flood = Vec::new();
    for _ in 0..300 {
        // They connect, and never begin a handshake.
        flood.push(node.dial_from(THERE).await.unwrap());
    }
    let started = Instant::now();
    let mut client = node.connect_from(HERE).await;
    assert_eq!(client.send(Method::GET, "/v1/models", "").await.status, 200);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    let turned_away = refusals(&node, "client_handshakes").await + refusals(&node, "client_arrivals").await;
    assert!(turned_away >= 292 - 8, "{turned_away}");
    assert_eq!(
        refusals(&node, "handshakes").await,
        0,
        "the node's own limit was never near"
    );
    assert!(is_closed(flood.last_mut().unwrap(), Duration::from_secs(5)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_comes_byte_by_byte_is_cut_and_its_place_is_free_again() {
    let node = Node::with(Limits {
        handshake: Duration::from_millis(400),
        ..by_address(|limits| limits.client_handshakes = 1)
    })
    .await;
    let mut slow = node.dial_from(HERE).await.unwrap();
    let started = Instant::now();
    // A record header that announces a ClientHello of 512 bytes.
    for byte in [22, 3, 1, 2, 0, 1, 0, 1, 252].into_iter().chain([0; 512]) {
        if slow.write_all(&[byte]).await.is_err() || is_closed(&mut slow, Duration::from_millis(20)).await {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "it was never cut");
    }
    assert!(started.elapsed() >= Duration::from_millis(400));
    let mut client = node.connect_from(HERE).await;
    assert_eq!(client.send(Method::GET, "/v1/models", "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_holds_no_more_connections_than_it_may_and_gets_them_back() {
    let node = Node::with(by_address(|limits| limits.client_connections = 3)).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(node.connect_from(THERE).await);
    }
    let mut fourth = node.dial_from(THERE).await.unwrap();
    assert!(is_closed(&mut fourth, Duration::from_secs(5)).await);
    assert_eq!(refusals(&node, "client_connections").await, 1);
    drop(node.connect_from(HERE).await);
    held.clear();
    for _ in 0..200 {
        let mut again = node.dial_from(THERE).await.unwrap();
        if !is_closed(&mut again, Duration::from_millis(50)).await {
            return;
        }
    }
    panic!("the places were never freed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_many_requests_does_not_keep_another_from_its_turn() {
    let node = Node::with(Limits {
        generations: 1,
        queue: 6,
        ..by_address(|_| {})
    })
    .await;
    let mut client = node.connect_from(HERE).await;
    let enough = Arc::new(AtomicBool::new(false));
    let mut greedy = Vec::new();
    // Eight for seven places, each of which asks again at once: the queue is full
    // whenever anybody looks.
    for seed in 0..8 {
        let mut client = node.connect_from(THERE).await;
        let enough = Arc::clone(&enough);
        greedy.push(tokio::spawn(async move {
            let more = json!({"temperature": 2, "seed": seed, "max_tokens": 900});
            let request = ask("Tell me a story", &more);
            let (mut displaced, mut overloaded) = (0, 0);
            while !enough.load(Ordering::SeqCst) {
                let answer = client.chat(&request).await;
                match (answer.status, answer.headers.get("retry-after").is_some()) {
                    (200, _) => {}
                    (429, true) => {
                        assert_eq!(answer.code(), "share_taken");
                        displaced += 1;
                    }
                    (503, true) => {
                        assert_eq!(answer.code(), "overloaded");
                        overloaded += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            (displaced, overloaded)
        }));
    }
    let started = Instant::now();
    while refusals(&node, "queue").await < 1 {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "the queue was never full"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for _ in 0..10 {
        // Both numbers are the node's own: when others notice their answers tells
        // nothing of whose turn it was.
        let before = counted(&node, "requests_total{outcome=\"answered\"}").await;
        let answer = client
            .chat(&ask("What is attestation?", &json!({"max_tokens": 4})))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.code());
        let receipt = answer.headers["x-bastide-receipt"].as_bytes();
        let receipt = Receipt::verify(&URL_SAFE_NO_PAD.decode(receipt).unwrap()).unwrap();
        let passed = receipt.claims().sequence - before;
        // The one that was being computed, one that may have begun meanwhile, one
        // that had its receipt and was not counted yet, and what is answered before
        // this question has come in.
        assert!(passed < 6, "{passed} of the others' came first");
    }
    enough.store(true, Ordering::SeqCst);
    let (mut displaced, mut overloaded) = (0, 0);
    for task in greedy {
        let (gave_way, refused) = task.await.unwrap();
        displaced += gave_way;
        overloaded += refused;
    }
    assert!(displaced >= 1, "nobody gave way");
    assert_eq!(refusals(&node, "queue_share").await, displaced);
    assert_eq!(refusals(&node, "queue").await, overloaded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_is_read_stops_when_its_client_leaves() {
    let node = Node::with(Limits {
        generations: 1,
        ..Limits::default()
    })
    .await;
    let long = "What is attestation? ".repeat(90);
    let mut client = node.connect().await;
    let request = ask(&long, &json!({}));
    let task = tokio::spawn(async move { client.chat(&request).await.status });
    while !node.monitor("/metrics").await.contains("generations_running 1") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    task.abort();
    for _ in 0..500 {
        let metrics = node.monitor("/metrics").await;
        if metrics.contains("generations_running 0\n") {
            assert!(metrics.contains("{outcome=\"abandoned\"} 1\n"), "{metrics}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it was read to its end: {}", node.monitor("/metrics").await);
}

/// Resident memory of this process, KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_under_a_thousand_connections_and_memory_is_bounded() {
    let node = Node::with(Limits {
        connections: 800,
        handshake: Duration::from_secs(60),
        ..by_address(|limits| {
            limits.client_key = ClientKey::Connection;
            limits.handshakes = 1_000;
        })
    })
    .await;
    let before = resident();
    let mut open = Vec::new();
    for _ in 0..1_000 {
        open.push(node.dial_from(HERE).await.unwrap());
    }
    for _ in 0..500 {
        if refusals(&node, "connections").await >= 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(refusals(&node, "connections").await, 200);
    let text = node.monitor("/metrics").await;
    assert!(text.contains("bastide_enclave_connections 800\n"), "{text}");
    let grown = resident().saturating_sub(before);
    assert!(
        grown < 800 * 64,
        "{grown} KiB for 800 connections in their handshake"
    );
    drop(open);
    for _ in 0..500 {
        if node
            .monitor("/metrics")
            .await
            .contains("bastide_enclave_connections 0\n")
        {
            let mut client = node.connect().await;
            assert_eq!(client.send(Method::GET, "/v1/models", "").await.status, 200);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("places were not freed: {}", node.monitor("/metrics").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn t21_hashes_and_receipts_that_a_client_sends_along_change_nothing() {
    const FORGED: &str = "3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f3f";
    let node = Node::start().await;
    let mut client = node.connect().await;
    for stream in [false, true] {
        let body = ask("What is attestation?", &json!({"stream": stream})).to_string();
        let mut request = Request::builder()
            .method(Method::POST)
            .uri("/v1/chat/completions")
            .header(CONTENT_TYPE, "application/json");
        for name in [
            "x-bastide-receipt",
            "x-bastide-receipt-salt",
            "x-bastide-request-commit",
            "x-bastide-response-commit",
            "x-bastide-nonce",
            "x-bastide-statement",
            "content-digest",
            "repr-digest",
            "digest",
            "etag",
        ] {
            request = request.header(name, FORGED);
        }
        let request = request.body(Full::new(Bytes::from(body.clone()))).unwrap();
        let (head, answer) = client.connection.send(request).await.unwrap().into_parts();
        let answer = answer.collect().await.unwrap().to_bytes();
        assert_eq!(head.status, 200);
        let header = |name: &str| {
            head.headers
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let (receipt, salt, covered) = if stream {
            let text = String::from_utf8(answer.to_vec()).unwrap();
            let done = "data: [DONE]\n\n";
            let covered = text.find(done).unwrap() + done.len();
            let last = text[covered..]
                .strip_prefix("event: bastide.receipt\ndata: ")
                .unwrap();
            let last: serde_json::Value = serde_json::from_str(last.trim_end()).unwrap();
            let member = |name: &str| last[name].as_str().unwrap().to_owned();
            (member("receipt"), member("salt"), covered)
        } else {
            let receipt = header("x-bastide-receipt").unwrap();
            (receipt, header("x-bastide-receipt-salt").unwrap(), answer.len())
        };
        assert_ne!(salt, FORGED, "salts are the enclave's own");
        // Commitments are over the bytes that came and went, whatever was claimed of them.
        let verified = client.verify(&receipt, &salt, body.as_bytes(), &answer[..covered]);
        let forged = hex::decode(FORGED).unwrap();
        let bytes = verified.as_bytes();
        assert!(!bytes.windows(forged.len()).any(|window| window == forged));
    }
}
