//! Nodes on loopback: an honest one with a lane behind real HTTP, and ones
//! that answer the challenge with whatever a test wants.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bastide_attestation::{
    ATTEST_PATH, AttestRequest, Attester, ENVELOPE_MEDIA_TYPE, Evidence, REQUEST_MEDIA_TYPE,
};
use bastide_attested_tls::{
    AcceptError, LaneLimits, LaneM, NodeAddress, ServerIdentity, ServerStream, SessionBinding,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

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
    let attested = Arc::new(Mutex::new(false));
    let service = service_fn(move |request: Request<Incoming>| {
        let (binding, lane, attested) = (binding.clone(), lane.clone(), Arc::clone(&attested));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let answer = match head.uri.path() {
                ATTEST_PATH => {
                    assert_eq!(head.headers[CONTENT_TYPE], REQUEST_MEDIA_TYPE);
                    let request = AttestRequest::decode(&body).unwrap();
                    let attestation = lane.attest(binding.binder(&request.nonce)).await.unwrap();
                    *attested.lock().unwrap() = true;
                    Response::builder()
                        .header(CONTENT_TYPE, ENVELOPE_MEDIA_TYPE)
                        .header(CACHE_CONTROL, "no-store")
                        .body(Full::new(Bytes::from(attestation.evidence.encode())))
                }
                "/hang" => std::future::pending().await,
                _ if *attested.lock().unwrap() => Response::builder()
                    .header("x-host", &head.headers["host"])
                    .body(Full::new(body)),
                _ => Response::builder()
                    .status(StatusCode::FORBIDDEN)
                    .body(Full::default()),
            };
            Ok::<_, hyper::Error>(answer.unwrap())
        }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    drop(connection.await);
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
