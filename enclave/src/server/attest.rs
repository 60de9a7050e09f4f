//! Evidence for the connection that asks: the client's nonce and this
//! session's exporter make the binder, lane M does the rest.

use std::sync::Arc;

use bastide_attestation::{AttestRequest, ENVELOPE_MEDIA_TYPE, REQUEST_MEDIA_TYPE};
use bastide_attested_tls::LaneError;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, Response};
use tokio::time::timeout;

use super::body::{self, AnswerBody};
use super::limits::ATTEST_BODY_BYTES;
use super::route::{require_type, with_type};
use super::session::Session;
use crate::api::ApiError;
use crate::telemetry::ops;

/// Answers an attest request and starts or renews the connection's lease.
pub(super) async fn evidence(
    session: &Arc<Session>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, ApiError> {
    let node = &session.node;
    if node.life.is_draining() {
        return Err(ApiError::Draining);
    }
    session.admit_attest()?;
    require_type(request.headers(), REQUEST_MEDIA_TYPE)?;
    let read = body::read(request.into_body(), ATTEST_BODY_BYTES);
    let bytes = timeout(node.limits.attest, read)
        .await
        .map_err(|_| ApiError::BodyTimeout)??;
    let standing = node.require_gpus()?;
    let request = AttestRequest::decode(&bytes).map_err(|_| ApiError::AttestMalformed)?;
    let binder = session.binding.binder(&request.nonce);
    let attested = node.lane.attest(binder).await.map_err(|error| {
        ops!(WARN, "attest.failed", code = error.code());
        match error {
            LaneError::Busy | LaneError::TimedOut { .. } => ApiError::AttestBusy,
            _ => ApiError::AttestFailed,
        }
    })?;
    // An event while the report was made: its statement may name what is over.
    if node.gpu_standing() != standing {
        return Err(ApiError::GpusNotAttested);
    }
    let envelope = attested.evidence.encode();
    session.attested(request.nonce, attested.statement_digest, standing);
    Ok(with_type(
        AnswerBody::whole(envelope),
        HeaderValue::from_static(ENVELOPE_MEDIA_TYPE),
    ))
}
