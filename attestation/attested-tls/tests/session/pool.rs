//! The pool: T24, races between nodes, waiting, renewal on the same connection,
//! and what it does about a node that refuses or is gone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bastide_attestation::{AttestAnswer, Evidence, Lane, Salt};
use bastide_attested_tls::{
    AttestedConnection, AttestedPool, ConnectError, Connector, HttpVersions, LEASE, NodeAddress, PoolError,
    PoolLimits, PoolObserver, RENEW_AFTER, SendError, ServerIdentity, Timeouts,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;

use crate::doubles::{BindingAppraiser, INCLUSION};
use crate::node::{Change, Echo, lane, listen};

fn request(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(path).body(Full::from(body.into())).unwrap()
}

/// Requests wait as long as a test likes.
fn connector(http: HttpVersions) -> Connector {
    let timeouts = Timeouts {
        request_head: Duration::from_secs(10_000),
        ..Timeouts::default()
    };
    Connector::new(BindingAppraiser::shared())
        .with_http(http)
        .with_timeouts(timeouts)
}

async fn start(echo: &Echo) -> NodeAddress {
    echo.listen(ServerIdentity::generate().unwrap()).await
}

fn pool(http: HttpVersions, nodes: Vec<NodeAddress>) -> AttestedPool {
    AttestedPool::new(connector(http), nodes, PoolLimits::default())
}

async fn ask(pool: &AttestedPool, body: &str) -> Result<Bytes, PoolError> {
    let (connection, response) = pool.send(request("/echo", body.to_owned())).await?;
    assert_eq!(response.status(), 200);
    let answer = response.into_body().collect().await.unwrap().to_bytes();
    connection.done();
    Ok(answer)
}

/// Lets so much time pass, and the timers that are due run.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never came: {what}");
}

const SPOILT: Change = |_, envelope| {
    let Ok(AttestAnswer::Evidence(_)) = AttestAnswer::decode(&envelope) else {
        panic!("evidence");
    };
    let Ok(evidence) = Evidence::decode(&envelope) else {
        return envelope;
    };
    let mut evidence = evidence.as_unverified().clone();
    evidence.proof.salt = Salt::new([0; 32]);
    evidence.encode()
};

#[derive(Default)]
struct Told {
    admitted: Mutex<Vec<NodeAddress>>,
    failed: Mutex<Vec<(NodeAddress, &'static str)>>,
}

impl PoolObserver for Told {
    fn admitted(&self, connection: &AttestedConnection) {
        self.admitted.lock().unwrap().push(connection.node().clone());
    }

