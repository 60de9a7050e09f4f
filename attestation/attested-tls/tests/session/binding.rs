//! Evidence counts for one session and one challenge only: T1, T2, T5 and T7.

use std::sync::{Arc, Mutex};

use bastide_attestation::binding::spki_digest;
use bastide_attestation::{Binder, Evidence, Nonce, PlatformEvidence, SpkiDigest, sha256};
use bastide_attested_tls::{
    ConnectError, Connector, HttpVersions, NodeAddress, ServerIdentity, SessionBinding,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::doubles::{BindingAppraiser, INCLUSION, REPORT_DATA, is_bound};
use crate::handshake::{plain_client, tls_connect};
use crate::node::{answer, honest, lane, read_challenge, serve, write_and_drain};

/// These nodes write HTTP/1.1 by hand.
fn connector() -> Connector {
    Connector::new(BindingAppraiser::shared()).with_http(HttpVersions::Http1)
}

async fn refusal_of(node: &NodeAddress) -> &'static str {
    let connector = connector();
    let error = connector.connect(node).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    assert_eq!(error.exit_code(), 10);
    assert_eq!(error.verdict().unwrap().code, Some(error.code()));
    error.code()
}

/// A machine in the middle that shows `identity`, passes the client's challenge
/// on to `node` over a session of its own, and the evidence back.
/// Also returns what the client still sends after that.
async fn man_in_the_middle(
    identity: ServerIdentity,
    node: NodeAddress,
) -> (NodeAddress, mpsc::UnboundedReceiver<Vec<u8>>) {
    let (left_over, drained) = mpsc::unbounded_channel();
    let address = serve(identity, move |mut client, _| {
        let (node, left_over) = (node.clone(), left_over.clone());
        async move {
            let (request, _) = read_challenge(&mut client).await;
            let mut server = tls_connect(&plain_client(), &node).await;
            server.write_all(&request).await.unwrap();
            let mut evidence = vec![0; 64 * 1024];
            let mut length = 0;
            while !complete(&evidence[..length]) {
                length += server.read(&mut evidence[length..]).await.unwrap();
            }
            let rest = write_and_drain(&mut client, &evidence[..length]).await;
            left_over.send(rest).unwrap();
        }
    })
    .await;
    (address, drained)
}

/// Whether these bytes are an answer with a readable envelope.
fn complete(bytes: &[u8]) -> bool {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .is_some_and(|at| Evidence::decode(&bytes[at + 4..]).is_ok())
}

#[tokio::test]
async fn t1_evidence_relayed_by_a_holder_of_the_stolen_key_is_refused() {
    let identity = ServerIdentity::generate().unwrap();
    let node = honest(identity.clone()).await;
    let connector = connector();
    assert!(connector.connect(&node).await.is_ok());
    let (middle, mut drained) = man_in_the_middle(identity, node).await;
    assert_eq!(refusal_of(&middle).await, INCLUSION);
    assert_eq!(
        drained.recv().await.unwrap(),
        b"",
        "plaintext after the challenge"
    );
}

#[tokio::test]
async fn t5_a_proxy_that_ends_tls_is_refused() {
    let node = honest(ServerIdentity::generate().unwrap()).await;
    let (proxy, mut drained) = man_in_the_middle(ServerIdentity::generate().unwrap(), node).await;
    let error = connector().connect(&proxy).await.unwrap_err();
    assert_eq!(error.code(), INCLUSION);
    let said = error.to_string();
    assert!(
        said.contains("the evidence is not bound to this session"),
        "{said}"
    );
    assert_eq!(
        drained.recv().await.unwrap(),
        b"",
        "plaintext after the challenge"
    );
}

#[tokio::test]
async fn t1_of_two_handshakes_with_one_key_crossed_evidence_is_refused() {
    let bindings: Arc<Mutex<Vec<SessionBinding>>> = Arc::default();
    let seen = Arc::clone(&bindings);
    let node = serve(ServerIdentity::generate().unwrap(), move |_, binding| {
        seen.lock().unwrap().push(binding);
        async {}
    })
    .await;
    let client = plain_client();
    for _ in 0..2 {
        let mut stream = tls_connect(&client, &node).await;
        drop(stream.read(&mut [0]).await);
    }
    let bindings = bindings.lock().unwrap().clone();
    let nonce = Nonce::new([1; 32]);
    assert_ne!(bindings[0].binder(&nonce), bindings[1].binder(&nonce));
    assert_eq!(bindings[0].binder(&nonce), bindings[0].clone().binder(&nonce));
    // Evidence of one is none of the other, either way round.
    let lane = lane();
    for (own, other) in [(0, 1), (1, 0)] {
        let evidence = lane
            .attest(bindings[own].binder(&nonce))
            .await
            .unwrap()
            .evidence();
        assert!(is_bound(&evidence, &bindings[own].binder(&nonce)));
        assert!(!is_bound(&evidence, &bindings[other].binder(&nonce)));
    }
    assert_ne!(
        bindings[0].binder(&nonce),
        bindings[0].binder(&Nonce::new([2; 32])),
        "T2: another challenge needs other evidence"
    );
}

