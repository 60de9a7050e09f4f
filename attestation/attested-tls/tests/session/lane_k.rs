//! What a client that has appraised a node asks of it and takes from it: lane K
//! only over a statement that it saw in a fresh report itself, and what was
//! left out only from evidence that it appraised.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bastide_attestation::{
    AttestAnswer, AttestRequest, Evidence, Lane, Omission, SessionSignature, UnixTime,
};
use bastide_attested_tls::{ConnectError, Connector, LEASE, NodeAddress, ServerIdentity, SessionLane};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;

use crate::doubles::{BindingAppraiser, is_bound};
use crate::node::{Echo, lane, serve};

fn connector() -> Connector {
    Connector::new(BindingAppraiser::shared())
}

async fn listen(echo: &Echo) -> NodeAddress {
    echo.listen(ServerIdentity::generate().unwrap()).await
}

async fn refusal(connector: &Connector, node: &NodeAddress) -> ConnectError {
    connector.connect(node).await.unwrap_err()
}

#[tokio::test]
async fn the_first_connection_is_lane_m_and_further_ones_are_lane_k() {
    let echo = Echo::both_lanes();
    let node = listen(&echo).await;
    let connector = connector();
    let first = connector.connect(&node).await.unwrap();
    assert_eq!(first.lane(), SessionLane::M);
    for _ in 0..3 {
        let mut further = connector.connect(&node).await.unwrap();
        assert_eq!(further.lane(), SessionLane::K);
        assert_ne!(further.binder(), first.binder());
        assert_ne!(further.nonce(), first.nonce());
        assert_eq!(further.result(), first.result());
        // What is kept is what a third party can check: the report and its statement.
        assert_eq!(further.evidence(), first.evidence());
        let request = Request::post("/echo").body(Full::from(Bytes::from("x")));
        assert_eq!(further.send(request.unwrap()).await.unwrap().status(), 200);
    }
    assert_eq!(
        echo.lanes_asked_for(),
        [Lane::M, Lane::Auto, Lane::Auto, Lane::Auto]
    );
    let asked = echo.challenges.lock().unwrap();
    assert_eq!(asked[0].known, None);
    assert_eq!(asked[1].known, Some(first.result().statement_digest));
    assert!(
        (290..=300).contains(&asked[1].max_age_s),
        "{}",
        asked[1].max_age_s
    );
}

/// The signature is genuine; this client has just never seen the key.
#[tokio::test]
async fn a_signature_at_first_contact_is_refused() {
    let echo = Echo::both_lanes();
    let node = listen(&echo).await;
    connector().connect(&node).await.unwrap();
    echo.always_signs.store(true, Ordering::SeqCst);
    let error = refusal(&connector(), &node).await;
    assert!(matches!(error, ConnectError::LaneKNotAllowed), "{error:?}");
    assert_eq!(
        (error.code(), error.exit_code()),
        ("session.lane_k_not_allowed", 10)
    );
}

#[tokio::test]
async fn a_lane_k_lease_ends_with_the_report_it_builds_on() {
    static NOW: AtomicU64 = AtomicU64::new(1_800_000_000);
    let echo = Echo::both_lanes();
    let node = listen(&echo).await;
    let connector = connector().with_clock(|| UnixTime::from_secs(NOW.load(Ordering::SeqCst)));
    connector.connect(&node).await.unwrap();
    NOW.fetch_add(LEASE.as_secs() - 30, Ordering::SeqCst);
    let late = connector.connect(&node).await.unwrap();
    assert_eq!((late.lane(), late.is_usable()), (SessionLane::K, true));
    assert_eq!(echo.challenges.lock().unwrap()[1].max_age_s, 30);
    NOW.fetch_add(29, Ordering::SeqCst);
    assert!(late.is_usable());
    NOW.fetch_add(1, Ordering::SeqCst);
    assert!(!late.is_usable(), "300 s after the report was asked for");
    // Nor does anything build on it any more, though the node would sign.
    echo.always_signs.store(true, Ordering::SeqCst);
    let error = refusal(&connector, &node).await;
    assert_eq!(error.code(), "session.lane_k_not_allowed");
    assert_eq!(echo.lanes_asked_for(), [Lane::M, Lane::Auto, Lane::M]);
}

