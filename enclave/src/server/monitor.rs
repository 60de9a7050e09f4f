//! Liveness, readiness and metrics for the operator, in plain HTTP on a
//! loopback port of its own. Knows no path that carries anything of a user.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Node;
use super::body::AnswerBody;
use super::route::{health, only, refusal, with_type};
use crate::api::ApiError;
use crate::metrics::CONTENT_TYPE;

/// Connections at once.
const MOST: usize = 16;
/// Longest connection; each answers one request.
const LONGEST: Duration = Duration::from_secs(10);
const AFTER_FAILURE: Duration = Duration::from_millis(50);

/// Answers until it is dropped: readiness is asked for while draining, too.
pub(crate) async fn monitor(node: Arc<Node>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(AFTER_FAILURE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&node, request));
            let connection = http1::Builder::new()
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // Who asks and goes away is of no interest.
            let _ = timeout(LONGEST, connection).await;
            drop(place);
        });
    }
}

async fn answer(node: &Node, request: Request<Incoming>) -> Result<Response<AnswerBody>, Infallible> {
    let answered = match only(&request, &Method::GET, "GET") {
        Err(error) => Err(error),
        Ok(()) => match request.uri().path() {
            path @ ("/livez" | "/readyz") => Ok(health(path, node)),
            "/metrics" => Ok(metrics(node).await),
            _ => Err(ApiError::NotFound),
        },
    };
    Ok(answered.unwrap_or_else(|error| refusal(&error)))
}

async fn metrics(node: &Node) -> Response<AnswerBody> {
    let gpus = node.gpus.as_ref().map(|gpus| gpus.state.counters());
    let head = match &node.head {
        Some(head) => head.status().await,
        None => None,
    };
    let text = node.metrics.render(
        node.is_ready(),
        &node.lane.counters(),
        &gpus.unwrap_or_default(),
        head.as_ref(),
    );
    with_type(AnswerBody::whole(text), HeaderValue::from_static(CONTENT_TYPE))
}