#[tokio::test]
async fn t2_evidence_sent_a_second_time_is_refused() {
    let (lane, kept) = (lane(), Arc::new(Mutex::new(None)));
    let node = serve(ServerIdentity::generate().unwrap(), move |mut stream, binding| {
        let (lane, kept) = (lane.clone(), Arc::clone(&kept));
        async move {
            let (_, request) = read_challenge(&mut stream).await;
            let fresh = lane
                .attest(binding.binder(&request.nonce))
                .await
                .unwrap()
                .evidence();
            let first = kept.lock().unwrap().get_or_insert(fresh).clone();
            write_and_drain(&mut stream, &answer(&first)).await;
        }
    })
    .await;
    let connector = connector();
    assert!(connector.connect(&node).await.is_ok());
    assert_eq!(refusal_of(&node).await, INCLUSION);
}

#[tokio::test]
async fn t2_evidence_for_another_challenge_on_the_same_session_is_refused() {
    let lane = lane();
    let node = serve(ServerIdentity::generate().unwrap(), move |mut stream, binding| {
        let lane = lane.clone();
        async move {
            read_challenge(&mut stream).await;
            let other = binding.binder(&Nonce::new([7; 32]));
            let attested = lane.attest(other).await.unwrap();
            write_and_drain(&mut stream, &answer(&attested.evidence())).await;
        }
    })
    .await;
    assert_eq!(refusal_of(&node).await, INCLUSION);
}

/// T7: a genuine report with this session's genuine leaf, of two epochs.
#[tokio::test]
async fn t7_a_report_of_another_epoch_is_refused() {
    for (swap, code) in [
        (swap_report as fn(&mut Evidence, &Evidence), REPORT_DATA),
        (swap_epoch, INCLUSION),
    ] {
        let lane = lane();
        let node = serve(ServerIdentity::generate().unwrap(), move |mut stream, binding| {
            let lane = lane.clone();
            async move {
                let (_, request) = read_challenge(&mut stream).await;
                let binder = binding.binder(&request.nonce);
                let mut own = lane.attest(binder).await.unwrap().evidence();
                let other_binder = binding.binder(&Nonce::new([9; 32]));
                let other = lane.attest(other_binder).await.unwrap().evidence();
                assert!(is_bound(&own, &binder) && !is_bound(&other, &binder));
                swap(&mut own, &other);
                write_and_drain(&mut stream, &answer(&own)).await;
            }
        })
        .await;
        assert_eq!(refusal_of(&node).await, code);
    }
}

/// This session's statement and leaf, the other's report.
fn swap_report(own: &mut Evidence, other: &Evidence) {
    let PlatformEvidence::Snp(report) = &other.platform else {
        panic!("the blank attester makes SNP reports");
    };
    own.platform = PlatformEvidence::Snp(report.clone());
}

/// This session's leaf, the other's report with its statement.
fn swap_epoch(own: &mut Evidence, other: &Evidence) {
    swap_report(own, other);
    own.statement.clone_from(&other.statement);
}

/// T1's other half: what a binder that is made before the handshake ends, and
/// so of the key alone, would have let through. It exists in this test only.
#[tokio::test]
async fn t1_evidence_in_a_certificate_would_have_been_accepted_from_the_holder_of_a_stolen_key() {
    let identity = ServerIdentity::generate().unwrap();
    let lane = lane();
    // What a genuine node would embed: evidence over its key, once per certificate.
    let embedded = lane
        .attest(of_key_alone(&identity.spki()))
        .await
        .unwrap()
        .evidence();
    let genuine = honest(identity.clone()).await;
    // Whoever stole the key shows the same certificate in handshakes of his own.
    let stolen = identity.clone();
    let thief = honest(identity).await;
    for node in [&genuine, &thief] {
        let stream = tls_connect(&plain_client(), node).await;
        let shown = &stream.get_ref().1.peer_certificates().unwrap()[0];
        let key = webpki::EndEntityCert::try_from(shown)
            .unwrap()
            .subject_public_key_info();
        let binder = of_key_alone(&spki_digest(key.as_ref()));
        assert!(
            is_bound(&embedded, &binder),
            "the key is the same, so it is accepted"
        );
    }
    // Ours is of the session, so that the same theft gains nothing.
    let (middle, _drained) = man_in_the_middle(stolen, genuine).await;
    assert_eq!(refusal_of(&middle).await, INCLUSION);
}

fn of_key_alone(spki: &SpkiDigest) -> Binder {
    Binder::new(sha256(&[b"a binder of the key alone", spki.as_bytes()]))
}
