//! One connection from its first byte to its last: handshake, HTTP, deadlines.
//! Whatever goes wrong closes this connection and disturbs no other.

use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep_until;

use super::head::Heads;
use super::session::{Deadline, Session};
use super::{Node, route};
use crate::admission::Guest;

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
    let service = service_fn({
        let session = Arc::clone(&session);
        move |request| route::answer(Arc::clone(&session), request)
    });
    let connection = http1::Builder::new()
        .max_buf_size(node.limits.header_bytes)
        .serve_connection(TokioIo::new(Heads::new(stream, &session)), service);
    tokio::pin!(connection);
    let mut closing = false;
    loop {
        let deadline = session.deadline();
        let (Deadline::Cut(at) | Deadline::Close(at)) = deadline;
        tokio::select! {
            // An error here is a peer that went away or talks no HTTP.
            _ = connection.as_mut() => return,
            () = session.changed() => continue,
            () = node.life.until_draining(), if !closing => {}
            () = sleep_until(at) => {
                if matches!(deadline, Deadline::Cut(_)) {
                    return;
                }
            }
        }
        closing = true;
        session.closing();
        connection.as_mut().graceful_shutdown();
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
