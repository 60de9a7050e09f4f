//! The gateway of sealed mode: evidence of the key, and sealed requests in,
//! sealed answers out. What is inside goes the way of every request; what can't
//! be opened is the only thing that is answered in plain.
//!
//! The connection needs no lease: it may be a relay's, who can prove nothing and
//! learns nothing. The statement that a request names inside takes its place.

use std::sync::Arc;
use std::time::Duration;

use bastide_attestation::binding::{LeafType, sealed_binder};
use bastide_attestation::sealed::{
    Field, ResponseHead, SEALED_REQUEST_TYPE, STATEMENT_FIELD, SealedFormatError, SealedKeyAnswer,
    SealedRequest, padded_request_bytes, response_content, response_end,
};
use bastide_attestation::{ENVELOPE_MEDIA_TYPE, EpochStatement, StatementDigest};
use bastide_attested_tls::{AnswerSealer, OpenError};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Request, Response};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::attest;
use super::body::{self, AnswerBody, Part};
use super::chat::{self, Grounds};
use super::route::{self, require_type, with_type};
use super::session::Session;
use super::{LONGEST_LEASE, Node};
use crate::api::ApiError;
use crate::metrics::Refusal;
use crate::sealed::{Issue, Unsealed};

const SEALED: HeaderValue = HeaderValue::from_static("message/ohttp-chunked-res");
/// Tells relays to pass an answer on as it comes (draft-ietf-httpbis-incremental).
const INCREMENTAL: HeaderName = HeaderName::from_static("incremental");
/// Parts of an answer that may wait for the socket.
const PARTS: usize = 16;
/// How long a peer may take none of them.
const STALL: Duration = Duration::from_secs(10);

/// Answers with evidence of the key that requests are to be sealed to.
pub(super) async fn key(
    session: &Arc<Session>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, ApiError> {
    let node = &session.node;
    let request = attest::challenge(session, request).await?;
    let keys = node.sealed.current().ok_or(ApiError::AttestFailed)?;
    // From before the report: what it says can't be older.
    let until = Instant::now() + node.limits.lease.min(LONGEST_LEASE);
    let binder = sealed_binder(keys.config(), &request.nonce);
    let attested = node
        .lane
        .attest_as(LeafType::SealedKey, binder)
        .await
        .map_err(|error| attest::no_report(&error))?;
    // Something happened while the report was made: its statement is over.
    node.require_current(attested.standing)
        .map_err(attest::overtaken)?;
    // Keys that were replaced meanwhile are not the statement's: ask again.
    let stated = EpochStatement::decode(attested.statement()).map_err(|_| ApiError::Internal)?;
    if stated.sealed_key != Some(keys.digest()) {
        return Err(ApiError::AttestBusy);
    }
    let issue = Issue {
        key: keys.digest(),
        standing: attested.standing,
        until,
    };
    node.sealed.issue(attested.statement_digest, issue)?;
    let answer = SealedKeyAnswer {
        evidence: attested.evidence(),
        key_config: keys.config().to_vec(),
    };
    Ok(with_type(
        AnswerBody::whole(answer.encode()),
        HeaderValue::from_static(ENVELOPE_MEDIA_TYPE),
    ))
}

/// Answers a sealed request, sealed: also when the answer is that there is none.
pub(super) async fn request(
    session: &Arc<Session>,
    request: Request<Incoming>,
    until: Instant,
) -> Result<Response<AnswerBody>, ApiError> {
    let node = &session.node;
    require_type(request.headers(), SEALED_REQUEST_TYPE)?;
    let content = padded_request_bytes(node.limits.body_bytes);
    // Chunks cost 20 bytes each; whoever cuts finer than 512 bytes is refused.
    let limit = content + content / 16 + 2048;
    let body_until = until.min(Instant::now() + node.limits.admission.body);
    let bytes = timeout_at(body_until, body::read(request.into_body(), limit))
        .await
        .map_err(|_| {
            node.metrics.refuse(Refusal::SlowBody);
            ApiError::BodyTimeout
        })??;
    let unsealed = node.sealed.open(&bytes, content).map_err(|error| match error {
        OpenError::UnknownKey => ApiError::SealedKeyUnknown,
        OpenError::TooLarge { limit } => ApiError::BodyTooLarge { limit },
        _ => ApiError::SealedMalformed,
    })?;
    drop(bytes);
    let answered = inner(session, &unsealed, until).await;
    let answer = answered.unwrap_or_else(|error| route::refusal(&error));
    Ok(seal(node, answer, unsealed.opened.answer))
}

/// What is inside a sealed request, answered as any other.
async fn inner(
    session: &Arc<Session>,
    unsealed: &Unsealed,
    until: Instant,
) -> Result<Response<AnswerBody>, ApiError> {
    let node = &session.node;
    let request = SealedRequest::decode(&unsealed.opened.request, node.limits.body_bytes).map_err(
        |fault| match fault {
            SealedFormatError::Message {
                expected: "a body within its limit",
            } => ApiError::BodyTooLarge {
                limit: node.limits.body_bytes,
            },
            _ => ApiError::SealedMalformed,
        },
    )?;
    let named = request
        .field(STATEMENT_FIELD)
        .and_then(|digest| digest.parse::<StatementDigest>().ok());
    let admitted = node.sealed.admit(unsealed, named)?;
    node.require_current(admitted.standing)
        .map_err(|error| match error {
            ApiError::AttestationRequired => ApiError::SealedStatement,
            other => other,
        })?;
    let only = |method: &str, allow: &'static str| {
        if method == allow {
            Ok(())
        } else {
            Err(ApiError::Method { allow })
        }
    };
    match request.path.as_str() {
        chat::PATH => {
            only(&request.method, "POST")?;
            let json = request
                .field(CONTENT_TYPE.as_str())
                .and_then(|value| value.split(';').next())
                .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"));
            if !json {
                return Err(ApiError::MediaType {
                    expected: "application/json",
                });
            }
            let grounds = Grounds {
                nonce: admitted.nonce,
                statement: admitted.statement,
                standing: admitted.standing,
            };
            chat::sealed_completion(node, grounds, session.guest.share(), request.body, until).await
        }
        path if path == "/v1/models" || path.starts_with("/v1/models/") => {
            only(&request.method, "GET")?;
            route::models(path, node)
        }
        _ => Err(ApiError::NotFound),
    }
}

