//! The epoch log and its head.

use super::*;

#[tokio::test]
async fn the_epoch_log_is_answered_to_attested_connections_as_one_chain() {
    let node = node().await;
    let session = pending(&node).await;
    let mut client = Plain::to(&session).await;
    let answer = client.ask(Method::GET, EPOCHS_PATH, "", "").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (403, "attestation_required")
    );
    let mut client = Plain::to(&session).await;
    client.attest(&AttestRequest::fresh(Nonce::new([1; 32]))).await;
    let own = session.require_lease().unwrap().statement;
    let answer = client.ask(Method::GET, EPOCHS_PATH, "", "").await;
    assert_eq!(answer.status, 200);
    let page = EpochLogPage::decode(&answer.body).unwrap();
    let verified = page.verify(None).unwrap().unwrap();
    assert!(verified.first() == 0 && verified.contains(&own));
    assert!(verified.changes().is_empty() && verified.unreported().is_empty());

    let end = verified.last().clone();
    let model = ManifestDigest::new([0x66; 32]);
    node.lane.restate(|facts| facts.model = model);
    client.attest(&AttestRequest::fresh(Nonce::new([2; 32]))).await;
    let path = format!("{EPOCHS_PATH}?from={}&count=1", end.epoch + 1);
    let answer = client.ask(Method::GET, &path, "", "").await;
    let page = EpochLogPage::decode(&answer.body).unwrap();
    let verified = page.verify(Some(&end)).unwrap().unwrap();
    assert_eq!((page.entries.len(), verified.last().model), (1, model));
    assert!(verified.changes()[0].model);
    let bad = format!("{EPOCHS_PATH}?from=x");
    let answer = client.ask(Method::GET, &bad, "", "").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_value"));
    assert_eq!(client.ask(Method::POST, EPOCHS_PATH, "", "").await.status, 405);
}

/// What the log's head says is bound to the client's nonce, and vouches for pages.
#[tokio::test]
async fn the_epoch_logs_head_is_attested_for_a_nonce_to_attested_connections() {
    let node = node().await;
    let session = pending(&node).await;
    let asked = AttestRequest::fresh(Nonce::new([7; 32]));
    let mut client = Plain::to(&session).await;
    let answer = client
        .ask(Method::POST, LOG_HEAD_PATH, REQUEST_MEDIA_TYPE, asked.encode())
        .await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (403, "attestation_required")
    );
    let mut client = Plain::to(&session).await;
    client.attest(&AttestRequest::fresh(Nonce::new([1; 32]))).await;
    let own = session.require_lease().unwrap().statement;
    let answer = client
        .ask(Method::POST, LOG_HEAD_PATH, REQUEST_MEDIA_TYPE, asked.encode())
        .await;
    assert_eq!(
        (answer.status, &answer.headers[CONTENT_TYPE]),
        (200, &ENVELOPE_MEDIA_TYPE.parse().unwrap())
    );
    let (evidence, head) = LogHeadAnswer::decode(&answer.body).unwrap();
    let evidence = evidence.as_unverified();
    let statement = EpochStatement::decode(&evidence.statement).unwrap();
    let included = |kind: LeafType, nonce: &Nonce| {
        let bound = binding::log_head_binder(&head.to_bytes(), nonce);
        let leaf = binding::leaf(kind, &evidence.proof.salt, &bound);
        let held = evidence.proof.verify(&leaf, statement.depth, &statement.root);
        held.is_ok()
    };
    assert!(included(LeafType::LogHead, &asked.nonce));
    assert!(!included(LeafType::ServerTls, &asked.nonce));
    assert!(!included(LeafType::LogHead, &Nonce::new([8; 32])));

    let answer = client.ask(Method::GET, EPOCHS_PATH, "", "").await;
    let mut page = EpochLogPage::decode(&answer.body).unwrap();
    // The statement that vouches for the head came after it.
    assert_eq!(page.entries.pop().unwrap().statement, evidence.statement);
    assert_eq!(LogHead::EMPTY.after(&page).unwrap(), head);
    assert_eq!(head.epochs(), statement.epoch);
    // The connection is attested as it was.
    assert_eq!(session.require_lease().unwrap().statement, own);
    assert_eq!(client.ask(Method::GET, LOG_HEAD_PATH, "", "").await.status, 405);
}
