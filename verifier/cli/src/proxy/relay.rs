//! A node's answer on its way to the client. A completion is passed on as
//! complete only after its receipt was verified: whole answers wait for it, and
//! streams hold back their end.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bastide_attestation::{Receipt, Verdict};
use bastide_attested_tls::PooledConnection;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::error::{ApiError, VERDICT};
use super::service::{Route, Service};
use crate::answer_stream::{AnswerStream, MAX_ANSWER_BYTES, StreamFault, WholeStream};
use crate::answered::{Answer, Grounds};
use crate::conversation::SILENCE;
use crate::receipt_check::{self, ReceiptFault};

pub(super) const RECEIPT: &str = "x-bastide-receipt";
pub(super) const RECEIPT_SALT: &str = "x-bastide-receipt-salt";
/// How long the event that explains a cut has to get out.
const BEFORE_CUT: Duration = Duration::from_millis(100);
/// Pieces that may wait for a slow client.
pub(super) const PIECES: usize = 16;

/// Body of an answer to a local client.
pub(crate) type AnswerBody = Either<Full<Bytes>, Pieces>;

/// A request that a node has begun to answer. Dropping it, with the answer's
/// body, ends the connection or the stream.
pub(super) struct Exchange {
    pub(super) service: Arc<Service>,
    pub(super) number: u64,
    pub(super) route: Route,
    pub(super) connection: PooledConnection,
    /// The request's exact bytes.
    pub(super) request: Bytes,
    /// Counts this request among those being answered, until it is done.
    pub(super) turn: OwnedSemaphorePermit,
}

/// The answer was cut: its client must not take it for complete.
#[derive(Debug, thiserror::Error)]
#[error("the answer was cut")]
pub(crate) struct Cut;

/// What a body is made of.
pub(super) enum Piece {
    Data(Bytes),
    /// The end. A body that ends without it was cut.
    End,
}

/// A body that comes in pieces, or is cut.
pub(crate) struct Pieces {
    pieces: mpsc::Receiver<Piece>,
    ended: bool,
}

