//! One exchange: what may be asked, what is passed on, and what comes back. An
//! answer of the relay's own is plain JSON with a code, which no client takes
//! for an answer of a node's.

use std::time::Duration;

use bastide_attestation::sealed::{SEALED_KEY_PATH, SEALED_PATH, SEALED_REQUEST_TYPE, SEALED_RESPONSE_TYPE};
use bastide_attestation::{AttestRequest, ENVELOPE_MEDIA_TYPE, REQUEST_MEDIA_TYPE};
use bastide_attested_tls::Carrier;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::timeout;

use crate::paced::Paced;

/// Most bytes of a sealed request: as much as an enclave could be set to take.
const MAX_REQUEST: usize = 16 * 1024 * 1024;
/// Most bytes of an answer.
const MAX_ANSWER: usize = 256 * 1024 * 1024;
/// For the connection to the gateway.
const CONNECT: Duration = Duration::from_secs(10);
/// Until the gateway begins to answer: an enclave waits 120 s for a generation.
const HEAD: Duration = Duration::from_secs(150);
/// Without a byte of a request.
const REQUEST_SILENCE: Duration = Duration::from_secs(15);
/// Without a byte of an answer.
const ANSWER_SILENCE: Duration = Duration::from_secs(150);

const INCREMENTAL: &str = "incremental";

/// Body of an answer.
pub type AnswerBody = Either<Full<Bytes>, Paced>;

/// What a path takes and gives.
struct Passage {
    path: &'static str,
    takes: &'static str,
    gives: &'static str,
    most: usize,
}

const PASSAGES: [Passage; 2] = [
    Passage {
        path: SEALED_PATH,
        takes: SEALED_REQUEST_TYPE,
        gives: SEALED_RESPONSE_TYPE,
        most: MAX_REQUEST,
    },
    Passage {
        path: SEALED_KEY_PATH,
        takes: REQUEST_MEDIA_TYPE,
        gives: ENVELOPE_MEDIA_TYPE,
        most: AttestRequest::MAX_BYTES,
    },
];

/// Answers one request of a client's.
pub async fn answer(gateway: &Carrier, request: Request<Incoming>) -> Response<AnswerBody> {
    match pass(gateway, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.response(),
    }
}

/// Why nothing was passed on, or nothing came back.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
}

const fn refuse(status: StatusCode, code: &'static str, message: &'static str) -> Refusal {
    Refusal {
        status,
        code,
        message,
    }
}

impl Refusal {
    fn response(&self) -> Response<AnswerBody> {
        // Both are our own words, without a character that JSON would escape.
        let body = format!(
            "{{\"error\":{{\"code\":\"{}\",\"message\":\"{}\"}}}}",
            self.code, self.message
        );
        let mut response = Response::new(Either::Left(Full::from(body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

async fn pass(gateway: &Carrier, request: Request<Incoming>) -> Result<Response<AnswerBody>, Refusal> {
    let passage = PASSAGES
        .iter()
        .find(|passage| request.uri().path() == passage.path && request.uri().query().is_none())
        .ok_or(refuse(
            StatusCode::NOT_FOUND,
            "relay.path",
            "this relay passes on sealed requests and requests for a sealed-mode key only",
        ))?;
    if request.method() != Method::POST {
        return Err(refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "relay.method",
            "this path answers POST only",
        ));
    }
    if !is_of_type(request.headers(), passage.takes) {
        return Err(refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "relay.media_type",
            "the body is not of the media type that this path takes",
        ));
    }
    let unreachable = refuse(
        StatusCode::BAD_GATEWAY,
        "relay.gateway",
        "the node could not be reached, or closed the connection",
    );
    // INVARIANT: a new request with a new header. What a client sent along, known
    // today or not, stays here.
    let onward = Request::post(passage.path)
        .header(HOST, gateway.authority())
        .header(CONTENT_TYPE, passage.takes)
        .header(ACCEPT, passage.gives)
        .header(INCREMENTAL, "?1")
        .body(Paced::new(request.into_body(), passage.most, REQUEST_SILENCE));
    let (Ok(onward), Ok(mut sender)) = (onward, gateway.open(CONNECT).await) else {
        return Err(unreachable);
    };
    let answered = timeout(HEAD, sender.send_request(onward)).await.map_err(|_| {
        refuse(
            StatusCode::GATEWAY_TIMEOUT,
            "relay.timeout",
            "the node did not begin to answer in time",
        )
    })?;
    let (head, body) = answered.map_err(|_| unreachable)?.into_parts();
    let mut response = Response::new(Either::Right(Paced::new(body, MAX_ANSWER, ANSWER_SILENCE)));
    *response.status_mut() = head.status;
    for name in [CONTENT_TYPE, RETRY_AFTER] {
        if let Some(value) = head.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(INCREMENTAL, HeaderValue::from_static("?1"));
    Ok(response)
}

fn is_of_type(headers: &HeaderMap, expected: &str) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(value), None) => value.as_bytes().eq_ignore_ascii_case(expected.as_bytes()),
        _ => false,
    }
}
