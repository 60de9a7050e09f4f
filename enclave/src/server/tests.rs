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

mod epochs;
mod http2;
mod lanes;
mod slow;

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
        pipeline: None,
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

    /// Attests once more.
    async fn attest(&mut self, request: &AttestRequest) -> Answer {
        self.ask(Method::POST, ATTEST_PATH, REQUEST_MEDIA_TYPE, request.encode())
            .await
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
        .render(true, &node.lane.counters(), &Default::default(), None);
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

fn refused(node: &Node, limit: &str, times: u32) {
    let text = node
        .metrics
        .render(true, &node.lane.counters(), &Default::default(), None);
    let line = format!("bastide_enclave_refusals_total{{limit=\"{limit}\"}} {times}\n");
    assert!(text.contains(&line), "{line} in {text}");
}