/// Seals an answer as it comes. One that is cut has no final chunk.
fn seal(node: &Arc<Node>, answer: Response<AnswerBody>, sealer: AnswerSealer) -> Response<AnswerBody> {
    let (parts, body) = mpsc::channel(PARTS);
    let pump = pump(answer, sealer, parts);
    node.life.connections().spawn(async move {
        // A peer that is gone needs no answer; one without its end part is cut.
        let _: Option<()> = pump.await;
    });
    let mut response = with_type(AnswerBody::stream(body), SEALED);
    response
        .headers_mut()
        .insert(INCREMENTAL, HeaderValue::from_static("?1"));
    response
}

async fn pump(
    answer: Response<AnswerBody>,
    mut sealer: AnswerSealer,
    parts: mpsc::Sender<Part>,
) -> Option<()> {
    let (head, mut body) = answer.into_parts();
    let fields = head
        .headers
        .iter()
        .filter(|(name, _)| *name != CONNECTION)
        .filter_map(|(name, value)| Some(Field::new(name.as_str(), value.to_str().ok()?)))
        .collect();
    let head = ResponseHead {
        status: head.status.as_u16(),
        fields,
    };
    let mut begin = sealer.begin().to_vec();
    begin.extend(sealer.content(&head.encode()).ok()?);
    send(&parts, Part::Data(begin.into())).await?;
    while let Some(frame) = body.frame().await {
        // An answer that was cut inside is cut outside.
        let Ok(data) = frame.ok()?.into_data() else {
            continue;
        };
        let sealed = sealer.content(&response_content(&data)).ok()?;
        send(&parts, Part::Data(Bytes::from(sealed))).await?;
    }
    let end = sealer.finish(&response_end()).ok()?;
    send(&parts, Part::Data(end.into())).await?;
    send(&parts, Part::End).await
}

async fn send(parts: &mpsc::Sender<Part>, part: Part) -> Option<()> {
    timeout(STALL, parts.send(part)).await.ok()?.ok()
}
