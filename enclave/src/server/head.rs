//! How long a request's head may take: from its first byte until there is a
//! request. Whoever sends a byte now and then holds a connection no longer than
//! whoever sends none. It sits on the plain side of a session. Over HTTP/1.1, where
//! a connection without a request is silent, it looks at no byte; over HTTP/2 at
//! where frames begin and end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bastide_attested_tls::Protocol;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::frames::Frames;
use super::session::Session;
use crate::metrics::Refusal;

/// A session's plain stream, whose reads fail when a head takes too long.
#[derive(Debug)]
pub(super) struct Heads<IO> {
    io: IO,
    session: Arc<Session>,
    due: Option<Pin<Box<Sleep>>>,
    looked: Looked,
}

/// What tells a head's end.
#[derive(Debug)]
enum Looked {
    /// Requests that had begun when this was last looked at.
    Http1 { begun: u64 },
    /// Frames so far.
    Http2(Frames),
}

impl<IO> Heads<IO> {
    pub(super) fn new(io: IO, session: &Arc<Session>, protocol: Protocol) -> Self {
        Self {
            io,
            session: Arc::clone(session),
            due: None,
            looked: match protocol {
                Protocol::Http1 => Looked::Http1 { begun: 0 },
                Protocol::Http2 => Looked::Http2(Frames::default()),
            },
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Heads<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Looked::Http1 { begun } = &mut this.looked {
            let (now, busy) = this.session.requests();
            if core::mem::replace(begun, now) != now {
                // The head that was waited for is whole.
                this.due = None;
            }
            if busy {
                // What comes now is body, which has a limit of its own.
                return Pin::new(&mut this.io).poll_read(cx, buffer);
            }
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.io).poll_read(cx, buffer);
        let come = buffer.filled().get(before..).unwrap_or_default();
        let waits = match &mut this.looked {
            Looked::Http1 { .. } => this.due.is_some() || !come.is_empty(),
            Looked::Http2(frames) => {
                let ended = frames.ended();
                frames.read(come);
                if frames.ended() != ended {
                    this.due = None;
                }
                frames.waits()
            }
        };
        if waits {
            let limit = this.session.node.limits.admission.head;
            let due = this.due.get_or_insert_with(|| Box::pin(sleep(limit)));
            // Also asks to be woken, so that silence ends it, too.
            if due.as_mut().poll(cx).is_ready() {
                this.session.node.metrics.refuse(Refusal::SlowHead);
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Heads<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
