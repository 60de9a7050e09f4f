//! Request bodies in, within a limit and zeroed when dropped; answers out, cut
//! visibly if they can't be finished.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::session::InFlight;
use crate::api::ApiError;

/// How much of a body that is too large is read and thrown away, so that the
/// client gets to read the refusal before the connection is reset.
const DISCARD: usize = 1024 * 1024;

/// Reads a whole body of at most `limit` bytes.
pub(super) async fn read(mut body: Incoming, limit: usize) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    let announced = body.size_hint().exact().map(usize::try_from);
    let capacity = match announced {
        Some(Ok(length)) if length <= limit => length,
        None => limit,
        Some(_) => return Err(too_large(body, limit).await),
    };
    // Never grown, so that no copy of it stays behind.
    let mut whole = Zeroizing::new(Vec::with_capacity(capacity));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::BodyTimeout)?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        if data.len() > capacity - whole.len() {
            return Err(too_large(body, limit).await);
        }
        whole.extend_from_slice(data);
    }
    Ok(whole)
}

async fn too_large(mut body: Incoming, limit: usize) -> ApiError {
    let mut left = DISCARD;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => break,
        }
    }
    ApiError::BodyTooLarge { limit }
}

/// An answer that its maker could not finish: the connection is cut, so that
/// nobody takes what came for the whole.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut")]
pub(crate) struct Cut;

/// A part of a streamed answer.
#[derive(Debug)]
pub(super) enum Part {
    /// More bytes.
    Data(Bytes),
    /// The end. A stream that ends without it was cut.
    End,
}

/// An answer's body.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    content: Content,
    _in_flight: Option<InFlight>,
}

#[derive(Debug)]
enum Content {
    Whole(Bytes),
    Stream(mpsc::Receiver<Part>),
    Ended,
}

impl AnswerBody {
    /// A body that is there already.
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self {
            content: Content::Whole(bytes.into()),
            _in_flight: None,
        }
    }

    /// A body that comes in parts.
    pub(super) const fn stream(parts: mpsc::Receiver<Part>) -> Self {
        Self {
            content: Content::Stream(parts),
            _in_flight: None,
        }
    }

    /// Lets the request last as long as its body.
    pub(super) fn during(self, in_flight: InFlight) -> Self {
        Self {
            _in_flight: Some(in_flight),
            ..self
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let next = match &mut self.content {
            Content::Ended => None,
            Content::Whole(bytes) => {
                let bytes = core::mem::take(bytes);
                self.content = Content::Ended;
                (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)))
            }
            Content::Stream(parts) => match core::task::ready!(parts.poll_recv(cx)) {
                Some(Part::Data(bytes)) => Some(Ok(Frame::data(bytes))),
                Some(Part::End) => {
                    self.content = Content::Ended;
                    None
                }
                None => {
                    self.content = Content::Ended;
                    Some(Err(Cut))
                }
            },
        };
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Ended => true,
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Ended => SizeHint::with_exact(0),
            Content::Whole(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Content::Stream(_) => SizeHint::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AnswerBody, Part};
    use bytes::Bytes;
    use http_body_util::BodyExt as _;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn a_stream_without_an_end_is_an_error() {
        let (parts, body) = mpsc::channel(4);
        parts.send(Part::Data(Bytes::from_static(b"a"))).await.unwrap();
        parts.send(Part::End).await.unwrap();
        let whole = AnswerBody::stream(body).collect().await.unwrap().to_bytes();
        assert_eq!(&whole[..], b"a");
        let (parts, body) = mpsc::channel(4);
        parts.send(Part::Data(Bytes::from_static(b"a"))).await.unwrap();
        drop(parts);
        assert!(AnswerBody::stream(body).collect().await.is_err());
    }
}
