//! Servers that ask for patience, and how much of it they get.

use bastide_attester::simulator::Generation;
use bastide_endorsements::kds::{Kds, KdsLimits};

use crate::server::{Reply, Server};
use crate::simulated::guest;
use crate::{TestPace, client};

fn throttled(retry_after: Option<&str>) -> Reply {
    let headers = retry_after.map(|value| ("retry-after", value.to_owned()));
    Reply::Status(429, headers.into_iter().collect())
}

#[tokio::test]
async fn a_429_without_retry_after_waits_ten_seconds() {
    let guest = guest(Generation::Turin);
    let server = Server::start([throttled(None), throttled(None)])
        .await
        .with(&guest);
    let pace = TestPace::new();
    client(&server.address, &pace).fetch(&guest.name()).await.unwrap();
    assert_eq!(pace.waits(), [10, 10]);
    assert_eq!(
        pace.said(),
        [
            "KDS says 429 (too many requests); waiting 10 s, attempt 2 of 5",
            "KDS says 429 (too many requests); waiting 10 s, attempt 3 of 5"
        ]
    );
}

#[tokio::test]
async fn a_429_with_retry_after_waits_as_long_as_it_says() {
    let guest = guest(Generation::Turin);
    let unreadable = throttled(Some("Wed, 21 Oct 2026 07:28:00 GMT"));
    let server = Server::start([throttled(Some("23")), throttled(Some("0")), unreadable])
        .await
        .with(&guest);
    let pace = TestPace::new();
    client(&server.address, &pace).fetch(&guest.name()).await.unwrap();
    assert_eq!(pace.waits(), [23, 1, 10]);
}

#[tokio::test]
async fn a_server_that_asks_for_an_hour_is_left_at_once() {
    let guest = guest(Generation::Turin);
    let server = Server::start([throttled(Some("3600"))]).await.with(&guest);
    let pace = TestPace::new();
    let error = client(&server.address, &pace)
        .fetch(&guest.name())
        .await
        .unwrap_err();
    assert_eq!((error.code(), error.attempts), ("kds.throttled", 1));
    assert!(error.to_string().contains("asks to wait 3600 s"), "{error}");
    assert!(pace.waits().is_empty());
}

#[tokio::test]
async fn a_server_that_throttles_for_ever_is_left_after_five_attempts() {
    let guest = guest(Generation::Turin);
    let server = Server::start(vec![throttled(None); 9]).await.with(&guest);
    let pace = TestPace::new();
    let error = client(&server.address, &pace)
        .fetch(&guest.name())
        .await
        .unwrap_err();
    assert_eq!((error.code(), error.attempts), ("kds.throttled", 5));
    assert_eq!((server.asked().len(), pace.waits()), (5, vec![10; 4]));
}

#[tokio::test]
async fn the_total_time_ends_the_attempts_before_their_number_does() {
    let guest = guest(Generation::Turin);
    let server = Server::start(vec![throttled(Some("50")); 9]).await;
    let pace = TestPace::new();
    let error = client(&server.address, &pace)
        .fetch(&guest.name())
        .await
        .unwrap_err();
    assert_eq!((error.attempts, pace.waits()), (3, vec![50, 50]));
}

#[tokio::test]
async fn faults_of_the_server_are_outlasted_with_growing_waits() {
    let guest = guest(Generation::Turin);
    let fault = |status| Reply::Status(status, vec![]);
    let busy = Reply::Status(503, vec![("retry-after", "7".to_owned())]);
    let server = Server::start([fault(500), fault(502), busy]).await.with(&guest);
    let pace = TestPace::new();
    client(&server.address, &pace).fetch(&guest.name()).await.unwrap();
    assert_eq!(pace.waits(), [1, 2, 7]);
}

#[tokio::test]
async fn nobody_listening_is_tried_again_and_then_said() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    let guest = guest(Generation::Turin);
    let pace = TestPace::new();
    let error = client(&address, &pace).fetch(&guest.name()).await.unwrap_err();
    assert_eq!((error.code(), error.attempts), ("kds.connection", 5));
    assert_eq!(pace.waits(), [1, 2, 4, 8]);
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn an_https_address_is_never_spoken_to_in_clear() {
    let guest = guest(Generation::Turin);
    let server = Server::start([]).await.with(&guest);
    let pace = TestPace::new();
    let limits = KdsLimits {
        attempts: 1,
        ..KdsLimits::default()
    };
    let address = server.address.replace("http://", "https://");
    let kds = Kds::new(address.parse().unwrap(), limits, &pace);
    let error = kds.fetch(&guest.name()).await.unwrap_err();
    assert_eq!(error.code(), "kds.connection");
    assert!(server.asked().is_empty());
}
