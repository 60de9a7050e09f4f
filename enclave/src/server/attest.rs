//! Evidence for the connection that asks: the client's nonce and this
//! session's exporter make the binder, and the lanes do the rest. Lane K answers
//! where it may, lane M else.

use std::sync::Arc;

use bastide_attestation::{
    AttestAnswer, AttestRequest, Binder, ENVELOPE_MEDIA_TYPE, GpuFreshness, Lane, REQUEST_MEDIA_TYPE,
};
use bastide_attested_tls::{Attested, LaneError};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, Response};
use tokio::time::timeout;

use super::Node;
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
    let request = challenge(session, request).await?;
    let binder = session.binding.binder(&request.nonce);
    let envelope = if let Some(signed) = node.lane.sign(&request, &binder) {
        session.attested(
            request.nonce,
            signed.statement_digest,
            signed.standing,
            Some(signed.until),
        );
        AttestAnswer::encode_session(&signed.signature)
    } else if request.lane == Lane::K {
        return Err(ApiError::LaneKUnavailable);
    } else {
        let attested = report(node, &request, binder).await?;
        session.attested(request.nonce, attested.statement_digest, attested.standing, None);
        let omitted = node.lane.omission(request.known.as_ref(), &attested);
        attested.envelope(omitted)
    };
    Ok(with_type(
        AnswerBody::whole(envelope),
        HeaderValue::from_static(ENVELOPE_MEDIA_TYPE),
    ))
}

/// Reads a challenge, where one may be answered now. It counts against the
/// connection's and the client's shares before anything of it is read.
///
/// # Errors
/// [`ApiError`], also while GPUs that are needed aren't attested.
pub(super) async fn challenge(
    session: &Session,
    request: Request<Incoming>,
) -> Result<AttestRequest, ApiError> {
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
    node.require_gpus()?;
    AttestRequest::decode(&bytes).map_err(|_| ApiError::AttestMalformed)
}

/// What a client is told when the lane gave no report.
pub(super) fn no_report(error: &LaneError) -> ApiError {
    ops!(WARN, "attest.failed", code = error.code());
    match error {
        LaneError::Busy | LaneError::TimedOut { .. } => ApiError::AttestBusy,
        LaneError::Gpus { .. } => ApiError::GpusUnavailable,
        _ => ApiError::AttestFailed,
    }
}

/// What a client is told when something happened while its report was made: the
/// statement is over, and there may be another at once.
pub(super) fn overtaken(error: ApiError) -> ApiError {
    match error {
        ApiError::AttestationRequired => ApiError::AttestBusy,
        other => other,
    }
}

/// A fresh report that is still true when it has come.
async fn report(node: &Node, request: &AttestRequest, binder: Binder) -> Result<Attested, ApiError> {
    let attested = one_report(node, request, binder).await?;
    if node.require_current(attested.standing).is_ok() {
        return Ok(attested);
    }
    // Something happened while the report was made: its statement is over. Once
    // more, if that makes sense.
    node.require_gpus()?;
    let attested = one_report(node, request, binder).await?;
    node.require_current(attested.standing).map_err(overtaken)?;
    Ok(attested)
}

async fn one_report(node: &Node, request: &AttestRequest, binder: Binder) -> Result<Attested, ApiError> {
    let attested = match request.gpu {
        GpuFreshness::Current => node.lane.attest(binder).await,
        GpuFreshness::Strict => node.lane.attest_strictly(binder).await,
    };
    attested.map_err(|error| no_report(&error))
}
