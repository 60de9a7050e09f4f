//! What a connection may ask before and after it is attested. The session's
//! binding is a real one, from a TLS handshake; the requests then come in
//! plain, so that a client that never attests can be played.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bastide_attestation::{
    ATTEST_PATH, Appraiser, AttestAnswer, AttestRequest, AttestationResult, ENVELOPE_MEDIA_TYPE, EPOCHS_PATH,
    EpochLogPage, EpochStatement, Evidence, GpuFreshness, GpuNonce, GpuSeedKind, LOG_HEAD_PATH, Lane,
    LogHead, LogHeadAnswer, ManifestDigest, Nonce, REQUEST_MEDIA_TYPE, SessionExpectation, StatementDigest,
    UnixTime, Untrusted, Verdict, binding, binding::LeafType,
};
use bastide_attested_tls::{Connector, Protocol, SessionKey};
use bastide_attester::simulator::nvidia::{GpuOptions, SimulatedGpus};
use bastide_attester::simulator::{Generation, Simulator, SimulatorOptions};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;

use super::session::{Deadline, Session};
use super::{Limits, Node, connection, route};
use crate::admission::{AdmissionLimits, Rate};
use crate::args::ListenAddress;
use crate::clock;
use crate::gpus::{Appraise, AppraisedGpus, GpuFault, GpuSource, Gpus};
use crate::startup::{Enclave, Settings};

mod http2;

/// Never reached: these clients go away before they get evidence.
struct Nobody;

impl Appraiser for Nobody {
    fn appraise(
        &self,
        _: &Untrusted<Evidence>,
        _: &SessionExpectation,
        _: UnixTime,
    ) -> Result<AttestationResult, Box<Verdict>> {
        unreachable!("no evidence was sent")
    }
}

async fn node() -> Arc<Node> {
    node_with(None).await
}

async fn node_with(gpus: Option<Gpus>) -> Arc<Node> {
    node_within(Limits::default(), gpus).await
}

async fn node_within(limits: Limits, gpus: Option<Gpus>) -> Arc<Node> {
    let mut options = SimulatorOptions::new(Generation::Genoa, clock::now());
    options.latency = Duration::ZERO;
    let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let settings = Settings {
        model: Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/models/bastide-5m"),
        listen: ListenAddress::Tcp(free),
        metrics_listen: free,
        engine_threads: NonZeroUsize::new(1),
        identity: None,
        limits,
    };
    let attester = Arc::new(Simulator::new(options).unwrap());
    let started = Enclave::start_with(settings, attester, gpus, None).await;
    started.unwrap().node
}

async fn pending(node: &Arc<Node>) -> Arc<Session> {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let connector = Connector::new(Arc::new(Nobody));
    let address = "https://enclave.test".parse().unwrap();
    tokio::spawn(async move { connector.connect_over(client, &address).await.map(drop) });
    let accepted = node
        .identity
        .accept(server, Duration::from_secs(10))
        .await
        .unwrap();
    let (_, binding) = accepted.into_parts();
    let guest = node.admission.arrive(None, std::time::Instant::now()).unwrap();
    Session::new(Arc::clone(node), binding, guest)
}

struct Plain(SendRequest<Full<Bytes>>);

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        body["error"]["code"].as_str().unwrap().to_owned()
    }

    fn closes(&self) -> bool {
        self.headers
            .get("connection")
            .is_some_and(|value| value == "close")
    }
}

impl Plain {
    async fn to(session: &Arc<Session>) -> Self {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let session = Arc::clone(session);
        tokio::spawn(async move {
            let service =
                service_fn(move |request| route::answer(Arc::clone(&session), Protocol::Http1, request));
            http1::Builder::new()
                .serve_connection(TokioIo::new(server), service)
                .await
        });
        let (sender, connection) = handshake(TokioIo::new(client)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    async fn ask(&mut self, method: Method, path: &str, media_type: &str, body: impl Into<Bytes>) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, media_type)
            .body(Full::new(body.into()))
            .unwrap();
        let (head, body) = self.0.send_request(request).await.unwrap().into_parts();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }
}

fn challenge(byte: u8) -> Vec<u8> {
    AttestRequest::fresh(Nonce::new([byte; 32])).encode()
}

