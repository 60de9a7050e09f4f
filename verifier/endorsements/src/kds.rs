//! The client of AMD's key distribution server, or of a mirror that answers as
//! it does. Waits where the server says so, within limits; takes nothing that
//! isn't the endorsement it asked for; follows no redirection.
//!
//! | part | what it owns |
//! |---|---|
//! | `address` | where the server is |
//! | `pace` | clock, waiting and random numbers, which are arguments |
//! | `retry` | what is tried again, and when |
//! | `error` | why there is no endorsement |

mod address;
mod error;
mod pace;
mod retry;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{ACCEPT, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

pub use address::{AddressError, KdsAddress};
pub use error::{Attempt, KdsError};
pub use pace::{Pace, SystemPace, Wait};

use crate::endorsement::Endorsement;
use crate::name::Name;
use retry::Next;

const AGENT: &str = concat!("bastide/", env!("CARGO_PKG_VERSION"));
/// Most bytes of an answer's head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// Limits of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdsLimits {
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

impl Default for KdsLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            request: Duration::from_secs(30),
            attempts: 5,
            total: Duration::from_secs(120),
        }
    }
}

/// A client of one server.
#[derive(Debug)]
pub struct Kds<P> {
    address: KdsAddress,
    limits: KdsLimits,
    pace: P,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl<P: Pace> Kds<P> {
    /// A client; opens no connection yet.
    #[must_use]
    pub fn new(address: KdsAddress, limits: KdsLimits, pace: P) -> Self {
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
        Self {
            address,
            limits,
            pace,
            client,
        }
    }

    /// Where it asks.
    #[must_use]
    pub const fn address(&self) -> &KdsAddress {
        &self.address
    }

    /// Fetches one endorsement. Tries again after throttling, faults of the
    /// server and of the connection; never after an answer that is wrong.
    ///
    /// # Errors
    /// [`KdsError`] says what came last.
    pub async fn fetch(&self, name: &Name) -> Result<Endorsement, KdsError> {
        let url = self.address.url(&name.kds_path());
        let begun = self.pace.elapsed();
        let mut attempt = 1;
        loop {
            let left = self.left(begun);
            let failed = match tokio::time::timeout(self.limits.request.min(left), self.ask(&url, name)).await
            {
                Ok(Ok(endorsement)) => return Ok(endorsement),
                Ok(Err(failed)) => failed,
                Err(_) => Attempt::Silent {
                    limit: self.limits.request.min(left),
                },
            };
            let left = self.left(begun);
            let delay = match retry::next(&failed, attempt, &self.limits, left, self.pace.random()) {
                Next::Wait(delay) => delay,
                Next::GiveUp => {
                    return Err(KdsError {
                        url,
                        attempts: attempt,
                        last: failed,
                    });
                }
            };
            attempt += 1;
            self.pace.waiting(&Wait {
                name: *name,
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
    async fn ask(&self, url: &str, name: &Name) -> Result<Endorsement, Attempt> {
        let request = Request::get(url)
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, "*/*")
            .body(Empty::new())
            .map_err(|error| Attempt::Connection {
                reason: error.to_string(),
            })?;
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| Attempt::Connection {
                reason: causes(&error),
            })?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(refused(&response));
        }
        let limit = name.max_bytes();
        let body = read(response.into_body(), limit).await?;
        Endorsement::read(*name, &body).map_err(Attempt::Wrong)
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

async fn read(body: Incoming, limit: usize) -> Result<Vec<u8>, Attempt> {
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
