//! A body that must keep moving, and must not be longer than it may: what a
//! peer holds up or swells is cut. Its bytes are passed on as they come.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

/// Why a body was cut.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// Nothing came for too long.
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
    /// More came than may.
    #[error("more than {0} bytes came")]
    TooLarge(usize),
    /// The other end's connection broke.
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
}

/// A body within limits.
#[derive(Debug)]
pub struct Paced {
    from: Incoming,
    left: usize,
    most: usize,
    silence: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Paced {
    /// At most `most` bytes, and never `silence` without any.
    pub(crate) fn new(from: Incoming, most: usize, silence: Duration) -> Self {
        Self {
            from,
            left: most,
            most,
            silence,
            sleep: Box::pin(tokio::time::sleep(silence)),
        }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.from).poll_frame(cx) else {
                ready!(self.sleep.as_mut().poll(cx));
                return Poll::Ready(Some(Err(Cut::Silent(self.silence))));
            };
            let data = match frame {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(Cut::Broken(error)))),
                // Trailer fields are left out: there are none in the protocol.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(_) => continue,
                },
            };
            let Some(left) = self.left.checked_sub(data.len()) else {
                return Poll::Ready(Some(Err(Cut::TooLarge(self.most))));
            };
            self.left = left;
            let next = Instant::now() + self.silence;
            self.sleep.as_mut().reset(next);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.from.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.from.size_hint()
    }
}
