//! What is different over HTTP/2: requests run beside one another.

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::*;

/// A client of a session, and the session's end.
async fn over_http2(session: &Arc<Session>) -> (SendRequest<Full<Bytes>>, JoinHandle<()>) {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let session = Arc::clone(session);
    let serving = tokio::spawn(async move { connection::serve(&session, Protocol::Http2, server).await });
    let (sender, client) = http2::handshake(TokioExecutor::new(), TokioIo::new(client))
        .await
        .unwrap();
    tokio::spawn(client);
    (sender, serving)
}

/// Over HTTP/2 requests can race the attest exchange; those that are too early
/// are refused, and the connection takes no more.
#[tokio::test]
async fn over_http2_a_request_before_attestation_is_refused_and_ends_the_connection() {
    let session = pending(&node().await).await;
    let (mut sender, serving) = over_http2(&session).await;
    let ask = |path: &str, media_type: &str, body: Vec<u8>| {
        Request::post(format!("https://enclave.test{path}"))
            .header(CONTENT_TYPE, media_type)
            .body(Full::new(Bytes::from(body)))
            .unwrap()
    };
    let early = sender.send_request(ask("/v1/chat/completions", "application/json", b"{}".to_vec()));
    let attest = sender.send_request(ask(ATTEST_PATH, REQUEST_MEDIA_TYPE, challenge(1)));
    let (early, attest) = tokio::join!(early, attest);
    let early = early.unwrap();
    assert_eq!(early.status(), 403);
    assert!(!early.headers().contains_key("connection"));
    // What was there already is answered; then the connection is over.
    assert_eq!(attest.unwrap().status(), 200);
    drop(early);
    tokio::time::timeout(Duration::from_secs(5), serving)
        .await
        .unwrap()
        .unwrap();
    assert!(sender.ready().await.is_err());
}

/// Over HTTP/2 many are answered at once, and a lease that ends is the end of
/// the connection (GOAWAY), though it is busy.
#[tokio::test]
async fn over_http2_requests_run_beside_one_another_until_the_lease_ends() {
    let session = pending(&node().await).await;
    let (mut sender, serving) = over_http2(&session).await;
    let attest = Request::post(format!("https://enclave.test{ATTEST_PATH}"))
        .header(CONTENT_TYPE, REQUEST_MEDIA_TYPE)
        .body(Full::new(Bytes::from(challenge(1))))
        .unwrap();
    assert_eq!(sender.send_request(attest).await.unwrap().status(), 200);
    let mut asked = Vec::new();
    for _ in 0..40 {
        let models = Request::get("https://enclave.test/v1/models").body(Full::default());
        let answer = sender.send_request(models.unwrap());
        asked.push(tokio::spawn(
            async move { answer.await.map(|answer| answer.status()) },
        ));
    }
    for answer in asked {
        assert_eq!(answer.await.unwrap().unwrap(), 200);
    }
    session.end();
    tokio::time::timeout(Duration::from_secs(5), serving)
        .await
        .unwrap()
        .unwrap();
    assert!(sender.ready().await.is_err());
}

/// The start of a client that then says what it likes: preface and SETTINGS.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// `GET /livez` of HPACK, its path a literal.
const LIVEZ: &[u8] = b"\x82\x87\x04\x06/livez\x41\x01x";
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A node with short limits, a raw client that has said hello, and the end.
async fn raw(limits: Limits) -> (Arc<Session>, tokio::io::DuplexStream, JoinHandle<()>) {
    let session = pending(&node_within(limits, None).await).await;
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let served = Arc::clone(&session);
    let serving = tokio::spawn(async move { connection::serve(&served, Protocol::Http2, server).await });
    client.write_all(HELLO).await.unwrap();
    (session, client, serving)
}

fn short_heads() -> Limits {
    Limits {
        admission: AdmissionLimits {
            head: Duration::from_millis(300),
            ..AdmissionLimits::default()
        },
        ..Limits::default()
    }
}

async fn ended_within(limit: Duration, serving: JoinHandle<()>) {
    tokio::time::timeout(limit, serving)
        .await
        .expect("it stayed open")
        .unwrap();
}

#[tokio::test]
async fn over_http2_a_head_that_does_not_end_closes_the_connection() {
    let (first, second) = LIVEZ.split_at(4);
    for begun in [
        // In a frame's head, in a frame, and between the frames of one block.
        frame(HEADERS, 5, 1, LIVEZ)[..5].to_vec(),
        frame(HEADERS, 5, 1, LIVEZ)[..15].to_vec(),
        frame(HEADERS, 1, 1, first),
        [frame(HEADERS, 1, 1, first), frame(CONTINUATION, 0, 1, second)].concat(),
    ] {
        let (session, mut client, serving) = raw(short_heads()).await;
        client.write_all(&begun).await.unwrap();
        ended_within(Duration::from_secs(5), serving).await;
        assert_eq!(session.requests().0, 0);
        refused(&session.node, "slow_head", 1);
    }
}

/// A byte now and then gains no time; a head that is whole is answered, and a
/// client that is only quiet after it is none that is slow.
#[tokio::test]
async fn over_http2_a_dribbled_head_gains_no_time_and_a_whole_one_is_answered() {
    let (_, mut client, serving) = raw(short_heads()).await;
    let dribble = tokio::spawn(async move {
        let mut sent = client.write_all(&frame(HEADERS, 1, 1, &LIVEZ[..4])).await;
        while sent.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            sent = client.write_all(&frame(CONTINUATION, 0, 1, &[])).await;
        }
    });
    ended_within(Duration::from_secs(5), serving).await;
    dribble.await.unwrap();

    let (session, mut client, serving) = raw(short_heads()).await;
    client.write_all(&frame(HEADERS, 5, 1, LIVEZ)).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(5).any(|bytes| bytes == b"live\n") {
        assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0, "{answer:?}");
    }
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!serving.is_finished());
    assert_eq!(session.requests(), (1, false));
    serving.abort();
}

#[tokio::test]
async fn over_http2_a_client_that_asks_for_nothing_is_closed_when_its_time_to_attest_is_over() {
    let limits = Limits {
        attest: Duration::from_millis(300),
        ..Limits::default()
    };
    let (_, _client, serving) = raw(limits).await;
    ended_within(Duration::from_secs(5), serving).await;
}
