//! Heads and bodies that don't come, and attests that come too often.

use super::*;

/// A connection as it is served, in plain, to write bytes to.
fn guarded(session: &Arc<Session>) -> tokio::io::DuplexStream {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let session = Arc::clone(session);
    tokio::spawn(async move {
        connection::serve(&session, Protocol::Http1, server).await;
    });
    client
}

async fn until_closed(client: &mut tokio::io::DuplexStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(
        Duration::from_secs(10),
        tokio::io::AsyncReadExt::read_to_end(client, &mut bytes),
    );
    read.await.expect("it is closed").unwrap();
    String::from_utf8(bytes).unwrap()
}

fn admitting(change: impl FnOnce(&mut AdmissionLimits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits.admission);
    limits
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_cut_and_silence_after_an_answer_is_not() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let limits = admitting(|limits| limits.head = Duration::from_millis(300));
    let node = node_within(limits, None).await;
    let session = pending(&node).await;
    let mut slow = guarded(&session);
    let started = std::time::Instant::now();
    for byte in b"GET /livez HTTP/1.1\r\nhost: x\r\nx: ".iter().cycle() {
        if slow.write_all(&[*byte]).await.is_err() {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "it was never cut");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(started.elapsed() >= Duration::from_millis(300));
    refused(&node, "slow_head", 1);

    let mut begun_and_silent = guarded(&session);
    begun_and_silent.write_all(b"GET /li").await.unwrap();
    until_closed(&mut begun_and_silent).await;
    refused(&node, "slow_head", 2);

    let mut idle = guarded(&session);
    for _ in 0..2 {
        idle.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 1024];
        let length = idle.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200 OK"));
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    refused(&node, "slow_head", 2);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_408_and_counted() {
    use tokio::io::AsyncWriteExt as _;
    let limits = admitting(|limits| limits.body = Duration::from_millis(200));
    let node = node_within(limits, None).await;
    let session = pending(&node).await;
    let answer = Plain::to(&session)
        .await
        .ask(Method::POST, ATTEST_PATH, REQUEST_MEDIA_TYPE, challenge(1))
        .await;
    assert_eq!(answer.status, 200);
    let mut slow = guarded(&session);
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let request = format!("{head}content-length: 99\r\n\r\n{{");
    slow.write_all(request.as_bytes()).await.unwrap();
    let answer = until_closed(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"body_timeout\""), "{answer}");
    refused(&node, "slow_body", 1);
}

#[tokio::test]
async fn attests_beyond_a_connections_limit_are_answered_429_and_no_report_is_made() {
    let limits = admitting(|limits| {
        limits.connection_attests = Rate {
            per_minute: 6,
            burst: 2,
        };
    });
    let node = node_within(limits, None).await;
    let session = pending(&node).await;
    for number in 0..3 {
        let mut client = Plain::to(&session).await;
        let before = node.lane.counters().sessions;
        let answer = client
            .ask(Method::POST, ATTEST_PATH, REQUEST_MEDIA_TYPE, challenge(number))
            .await;
        if number < 2 {
            assert_eq!(answer.status, 200);
            continue;
        }
        assert_eq!((answer.status, answer.code().as_str()), (429, "attest_limited"));
        assert!(answer.closes());
        let wait: u32 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=10).contains(&wait), "{wait}");
        assert_eq!(node.lane.counters().sessions, before);
    }
    refused(&node, "connection_attests", 1);
    // Another connection is another bucket.
    let other = pending(&node).await;
    let answer = Plain::to(&other)
        .await
        .ask(Method::POST, ATTEST_PATH, REQUEST_MEDIA_TYPE, challenge(9))
        .await;
    assert_eq!(answer.status, 200);
}
