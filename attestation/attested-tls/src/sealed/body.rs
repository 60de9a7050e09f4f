//! An answer, opened as it comes. It ends only where the enclave ended it: the
//! final chunk came and opened, and the response inside came to its end.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bastide_attestation::sealed::{ResponseHead, ResponsePiece, ResponseReader, SealedFormatError};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};

use super::error::SealedError;
use super::seal::AnswerOpener;

/// The body of a sealed answer.
pub struct SealedBody {
    from: Incoming,
    /// Until the outer body has ended.
    opener: Option<AnswerOpener>,
    reader: ResponseReader,
    over: bool,
}

impl fmt::Debug for SealedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedBody")
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

impl SealedBody {
    pub(super) fn new(from: Incoming, opener: AnswerOpener) -> Self {
        Self {
            from,
            opener: Some(opener),
            reader: ResponseReader::new(),
            over: false,
        }
    }

    /// The answer's head.
    pub(super) async fn head(&mut self) -> Result<ResponseHead, SealedError> {
        match std::future::poll_fn(|cx| self.poll_piece(cx)).await {
            Some(Ok(ResponsePiece::Head(head))) => Ok(head),
            Some(Err(error)) => Err(error),
            _ => Err(SealedError::Open(SealedFormatError::Truncated.into())),
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ResponsePiece, SealedError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let piece = ready!(self.poll_open(cx));
        if !matches!(piece, Ok(Some(_))) {
            self.over = true;
        }
        Poll::Ready(piece.transpose())
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<ResponsePiece>, SealedError>> {
        let format = |fault: SealedFormatError| SealedError::Open(fault.into());
        loop {
            match self.reader.next_piece().map_err(format)? {
                ResponsePiece::Incomplete => {}
                piece => return Poll::Ready(Ok(Some(piece))),
            }
            let Some(opener) = &mut self.opener else {
                return Poll::Ready(self.reader.finish().map(|()| None).map_err(format));
            };
            let content = match ready!(Pin::new(&mut self.from).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => opener.push(&bytes),
                    Err(_) => continue,
                },
                Some(Err(error)) => return Poll::Ready(Err(SealedError::Interrupted(error))),
                None => match self.opener.take() {
                    Some(opener) => opener.finish(),
                    None => continue,
                },
            };
            self.reader.push(&content.map_err(SealedError::Open)?);
        }
    }
}

impl Body for SealedBody {
    type Data = Bytes;
    type Error = SealedError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SealedError>>> {
        Poll::Ready(match ready!(self.poll_piece(cx)) {
            None => None,
            Some(Ok(ResponsePiece::Content(content))) => Some(Ok(Frame::data(content.into()))),
            // A head comes first and once; the reader gives nothing else.
            Some(Ok(_)) => Some(Err(SealedError::Open(
                SealedFormatError::Message {
                    expected: "content after the head",
                }
                .into(),
            ))),
            Some(Err(error)) => Some(Err(error)),
        })
    }
}
