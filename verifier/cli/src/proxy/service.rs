//! One request of a local client: who may ask, what may be asked, and whether
//! any node is fit to be asked. Only two paths go further.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bastide_attested_tls::{PoolError, PooledConnection, SendError};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use super::error::ApiError;
use super::origin;
use super::pool::{NoAnswer, Pool};
use super::relay::{AnswerBody, Exchange, relay};
use super::server::Answers;
use crate::console::Console;
use crate::conversation::{COMPLETIONS, MODELS, request as node_request};

/// Most bytes of a request body.
const MAX_REQUEST_BYTES: usize = 8 * 1024 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests that are answered at the same time.
pub(super) const MAX_REQUESTS: usize = 64;

/// What answers requests.
#[derive(Debug)]
pub(crate) struct Service {
    pool: Pool,
    save: Option<PathBuf>,
    console: Console,
    turns: Arc<Semaphore>,
    count: AtomicU64,
    tasks: TaskTracker,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// The list of models. It has no receipt.
    Models,
    /// A completion. Its receipt is required.
    Completion,
}

impl Service {
    /// A service in front of a pool; `save` is where answers are kept.
    pub(crate) fn new(pool: Pool, save: Option<PathBuf>, console: Console, tasks: TaskTracker) -> Self {
        Self {
            pool,
            save,
            console,
            turns: Arc::new(Semaphore::new(MAX_REQUESTS)),
            count: AtomicU64::new(0),
            tasks,
        }
    }

    /// The connections.
    pub(super) const fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) fn save(&self) -> Option<&PathBuf> {
        self.save.as_ref()
    }

    pub(super) const fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }
}

impl Answers for Service {
    /// Dropping the future closes the connection to the node, or the stream on
    /// it, which tells it to stop.
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
        self.pool.warm_up().await;
    }
}

impl Service {
    /// A line for `--verbose`: numbers and codes only.
    pub(super) fn log(&self, number: u64, text: &str) {
        self.console.detail(&format!("request {number}: {text}"));
    }

    /// A line that must be seen: numbers and codes only.
    pub(super) fn warn(&self, number: u64, text: &str) {
        self.console.warn(&format!("request {number}: {text}"));
    }

    async fn forward(
        self: Arc<Self>,
        number: u64,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, ApiError> {
        let (route, turn) = admit(&request, &self.turns)?;
        let method = request.method().clone();
        let body = read(request.into_body()).await?;
        let (connection, response) = self.send(&method, route, &body).await?;
        let exchange = Exchange {
            service: self,
            number,
            route,
            connection,
            request: body,
            turn,
        };
        relay(exchange, response).await
    }

    /// Sends over a connection that the policy admitted.
    async fn send(
        &self,
        method: &Method,
        route: Route,
        body: &Bytes,
    ) -> Result<(PooledConnection, Response<Incoming>), ApiError> {
        let path = match route {
            Route::Models => MODELS,
            Route::Completion => COMPLETIONS,
        };
        let request = node_request(method.clone(), path, body.clone())
            .map_err(|fault| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, fault.code, fault.message))?;
        self.pool.send(request).await.map_err(|error| match error {
            NoAnswer::Refused(refusals) => ApiError::no_node(&refusals),
            NoAnswer::Failed(error) => send_error(&error),
        })
    }
}

fn send_error(error: &PoolError) -> ApiError {
    let (status, retry_after) = match error {
        PoolError::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, Some(1)),
        PoolError::Send(error) if matches!(**error, SendError::TimedOut { .. }) => {
            (StatusCode::GATEWAY_TIMEOUT, None)
        }
        _ => (StatusCode::BAD_GATEWAY, None),
    };
    ApiError {
        retry_after,
        ..ApiError::new(status, error.code(), error.to_string())
    }
}

/// Lets a local request in: of no foreign page, to a path that is passed on, and
/// while there is a place for it, which it holds until it is done.
pub(super) fn admit(
    request: &Request<Incoming>,
    turns: &Arc<Semaphore>,
) -> Result<(Route, OwnedSemaphorePermit), ApiError> {
    origin::check(request.uri(), request.headers())
        .map_err(|foreign| ApiError::new(StatusCode::FORBIDDEN, "proxy.foreign", foreign.to_string()))?;
    let route = route(request.method(), request.uri().path())?;
    let turn = Arc::clone(turns).try_acquire_owned().map_err(|_| ApiError {
        retry_after: Some(1),
        ..ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "proxy.busy",
            format!("{MAX_REQUESTS} requests are being answered; try again"),
        )
    })?;
    Ok((route, turn))
}

fn route(method: &Method, path: &str) -> Result<Route, ApiError> {
    let (route, wanted) = match path {
        MODELS => (Route::Models, Method::GET),
        COMPLETIONS => (Route::Completion, Method::POST),
        _ => {
            return Err(ApiError::new(
                StatusCode::NOT_FOUND,
                "unknown_url",
                format!("there is nothing at this path; {MODELS} and {COMPLETIONS} are passed on"),
            ));
        }
    };
    if *method == wanted {
        Ok(route)
    } else {
        let message = format!("this path answers {wanted} only");
        Err(ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            message,
        ))
    }
}

/// The exact bytes of a body: they are forwarded and committed to as they are.
pub(super) async fn read(body: Incoming) -> Result<Bytes, ApiError> {
    let body = Limited::new(body, MAX_REQUEST_BYTES).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("a request body has at most {MAX_REQUEST_BYTES} bytes"),
        )),
        Ok(Err(_)) => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "body_incomplete",
            "the request body ended early",
        )),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            format!(
                "the request body did not come within {} s",
                BODY_TIMEOUT.as_secs()
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_paths_go_further_and_no_other() {
        assert_eq!(route(&Method::GET, "/v1/models"), Ok(Route::Models));
        assert_eq!(
            route(&Method::POST, "/v1/chat/completions"),
            Ok(Route::Completion)
        );
        for path in [
            "/",
            "/v1",
            "/v1/models/",
            "/v1/chat/completions/x",
            "/.well-known/bastide/attest",
            "/metrics",
        ] {
            assert_eq!(
                route(&Method::GET, path).unwrap_err().status,
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
        assert_eq!(
            route(&Method::POST, "/v1/models").unwrap_err().status,
            StatusCode::METHOD_NOT_ALLOWED
        );
    }
}
