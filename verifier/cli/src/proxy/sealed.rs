//! The proxy in sealed mode: each request sealed by itself, its answer opened
//! here and passed on like any other, only with a receipt that holds. What isn't
//! sealed is no answer and is never shown.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bastide_attestation::Nonce;
use bastide_attestation::sealed::{Field, ResponseHead, SealedRequest};
use bastide_attested_tls::{SealedBody, SealedError, SealedResponse};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use super::error::{ApiError, VERDICT};
use super::relay::{
    AnswerBody, PIECES, Piece, Pieces, RECEIPT, RECEIPT_SALT, complete, cut, hand_on, owes_receipt, silent,
    stream_error, unvouched, verdict_text, with,
};
use super::sealed_gate::{Admitted, SealedGate};
use super::server::Answers;
use super::service::{MAX_REQUESTS, Route, admit, read};
use crate::answer_stream::{AnswerStream, MAX_ANSWER_BYTES, StreamFault, WholeStream};
use crate::answered::{Answer, Grounds};
use crate::console::Console;
use crate::conversation::{COMPLETIONS, MODELS, SILENCE};
use crate::fault::with_causes;
use crate::receipt_check::{self, ReceiptFault};

/// Once with the key at hand, once with a key asked for anew.
const ATTEMPTS: usize = 2;

/// What answers requests in sealed mode.
#[derive(Debug)]
pub(crate) struct SealedService {
    gate: SealedGate,
    save: Option<PathBuf>,
    console: Console,
    turns: Arc<Semaphore>,
    count: AtomicU64,
    tasks: TaskTracker,
}

/// A sealed request that is being answered.
struct Exchange {
    service: Arc<SealedService>,
    number: u64,
    admitted: Admitted,
    /// The request's exact bytes.
    request: Bytes,
    /// What the receipt must name: this request and no other.
    nonce: Nonce,
    /// Counts this request among those being answered, until it is done.
    _turn: OwnedSemaphorePermit,
}

impl SealedService {
    /// A service in front of a gate; `save` is where answers are kept.
    pub(crate) fn new(gate: SealedGate, save: Option<PathBuf>, console: Console, tasks: TaskTracker) -> Self {
        Self {
            gate,
            save,
            console,
            turns: Arc::new(Semaphore::new(MAX_REQUESTS)),
            count: AtomicU64::new(0),
            tasks,
        }
    }

    /// A line for `--verbose`: numbers and codes only.
    fn log(&self, number: u64, text: &str) {
        self.console.detail(&format!("request {number}: {text}"));
    }

    async fn forward(
        self: Arc<Self>,
        number: u64,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, ApiError> {
        let (route, turn) = admit(&request, &self.turns)?;
        let method = request.method().clone();
        let body = read(request.into_body()).await?;
        let (admitted, response) = self.send(&method, route, &body).await?;
        let exchange = Exchange {
            service: self,
            number,
            admitted,
            request: body,
            nonce: response.request,
            _turn: turn,
        };
        exchange.pass_on(route, response.head, response.body).await
    }

    /// Seals and sends. Where the enclave says that the key or its evidence is
    /// too old, once more with new ones: nothing of the request was answered.
    async fn send(
        &self,
        method: &Method,
        route: Route,
        body: &Bytes,
    ) -> Result<(Admitted, SealedResponse), ApiError> {
        for attempt in 1.. {
            let admitted = self
                .gate
                .take()
                .await
                .map_err(|refusals| ApiError::no_node(&refusals))?;
            let last = attempt == ATTEMPTS;
            match admitted
                .connector
                .send(&admitted.key, inner(method, route, body))
                .await
            {
                // 403 inside the seal: what the request named no longer stands.
                Ok(response) if response.head.status == 403 && !last => {}
                Ok(response) => return Ok((admitted, response)),
                Err(error) if error.wants_new_key() && !last => {}
                Err(error) => return Err(send_error(&error)),
            }
            self.gate.forget(&admitted.key).await;
        }
        Err(ApiError::no_node(&[]))
    }
}

impl Answers for SealedService {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<AnswerBody> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        let answered = Arc::clone(&self).forward(number, request).await;
        let (response, code) = match answered {
            Ok(response) => (response, "passed on"),
            Err(error) => {
                let code = error.code;
                (error.response().map(Either::Left), code)
            }
        };
        self.log(
            number,
            &format!(
                "{} {code} after {} ms",
                response.status().as_u16(),
                started.elapsed().as_millis()
            ),
        );
        response
    }

    async fn warm_up(&self) {
        self.gate.warm_up().await;
    }
}

/// What goes inside: of a client's header nothing but what the body is.
fn inner(method: &Method, route: Route, body: &Bytes) -> SealedRequest {
    let path = match route {
        Route::Models => MODELS,
        Route::Completion => COMPLETIONS,
    };
    let fields = match route {
        Route::Models => Vec::new(),
        Route::Completion => vec![Field::new("content-type", "application/json")],
    };
    SealedRequest {
        method: method.as_str().to_owned(),
        path: path.to_owned(),
        fields,
        body: body.to_vec().into(),
    }
}

