//! A chat completion: request in, generation queued, answer out, with a
//! receipt over the exact bytes of both. An answer whose receipt can't be
//! signed is not finished.

mod stream;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bastide_attestation::pipeline::PipelineClaims;
use bastide_attestation::{Commitment, FinishReason, Nonce, Receipt, Salt, StatementDigest};
use bastide_attested_tls::Standing;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, Response};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::Node;
use super::body::{self, AnswerBody};
use super::route::{JSON, require_type, with_type};
use super::session::{Lease, Session};
use crate::admission::Share;
use crate::api::{AnswerHead, ApiError, ChatRequest, Served, TokenLogprob, Usage};
use crate::clock;
use crate::identity::{random, salt};
use crate::inference::{Event, Prompt};
use crate::metrics::{Outcome, Refusal};
use crate::receipts::Answer;
use crate::telemetry::ops;

/// Where completions are asked for.
pub(super) const PATH: &str = "/v1/chat/completions";

const RECEIPT: HeaderName = HeaderName::from_static("x-bastide-receipt");
const RECEIPT_SALT: HeaderName = HeaderName::from_static("x-bastide-receipt-salt");

/// Answers a completion request.
pub(super) async fn completion(
    session: &Arc<Session>,
    request: Request<Incoming>,
    until: Instant,
) -> Result<Response<AnswerBody>, ApiError> {
    let tally = Tally::new(&session.node);
    answer(tally, prepare(session, request, until).await).await
}

/// As [`completion`], for a request that came sealed: on what it rests was found
/// out by who opened it.
pub(super) async fn sealed_completion(
    node: &Arc<Node>,
    grounds: Grounds,
    share: Share,
    body: Zeroizing<Vec<u8>>,
    until: Instant,
) -> Result<Response<AnswerBody>, ApiError> {
    let tally = Tally::new(node);
    let prepared = if node.life.is_draining() {
        Err(ApiError::Draining)
    } else {
        begin(node, grounds, share, body, until).await
    };
    answer(tally, prepared).await
}

async fn answer(tally: Tally, prepared: Result<Running, ApiError>) -> Result<Response<AnswerBody>, ApiError> {
    let answered = match prepared {
        Ok(running) if running.stream => return Ok(stream::respond(running, tally)),
        Ok(running) => whole(running).await,
        Err(error) => Err(error),
    };
    tally.end(answered.as_ref().map_or_else(outcome_of, |_| Outcome::Answered));
    answered
}

/// Counts a completion that was refused before it was looked at.
pub(super) fn count_refusal(node: &Node, error: &ApiError) {
    node.metrics.count(outcome_of(error));
}

const fn outcome_of(error: &ApiError) -> Outcome {
    Outcome::of_status(error.status().as_u16())
}

/// Counts how a completion ended; dropped early, the client went away.
struct Tally {
    node: Arc<Node>,
    outcome: Outcome,
}

impl Tally {
    fn new(node: &Arc<Node>) -> Self {
        Self {
            node: Arc::clone(node),
            outcome: Outcome::Abandoned,
        }
    }

    fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.node.metrics.count(self.outcome);
    }
}

/// What was attested to who asks, and must still be so: the receipt names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grounds {
    /// The receipt's nonce.
    pub(super) nonce: Nonce,
    /// The statement that the client appraised.
    pub(super) statement: StatementDigest,
    /// What has to stay true.
    pub(super) standing: Standing,
}

impl From<Lease> for Grounds {
    fn from(lease: Lease) -> Self {
        Self {
            nonce: lease.nonce,
            statement: lease.statement,
            standing: lease.standing,
        }
    }
}

/// A completion whose generation has started.
struct Running {
    node: Arc<Node>,
    head: AnswerHead,
    events: mpsc::Receiver<Result<Event, ApiError>>,
    until: Instant,
    salt: Salt,
    request: Commitment,
    grounds: Grounds,
    sampling: [u8; 32],
    prompt_tokens: u64,
    most_tokens: u32,
    stream: bool,
    include_usage: bool,
    logprobs: bool,
}

async fn prepare(
    session: &Arc<Session>,
    request: Request<Incoming>,
    until: Instant,
) -> Result<Running, ApiError> {
    let node = &session.node;
    if node.life.is_draining() {
        return Err(ApiError::Draining);
    }
    let lease = session.require_lease()?;
    require_type(request.headers(), "application/json")?;
    let body_until = until.min(Instant::now() + node.limits.admission.body);
    let read = async {
        let _place = session.guest.body_place().await;
        body::read(request.into_body(), node.limits.body_bytes).await
    };
    let body = timeout_at(body_until, read).await.map_err(|_| {
        node.metrics.refuse(Refusal::SlowBody);
        ApiError::BodyTimeout
    })??;
    begin(node, lease.into(), session.guest.share(), body, until).await
}

