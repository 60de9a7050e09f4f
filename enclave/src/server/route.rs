//! Paths and methods. Everything under `/v1/` and the epoch log need an attested connection;
//! evidence, liveness and readiness don't, and carry nothing of a user.

use std::convert::Infallible;
use std::sync::Arc;

use bastide_attestation::pipeline::PIPELINE_PATH;
use bastide_attestation::sealed::{SEALED_KEY_PATH, SEALED_PATH};
use bastide_attestation::{ATTEST_PATH, EPOCHS_PATH, LOG_HEAD_PATH};
use bastide_attested_tls::Protocol;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use super::body::AnswerBody;
use super::session::Session;
use super::{Node, attest, capacity, chat, epochs, pipeline, sealed};
use crate::api::{ApiError, model, model_list};

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const API: &str = "/v1/";
const MODELS: &str = "/v1/models";

/// Answers one request; a failure is an answer too.
pub(super) async fn answer(
    session: Arc<Session>,
    protocol: Protocol,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let in_flight = session.begin();
    let answered = dispatch(&session, request, in_flight.until()).await;
    let mut response = answered.unwrap_or_else(|error| {
        if error.closes() {
            session.end();
        }
        refusal(&error)
    });
    if session.node.life.is_draining() {
        close(&mut response);
    }
    // Over HTTP/2 a connection ends by GOAWAY, and this header may not be sent.
    if protocol == Protocol::Http2 {
        response.headers_mut().remove(CONNECTION);
    }
    Ok(response.map(|body| body.during(in_flight)))
}

async fn dispatch(
    session: &Arc<Session>,
    request: Request<Incoming>,
    until: tokio::time::Instant,
) -> Result<Response<AnswerBody>, ApiError> {
    let node = &session.node;
    let path = request.uri().path();
    if path.starts_with(API) {
        session.require_lease().inspect_err(|error| {
            if path == chat::PATH {
                chat::count_refusal(node, error);
            }
        })?;
    }
    match path {
        ATTEST_PATH => {
            only(&request, &Method::POST, "POST")?;
            attest::evidence(session, request).await
        }
        EPOCHS_PATH => {
            only(&request, &Method::GET, "GET")?;
            session.require_lease()?;
            epochs::page(node, request.uri().query())
        }
        capacity::PATH => {
            only(&request, &Method::GET, "GET")?;
            session.require_lease()?;
            capacity::describe(node).await
        }
        PIPELINE_PATH => {
            only(&request, &Method::POST, "POST")?;
            pipeline::evidence(session, request).await
        }
        LOG_HEAD_PATH => {
            only(&request, &Method::POST, "POST")?;
            session.require_lease()?;
            epochs::head(session, request).await
        }
        chat::PATH => {
            only(&request, &Method::POST, "POST")?;
            chat::completion(session, request, until).await
        }
        SEALED_KEY_PATH => {
            only(&request, &Method::POST, "POST")?;
            sealed::key(session, request).await
        }
        SEALED_PATH => {
            only(&request, &Method::POST, "POST")?;
            sealed::request(session, request, until).await
        }
        _ if path == MODELS
            || path
                .strip_prefix(MODELS)
                .is_some_and(|rest| rest.starts_with('/')) =>
        {
            only(&request, &Method::GET, "GET")?;
            models(path, node)
        }
        "/livez" | "/readyz" => {
            only(&request, &Method::GET, "GET")?;
            Ok(health(path, node))
        }
        _ => Err(ApiError::NotFound),
    }
}

/// The list of models, or one of them.
pub(super) fn models(path: &str, node: &Node) -> Result<Response<AnswerBody>, ApiError> {
    let json = match path.strip_prefix("/v1/models/") {
        None => model_list(&node.model.name, node.model.loaded),
        Some(name) if name == node.model.name => model(&node.model.name, node.model.loaded),
        Some(_) => {
            return Err(ApiError::ModelNotFound {
                served: node.model.name.clone(),
            });
        }
    };
    Ok(with_type(AnswerBody::whole(json), JSON))
}

/// What `/livez` and `/readyz` answer.
pub(super) fn health(path: &str, node: &Node) -> Response<AnswerBody> {
    let (fine, word) = match path {
        "/livez" => (true, "live\n"),
        _ if node.is_ready() => (true, "ready\n"),
        _ if node.life.is_draining() => (false, "draining\n"),
        _ if node.life.is_ready() => (false, "GPUs are not attested\n"),
        _ => (false, "starting\n"),
    };
    let mut response = with_type(AnswerBody::whole(word), TEXT);
    if !fine {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// A 200 that nobody may store.
pub(super) fn with_type(body: AnswerBody, media_type: HeaderValue) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// An error as an answer.
pub(super) fn refusal(error: &ApiError) -> Response<AnswerBody> {
    let mut response = with_type(AnswerBody::whole(error.to_json()), JSON);
    *response.status_mut() = error.status();
    if let Some(seconds) = error.retry_after() {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let ApiError::Method { allow } = error {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(allow));
    }
    if error.closes() {
        close(&mut response);
    }
    response
}

fn close(response: &mut Response<AnswerBody>) {
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
}

pub(super) fn only<B>(request: &Request<B>, method: &Method, name: &'static str) -> Result<(), ApiError> {
    if request.method() == method {
        Ok(())
    } else {
        Err(ApiError::Method { allow: name })
    }
}

/// Whether the body says it is of this media type, parameters aside.
pub(super) fn require_type(headers: &HeaderMap, expected: &'static str) -> Result<(), ApiError> {
    let essence = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    match essence {
        Some(essence) if essence.trim().eq_ignore_ascii_case(expected) => Ok(()),
        _ => Err(ApiError::MediaType { expected }),
    }
}