    fn failed(&self, node: &NodeAddress, error: &ConnectError) {
        self.failed.lock().unwrap().push((node.clone(), error.code()));
    }
}

/// T24: requests race through a pool over a node that doesn't prove itself, one
/// that does and now and then forgets that it did, and connections that end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t24_of_a_thousand_requests_through_the_pool_none_leaves_on_an_unattested_connection() {
    const REQUESTS: usize = 1_000;
    for http in [HttpVersions::Any, HttpVersions::Http1] {
        let (good, bad) = (Echo::both_lanes(), Echo::of(lane()));
        *bad.change.lock().unwrap() = Some(SPOILT);
        let nodes = vec![start(&bad).await, start(&good).await];
        let pool = pool(http, nodes);
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..REQUESTS {
            let (pool, good) = (pool.clone(), good.clone());
            tasks.spawn(async move {
                if number % 100 == 50 {
                    good.forget.fetch_add(1, Ordering::SeqCst);
                }
                let canary = format!("canary {number}");
                assert_eq!(ask(&pool, &canary).await.unwrap(), canary);
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        assert_eq!(good.answered.load(Ordering::SeqCst), REQUESTS);
        assert_eq!(good.unattested.load(Ordering::SeqCst), 0);
        assert!(bad.sessions.load(Ordering::SeqCst) > 0);
        assert_eq!(bad.answered.load(Ordering::SeqCst), 0);
        assert_eq!(bad.unattested.load(Ordering::SeqCst), 0);
        assert!(pool.open_connections() <= PoolLimits::default().open);
        println!(
            "{http:?}: {} sessions for {REQUESTS} requests",
            good.sessions.load(Ordering::SeqCst)
        );
    }
}

#[tokio::test]
async fn the_first_node_that_proves_itself_wins_and_refusals_are_told() {
    // One that never answers, one that is refused, one that is honest.
    let (silent, address) = listen().await;
    let (bad, good) = (Echo::of(lane()), Echo::of(lane()));
    *bad.change.lock().unwrap() = Some(SPOILT);
    let nodes = vec![address, start(&bad).await, start(&good).await];
    let told = Arc::new(Told::default());
    let limits = PoolLimits {
        stagger: Duration::from_millis(50),
        ..PoolLimits::default()
    };
    let observer = Arc::clone(&told) as Arc<dyn PoolObserver>;
    let pool = AttestedPool::observed(
        connector(HttpVersions::Any),
        nodes.clone(),
        limits,
        Some(observer),
    );
    let began = std::time::Instant::now();
    let connection = pool.take().await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "the silent one was not waited for"
    );
    assert_eq!(connection.node(), &nodes[2]);
    assert_eq!(*told.admitted.lock().unwrap(), [nodes[2].clone()]);
    assert_eq!(*told.failed.lock().unwrap(), [(nodes[1].clone(), INCLUSION)]);
    drop(silent);
}

#[tokio::test]
async fn where_no_node_proves_itself_every_failure_is_named() {
    let bad = Echo::of(lane());
    *bad.change.lock().unwrap() = Some(SPOILT);
    let (gone, address) = listen().await;
    drop(gone);
    let nodes = vec![address.clone(), start(&bad).await];
    let pool = pool(HttpVersions::Any, nodes.clone());
    let error = ask(&pool, "x").await.unwrap_err();
    assert_eq!(error.code(), INCLUSION, "what was judged says more");
    let PoolError::NoNode(failures) = error else {
        panic!("{error:?}");
    };
    let named: Vec<_> = failures
        .iter()
        .map(|failure| (&failure.node, failure.error.code()))
        .collect();
    assert_eq!(named, [(&nodes[0], "session.tcp"), (&nodes[1], INCLUSION)]);
    assert_eq!(pool.open_connections(), 0);
    let empty = AttestedPool::new(connector(HttpVersions::Any), Vec::new(), PoolLimits::default());
    assert!(matches!(ask(&empty, "x").await, Err(PoolError::NoNode(_))));
}

#[tokio::test]
async fn requests_wait_for_a_connection_and_not_for_ever() {
    for http in [HttpVersions::Any, HttpVersions::Http1] {
        let echo = Echo::of(lane());
        let nodes = vec![start(&echo).await];
        let limits = PoolLimits {
            open: 1,
            streams: 1,
            wait: Duration::from_millis(200),
            ..PoolLimits::default()
        };
        let pool = AttestedPool::new(connector(http), nodes, limits);
        let held = pool.take().await.unwrap();
        let error = pool.take().await.unwrap_err();
        assert!(matches!(error, PoolError::Busy { .. }), "{error:?}");
        let waiting = tokio::spawn({
            let pool = pool.clone();
            async move { ask(&pool, "next").await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        held.done();
        assert_eq!(waiting.await.unwrap().unwrap(), "next");
        assert_eq!(echo.sessions.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_node_that_forgot_is_asked_over_a_new_connection() {
    for http in [HttpVersions::Any, HttpVersions::Http1] {
        let echo = Echo::of(lane());
        let pool = pool(http, vec![start(&echo).await]);
        ask(&pool, "one").await.unwrap();
        echo.forget.store(1, Ordering::SeqCst);
        assert_eq!(ask(&pool, "two").await.unwrap(), "two");
        assert_eq!(echo.sessions.load(Ordering::SeqCst), 2);
    }
}

/// Over HTTP/1.1 an answer that was not read to its end closes its connection.
#[tokio::test]
async fn a_connection_that_is_not_given_back_is_not_used_again() {
    let echo = Echo::of(lane());
    let pool = pool(HttpVersions::Http1, vec![start(&echo).await]);
    drop(pool.send(request("/echo", vec![7; 4 << 20])).await.unwrap());
    assert_eq!(pool.open_connections(), 0);
    ask(&pool, "next").await.unwrap();
    assert_eq!(echo.sessions.load(Ordering::SeqCst), 2);
    assert_eq!(pool.open_connections(), 1);
}

#[tokio::test]
async fn at_240_s_the_same_connection_is_renewed_beside_a_running_answer() {
    let echo = Echo::both_lanes();
    let pool = pool(HttpVersions::Any, vec![start(&echo).await]);
    ask(&pool, "one").await.unwrap();
    let running = tokio::spawn({
        let pool = pool.clone();
        async move {
            let (connection, response) = pool.send(request("/wait", "two")).await.unwrap();
            let nonce = *connection.nonce();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (body, nonce, connection)
        }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    pass(RENEW_AFTER).await;
    until("a renewal", || echo.challenges.lock().unwrap().len() == 2).await;
    let before = echo.challenges.lock().unwrap()[0].nonce;
    until("the new lease", || {
        !running.is_finished() && echo.challenges.lock().unwrap()[1].nonce != before
    })
    .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    echo.go.notify_waiters();
    let (body, nonce, connection) = running.await.unwrap();
    assert_eq!(body, "two");
    // The answer was asked for under the first attestation, and both are known.
    assert_eq!(nonce, before);
    let renewed = echo.challenges.lock().unwrap()[1].nonce;
    for nonce in [before, renewed] {
        assert_eq!(connection.attestation_for(&nonce).unwrap().nonce(), &nonce);
    }
    connection.done();
    // Past the end of the first lease the connection goes on.
    pass(LEASE - RENEW_AFTER + Duration::from_secs(10)).await;
    let (connection, _) = pool.send(request("/echo", "three")).await.unwrap();
    assert_eq!(connection.nonce(), &renewed);
    assert_eq!(echo.sessions.load(Ordering::SeqCst), 1);
    // A renewal is always a report, though the node would have signed.
    assert_eq!(echo.lanes_asked_for(), [Lane::M, Lane::M]);
    assert!(echo.challenges.lock().unwrap()[1].known.is_some());
}

#[tokio::test]
async fn an_idle_http1_connection_is_renewed_too() {
    let echo = Echo::of(lane());
    let pool = pool(HttpVersions::Http1, vec![start(&echo).await]);
    ask(&pool, "one").await.unwrap();
    pass(RENEW_AFTER).await;
    until("a renewal", || echo.challenges.lock().unwrap().len() == 2).await;
    pass(LEASE - RENEW_AFTER + Duration::from_secs(10)).await;
    ask(&pool, "two").await.unwrap();
    assert_eq!(echo.sessions.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_renewal_that_fails_closes_the_connection_with_what_is_on_it() {
    let echo = Echo::of(lane());
    let told = Arc::new(Told::default());
    let observer = Arc::clone(&told) as Arc<dyn PoolObserver>;
    let nodes = vec![start(&echo).await];
    let pool = AttestedPool::observed(
        connector(HttpVersions::Any),
        nodes,
        PoolLimits::default(),
        Some(observer),
    );
    ask(&pool, "one").await.unwrap();
    let running = tokio::spawn({
        let pool = pool.clone();
        async move { pool.send(request("/wait", "two")).await.map(drop) }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    // A signature is no report, whoever made it.
    *echo.change.lock().unwrap() =
        Some(|_, _| AttestAnswer::encode_session(&bastide_attestation::SessionSignature::new([1; 64])));
    pass(RENEW_AFTER).await;
    let error = running.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, PoolError::Send(error) if matches!(**error, SendError::Interrupted(_))),
        "{error:?}"
    );
    until("the report of it", || !told.failed.lock().unwrap().is_empty()).await;
    assert_eq!(told.failed.lock().unwrap()[0].1, "session.lane_k_not_allowed");
    *echo.change.lock().unwrap() = None;
    ask(&pool, "three").await.unwrap();
    assert_eq!(echo.sessions.load(Ordering::SeqCst), 2);
}

/// A handle by itself: due at 240 s, renewed once, closed when the node is gone.
#[tokio::test]
async fn a_connection_is_renewed_when_due_and_not_before() {
    let echo = Echo::of(lane());
    let node = start(&echo).await;
    for http in [HttpVersions::Any, HttpVersions::Http1] {
        let mut connection = connector(http).connect(&node).await.unwrap();
        let (first, asked) = (*connection.nonce(), echo.challenges.lock().unwrap().len());
        connection.renew().await.unwrap();
        assert_eq!(connection.nonce(), &first);
        pass(RENEW_AFTER).await;
        assert!(connection.is_due() && connection.is_usable());
        connection.renew().await.unwrap();
        assert_ne!(connection.nonce(), &first);
        assert!(!connection.is_due());
        assert_eq!(echo.challenges.lock().unwrap().len(), asked + 1);
        assert_eq!(
            connection.result().statement_digest,
            connection.attestation().result().statement_digest
        );
        assert_eq!(connection.send(request("/echo", "")).await.unwrap().status(), 200);
    }
}

/// Closes so many connections as soon as they are there, as a node does that has
/// just changed what it states.
struct Closing(AtomicUsize);

impl PoolObserver for Closing {
    fn admitted(&self, connection: &AttestedConnection) {
        let left = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            connection.retire();
        }
    }

    fn failed(&self, _: &NodeAddress, _: &ConnectError) {}
}

#[tokio::test]
async fn a_request_of_which_nothing_was_written_is_tried_on_one_connection_after_the_other_within_bounds() {
    for http in [HttpVersions::Any, HttpVersions::Http1] {
        for (closed, answered) in [(8, true), (9, false)] {
            let echo = Echo::of(lane());
            let observer = Arc::new(Closing(AtomicUsize::new(closed))) as Arc<dyn PoolObserver>;
            let nodes = vec![start(&echo).await];
            let pool = AttestedPool::observed(connector(http), nodes, PoolLimits::default(), Some(observer));
            let asked = ask(&pool, "one").await;
            assert_eq!(asked.is_ok(), answered, "{closed}: {asked:?}");
            assert_eq!(echo.sessions.load(Ordering::SeqCst), 9);
            assert_eq!(echo.answered.load(Ordering::SeqCst), usize::from(answered));
        }
    }
}