fn send_error(error: &SealedError) -> ApiError {
    let status = match error {
        SealedError::TimedOut { .. } => StatusCode::GATEWAY_TIMEOUT,
        SealedError::Carrier(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    };
    ApiError::new(status, error.code(), with_causes(error))
}

impl Exchange {
    /// Passes an answer on: whole after its receipt was verified, streamed with
    /// its end held back until then.
    async fn pass_on(
        self,
        route: Route,
        head: ResponseHead,
        body: SealedBody,
    ) -> Result<Response<AnswerBody>, ApiError> {
        let status = StatusCode::from_u16(head.status).map_err(|_| stream_error(&StreamFault::Truncated))?;
        let mut headers = self.headers(&head);
        let completes = owes_receipt(route, status);
        let streamed = head
            .field("content-type")
            .is_some_and(|value| value.starts_with("text/event-stream"));
        if completes && streamed {
            let (sender, receiver) = mpsc::channel(PIECES);
            let tasks = self.service.tasks.clone();
            tasks.spawn(stream(self, body, sender));
            return Ok(with(status, headers, Either::Right(Pieces::new(receiver))));
        }
        let body = whole(body).await?;
        if completes {
            let checked = match (head.field(RECEIPT), head.field(RECEIPT_SALT)) {
                (Some(receipt), Some(salt)) => self.vouch(receipt, salt, &body),
                _ => Err(ReceiptFault::Missing),
            };
            checked.map_err(|fault| unvouched(&fault))?;
            for name in [RECEIPT, RECEIPT_SALT] {
                let value = head
                    .field(name)
                    .and_then(|value| HeaderValue::from_str(value).ok());
                if let Some(value) = value {
                    headers.insert(HeaderName::from_static(name), value);
                }
            }
        }
        self.service.log(
            self.number,
            &format!("sealed answer of {} bytes complete", body.len()),
        );
        Ok(with(status, headers, Either::Left(Full::new(body))))
    }

    fn headers(&self, head: &ResponseHead) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in [CONTENT_TYPE, RETRY_AFTER] {
            let value = head
                .field(name.as_str())
                .and_then(|value| HeaderValue::from_str(value).ok());
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let verdict = verdict_text(&self.admitted.key.result().verdict);
        if let Ok(value) = HeaderValue::from_str(&verdict) {
            headers.insert(VERDICT, value);
        }
        headers
    }

    /// Verifies the receipt of this exchange, and keeps the answer where that was asked for.
    fn vouch(&self, receipt: &str, salt: &str, response: &[u8]) -> Result<(), ReceiptFault> {
        let (receipt, salt) = receipt_check::decode(receipt, salt)?;
        let answer = Answer {
            receipt,
            salt,
            request: &self.request,
            response,
        };
        let key = &self.admitted.key;
        let grounds = Grounds {
            node: key.node(),
            result: key.result(),
            evidence: key.evidence(),
            nonce: &self.nonce,
        };
        answer.verify(&grounds)?;
        let kept = answer.enter(&grounds, self.service.gate.ledger(), self.service.save.as_deref());
        if let Err(fault) = kept {
            self.service.console.warn(&format!(
                "request {}: answer not kept: {}",
                self.number, fault.code
            ));
        }
        Ok(())
    }
}

/// The next piece of an answer's content; none at its proper end.
async fn next(body: &mut SealedBody) -> Result<Option<Bytes>, ApiError> {
    let frame = tokio::time::timeout(SILENCE, body.frame())
        .await
        .map_err(|_| silent())?;
    match frame {
        None => Ok(None),
        Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
        Some(Err(error)) => Err(send_error(&error)),
    }
}

async fn whole(mut body: SealedBody) -> Result<Bytes, ApiError> {
    let mut whole = Vec::new();
    while let Some(bytes) = next(&mut body).await? {
        if bytes.len() > MAX_ANSWER_BYTES.saturating_sub(whole.len()) {
            return Err(stream_error(&StreamFault::TooLarge));
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(whole.into())
}

/// Passes a stream on until it is complete or cut. Ends when the client goes away.
async fn stream(exchange: Exchange, body: SealedBody, client: mpsc::Sender<Piece>) {
    let ended = tokio::select! {
        ended = pass(&exchange, body, &client) => ended,
        () = client.closed() => {
            exchange.service.log(exchange.number, "client gone");
            return;
        }
    };
    match ended {
        Ok(whole) => {
            if complete(&whole, &client).await {
                let bytes = whole.committed().len();
                exchange.service.log(
                    exchange.number,
                    &format!("sealed answer of {bytes} bytes complete"),
                );
            }
        }
        Err(error) => {
            exchange.service.console.warn(&format!(
                "request {}: stream cut: {}",
                exchange.number, error.code
            ));
            cut(&error, &client).await;
        }
    }
}

async fn pass(
    exchange: &Exchange,
    mut body: SealedBody,
    client: &mpsc::Sender<Piece>,
) -> Result<WholeStream, ApiError> {
    let mut stream = AnswerStream::new();
    while let Some(bytes) = next(&mut body).await? {
        hand_on(&mut stream, &bytes, client).await?;
    }
    let whole = stream.finish().map_err(|fault| stream_error(&fault))?;
    exchange
        .vouch(&whole.receipt, &whole.salt, whole.committed())
        .map_err(|fault| unvouched(&fault))?;
    Ok(whole)
}
