//! What an attested connection does, and for how long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bastide_attestation::{Evidence, UnixTime};
use bastide_attested_tls::{
    AttestedConnection, Connector, HttpVersions, LEASE, Protocol, SendError, ServerIdentity, Timeouts,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};

use crate::doubles::{BindingAppraiser, is_bound};
use crate::node::{Echo, honest, lane};
use crate::recorder::Recorder;

fn request(path: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::post(path).body(Full::from(body)).unwrap()
}

/// A client of one request at a time.
fn one_by_one() -> Connector {
    Connector::new(BindingAppraiser::shared()).with_http(HttpVersions::Http1)
}

async fn connect(connector: &Connector) -> AttestedConnection {
    let node = honest(ServerIdentity::generate().unwrap()).await;
    connector.connect(&node).await.unwrap()
}

#[tokio::test]
async fn an_attested_connection_carries_requests_over_either_http() {
    for (http, protocol) in [
        (HttpVersions::Any, Protocol::Http2),
        (HttpVersions::Http1, Protocol::Http1),
    ] {
        let connector = Connector::new(BindingAppraiser::shared()).with_http(http);
        let mut connection = connect(&connector).await;
        assert_eq!(connection.protocol(), protocol);
        assert!(connection.is_usable());
        let evidence = Evidence::decode(connection.evidence()).unwrap();
        assert!(is_bound(evidence.as_unverified(), connection.binder()));
        assert_eq!(connection.result().statement.epoch, 0);
        for body in ["one", "two", ""] {
            // The host that is written is the node's, whatever the caller set.
            let mut request = request("https://elsewhere.example/echo?q=1", body);
            request
                .headers_mut()
                .insert("host", "elsewhere.example".parse().unwrap());
            let response = connection.send(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            let host = connection.node().to_string().replace("https://", "");
            assert_eq!(response.headers()["x-host"], host.as_str());
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body);
        }
        let shown = format!("{connection:?}");
        assert!(shown.contains("usable: true"), "{shown}");
    }
}

/// HTTP/2 carries several requests at once, each on a handle of its own.
#[tokio::test]
async fn handles_of_one_connection_are_answered_beside_one_another() {
    let echo = Echo::of(lane());
    let node = echo.listen(ServerIdentity::generate().unwrap()).await;
    let connector = Connector::new(BindingAppraiser::shared());
    let mut first = connector.connect(&node).await.unwrap();
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let mut handle = first.share().unwrap();
            tokio::spawn(async move {
                handle
                    .send(request("/wait", ""))
                    .await
                    .map(|answer| answer.status())
            })
        })
        .collect();
    // While they wait, another is answered.
    assert_eq!(first.send(request("/echo", "")).await.unwrap().status(), 200);
    drop(first);
    for task in waiting {
        while !task.is_finished() {
            echo.go.notify_waiters();
            tokio::task::yield_now().await;
        }
        assert_eq!(task.await.unwrap().unwrap(), 200);
    }
    assert_eq!(echo.sessions.load(Ordering::SeqCst), 1);
    assert!(connect(&one_by_one()).await.share().is_none());
}

/// With a good node, what follows the attest exchange is the request's records.
#[tokio::test]
async fn the_first_bytes_after_the_exchange_are_the_requests() {
    let node = honest(ServerIdentity::generate().unwrap()).await;
    let (recorder, relay) = Recorder::before(&node).await;
    let mut connection = Connector::new(BindingAppraiser::shared())
        .connect(&relay)
        .await
        .unwrap();
    let before = recorder.application_bytes(0).len();
    let body = "a prompt of forty-four bytes, to be counted.";
    let response = connection.send(request("/echo", body)).await.unwrap();
    drop(response.into_body().collect().await);
    let sent: usize = recorder.application_bytes(0)[before..].iter().sum();
    assert!(sent > body.len());
}

