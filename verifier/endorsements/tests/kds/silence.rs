//! Servers that stop in the middle: each wait has a limit, and what may have
//! been the network's fault is tried again.

use std::time::{Duration, Instant};

use bastide_attester::simulator::Generation;
use bastide_endorsements::kds::{Kds, KdsLimits};

use crate::server::{Reply, Server};
use crate::simulated::guest;
use crate::{TestPace, client};

const SHORT: Duration = Duration::from_millis(250);

fn impatient<'a>(address: &str, pace: &'a TestPace) -> Kds<&'a TestPace> {
    let limits = KdsLimits {
        request: SHORT,
        attempts: 2,
        ..KdsLimits::default()
    };
    Kds::new(address.parse().unwrap(), limits, pace)
}

#[tokio::test]
async fn a_server_that_never_answers_is_left() {
    let guest = guest(Generation::Turin);
    let server = Server::start([Reply::Nothing, Reply::Nothing]).await;
    let pace = TestPace::new();
    let begun = Instant::now();
    let error = impatient(&server.address, &pace)
        .fetch(&guest.name())
        .await
        .unwrap_err();
    assert_eq!((error.code(), error.attempts), ("kds.silent", 2));
    assert!(begun.elapsed() >= SHORT * 2);
    assert!(error.to_string().contains("within 0.25 s"), "{error}");
}

#[tokio::test]
async fn a_body_that_stops_is_left_and_tried_again() {
    let guest = guest(Generation::Turin);
    let length = u64::try_from(guest.vcek.len()).unwrap();
    let half = guest.vcek[..guest.vcek.len() / 2].to_vec();
    let server = Server::start([Reply::Stall(length, half)]).await.with(&guest);
    let pace = TestPace::new();
    impatient(&server.address, &pace)
        .fetch(&guest.name())
        .await
        .unwrap();
    assert_eq!((server.asked().len(), pace.waits()), (2, vec![1]));
}

#[tokio::test]
async fn a_connection_that_closes_early_is_tried_again() {
    let guest = guest(Generation::Turin);
    let length = u64::try_from(guest.vcek.len()).unwrap();
    let half = guest.vcek[..guest.vcek.len() / 2].to_vec();
    let server = Server::start([Reply::Cut(length, half), Reply::Cut(length, vec![])])
        .await
        .with(&guest);
    let pace = TestPace::new();
    client(&server.address, &pace).fetch(&guest.name()).await.unwrap();
    assert_eq!((server.asked().len(), pace.waits()), (3, vec![1, 2]));
}

#[tokio::test]
async fn a_peer_that_speaks_no_http_and_one_with_an_endless_head_are_left() {
    use tokio::io::AsyncWriteExt as _;
    let guest = guest(Generation::Turin);
    for (first, again) in [
        (&b"SSH-2.0-OpenSSH_9.9\r\n"[..], &b""[..]),
        (
            b"HTTP/1.1 200 OK\r\n",
            b"x-a: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
        ),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut open = stream.write_all(first).await.is_ok();
                while open && !again.is_empty() {
                    open = stream.write_all(again).await.is_ok();
                }
            }
        });
        let pace = TestPace::new();
        let error = client(&address, &pace).fetch(&guest.name()).await.unwrap_err();
        assert_eq!(error.code(), "kds.connection", "{error}");
    }
}
