//! The server's end of a session after its handshake: the stream, and the
//! binding that was taken from it first. It knows nothing of HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bastide_attestation::SpkiDigest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::session::{SessionBinding, SessionFault};

/// Why a connection did not become a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The peer went away during the handshake.
    #[error("the peer closed the connection during the TLS handshake")]
    Closed,
    /// The handshake ended, but with nothing to bind evidence to.
    #[error(transparent)]
    Session(#[from] SessionFault),
    /// The handshake did not end in time.
    #[error("the TLS handshake took longer than {} s", .timeout.as_secs())]
    TimedOut {
        /// The time that was allowed.
        timeout: Duration,
    },
    /// The handshake failed.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
}

impl AcceptError {
    pub(crate) fn of_handshake(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Tls(error),
        }
    }
}

/// An accepted TLS session and what evidence for it must be bound to.
#[derive(Debug)]
pub struct ServerSession<IO> {
    stream: ServerStream<IO>,
    binding: SessionBinding,
}

impl<IO> ServerSession<IO> {
    pub(crate) fn new(stream: TlsStream<IO>, spki: SpkiDigest) -> Result<Self, AcceptError> {
        let (_, connection) = stream.get_ref();
        // Early data can't have been accepted: the configuration's limit is 0 bytes.
        let binding = SessionBinding::take(connection, false, spki)?;
        Ok(Self {
            stream: ServerStream(stream),
            binding,
        })
    }

    /// The stream for HTTP, and the binding to answer attest requests with.
    #[must_use]
    pub fn into_parts(self) -> (ServerStream<IO>, SessionBinding) {
        (self.stream, self.binding)
    }
}

/// The plaintext side of an accepted session.
#[derive(Debug)]
pub struct ServerStream<IO>(TlsStream<IO>);

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for ServerStream<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ServerStream<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
