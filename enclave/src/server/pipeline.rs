//! Evidence of every stage, for the client's own nonce. It counts as an attest
//! of this connection: each stage makes a report for it.

use std::sync::Arc;

use bastide_attestation::pipeline::PipelineRequest;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, Response};
use tokio::time::timeout;

use super::body::{self, AnswerBody};
use super::route::{require_type, with_type};
use super::session::Session;
use crate::api::ApiError;

const CBOR: &str = "application/cbor";

/// Answers with the plan and each stage's envelope, for those that gave one.
pub(super) async fn evidence(
    session: &Arc<Session>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, ApiError> {
    let node = &session.node;
    session.require_lease()?;
    let head = node.head.as_ref().ok_or(ApiError::NoPipeline)?;
    if node.life.is_draining() {
        return Err(ApiError::Draining);
    }
    session.admit_attest()?;
    require_type(request.headers(), CBOR)?;
    let read = body::read(request.into_body(), PipelineRequest::MAX_BYTES);
    let bytes = timeout(node.limits.attest, read)
        .await
        .map_err(|_| ApiError::BodyTimeout)??;
    let request = PipelineRequest::decode(&bytes).map_err(|_| ApiError::AttestMalformed)?;
    let answer = head.evidence(request.nonce).await;
    let answer = answer.map_err(|_| ApiError::PipelineUnavailable)?;
    Ok(with_type(
        AnswerBody::whole(answer.encode()),
        HeaderValue::from_static(CBOR),
    ))
}
