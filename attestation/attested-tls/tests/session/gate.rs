//! A node that does not prove itself gets no connection and no byte of the
//! user: T14 and T24, and every way to answer badly.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bastide_attestation::{Binder, ENVELOPE_MEDIA_TYPE, MAX_ENVELOPE_BYTES, Omission, Salt};
use bastide_attested_tls::{
    ConnectError, Connector, HttpVersions, NodeAddress, ServerIdentity, State, Timeouts,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::doubles::BindingAppraiser;
use crate::node::{answer, echo, honest, lane, listen, read_challenge, serve, write_and_drain};
use crate::recorder::Recorder;

/// These nodes write HTTP/1.1 by hand.
fn patient() -> Connector {
    Connector::new(BindingAppraiser::shared()).with_http(HttpVersions::Http1)
}

/// Waits 1 s for a handshake and as long for evidence.
fn impatient() -> Connector {
    patient().with_timeouts(Timeouts {
        tls: Duration::from_secs(1),
        attest: Duration::from_secs(1),
        ..Timeouts::default()
    })
}

fn head(status: &str, content_type: &str, extra: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\n{extra}\r\n").into_bytes()
}

/// What the recorder sees of an exchange that ends in an attested connection:
/// the client's Finished and the challenge.
async fn only_the_challenge() -> usize {
    let node = honest(ServerIdentity::generate().unwrap()).await;
    let (recorder, relay) = Recorder::before(&node).await;
    drop(patient().connect(&relay).await.unwrap());
    recorder.application_bytes(0).iter().sum()
}

/// Connects to a node that reads the challenge and answers `bytes`, then waits;
/// returns the error, after checking on the wire and in the node that nothing
/// followed the challenge.
async fn refused(bytes: Vec<u8>, close: bool) -> ConnectError {
    refused_by(&patient(), bytes, close).await
}

async fn refused_by(connector: &Connector, bytes: Vec<u8>, close: bool) -> ConnectError {
    let (left_over, mut drained) = mpsc::unbounded_channel();
    let node = serve(ServerIdentity::generate().unwrap(), move |mut stream, _| {
        let (bytes, left_over) = (bytes.clone(), left_over.clone());
        async move {
            read_challenge(&mut stream).await;
            if close {
                drop(stream.write_all(&bytes).await);
                drop(stream.shutdown().await);
            }
            let rest = if close {
                write_and_drain(&mut stream, b"").await
            } else {
                write_and_drain(&mut stream, &bytes).await
            };
            left_over.send(rest).unwrap();
        }
    })
    .await;
    let (recorder, relay) = Recorder::before(&node).await;
    let error = connector.connect(&relay).await.unwrap_err();
    assert_eq!(
        drained.recv().await.unwrap(),
        b"",
        "plaintext after the challenge"
    );
    let sent: usize = recorder.application_bytes(0).iter().sum();
    assert_eq!(
        sent,
        only_the_challenge().await,
        "application data after the challenge"
    );
    assert_ne!(error.exit_code(), 0);
    assert!(error.verdict().is_none());
    error
}

#[tokio::test]
async fn t14_a_node_without_the_endpoint_gets_nothing() {
    for (status, number) in [
        ("404 Not Found", 404),
        ("403 Forbidden", 403),
        ("204 No Content", 204),
    ] {
        let error = refused(head(status, "text/plain", "content-length: 0\r\n"), false).await;
        assert!(
            matches!(error, ConnectError::NoEndpoint { status } if status == number),
            "{error:?}"
        );
        assert_eq!((error.code(), error.exit_code()), ("session.not_attested", 10));
        assert!(error.to_string().contains(&number.to_string()));
    }
    // A redirect is not followed.
    let elsewhere = head(
        "302 Found",
        "text/plain",
        "location: https://elsewhere.example/\r\ncontent-length: 0\r\n",
    );
    assert_eq!(refused(elsewhere, false).await.code(), "session.not_attested");
}

#[tokio::test]
async fn t14_a_node_that_can_not_attest_now_says_when() {
    let busy = head(
        "503 Service Unavailable",
        "text/plain",
        "retry-after: 7\r\ncontent-length: 0\r\n",
    );
    let error = refused(busy, false).await;
    assert!(
        matches!(error, ConnectError::Unavailable { retry_after: Some(7) }),
        "{error:?}"
    );
    assert_eq!((error.code(), error.exit_code()), ("session.unavailable", 40));
}

#[tokio::test]
async fn t14_a_node_that_closes_gets_nothing() {
    let cut = head("200 OK", ENVELOPE_MEDIA_TYPE, "content-length: 1000\r\n");
    for bytes in [Vec::new(), b"HTTP/1.1 200".to_vec(), cut] {
        let error = refused(bytes, true).await;
        assert!(
            matches!(error, ConnectError::Closed { state: State::Attest }),
            "{error:?}"
        );
        assert_eq!((error.code(), error.exit_code()), ("session.closed", 40));
    }
}

#[tokio::test]
async fn t14_garbage_gets_nothing() {
    let error = refused(b"SSH-2.0-OpenSSH_9.9\r\n\r\n".to_vec(), false).await;
    assert!(matches!(error, ConnectError::NotHttp), "{error:?}");
    assert_eq!((error.code(), error.exit_code()), ("session.not_attested", 10));

    let page = [
        head("200 OK", "text/html", "content-length: 4\r\n"),
        b"<hi>".to_vec(),
    ]
    .concat();
    let error = refused(page, false).await;
    assert!(
        matches!(&error, ConnectError::ContentType { got } if got == "text/html"),
        "{error:?}"
    );

    for body in [b"".as_slice(), &[0xff; 300], &[0xa0]] {
        let length = format!("content-length: {}\r\n", body.len());
        let error = refused(
            [&head("200 OK", ENVELOPE_MEDIA_TYPE, &length), body].concat(),
            false,
        )
        .await;
        assert!(matches!(error, ConnectError::Malformed(_)), "{error:?}");
        assert_eq!((error.code(), error.exit_code()), ("evidence.malformed", 30));
    }
}

/// An answer with this envelope is refused as malformed; nothing follows it.
async fn malformed(envelope: &[u8]) -> String {
    let length = format!("content-length: {}\r\n", envelope.len());
    let answer = [&head("200 OK", ENVELOPE_MEDIA_TYPE, &length), envelope].concat();
    let error = refused(answer, false).await;
    assert!(matches!(error, ConnectError::Malformed(_)), "{error:?}");
    assert_eq!((error.code(), error.exit_code()), ("evidence.malformed", 30));
    format!("{error:?}")
}

async fn envelope() -> Vec<u8> {
    let attested = lane().attest(Binder::new([1; 32])).await.unwrap();
    attested.envelope(Omission::default())
}

/// One more entry of a map with fewer than 23, where a key of this length belongs: last.
fn with_entry(map: &[u8], entry: &[u8]) -> Vec<u8> {
    let mut bytes = [map, entry].concat();
    bytes[0] += 1;
    bytes
}

/// T8: labels are constants of the code. One that comes on the wire is an
/// unknown key, well encoded or not, and unknown keys are refused.
#[tokio::test]
async fn t8_a_label_in_the_answer_is_refused() {
    let envelope = envelope().await;
    for value in [&b"\x50EXPORTER-other-v"[..], b"\x60", b"\xf6"] {
        let entry = [&b"\x6eexporter-label"[..], value].concat();
        let error = malformed(&with_entry(&envelope, &entry)).await;
        assert!(
            error.contains("Unknown") && error.contains("exporter-label"),
            "{error}"
        );
    }
}

/// T17: whatever is not the one encoding of an envelope is none.
#[tokio::test]
async fn t17_oversized_duplicate_indefinite_and_deep_cbor_is_refused() {
    let envelope = envelope().await;
    let entries = &envelope[1..];
    let mut not_shortest = vec![0xb8, envelope[0] & 0x1f];
    not_shortest.extend_from_slice(entries);
    let corpus = [
        // The same key twice.
        with_entry(&envelope, b"\x69statement\x40"),
        with_entry(&envelope, &entries[..entries.len().min(10)]),
        // Indefinite lengths: a map, and a byte string in it.
        [b"\xbf", entries, b"\xff"].concat(),
        with_entry(&envelope, b"\x6eexporter-label\x5f\x41\x00\xff"),
        not_shortest,
        // More bytes than it says, fewer, and far fewer.
        [&envelope[..], b"\x00"].concat(),
        envelope[..envelope.len() - 1].to_vec(),
        b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        // Deep enough to exhaust a stack that follows.
        vec![0x81; 200_000],
        vec![0xa1; 200_000],
        vec![0xc1; 200_000],
    ];
    for bytes in corpus {
        malformed(&bytes).await;
    }
}

#[tokio::test]
async fn t14_t17_oversized_evidence_gets_nothing() {
    // Announced, and refused before a byte of it comes.
    let length = format!("content-length: {}\r\n", MAX_ENVELOPE_BYTES + 1);
    let announced = head("200 OK", ENVELOPE_MEDIA_TYPE, &length);
    // Not announced, and cut off at the limit.
    let mut streamed = head("200 OK", ENVELOPE_MEDIA_TYPE, "transfer-encoding: chunked\r\n");
    for _ in 0..=MAX_ENVELOPE_BYTES / 0x4000 {
        streamed.extend_from_slice(b"4000\r\n");
        streamed.extend_from_slice(&[0; 0x4000]);
        streamed.extend_from_slice(b"\r\n");
    }
    for bytes in [announced, streamed] {
        let error = refused(bytes, false).await;
        assert!(matches!(error, ConnectError::TooLarge), "{error:?}");
        assert_eq!((error.code(), error.exit_code()), ("evidence.malformed", 30));
    }
}

#[tokio::test]
async fn t14_a_node_that_hangs_gets_nothing() {
    let stalled = head("200 OK", ENVELOPE_MEDIA_TYPE, "content-length: 1000\r\n");
    for bytes in [Vec::new(), stalled] {
        let error = refused_by(&impatient(), bytes, false).await;
        assert!(
            matches!(error, ConnectError::TimedOut { state: State::Attest }),
            "{error:?}"
        );
        assert_eq!((error.code(), error.exit_code()), ("session.timeout", 40));
    }
}

async fn error_of(listener: TcpListener, node: NodeAddress, bytes: &'static [u8]) -> ConnectError {
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        if bytes == b"close" {
            return;
        }
        tcp.write_all(bytes).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
    });
    impatient().connect(&node).await.unwrap_err()
}

