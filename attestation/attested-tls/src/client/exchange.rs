//! The attest exchange: the first HTTP request on the connection, and the only
//! one that is written before the node has proved itself. It holds a nonce and
//! nothing of the user.

use bastide_attestation::{
    ATTEST_PATH, AttestRequest, ENVELOPE_MEDIA_TYPE, MAX_ENVELOPE_BYTES, Nonce, REQUEST_MEDIA_TYPE,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use crate::address::NodeAddress;
use crate::client::error::{ConnectError, State};

/// Headers of an answer: as many and as much as an enclave of ours ever sends, several times over.
const MAX_HEADERS: usize = 64;
const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// An HTTP/1.1 connection that has not been attested. Dropping it closes the
/// connection at once.
pub(crate) struct Exchange {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
}

/// The task that moves the connection's bytes; ended with its owner unless released.
struct Driver(Option<JoinHandle<()>>);

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

impl Exchange {
    /// Puts HTTP/1.1 on a TLS stream. Writes nothing.
    pub(crate) async fn begin<S>(stream: S) -> Result<Self, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = Builder::new()
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_BUFFER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ConnectError::of_http(&error))?;
        // Its errors reach whoever waits for an answer.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Ok(Self {
            sender,
            driver: Driver(Some(driver)),
        })
    }

    /// Sends the challenge and reads the envelope, unverified.
    pub(crate) async fn attest(
        &mut self,
        node: &NodeAddress,
        nonce: &Nonce,
    ) -> Result<Vec<u8>, ConnectError> {
        let body = AttestRequest::fresh(*nonce).encode();
        let request = Request::post(ATTEST_PATH)
            .header(HOST, node.authority())
            .header(CONTENT_TYPE, REQUEST_MEDIA_TYPE)
            .header(ACCEPT, ENVELOPE_MEDIA_TYPE)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ConnectError::Internal {
                reason: error.to_string(),
            })?;
        let response = self
            .sender
            .send_request(request)
            .await
            .map_err(|error| ConnectError::of_http(&error))?;
        check_head(&response)?;
        read_envelope(response.into_body()).await
    }

    /// Gives the connection on: from here its bytes move until both it and the
    /// last answer are done.
    pub(crate) fn into_sender(mut self) -> SendRequest<Full<Bytes>> {
        drop(self.driver.0.take());
        self.sender
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

async fn read_envelope(body: Incoming) -> Result<Vec<u8>, ConnectError> {
    // A length that is announced too large need not be waited for.
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > MAX_ENVELOPE_BYTES {
        return Err(ConnectError::TooLarge);
    }
    match Limited::new(body, MAX_ENVELOPE_BYTES).collect().await {
        Ok(envelope) => Ok(envelope.to_bytes().to_vec()),
        Err(error) if error.is::<LengthLimitError>() => Err(ConnectError::TooLarge),
        Err(error) => Err(error.downcast_ref::<hyper::Error>().map_or(
            ConnectError::Closed { state: State::Attest },
            ConnectError::of_http,
        )),
    }
}