/// Reads a request's body and has its generation started.
async fn begin(
    node: &Arc<Node>,
    grounds: Grounds,
    share: Share,
    body: Zeroizing<Vec<u8>>,
    until: Instant,
) -> Result<Running, ApiError> {
    let served = Served {
        model: &node.model.name,
        tokens: node.limits.tokens,
    };
    let chat = ChatRequest::parse(&body, served)?;
    let salt = salt().map_err(|_| ApiError::Internal)?;
    let request = Commitment::request(&salt, &body);
    drop(body);
    let parameters = chat.parameters.clone();
    let limit_seconds = node.limits.request.as_secs();
    let inference = node
        .inference
        .as_ref()
        .ok_or_else(|| ApiError::NotTheHead { stage: node.stage() })?;
    let generation = inference.submit(Prompt {
        messages: chat.messages,
        parameters: chat.parameters,
        most_tokens: node.limits.tokens,
        until,
        limit_seconds,
        share,
    })?;
    let started = timeout_at(until, generation.started)
        .await
        .map_err(|_| ApiError::TimeLimit {
            seconds: limit_seconds,
        })?
        .map_err(|_| ApiError::Internal)??;
    let id: [u8; 12] = random().map_err(|_| ApiError::Internal)?;
    Ok(Running {
        node: Arc::clone(node),
        head: AnswerHead {
            id: format!("chatcmpl-{}", hex::encode(id)),
            created: clock::now().as_secs(),
            model: node.model.name.clone(),
            system_fingerprint: node.model.fingerprint(),
        },
        events: generation.events,
        until,
        salt,
        request,
        grounds,
        sampling: parameters.digest(started.most_tokens),
        prompt_tokens: started.prompt_tokens,
        most_tokens: started.most_tokens,
        stream: chat.stream,
        include_usage: chat.include_usage,
        logprobs: parameters.logprobs.is_some(),
    })
}

impl Running {
    async fn next(&mut self) -> Result<Event, ApiError> {
        let next = timeout_at(self.until, self.events.recv())
            .await
            .map_err(|_| ApiError::TimeLimit {
                seconds: self.node.limits.request.as_secs(),
            })?
            .unwrap_or(Err(ApiError::Internal));
        // What was attested is no longer so: not another token.
        self.node.require_unchanged(self.grounds.standing)?;
        next
    }

    fn receipt(
        &self,
        response: Commitment,
        finish: FinishReason,
        completion_tokens: u64,
        pipeline: Option<Box<PipelineClaims>>,
    ) -> Result<Receipt, ApiError> {
        let answer = Answer {
            request: self.request,
            response,
            nonce: self.grounds.nonce,
            statement: self.grounds.statement,
            finish,
            sampling: self.sampling,
            usage: [self.prompt_tokens, completion_tokens],
            pipeline: pipeline.map(|claims| *claims),
        };
        self.node.ledger.issue(answer, clock::now()).map_err(|_| {
            ops!(ERROR, "receipt.failed", code = "receipt.signing");
            ApiError::Internal
        })
    }
}

async fn whole(mut running: Running) -> Result<Response<AnswerBody>, ApiError> {
    // Roomy enough that it seldom moves and leaves a copy behind.
    let room = usize::try_from(running.most_tokens)
        .unwrap_or(usize::MAX)
        .min(4096)
        * 8;
    let mut text = Zeroizing::new(String::with_capacity(room));
    let mut logprobs: Option<Vec<TokenLogprob>> = running.logprobs.then(Vec::new);
    let (finish, completion_tokens, pipeline) = loop {
        match running.next().await? {
            Event::Piece(piece) => {
                text.push_str(&piece.text);
                if let Some(all) = &mut logprobs {
                    all.extend(piece.logprobs);
                }
            }
            Event::Ended {
                finish,
                completion_tokens,
                pipeline,
            } => break (finish, completion_tokens, pipeline),
        }
    };
    let usage = Usage::new(running.prompt_tokens, completion_tokens);
    let body = Zeroizing::new(running.head.whole(&text, logprobs.as_deref(), finish, usage));
    let mut commitment = Commitment::response(&running.salt);
    commitment.update(&body);
    let receipt = running.receipt(commitment.finish(), finish, completion_tokens, pipeline)?;
    let mut response = with_type(AnswerBody::whole(Bytes::from_owner(body)), JSON);
    let headers = response.headers_mut();
    for (name, value) in [
        (RECEIPT, URL_SAFE_NO_PAD.encode(receipt.as_bytes())),
        (RECEIPT_SALT, running.salt.to_string()),
    ] {
        headers.insert(
            name,
            HeaderValue::try_from(value).map_err(|_| ApiError::Internal)?,
        );
    }
    Ok(response)
}
