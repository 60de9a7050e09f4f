//! A streamed answer: events as the generation goes on, hashed as they leave,
//! and the receipt over them as the very last. A stream that can't be finished
//! so is cut, visibly.

use std::sync::Arc;
use std::time::Duration;

use bastide_attestation::{Commitment, FinishReason, ResponseCommitment};
use bytes::Bytes;
use hyper::Response;
use hyper::header::HeaderValue;
use tokio::sync::mpsc;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{Running, Tally, outcome_of};
use crate::api::{DONE, Usage, event, receipt_event};
use crate::inference::Event;
use crate::metrics::Outcome;
use crate::server::body::{AnswerBody, Part};
use crate::server::route::with_type;

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// Parts of a stream that may wait for the socket.
const PARTS: usize = 16;
/// How long a client may take none of them before its stream is cut: it holds
/// up a generation that others wait for.
const STALL: Duration = Duration::from_secs(10);

/// Answers with the head at once and the events as they come.
pub(super) fn respond(running: Running, tally: Tally) -> Response<AnswerBody> {
    let (parts, body) = mpsc::channel(PARTS);
    let node = Arc::clone(&running.node);
    node.life.connections().spawn(async move {
        let outcome = pump(running, parts).await.unwrap_or(Outcome::Abandoned);
        tally.end(outcome);
    });
    with_type(AnswerBody::stream(body), EVENT_STREAM)
}

/// Writes a stream's events, and at its end the receipt over them.
async fn pump(mut running: Running, parts: mpsc::Sender<Part>) -> Result<Outcome, Gone> {
    let with_usage = running.include_usage;
    let mut sink = Sink {
        parts,
        commitment: Commitment::response(&running.salt),
    };
    sink.event(&running.head.opening(with_usage)).await?;
    let mut pieces = 0;
    let (finish, completion_tokens, pipeline, outcome) = loop {
        match running.next().await {
            Ok(Event::Piece(piece)) => {
                pieces += 1;
                let logprobs = running.logprobs.then_some(piece.logprobs.as_slice());
                if !piece.text.is_empty() || logprobs.is_some_and(|entries| !entries.is_empty()) {
                    let json = Zeroizing::new(running.head.piece(&piece.text, logprobs, with_usage));
                    sink.event(&json).await?;
                }
            }
            Ok(Event::Ended {
                finish,
                completion_tokens,
                pipeline,
            }) => {
                sink.event(&running.head.closing(finish, with_usage)).await?;
                if with_usage {
                    let usage = Usage::new(running.prompt_tokens, completion_tokens);
                    sink.event(&running.head.usage(usage)).await?;
                }
                break (finish, completion_tokens, pipeline, Outcome::Answered);
            }
            Err(error) => {
                sink.event(&error.to_json()).await?;
                break (FinishReason::Error, pieces, None, outcome_of(&error));
            }
        }
    };
    sink.send(Bytes::from_static(DONE)).await?;
    let Sink { parts, commitment } = sink;
    let Ok(receipt) = running.receipt(commitment.finish(), finish, completion_tokens, pipeline) else {
        // Without the end part, the connection is cut.
        return Ok(Outcome::Failed);
    };
    let last = receipt_event(receipt.as_bytes(), &running.salt);
    send(&parts, Part::Data(last)).await?;
    send(&parts, Part::End).await?;
    Ok(outcome)
}

/// The client went away, or reads nothing.
struct Gone;

/// A stream's way out, hashed as it goes.
struct Sink {
    parts: mpsc::Sender<Part>,
    commitment: ResponseCommitment,
}

impl Sink {
    async fn event(&mut self, json: &[u8]) -> Result<(), Gone> {
        self.send(event(json)).await
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), Gone> {
        self.commitment.update(&bytes);
        send(&self.parts, Part::Data(bytes)).await
    }
}

async fn send(parts: &mpsc::Sender<Part>, part: Part) -> Result<(), Gone> {
    match timeout(STALL, parts.send(part)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Gone),
    }
}
