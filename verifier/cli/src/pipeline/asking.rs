//! A head is asked for its plan and the evidence of every stage, with a nonce of
//! our own.
//!
//! Owns the exchange; how long it may take is the connector's to say. Refuses an
//! answer that isn't what the document says; what the answer is worth, `stages` judges.

use bastide_attestation::pipeline::{
    MAX_PIPELINE_ANSWER_BYTES, PIPELINE_PATH, PipelineAnswer, PipelineRequest,
};
use bastide_attestation::{Nonce, REQUEST_MEDIA_TYPE};
use bastide_attested_tls::AttestedConnection;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::no_head;
use crate::fault::{Fault, with_causes};

/// Asks a head for its plan and every stage's evidence.
///
/// # Errors
/// [`Fault`]: a rejection if it has no pipeline, or answers anything else than
/// the document says; unavailable if it doesn't answer.
pub(crate) async fn ask(connection: &mut AttestedConnection) -> Result<(Nonce, PipelineAnswer), Fault> {
    let (nonce, request) = challenge()?;
    let response = connection
        .send(request)
        .await
        .map_err(|error| unavailable(error.code(), with_causes(&error)))?;
    Ok((nonce, read(response).await?))
}

/// A fresh challenge, and the request that carries it.
///
/// # Errors
/// [`Fault`] if this machine gives no random numbers.
fn challenge() -> Result<(Nonce, Request<Full<Bytes>>), Fault> {
    let mut nonce = [0; Nonce::LEN];
    SystemRandom::new()
        .fill(&mut nonce)
        .map_err(|_| Fault::internal("this machine gives no random numbers"))?;
    let nonce = Nonce::new(nonce);
    let request = Request::builder()
        .method(Method::POST)
        .uri(PIPELINE_PATH)
        .header(CONTENT_TYPE, REQUEST_MEDIA_TYPE)
        .body(Full::new(Bytes::from(PipelineRequest { nonce }.encode())))
        .map_err(|error| Fault::internal(format!("no request: {error}")))?;
    Ok((nonce, request))
}

fn unavailable(code: &'static str, what: String) -> Fault {
    Fault::unavailable(
        code,
        format!("the node did not say what stands behind it: {what}"),
    )
    .with_remedy("try again; if it stays so, ask whoever runs the node")
}

/// Reads a head's answer.
///
/// # Errors
/// As [`ask`].
async fn read(response: Response<Incoming>) -> Result<PipelineAnswer, Fault> {
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            return Err(no_head());
        }
        other => {
            return Err(unavailable(
                "pipeline.unavailable",
                format!("it answered {}", other.as_u16()),
            ));
        }
    }
    let body = Limited::new(response.into_body(), MAX_PIPELINE_ANSWER_BYTES)
        .collect()
        .await
        .map_err(|error| unavailable("pipeline.unavailable", error.to_string()))?;
    PipelineAnswer::decode(&body.to_bytes()).map_err(|error| {
        Fault::malformed(
            "pipeline.malformed",
            format!("the head's answer: {}", with_causes(&error)),
        )
    })
}
