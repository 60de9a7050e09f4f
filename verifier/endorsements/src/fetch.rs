//! Downloads from the servers of vendors, or from mirrors that answer as they
//! do. Waits where a server says so, within limits; takes nothing that isn't
//! what was asked for; follows no redirection. What is asked for and what an
//! answer must be is its callers' to say.
//!
//! | part | what it owns |
//! |---|---|
//! | `address` | where a server is |
//! | `pace` | clock, waiting and random numbers, which are arguments |
//! | `retry` | what is tried again, and when |
//! | `error` | why there is no answer |

mod address;
mod error;
mod pace;
mod retry;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

pub use address::{Address, AddressError};
pub use error::{Attempt, FetchError, Service};
pub use pace::{Pace, SystemPace, Wait};

use crate::endorsement::FormError;
use retry::Next;

const AGENT: &str = concat!("bastide/", env!("CARGO_PKG_VERSION"));
/// Most bytes of an answer's head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// Limits of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest time to connect. 10 s.
    pub connect: Duration,
    /// Longest time for one request with its answer, connecting included. 30 s:
    /// cold answers of AMD's were seen to take 8.
    pub request: Duration,
    /// Most attempts at one endorsement. 5.
    pub attempts: u32,
    /// Longest time for one endorsement, waits included. 2 min.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            request: Duration::from_secs(30),
            attempts: 5,
            total: Duration::from_secs(120),
        }
    }
}

/// What is asked, and of whom.
#[derive(Debug)]
pub(crate) struct Question {
    /// Who is asked.
    pub(crate) service: Service,
    /// Where.
    pub(crate) url: String,
    /// For people: what is asked for.
    pub(crate) what: String,
    /// What is sent along, and its media type; `None` asks with GET.
    pub(crate) post: Option<(&'static str, Vec<u8>)>,
    /// Most bytes of an answer.
    pub(crate) limit: usize,
}

/// A client of any server.
#[derive(Debug)]
pub(crate) struct Fetcher<P> {
    limits: Limits,
    pace: P,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl<P: Pace> Fetcher<P> {
    /// A client; opens no connection yet.
    pub(crate) fn new(limits: Limits, pace: P) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(limits.connect));
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            // Minutes lie between requests, and what is retried is decided here.
            .pool_max_idle_per_host(0)
            .retry_canceled_requests(false)
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .http1_max_headers(MAX_HEADERS)
            .build(connector);
        Self { limits, pace, client }
    }

    /// Asks until there is an answer that `read` takes. Tries again after
    /// throttling, faults of the server and of the connection; never after an
    /// answer that is wrong.
    ///
    /// # Errors
    /// [`FetchError`] says what came last.
    pub(crate) async fn fetch<T>(
        &self,
        question: &Question,
        read: impl Fn(&[u8]) -> Result<T, FormError>,
    ) -> Result<T, FetchError> {
        let begun = self.pace.elapsed();
        let mut attempt = 1;
        loop {
            let left = self.left(begun);
            let limit = self.limits.request.min(left);
            let failed = match tokio::time::timeout(limit, self.ask(question)).await {
                Ok(Ok(body)) => match read(&body) {
                    Ok(answer) => return Ok(answer),
                    Err(error) => Attempt::Wrong(error),
                },
                Ok(Err(failed)) => failed,
                Err(_) => Attempt::Silent { limit },
            };
            let left = self.left(begun);
            let delay = match retry::next(&failed, attempt, &self.limits, left, self.pace.random()) {
                Next::Wait(delay) => delay,
                Next::GiveUp => {
                    return Err(FetchError {
                        service: question.service,
                        url: question.url.clone(),
                        attempts: attempt,
                        last: failed,
                    });
                }
            };
            attempt += 1;
            self.pace.waiting(&Wait {
                service: question.service,
                what: &question.what,
                reason: &failed,
                delay,
                attempt,
                attempts: self.limits.attempts,
            });
            self.pace.pause(delay).await;
        }
    }

    fn left(&self, begun: Duration) -> Duration {
        let spent = self.pace.elapsed().saturating_sub(begun);
        self.limits.total.saturating_sub(spent)
    }

    /// One request and its whole answer.
    async fn ask(&self, question: &Question) -> Result<Vec<u8>, Attempt> {
        let request = match &question.post {
            None => Request::get(&question.url).body(Full::default()),
            Some((media_type, body)) => Request::post(&question.url)
                .header(CONTENT_TYPE, *media_type)
                .body(Full::new(Bytes::copy_from_slice(body))),
        };
        let mut request = request.map_err(|error| Attempt::Connection {
            reason: error.to_string(),
        })?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, hyper::header::HeaderValue::from_static(AGENT));
        headers.insert(ACCEPT, hyper::header::HeaderValue::from_static("*/*"));
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| Attempt::Connection {
                reason: causes(&error),
            })?;
        if response.status() != StatusCode::OK {
            return Err(refused(&response));
        }
        read_body(response.into_body(), question.limit).await
    }
}

fn refused(response: &Response<Incoming>) -> Attempt {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse().ok())
        .map(Duration::from_secs);
    match status.as_u16() {
        429 => Attempt::Throttled { retry_after },
        404 => Attempt::Unknown,
        300..=399 => Attempt::Redirected {
            status: status.as_u16(),
        },
        500..=599 => Attempt::Server {
            status: status.as_u16(),
            retry_after,
        },
        other => Attempt::Refused { status: other },
    }
}

async fn read_body(body: Incoming, limit: usize) -> Result<Vec<u8>, Attempt> {
    let too_large = || Attempt::TooLarge { limit };
    // Said in advance: not read at all.
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |announced| announced > limit) {
        return Err(too_large());
    }
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes().to_vec()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(Attempt::Connection {
            reason: causes(error.as_ref()),
        }),
    }
}

/// An error and what caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
