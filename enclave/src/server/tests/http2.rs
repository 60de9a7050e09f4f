//! What is different over HTTP/2: requests run beside one another.

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioExecutor;
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
