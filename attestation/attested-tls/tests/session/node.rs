//! Nodes on loopback: an honest one with a lane behind real HTTP, and ones
//! that answer the challenge with whatever a test wants.

use std::future::Future;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bastide_attestation::{
    ATTEST_PATH, AttestAnswer, AttestRequest, Attester, ENVELOPE_MEDIA_TYPE, Evidence, Lane,
    REQUEST_MEDIA_TYPE, StatementDigest,
};
use bastide_attested_tls::{
    AcceptError, LaneLimits, LaneM, NodeAddress, Protocol, ServerIdentity, ServerStream, SessionBinding,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::doubles::{BlankAttester, facts};

pub(crate) type Stream = ServerStream<TcpStream>;

/// A listener on a free loopback port, and its address.
pub(crate) async fn listen() -> (TcpListener, NodeAddress) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, format!("https://127.0.0.1:{port}").parse().unwrap())
}

/// Serves every connection with `handle` after an attested-TLS handshake.
pub(crate) async fn serve<F, R>(identity: ServerIdentity, handle: F) -> NodeAddress
where
    F: Fn(Stream, SessionBinding) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = listen().await;
    let handle = Arc::new(handle);
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (identity, handle) = (identity.clone(), Arc::clone(&handle));
            tokio::spawn(async move {
                if let Ok((stream, binding)) = accept(&identity, tcp).await {
                    handle(stream, binding).await;
                }
            });
        }
    });
    address
}

pub(crate) async fn accept(
    identity: &ServerIdentity,
    tcp: TcpStream,
) -> Result<(Stream, SessionBinding), AcceptError> {
    let session = identity.accept(tcp, Duration::from_secs(10)).await?;
    Ok(session.into_parts())
}

pub(crate) fn lane() -> LaneM {
    lane_with(Arc::new(BlankAttester), LaneLimits::default())
}

pub(crate) fn lane_with(attester: Arc<dyn Attester>, limits: LaneLimits) -> LaneM {
    LaneM::start(attester, facts(), limits).unwrap()
}

/// A node that attests every session and then echoes, never before.
pub(crate) async fn honest(identity: ServerIdentity) -> NodeAddress {
    let lane = lane();
    serve(identity, move |stream, binding| {
        let lane = lane.clone();
        async move { echo(stream, binding, lane).await }
    })
    .await
}

pub(crate) async fn echo(stream: Stream, binding: SessionBinding, lane: LaneM) {
    Echo::of(lane).serve(stream, binding).await;
}

/// What a node does, and what it has seen. Clones share it.
#[derive(Clone)]
pub(crate) struct Echo(Arc<EchoState>);

pub(crate) struct EchoState {
    lane: LaneM,
    /// Signs for statements that it made, where that was asked for.
    has_lane_k: bool,
    /// The first statement that it made.
    stated: OnceLock<StatementDigest>,
    pub(crate) challenges: Mutex<Vec<AttestRequest>>,
    /// Requests that were answered, and those that came on a session without evidence.
    pub(crate) answered: AtomicUsize,
    pub(crate) unattested: AtomicUsize,
    pub(crate) sessions: AtomicUsize,
    /// What is done to an answer before it is sent.
    pub(crate) change: Mutex<Option<Change>>,
    /// Signs for the first statement it made, whether it was asked to or not.
    pub(crate) always_signs: AtomicBool,
    /// Answers 403 to this many requests though their session is attested.
    pub(crate) forget: AtomicUsize,
    /// Lets those go on who wait at `/wait`.
    pub(crate) go: Notify,
}

/// Makes another answer of the honest one.
pub(crate) type Change = fn(&AttestRequest, Vec<u8>) -> Vec<u8>;

impl Deref for Echo {
    type Target = EchoState;

    fn deref(&self) -> &EchoState {
        &self.0
    }
}

impl Echo {
    pub(crate) fn of(lane: LaneM) -> Self {
        Self::with(lane, false)
    }

    /// A node with both lanes.
    pub(crate) fn both_lanes() -> Self {
        Self::with(lane(), true)
    }

    fn with(lane: LaneM, has_lane_k: bool) -> Self {
        Self(Arc::new(EchoState {
            lane,
            has_lane_k,
            stated: OnceLock::new(),
            challenges: Mutex::default(),
            answered: AtomicUsize::new(0),
            unattested: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
            change: Mutex::new(None),
            always_signs: AtomicBool::new(false),
            forget: AtomicUsize::new(0),
            go: Notify::new(),
        }))
    }

    /// Listens.
    pub(crate) async fn listen(&self, identity: ServerIdentity) -> NodeAddress {
        let echo = self.clone();
        serve(identity, move |stream, binding| {
            let echo = echo.clone();
            async move { echo.serve(stream, binding).await }
        })
        .await
    }

