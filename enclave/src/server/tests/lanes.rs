//! Both lanes over a connection, strict GPU evidence, and what ends a lease.

use super::*;

/// A client that knows this statement, on a connection of its own.
fn knowing(lane: Lane, known: StatementDigest) -> AttestRequest {
    AttestRequest {
        nonce: Nonce::new([7; 32]),
        lane,
        max_age_s: 300,
        gpu: GpuFreshness::Current,
        known: Some(known),
    }
}

/// A first connection: its evidence, and the statement that it names.
async fn first_contact(node: &Arc<Node>) -> (Evidence, StatementDigest) {
    let session = pending(node).await;
    let answer = Plain::to(&session)
        .await
        .attest(&AttestRequest::fresh(Nonce::new([1; 32])))
        .await;
    assert_eq!(answer.status, 200);
    let evidence = Evidence::decode(&answer.body).unwrap().as_unverified().clone();
    (evidence, session.require_lease().unwrap().statement)
}

#[tokio::test]
async fn lane_k_opens_a_connection_by_a_signature_and_lends_no_time() {
    let node = node().await;
    let (evidence, known) = first_contact(&node).await;
    let key = EpochStatement::decode(&evidence.statement).unwrap().session_key;
    for lane in [Lane::Auto, Lane::K] {
        let session = pending(&node).await;
        let request = knowing(lane, known);
        let mut client = Plain::to(&session).await;
        let answer = client.attest(&request).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["content-type"], ENVELOPE_MEDIA_TYPE);
        assert!(answer.body.len() < 200, "{}", answer.body.len());
        let AttestAnswer::Session(signature) = AttestAnswer::decode(&answer.body).unwrap() else {
            panic!("expected a signature");
        };
        let binder = session.binding.binder(&request.nonce);
        assert!(signature.verifies(&key, &binder, &known));
        let lease = session.require_lease().unwrap();
        assert_eq!((lease.nonce, lease.statement), (request.nonce, known));
        // The statement is older than the lease that it would have otherwise.
        let Deadline::Close(idle) = session.deadline() else {
            panic!("it is cut off");
        };
        assert!(idle > tokio::time::Instant::now());
        assert_eq!(client.ask(Method::GET, "/v1/models", "", "").await.status, 200);
    }
    assert_eq!(node.lane.counters().signatures, 2);
}

#[tokio::test]
async fn lane_k_is_refused_in_its_own_words_and_auto_gets_a_report_without_what_is_known() {
    let node = node().await;
    let (evidence, known) = first_contact(&node).await;
    let session = pending(&node).await;
    let mut client = Plain::to(&session).await;
    let unknown = StatementDigest::new([9; 32]);
    let answer = client.attest(&knowing(Lane::K, unknown)).await;
    assert_eq!(
        (answer.status, answer.code().as_str(), answer.closes()),
        (409, "lane_k_unavailable", false)
    );
    assert!(session.require_lease().is_err());

    node.lane
        .restate(|facts| facts.session_key = SessionKey::generate().unwrap());
    let answer = client.attest(&knowing(Lane::K, known)).await;
    assert_eq!(answer.status, 409);
    let answer = client.attest(&knowing(Lane::Auto, known)).await;
    assert_eq!(answer.status, 200);
    assert!(Evidence::decode(&answer.body).is_err(), "endorsements came again");
    let AttestAnswer::Evidence(partial) = AttestAnswer::decode(&answer.body).unwrap() else {
        panic!("expected a report");
    };
    let complete = partial.complete(Some(&evidence)).unwrap();
    let complete = complete.as_unverified();
    assert_eq!(complete.endorsements, evidence.endorsements);
    assert_ne!(complete.statement, evidence.statement);
    assert!(session.require_lease().is_ok());
    // What nobody here knows is no reason to leave anything out.
    let answer = client.attest(&knowing(Lane::M, unknown)).await;
    assert!(Evidence::decode(&answer.body).is_ok());
}