#[tokio::test]
async fn failures_before_the_exchange_name_their_state() {
    let (listener, node) = listen().await;
    drop(listener);
    let error = impatient().connect(&node).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tcp(_)), "{error:?}");
    assert_eq!((error.code(), error.exit_code()), ("session.tcp", 40));

    let (listener, node) = listen().await;
    let error = error_of(listener, node, b"close").await;
    assert!(
        matches!(error, ConnectError::Closed { state: State::Tls }),
        "{error:?}"
    );

    let (listener, node) = listen().await;
    let error = error_of(listener, node, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert!(matches!(error, ConnectError::Tls(_)), "{error:?}");
    assert_eq!((error.code(), error.exit_code()), ("session.tls", 10));

    let (listener, node) = listen().await;
    let error = error_of(listener, node, b"").await;
    assert!(
        matches!(error, ConnectError::TimedOut { state: State::Tls }),
        "{error:?}"
    );
    assert_eq!(error.to_string(), "the tls handshake took too long");
}

/// T24: of many connections made at once to a node that is honest every other
/// time, those that are given out are the attested ones, and all others are errors.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t24_a_race_of_connects_gives_out_attested_connections_only() {
    const CONNECTS: usize = 200;
    let (lane, turn) = (lane(), AtomicUsize::new(0));
    let (left_over, mut drained) = mpsc::unbounded_channel();
    let node = serve(ServerIdentity::generate().unwrap(), move |mut stream, binding| {
        let (lane, left_over) = (lane.clone(), left_over.clone());
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        async move {
            if turn % 2 == 0 {
                return echo(stream, binding, lane).await;
            }
            let (_, request) = read_challenge(&mut stream).await;
            let bad = if turn % 4 == 1 {
                head("404 Not Found", "text/plain", "content-length: 0\r\n")
            } else {
                let attested = lane.attest(binding.binder(&request.nonce)).await.unwrap();
                let mut evidence = attested.evidence();
                evidence.proof.salt = Salt::new([0; 32]);
                answer(&evidence)
            };
            left_over.send(write_and_drain(&mut stream, &bad).await).unwrap();
        }
    })
    .await;
    let connector = patient();
    let tasks: Vec<_> = (0..CONNECTS)
        .map(|number| {
            let (connector, node) = (connector.clone(), node.clone());
            tokio::spawn(async move {
                let Ok(mut connection) = connector.connect(&node).await else {
                    return false;
                };
                let canary = format!("canary {number}");
                let request = Request::post("/echo").body(Full::from(Bytes::from(canary.clone())));
                let response = connection.send(request.unwrap()).await.unwrap();
                assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), canary);
                true
            })
        })
        .collect();
    let mut given = 0;
    for task in tasks {
        given += usize::from(task.await.unwrap());
    }
    assert_eq!(given, CONNECTS / 2);
    for _ in 0..CONNECTS / 2 {
        assert_eq!(
            drained.recv().await.unwrap(),
            b"",
            "plaintext after the challenge"
        );
    }
}
