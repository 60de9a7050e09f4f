//! One connection from its first byte to its last: handshake, HTTP/1.1 or
//! HTTP/2, deadlines. Whatever goes wrong closes this connection and disturbs no
//! other.

use std::pin::Pin;
use std::sync::Arc;

use bastide_attested_tls::Protocol;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep_until;

use super::body::AnswerBody;
use super::head::Heads;
use super::session::{Deadline, Session};
use super::{Limits, Node, route};
use crate::admission::Guest;

/// Requests at once on one connection.
const STREAMS: u32 = 32;
/// Bytes of one request, and of all on a connection, that may come before they are read.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Bytes of one frame that comes.
const FRAME: u32 = 16 * 1024;
/// Bytes of one answer that wait for a slow client.
const SEND_BUFFER: usize = 64 * 1024;

/// Runs a connection to its end.
pub(super) async fn run<IO>(node: Arc<Node>, io: IO, guest: Guest)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _open = Open::new(&node);
    let handshake = node.identity.accept(io, node.limits.handshake);
    let accepted = tokio::select! {
        accepted = handshake => accepted,
        () = node.life.until_draining() => return,
    };
    guest.handshaken();
    let Ok(accepted) = accepted else {
        node.metrics.handshake_failures.inc();
        return;
    };
    let (stream, binding) = accepted.into_parts();
    let session = Session::new(Arc::clone(&node), binding, guest);
    serve(&session, session.binding.protocol(), stream).await;
}

/// Answers on a connection whose handshake is over until its end.
pub(super) async fn serve<IO>(session: &Arc<Session>, protocol: Protocol, stream: IO)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &session.node.limits;
    let service = service_fn(|request| route::answer(Arc::clone(session), protocol, request));
    match protocol {
        Protocol::Http1 => {
            let io = TokioIo::new(Heads::new(stream, session, protocol));
            let connection = http1::Builder::new()
                .max_buf_size(limits.header_bytes)
                .serve_connection(io, service);
            until_the_end(session, connection).await;
        }
        Protocol::Http2 => {
            let io = TokioIo::new(Heads::new(stream, session, protocol));
            let connection = http2(limits).serve_connection(io, service);
            until_the_end(session, connection).await;
        }
    }
}

/// HTTP/2 with what a peer can make this side hold bounded.
fn http2(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
    builder
}

/// An HTTP connection of either version.
trait Serving: Future {
    /// Takes no further request; ends after those that are there.
    fn wind_down(self: Pin<&mut Self>);
}

impl<IO, S> Serving for http1::Connection<TokioIo<Heads<IO>>, S>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService<Incoming, ResBody = AnswerBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn wind_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<IO, S> Serving for http2::Connection<TokioIo<Heads<IO>>, S, TokioExecutor>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService<Incoming, ResBody = AnswerBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send + 'static,
{
    fn wind_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

async fn until_the_end(session: &Session, connection: impl Serving) {
    tokio::pin!(connection);
    let mut closing = false;
    loop {
        let deadline = session.deadline();
        let (Deadline::Cut(at) | Deadline::Close(at)) = deadline;
        tokio::select! {
            // An error here is a peer that went away or talks no HTTP.
            _ = connection.as_mut() => return,
            () = session.changed() => continue,
            () = session.node.life.until_draining(), if !closing => {}
            () = sleep_until(at) => {
                if matches!(deadline, Deadline::Cut(_)) {
                    return;
                }
            }
        }
        closing = true;
        session.closing();
        connection.as_mut().wind_down();
    }
}

/// Counts an open connection.
struct Open<'a>(&'a Node);

impl<'a> Open<'a> {
    fn new(node: &'a Node) -> Self {
        node.metrics.connections.inc();
        Self(node)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
    }
}