#[tokio::test]
async fn a_change_of_what_is_stated_ends_the_lease_and_closes_an_idle_connection() {
    let node = node().await;
    let session = pending(&node).await;
    let mut client = Plain::to(&session).await;
    client.attest(&AttestRequest::fresh(Nonce::new([1; 32]))).await;
    assert!(matches!(session.deadline(), Deadline::Close(at) if at > tokio::time::Instant::now()));
    let woken = tokio::spawn({
        let session = Arc::clone(&session);
        async move { session.changed().await }
    });
    node.lane
        .restate(|facts| facts.session_key = SessionKey::generate().unwrap());
    tokio::time::timeout(Duration::from_secs(10), woken)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        session.require_lease().map(drop).unwrap_err().code(),
        "attestation_required"
    );
    let Deadline::Close(at) = session.deadline() else {
        panic!("it may stay open");
    };
    assert!(at <= tokio::time::Instant::now());
    // What is waited for next is the next change, not this one again.
    let again = tokio::time::timeout(Duration::from_millis(50), session.changed());
    let stored = again.await.is_ok();
    assert!(
        !stored
            || tokio::time::timeout(Duration::from_millis(50), session.changed())
                .await
                .is_err()
    );
    // The same connection can be attested anew.
    let answer = client.attest(&AttestRequest::fresh(Nonce::new([2; 32]))).await;
    assert_eq!(answer.status, 200);
    assert!(session.require_lease().is_ok());
}

/// A simulated GPU; the feature `simulator` has the same for the command.
struct OneGpu(SimulatedGpus);

impl GpuSource for OneGpu {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn attest(&mut self, nonce: &GpuNonce, appraise: &Appraise<'_>) -> Result<AppraisedGpus, GpuFault> {
        appraise(self.0.evidence(nonce)?, self.0.endorsements(clock::now())?)
    }

    fn require_unchanged(&mut self) -> Result<(), GpuFault> {
        Ok(())
    }
}

#[tokio::test]
async fn strict_gpu_evidence_is_over_the_root_of_this_very_session() {
    let development =
        || bastide_verifier::Policy::parse(bastide_verifier::shipped::DEVELOPMENT.as_bytes()).unwrap();
    let source = Box::new(OneGpu(SimulatedGpus::new(GpuOptions::new(clock::now())).unwrap()));
    let node = node_with(Some(Gpus::new(source, development()))).await;
    let session = pending(&node).await;
    let request = AttestRequest {
        gpu: GpuFreshness::Strict,
        ..AttestRequest::fresh(Nonce::new([1; 32]))
    };
    let answer = Plain::to(&session).await.attest(&request).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let evidence = Evidence::decode(&answer.body).unwrap();
    let statement = EpochStatement::decode(&evidence.as_unverified().statement).unwrap();
    assert_eq!(
        (statement.gpu_seed, statement.gpu_epoch),
        (GpuSeedKind::Strict, 2)
    );
    let expected = SessionExpectation {
        binder: session.binding.binder(&request.nonce),
        leaf: LeafType::ServerTls,
    };
    let verifier = bastide_verifier::Verifier::new(development());
    let accepted = verifier.appraise(&evidence, &expected, clock::now());
    assert!(accepted.is_ok(), "{:?}", accepted.unwrap_err());
    assert!(session.require_lease().is_ok());

    // Nobody else's connection is disturbed, and current evidence is still current.
    let (evidence, _) = first_contact(&node).await;
    let statement = EpochStatement::decode(&evidence.statement).unwrap();
    assert_eq!(
        (statement.gpu_seed, statement.gpu_epoch),
        (GpuSeedKind::PreviousStatement, 1)
    );
}

#[tokio::test]
async fn strict_gpu_evidence_without_gpus_is_refused_in_its_own_words() {
    let session = pending(&node().await).await;
    let request = AttestRequest {
        gpu: GpuFreshness::Strict,
        ..AttestRequest::fresh(Nonce::new([1; 32]))
    };
    let answer = Plain::to(&session).await.attest(&request).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "gpus_unavailable"));
    assert!(session.require_lease().is_err());
}