#[tokio::test]
async fn a_signature_by_another_key_or_over_another_session_is_refused() {
    static KEPT: Mutex<Option<Vec<u8>>> = Mutex::new(None);
    let forged: fn(&AttestRequest, Vec<u8>) -> Vec<u8> =
        |_, _| AttestAnswer::encode_session(&SessionSignature::new([1; 64]));
    let replayed: fn(&AttestRequest, Vec<u8>) -> Vec<u8> =
        |_, fresh| KEPT.lock().unwrap().get_or_insert(fresh).clone();
    for (change, honest_first) in [(forged, false), (replayed, true)] {
        let echo = Echo::both_lanes();
        let node = listen(&echo).await;
        let connector = connector();
        connector.connect(&node).await.unwrap();
        *echo.change.lock().unwrap() = Some(change);
        if honest_first {
            assert_eq!(connector.connect(&node).await.unwrap().lane(), SessionLane::K);
        }
        let error = refusal(&connector, &node).await;
        assert!(matches!(error, ConnectError::LaneKSignature), "{error:?}");
        assert_eq!(
            (error.code(), error.exit_code()),
            ("session.lane_k_signature", 10)
        );
    }
}

/// A new boot has a new key: its signature can't be mistaken for the old one's,
/// and its statement is not known.
#[tokio::test]
async fn a_node_that_booted_again_is_seen_in_lane_m_first() {
    let boots = Arc::new(Mutex::new(Echo::both_lanes()));
    let current = Arc::clone(&boots);
    let node = serve(ServerIdentity::generate().unwrap(), move |stream, binding| {
        let echo = current.lock().unwrap().clone();
        async move { echo.serve(stream, binding).await }
    })
    .await;
    let connector = connector();
    let before = connector.connect(&node).await.unwrap();
    let next = Echo::both_lanes();
    *boots.lock().unwrap() = next.clone();
    let first = connector.connect(&node).await.unwrap();
    assert_eq!(first.lane(), SessionLane::M);
    assert_ne!(
        first.result().statement.session_key,
        before.result().statement.session_key
    );
    assert_eq!(connector.connect(&node).await.unwrap().lane(), SessionLane::K);
    assert_eq!(next.lanes_asked_for(), [Lane::Auto, Lane::Auto]);
}

#[tokio::test]
async fn what_was_left_out_is_filled_in_from_evidence_that_was_appraised() {
    static LEFT_OUT: AtomicU64 = AtomicU64::new(0);
    let echo = Echo::of(lane());
    let node = listen(&echo).await;
    *echo.change.lock().unwrap() = Some(|_, envelope| {
        LEFT_OUT.fetch_add(u64::from(Evidence::decode(&envelope).is_err()), Ordering::SeqCst);
        envelope
    });
    let connector = connector();
    for further in 0..3 {
        let connection = connector.connect(&node).await.unwrap();
        assert_eq!(connection.lane(), SessionLane::M);
        let whole = Evidence::decode(connection.evidence()).unwrap();
        assert!(is_bound(whole.as_unverified(), connection.binder()));
        assert!(!whole.as_unverified().endorsements.vek.is_empty());
        assert_eq!(LEFT_OUT.load(Ordering::SeqCst), further);
    }
    // Whoever knows nothing can't be told less.
    *echo.change.lock().unwrap() = Some(|_, envelope| {
        let evidence = Evidence::decode(&envelope).unwrap();
        evidence.as_unverified().encode_without(Omission {
            endorsements: true,
            gpu: true,
        })
    });
    let error = refusal(&self::connector(), &node).await;
    assert!(matches!(error, ConnectError::Malformed(_)), "{error:?}");
}