    pub(crate) fn lanes_asked_for(&self) -> Vec<Lane> {
        let challenges = self.challenges.lock().unwrap();
        challenges.iter().map(|challenge| challenge.lane).collect()
    }

    /// The envelope that an enclave answers a challenge with.
    async fn attest(&self, request: &AttestRequest, binding: &SessionBinding) -> Vec<u8> {
        let binder = binding.binder(&request.nonce);
        if self.always_signs.load(Ordering::SeqCst) {
            let asked = AttestRequest {
                lane: Lane::K,
                max_age_s: AttestRequest::MAX_AGE_S,
                known: self.stated.get().copied(),
                ..*request
            };
            let signed = self.lane.sign(&asked, &binder).unwrap();
            return AttestAnswer::encode_session(&signed.signature);
        }
        if self.has_lane_k
            && let Some(signed) = self.lane.sign(request, &binder)
        {
            return AttestAnswer::encode_session(&signed.signature);
        }
        let attested = self.lane.attest(binder).await.unwrap();
        self.stated.get_or_init(|| attested.statement_digest);
        let omitted = self.lane.omission(request.known.as_ref(), &attested);
        attested.envelope(omitted)
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        binding: &SessionBinding,
        attested: &AtomicBool,
    ) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        if head.uri.path() == ATTEST_PATH {
            assert_eq!(head.headers[CONTENT_TYPE], REQUEST_MEDIA_TYPE);
            let request = AttestRequest::decode(&body).unwrap();
            self.challenges.lock().unwrap().push(request);
            let mut envelope = self.attest(&request, binding).await;
            if let Some(change) = *self.change.lock().unwrap() {
                envelope = change(&request, envelope);
            }
            attested.store(true, Ordering::SeqCst);
            let answer = Response::builder()
                .header(CONTENT_TYPE, ENVELOPE_MEDIA_TYPE)
                .header(CACHE_CONTROL, "no-store")
                .body(Full::new(Bytes::from(envelope)));
            return Ok(answer.unwrap());
        }
        let forgotten = self
            .forget
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if !attested.load(Ordering::SeqCst) || forgotten.is_ok() {
            if forgotten.is_err() {
                self.unattested.fetch_add(1, Ordering::SeqCst);
            }
            let refusal = Response::builder()
                .status(StatusCode::FORBIDDEN)
                .body(Full::default());
            return Ok(refusal.unwrap());
        }
        match head.uri.path() {
            "/hang" => std::future::pending().await,
            "/wait" => self.go.notified().await,
            _ => {}
        }
        self.answered.fetch_add(1, Ordering::SeqCst);
        let host = head.headers.get("host").and_then(|host| host.to_str().ok());
        let host = host.or_else(|| head.uri.authority().map(|authority| authority.as_str()));
        let answer = Response::builder()
            .header("x-host", host.unwrap())
            .body(Full::new(body));
        Ok(answer.unwrap())
    }

    pub(crate) async fn serve(&self, stream: Stream, binding: SessionBinding) {
        self.sessions.fetch_add(1, Ordering::SeqCst);
        let protocol = binding.protocol();
        let attested = Arc::new(AtomicBool::new(false));
        let service = service_fn(|request: Request<Incoming>| {
            let (echo, binding, attested) = (self.clone(), binding.clone(), Arc::clone(&attested));
            async move { echo.answer(request, &binding, &attested).await }
        });
        let io = TokioIo::new(stream);
        match protocol {
            Protocol::Http1 => drop(http1::Builder::new().serve_connection(io, service).await),
            Protocol::Http2 => drop(
                http2::Builder::new(TokioExecutor::new())
                    .serve_connection(io, service)
                    .await,
            ),
        }
    }
}

/// Reads one HTTP request off the stream: its exact bytes, and the challenge in it.
pub(crate) async fn read_challenge<S: tokio::io::AsyncRead + Unpin>(
    stream: &mut S,
) -> (Vec<u8>, AttestRequest) {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "the client closed before its request was complete");
        bytes.extend_from_slice(&buffer[..read]);
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n")
            && let Ok(request) = AttestRequest::decode(&bytes[at + 4..])
        {
            return (bytes, request);
        }
    }
}

/// An answer with this envelope, as HTTP bytes.
pub(crate) fn answer(evidence: &Evidence) -> Vec<u8> {
    let body = evidence.encode();
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {ENVELOPE_MEDIA_TYPE}\r\ncache-control: no-store\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

/// Writes an answer, keeps the connection open, and returns every byte that
/// still comes from the client.
pub(crate) async fn write_and_drain(stream: &mut Stream, answer: &[u8]) -> Vec<u8> {
    // A client that has refused may be gone before all of it is written.
    if stream.write_all(answer).await.is_ok() {
        drop(stream.flush().await);
    }
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest).await);
    rest
}