impl Pieces {
    pub(super) const fn new(pieces: mpsc::Receiver<Piece>) -> Self {
        Self { pieces, ended: false }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let piece = std::task::ready!(self.pieces.poll_recv(context));
        Poll::Ready(match piece {
            Some(Piece::Data(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Piece::End) => {
                self.ended = true;
                None
            }
            None => {
                self.ended = true;
                Some(Err(Cut))
            }
        })
    }
}

/// Passes an answer on.
///
/// # Errors
/// [`ApiError`] if it can't be read or its receipt doesn't hold.
pub(super) async fn relay(
    exchange: Exchange,
    response: Response<Incoming>,
) -> Result<Response<AnswerBody>, ApiError> {
    let (head, body) = response.into_parts();
    let mut headers = exchange.headers(&head.headers);
    let completes = owes_receipt(exchange.route, head.status);
    if completes && is_event_stream(&head.headers) {
        let (sender, pieces) = mpsc::channel(PIECES);
        let tasks = exchange.service.tasks().clone();
        tasks.spawn(stream(exchange, body, sender));
        let pieces = Pieces::new(pieces);
        return Ok(with(head.status, headers, Either::Right(pieces)));
    }
    let body = read_whole(body).await?;
    if completes {
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        match (text(RECEIPT), text(RECEIPT_SALT)) {
            (Some(receipt), Some(salt)) => exchange.vouch(receipt, salt, &body).await?,
            _ => return Err(unvouched(&ReceiptFault::Missing)),
        }
        for name in [RECEIPT, RECEIPT_SALT] {
            if let Some(value) = head.headers.get(name) {
                headers.insert(name, value.clone());
            }
        }
    }
    exchange.done(body.len());
    Ok(with(head.status, headers, Either::Left(Full::new(body))))
}

pub(super) fn with(status: StatusCode, headers: HeaderMap, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Whether a client takes an answer with this status for a completion: any
/// success counts for it, not only 200.
pub(super) fn owes_receipt(route: Route, status: StatusCode) -> bool {
    route == Route::Completion && status.is_success()
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}

pub(super) fn unvouched(fault: &ReceiptFault) -> ApiError {
    ApiError::new(
        StatusCode::BAD_GATEWAY,
        fault.code(),
        format!("the answer is withheld because nothing vouches for it: {fault}"),
    )
}

async fn read_whole(body: Incoming) -> Result<Bytes, ApiError> {
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect();
    match tokio::time::timeout(SILENCE, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(stream_error(&StreamFault::TooLarge)),
        Ok(Err(_)) => Err(stream_error(&StreamFault::Truncated)),
        Err(_) => Err(silent()),
    }
}

pub(super) fn stream_error(fault: &StreamFault) -> ApiError {
    ApiError::new(StatusCode::BAD_GATEWAY, fault.code(), fault.to_string())
}

pub(super) fn silent() -> ApiError {
    let message = format!(
        "the node was silent for {} s in the middle of its answer",
        SILENCE.as_secs()
    );
    ApiError::new(StatusCode::GATEWAY_TIMEOUT, "stream.silent", message)
}

impl Exchange {
    /// Headers for the client: what the node's answer is, and what stands behind it.
    fn headers(&self, from: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in [CONTENT_TYPE, RETRY_AFTER] {
            if let Some(value) = from.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(value) = HeaderValue::from_str(&self.verdict()) {
            headers.insert(VERDICT, value);
        }
        headers
    }

    fn verdict(&self) -> String {
        verdict_text(&self.service.pool().verdict(&self.connection))
    }

    /// Holds a pipeline's receipt against every stage; others were verified whole.
    async fn vouch_for_stages(&self, receipt: &Receipt) -> Result<(), ApiError> {
        let stages = self.service.pool().stages();
        match stages.vouch(self.connection.node(), receipt).await {
            Ok(_) => Ok(()),
            Err(fault) => Err(ApiError::new(
                StatusCode::BAD_GATEWAY,
                fault.code,
                format!(
                    "the answer is withheld because nothing vouches for it: {}",
                    fault.message
                ),
            )),
        }
    }

    /// Verifies the receipt of this exchange, of a pipeline's against every stage,
    /// enters it in the ledger, and keeps the answer where that was asked for.
    async fn vouch(&self, receipt: &str, salt: &str, response: &[u8]) -> Result<(), ApiError> {
        let (receipt, salt) = receipt_check::decode(receipt, salt).map_err(|fault| unvouched(&fault))?;
        // Beside a renewal, a request may have been answered under the new attestation.
        let renewed = self.connection.attestation_for(&receipt.claims().nonce);
        let attestation = renewed
            .as_deref()
            .unwrap_or_else(|| self.connection.attestation());
        let answer = Answer {
            receipt,
            salt,
            request: &self.request,
            response,
        };
        let grounds = Grounds {
            node: self.connection.node(),
            result: attestation.result(),
            evidence: attestation.evidence(),
            nonce: attestation.nonce(),
        };
        answer.verify(&grounds).map_err(|fault| unvouched(&fault))?;
        self.vouch_for_stages(&answer.receipt).await?;
        let save = self.service.save().map(PathBuf::as_path);
        let kept = answer.enter(&grounds, self.service.pool().ledger(), save);
        if let Err(fault) = kept {
            self.service
                .warn(self.number, &format!("answer not kept: {}", fault.code));
        }
        Ok(())
    }

    /// The answer was read to its end.
    fn done(self, bytes: usize) {
        self.service
            .log(self.number, &format!("answer of {bytes} bytes complete"));
        drop(self.turn);
        self.connection.done();
    }
}

/// Value of the header that says what stands behind an answer.
pub(super) fn verdict_text(verdict: &Verdict) -> String {
    let word = if verdict.simulated {
        "accepted-simulated"
    } else {
        "accepted"
    };
    let digest = verdict.policy_digest.get(..16).unwrap_or_default();
    format!("{word}; policy={}; digest={digest}", verdict.policy)
}

/// Passes a stream on until it is complete or cut. Ends when the client goes away.
async fn stream(exchange: Exchange, body: Incoming, client: mpsc::Sender<Piece>) {
    let ended = tokio::select! {
        ended = pass(&exchange, body, &client) => ended,
        () = client.closed() => {
            exchange.service.log(exchange.number, "client gone");
            return;
        }
    };
    match ended {
        Ok(whole) => {
            let bytes = whole.committed().len();
            if complete(&whole, &client).await {
                exchange.done(bytes);
            }
        }
        Err(error) => {
            exchange
                .service
                .warn(exchange.number, &format!("stream cut: {}", error.code));
            // Closing the connection comes first: nothing more may follow on it.
            drop(exchange);
            cut(&error, &client).await;
        }
    }
}

/// Passes on what is complete of the events that have come.
pub(super) async fn hand_on(
    stream: &mut AnswerStream,
    bytes: &[u8],
    client: &mpsc::Sender<Piece>,
) -> Result<(), ApiError> {
    let range = stream.push(bytes).map_err(|fault| stream_error(&fault))?;
    let events = stream.bytes().get(range).unwrap_or_default();
    if events.is_empty() {
        return Ok(());
    }
    let piece = Piece::Data(Bytes::copy_from_slice(events));
    if client.send(piece).await.is_err() {
        // The caller sees that the client is gone.
        return std::future::pending().await;
    }
    Ok(())
}

/// Sends what was held back, and the end. Whether the client took both.
pub(super) async fn complete(whole: &WholeStream, client: &mpsc::Sender<Piece>) -> bool {
    let tail = Bytes::copy_from_slice(whole.held_back());
    client.send(Piece::Data(tail)).await.is_ok() && client.send(Piece::End).await.is_ok()
}

/// Sends the event that says why a stream is cut.
pub(super) async fn cut(error: &ApiError, client: &mpsc::Sender<Piece>) {
    if client.send(Piece::Data(error.event())).await.is_ok() {
        // A cut, which is what an end without its mark is, drops what is not
        // written yet: let the event go first.
        tokio::time::sleep(BEFORE_CUT).await;
    }
}

async fn pass(
    exchange: &Exchange,
    mut body: Incoming,
    client: &mpsc::Sender<Piece>,
) -> Result<WholeStream, ApiError> {
    let mut stream = AnswerStream::new();
    loop {
        let frame = tokio::time::timeout(SILENCE, body.frame())
            .await
            .map_err(|_| silent())?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| stream_error(&StreamFault::Truncated))?;
        let Ok(bytes) = frame.into_data() else { continue };
        hand_on(&mut stream, &bytes, client).await?;
    }
    let whole = stream.finish().map_err(|fault| stream_error(&fault))?;
    exchange
        .vouch(&whole.receipt, &whole.salt, whole.committed())
        .await?;
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::{Piece, Pieces, Route, StatusCode, owes_receipt};
    use bytes::Bytes;
    use http_body_util::BodyExt as _;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn a_body_without_an_end_is_cut() {
        for ends in [true, false] {
            let (sender, pieces) = mpsc::channel(2);
            sender.send(Piece::Data(Bytes::from_static(b"a"))).await.unwrap();
            if ends {
                sender.send(Piece::End).await.unwrap();
            }
            drop(sender);
            let body = Pieces { pieces, ended: false };
            let whole = body.collect().await.map(|body| body.to_bytes());
            assert_eq!(whole.is_ok(), ends);
        }
    }

    #[test]
    fn whatever_a_client_takes_for_a_completion_owes_a_receipt() {
        for status in (200..300).filter_map(|code| StatusCode::from_u16(code).ok()) {
            assert!(owes_receipt(Route::Completion, status), "{status}");
            assert!(!owes_receipt(Route::Models, status), "{status}");
        }
        for status in [StatusCode::BAD_REQUEST, StatusCode::SERVICE_UNAVAILABLE] {
            assert!(!owes_receipt(Route::Completion, status), "{status}");
        }
    }
}