#[tokio::test]
async fn nothing_of_the_api_is_answered_before_attestation() {
    let node = node().await;
    let session = pending(&node).await;
    for (method, path) in [
        (Method::POST, "/v1/chat/completions"),
        (Method::GET, "/v1/models"),
        (Method::GET, "/v1/anything"),
    ] {
        let mut client = Plain::to(&session).await;
        let answer = client.ask(method, path, "application/json", "{}").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "attestation_required")
        );
        assert!(answer.closes());
    }
    let metrics = node
        .metrics
        .render(true, &node.lane.counters(), &Default::default());
    assert!(metrics.contains("{outcome=\"not_attested\"} 1\n"), "{metrics}");
    let mut client = Plain::to(&session).await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(client.ask(Method::GET, path, "", "").await.status, 200);
    }
    assert_eq!(client.ask(Method::GET, "/metrics", "", "").await.status, 404);
}

#[tokio::test]
async fn an_attest_request_must_be_exact() {
    let session = pending(&node().await).await;
    let mut longer = challenge(1);
    longer.push(0);
    for (method, media_type, body, status, code, closes) in [
        (Method::GET, "", Vec::new(), 405, "method_not_allowed", false),
        (
            Method::POST,
            "application/json",
            challenge(1),
            415,
            "unsupported_media_type",
            false,
        ),
        (
            Method::POST,
            REQUEST_MEDIA_TYPE,
            Vec::new(),
            400,
            "attest_malformed",
            true,
        ),
        (
            Method::POST,
            REQUEST_MEDIA_TYPE,
            longer,
            400,
            "attest_malformed",
            true,
        ),
        (
            Method::POST,
            REQUEST_MEDIA_TYPE,
            vec![0; 129],
            413,
            "body_too_large",
            true,
        ),
    ] {
        let mut client = Plain::to(&session).await;
        let answer = client.ask(method, ATTEST_PATH, media_type, body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        assert_eq!(answer.closes(), closes, "{code}");
        assert!(session.require_lease().is_err());
    }
}

#[tokio::test]
async fn attestation_opens_the_api_and_renews_on_the_same_connection() {
    let session = pending(&node().await).await;
    let mut client = Plain::to(&session).await;
    let mut statements = Vec::new();
    for byte in [1, 2] {
        let answer = client
            .ask(Method::POST, ATTEST_PATH, REQUEST_MEDIA_TYPE, challenge(byte))
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["content-type"], ENVELOPE_MEDIA_TYPE);
        assert_eq!(answer.headers["cache-control"], "no-store");
        Evidence::decode(&answer.body).unwrap();
        let lease = session.require_lease().unwrap();
        assert_eq!(lease.nonce, Nonce::new([byte; 32]));
        statements.push(lease.statement);
        assert_eq!(client.ask(Method::GET, "/v1/models", "", "").await.status, 200);
    }
    assert_ne!(statements[0], statements[1]);
    let answer = client
        .ask(Method::POST, "/v1/chat/completions", "text/plain", "{}")
        .await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (415, "unsupported_media_type")
    );
}

#[tokio::test]
async fn a_draining_enclave_refuses_and_closes() {
    let node = node().await;
    let session = pending(&node).await;
    let mut client = Plain::to(&session).await;
    client
        .ask(Method::POST, ATTEST_PATH, REQUEST_MEDIA_TYPE, challenge(1))
        .await;
    node.life.drain();
    let answer = client
        .ask(Method::POST, "/v1/chat/completions", "application/json", "{}")
        .await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "draining"));
    assert!(answer.closes() && answer.headers.contains_key("retry-after"));
    let mut client = Plain::to(&session).await;
    let answer = client
        .ask(Method::POST, ATTEST_PATH, REQUEST_MEDIA_TYPE, challenge(2))
        .await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "draining"));
    let mut client = Plain::to(&session).await;
    assert_eq!(client.ask(Method::GET, "/readyz", "", "").await.status, 503);
}

impl Plain {
    /// Attests once more.
    async fn attest(&mut self, request: &AttestRequest) -> Answer {
        self.ask(Method::POST, ATTEST_PATH, REQUEST_MEDIA_TYPE, request.encode())
            .await
    }
}

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

fn refused(node: &Node, limit: &str, times: u32) {
    let text = node
        .metrics
        .render(true, &node.lane.counters(), &Default::default());
    let line = format!("bastide_enclave_refusals_total{{limit=\"{limit}\"}} {times}\n");
    assert!(text.contains(&line), "{line} in {text}");
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
