//! HTTP on a session that has not been attested, and the attest exchange: the
//! first request on the connection, and the only one that is written before the
//! node has proved itself. It holds a challenge and nothing of the user.

use std::time::Duration;

use bastide_attestation::{
    ATTEST_PATH, AttestAnswer, AttestRequest, ENVELOPE_MEDIA_TYPE, MAX_ENVELOPE_BYTES, REQUEST_MEDIA_TYPE,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use hyper::rt::Executor as _;
use hyper::{Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::address::NodeAddress;
use crate::client::error::{ConnectError, State};
use crate::client::tasks::Tasks;
use crate::session::Protocol;

/// Headers of an answer: as many and as much as an enclave of ours ever sends, several times over.
const MAX_HEADERS: usize = 64;
const MAX_BUFFER_BYTES: usize = 64 * 1024;
const MAX_HEADER_LIST_BYTES: u32 = 64 * 1024;
/// What a node may send of one answer, and of all, before it is read.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// How often a node with answers under way is asked whether it is still there,
/// and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// A request of a user or a challenge.
pub(crate) type Outgoing = Request<Full<Bytes>>;

/// What requests are written with.
pub(crate) enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    pub(crate) const fn protocol(&self) -> Protocol {
        match self {
            Self::Http1(_) => Protocol::Http1,
            Self::Http2(_) => Protocol::Http2,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }

    pub(crate) async fn ready(&mut self) -> Result<(), hyper::Error> {
        match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        }
    }

    pub(crate) async fn try_send(
        &mut self,
        request: Outgoing,
    ) -> Result<Response<Incoming>, TrySendError<Outgoing>> {
        match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        }
    }

    /// Another one for the same connection, where it carries several requests.
    pub(crate) fn share(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(sender) => Some(Self::Http2(sender.clone())),
        }
    }

    /// Names the node and the version in a request, whatever the caller set.
    pub(crate) fn address(&self, node: &NodeAddress, request: &mut Outgoing) -> Result<(), &'static str> {
        let path = request
            .uri()
            .path_and_query()
            .cloned()
            .ok_or("its URI has no path")?;
        match self.protocol() {
            Protocol::Http1 => {
                *request.uri_mut() = Uri::from(path);
                *request.version_mut() = Version::HTTP_11;
                let host =
                    HeaderValue::try_from(node.authority()).map_err(|_| "its host is no header value")?;
                request.headers_mut().insert(HOST, host);
            }
            Protocol::Http2 => {
                *request.uri_mut() = Uri::builder()
                    .scheme("https")
                    .authority(node.authority())
                    .path_and_query(path)
                    .build()
                    .map_err(|_| "its host is no authority")?;
                *request.version_mut() = Version::HTTP_2;
                request.headers_mut().remove(HOST);
            }
        }
        Ok(())
    }

    /// Sends a challenge and reads the answer's bytes, unverified.
    pub(crate) async fn attest(
        &mut self,
        node: &NodeAddress,
        challenge: &AttestRequest,
    ) -> Result<AttestAnswer, ConnectError> {
        let internal = |reason: String| ConnectError::Internal { reason };
        let mut request = Request::post(ATTEST_PATH)
            .header(CONTENT_TYPE, REQUEST_MEDIA_TYPE)
            .header(ACCEPT, ENVELOPE_MEDIA_TYPE)
            .body(Full::new(Bytes::from(challenge.encode())))
            .map_err(|error| internal(error.to_string()))?;
        self.address(node, &mut request)
            .map_err(|reason| internal(reason.to_owned()))?;
        let http = |error: &hyper::Error| ConnectError::of_http(error);
        self.ready().await.map_err(|error| http(&error))?;
        let response = self
            .try_send(request)
            .await
            .map_err(|error| http(error.error()))?;
        check_head(&response)?;
        let envelope = read_envelope(response.into_body()).await?;
        AttestAnswer::decode(&envelope).map_err(ConnectError::Malformed)
    }
}

/// Whether the node said of this request that it did nothing with it and never
/// will: GOAWAY without an error, whose last stream comes before the request's
/// (RFC 9113, 6.8 and 8.7). Streams up to the last one end differently, and so do
/// those of a connection that broke. HTTP/1.1 has no such word.
pub(crate) fn was_not_begun(error: &hyper::Error) -> bool {
    let h2 = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    h2.is_some_and(|error| {
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
    })
}