#[tokio::test]
async fn one_answer_has_to_be_read_before_the_next_request() {
    let mut connection = connect(&one_by_one()).await;
    let large = Request::post("/echo")
        .body(Full::from(Bytes::from(vec![7; 4 << 20])))
        .unwrap();
    let unread = connection.send(large).await.unwrap();
    let error = connection.send(request("/echo", "next")).await.unwrap_err();
    assert!(matches!(error, SendError::Busy), "{error:?}");
    assert!(error.nothing_written());
    assert_eq!(
        unread.into_body().collect().await.unwrap().to_bytes().len(),
        4 << 20
    );
    assert!(connection.send(request("/echo", "next")).await.is_ok());
}

/// An answer that has begun is read to its end though the handle is gone.
#[tokio::test]
async fn a_dropped_connection_ends_after_its_last_answer() {
    let mut connection = connect(&Connector::new(BindingAppraiser::shared())).await;
    let large = Request::post("/echo")
        .body(Full::from(Bytes::from(vec![7; 4 << 20])))
        .unwrap();
    let unread = connection.send(large).await.unwrap();
    drop(connection);
    assert_eq!(
        unread.into_body().collect().await.unwrap().to_bytes().len(),
        4 << 20
    );
}

#[tokio::test]
async fn a_request_without_an_answer_ends_the_connection() {
    let connector = Connector::new(BindingAppraiser::shared()).with_timeouts(Timeouts {
        request_head: Duration::from_millis(100),
        ..Timeouts::default()
    });
    let mut connection = connect(&connector).await;
    let error = connection.send(request("/hang", "")).await.unwrap_err();
    assert!(matches!(error, SendError::TimedOut { .. }), "{error:?}");
    assert!(!error.nothing_written() && !connection.is_usable());
    let error = connection.send(request("/echo", "")).await.unwrap_err();
    assert!(matches!(error, SendError::Closed), "{error:?}");
}

/// A call that is abandoned half way leaves nothing usable behind.
#[tokio::test]
async fn an_abandoned_request_ends_the_connection() {
    let mut connection = connect(&one_by_one()).await;
    let send = connection.send(request("/hang", ""));
    assert!(
        tokio::time::timeout(Duration::from_millis(100), send)
            .await
            .is_err()
    );
    assert!(!connection.is_usable());
    // Over HTTP/2 it ends its own stream and nothing else.
    let mut connection = connect(&Connector::new(BindingAppraiser::shared())).await;
    let send = connection.send(request("/hang", ""));
    assert!(
        tokio::time::timeout(Duration::from_millis(100), send)
            .await
            .is_err()
    );
    assert!(connection.send(request("/echo", "")).await.is_ok());
}

#[tokio::test]
async fn after_the_lease_nothing_is_written() {
    let mut connection = connect(&Connector::new(BindingAppraiser::shared())).await;
    tokio::time::pause();
    tokio::time::advance(LEASE - Duration::from_secs(1)).await;
    assert!(connection.is_usable());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!connection.is_usable());
    let error = connection.send(request("/echo", "late")).await.unwrap_err();
    assert!(matches!(error, SendError::LeaseOver), "{error:?}");
    assert_eq!(error.code(), "session.lease_over");
}

/// The monotonic clock stands still while a machine sleeps; the other doesn't.
#[tokio::test]
async fn the_lease_ends_by_the_calendar_clock_too() {
    static NOW: AtomicU64 = AtomicU64::new(1_800_000_000);
    let connector = Connector::new(BindingAppraiser::shared())
        .with_clock(|| UnixTime::from_secs(NOW.load(Ordering::SeqCst)));
    let mut connection = connect(&connector).await;
    NOW.fetch_add(LEASE.as_secs() - 1, Ordering::SeqCst);
    assert!(connection.send(request("/echo", "")).await.is_ok());
    NOW.fetch_add(1, Ordering::SeqCst);
    assert!(!connection.is_usable());
    // Nor does a clock that was set back make it fresh again.
    NOW.store(1_700_000_000, Ordering::SeqCst);
    let error = connection.send(request("/echo", "")).await.unwrap_err();
    assert!(matches!(error, SendError::LeaseOver), "{error:?}");
}