/// An HTTP connection that has not been attested. Dropping it closes the
/// connection at once.
pub(crate) struct Exchange {
    sender: Sender,
    tasks: UntilReleased,
}

/// The tasks that move the connection's bytes; ended with their owner unless released.
struct UntilReleased(Option<Tasks>);

impl Drop for UntilReleased {
    fn drop(&mut self) {
        if let Some(tasks) = self.0.take() {
            tasks.abort();
        }
    }
}

impl Exchange {
    /// Puts HTTP on a TLS stream. Writes nothing of a user.
    pub(crate) async fn begin<S>(stream: S, protocol: Protocol) -> Result<Self, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        let tasks = UntilReleased(Some(Tasks::default()));
        let executor = tasks.0.clone().unwrap_or_default();
        let failed = |error: hyper::Error| ConnectError::of_http(&error);
        // The errors of a connection reach whoever waits for an answer on it.
        let sender = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::Builder::new()
                    .max_headers(MAX_HEADERS)
                    .max_buf_size(MAX_BUFFER_BYTES)
                    .handshake(io)
                    .await
                    .map_err(failed)?;
                executor.execute(async move { drop(connection.await) });
                Sender::Http1(sender)
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::Builder::new(executor.clone())
                    .timer(TokioTimer::new())
                    .keep_alive_interval(PING_EVERY)
                    .keep_alive_timeout(PING_TIMEOUT)
                    .max_header_list_size(MAX_HEADER_LIST_BYTES)
                    .initial_stream_window_size(STREAM_WINDOW_BYTES)
                    .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                    .handshake(io)
                    .await
                    .map_err(failed)?;
                executor.execute(async move { drop(connection.await) });
                Sender::Http2(sender)
            }
        };
        Ok(Self { sender, tasks })
    }

    /// Sends the challenge and reads the answer, unverified.
    pub(crate) async fn attest(
        &mut self,
        node: &NodeAddress,
        challenge: &AttestRequest,
    ) -> Result<AttestAnswer, ConnectError> {
        self.sender.attest(node, challenge).await
    }

    /// Gives the connection on: from here its bytes move until both it and the
    /// last answer are done, or until its tasks are ended.
    pub(crate) fn into_parts(mut self) -> (Sender, Tasks) {
        let tasks = self.tasks.0.take().unwrap_or_default();
        (self.sender, tasks)
    }
}

fn check_head(response: &Response<Incoming>) -> Result<(), ConnectError> {
    match response.status() {
        StatusCode::OK => {}
        StatusCode::SERVICE_UNAVAILABLE => {
            let retry_after = response.headers().get(RETRY_AFTER);
            return Err(ConnectError::Unavailable {
                retry_after: retry_after.and_then(|value| value.to_str().ok()?.parse().ok()),
            });
        }
        other => {
            return Err(ConnectError::NoEndpoint {
                status: other.as_u16(),
            });
        }
    }
    let content_type = response.headers().get(CONTENT_TYPE);
    let content_type = content_type.map_or(&[][..], |value| value.as_bytes());
    if content_type.eq_ignore_ascii_case(ENVELOPE_MEDIA_TYPE.as_bytes()) {
        Ok(())
    } else {
        Err(ConnectError::ContentType {
            // From the network, and shown to people: short and printable.
            got: content_type.escape_ascii().to_string().chars().take(64).collect(),
        })
    }
}

async fn read_envelope(body: Incoming) -> Result<Bytes, ConnectError> {
    // A length that is announced too large need not be waited for.
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > MAX_ENVELOPE_BYTES {
        return Err(ConnectError::TooLarge);
    }
    match Limited::new(body, MAX_ENVELOPE_BYTES).collect().await {
        Ok(envelope) => Ok(envelope.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ConnectError::TooLarge),
        Err(error) => Err(error.downcast_ref::<hyper::Error>().map_or(
            ConnectError::Closed { state: State::Attest },
            ConnectError::of_http,
        )),
    }
}
