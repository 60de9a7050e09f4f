//! A close that crosses a request. The node speaks HTTP/2 frame by frame, so that
//! it says exactly what a test wants of the request that it has before it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bastide_attestation::{AttestRequest, ENVELOPE_MEDIA_TYPE};
use bastide_attested_tls::{
    AttestedPool, Connector, HttpVersions, LaneM, NodeAddress, PoolError, PoolLimits, SendError,
    ServerIdentity, SessionBinding,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::doubles::BindingAppraiser;
use crate::node::{Stream, lane, serve};

const PREFACE: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
/// `:status: 200` of HPACK's static table.
const STATUS_200: u8 = 0x88;

/// What the node does about a user's request that has come whole.
#[derive(Debug, Clone, Copy)]
enum Then {
    Answer,
    /// GOAWAY with this last stream and error code, and nothing more.
    GoAway {
        last: u32,
        code: u32,
    },
    /// The same, and then the end of the connection.
    GoAwayAndClose {
        last: u32,
        code: u32,
    },
    /// The end of the connection without a word.
    Close,
}

/// Of the user's request: the challenge before it is stream 1.
const REQUEST: u32 = 3;
const BEFORE_IT: u32 = 1;
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;

struct Scripted {
    lane: LaneM,
    /// For each session in its turn; the last one for all that follow.
    script: Mutex<Vec<Then>>,
    requests: AtomicUsize,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn answer(stream: u32, media_type: &str, body: &[u8]) -> Vec<u8> {
    // A literal that is not indexed, its name 31 of the static table.
    let mut head = vec![STATUS_200, 0x0f, 16, u8::try_from(media_type.len()).unwrap()];
    head.extend_from_slice(media_type.as_bytes());
    let mut bytes = frame(HEADERS, END_HEADERS, stream, &head);
    for part in body.chunks(16_384) {
        bytes.extend(frame(DATA, 0, stream, part));
    }
    bytes.extend(frame(DATA, END_STREAM, stream, &[]));
    bytes
}

/// The next request: its stream and its body.
async fn request(stream: &mut Stream) -> Option<(u32, Vec<u8>)> {
    let mut body = Vec::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
        stream.read_exact(&mut payload).await.ok()?;
        if kind == SETTINGS && flags & ACK == 0 {
            stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await.ok()?;
        }
        if kind == DATA {
            body.extend_from_slice(&payload);
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            return Some((u32::from_be_bytes(id), body));
        }
    }
}

impl Scripted {
    fn then(script: &[Then]) -> Arc<Self> {
        Arc::new(Self {
            lane: lane(),
            script: Mutex::new(script.to_vec()),
            requests: AtomicUsize::new(0),
        })
    }

    async fn listen(self: &Arc<Self>) -> NodeAddress {
        let node = Arc::clone(self);
        serve(ServerIdentity::generate().unwrap(), move |stream, binding| {
            let node = Arc::clone(&node);
            async move {
                node.serve(stream, binding).await;
            }
        })
        .await
    }

    async fn serve(&self, mut stream: Stream, binding: SessionBinding) -> Option<()> {
        stream.read_exact(&mut [0; PREFACE]).await.ok()?;
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.ok()?;
        let (id, challenge) = request(&mut stream).await?;
        let challenge = AttestRequest::decode(&challenge).unwrap();
        let attested = self.lane.attest(binding.binder(&challenge.nonce)).await.unwrap();
        let envelope = answer(id, ENVELOPE_MEDIA_TYPE, &attested.evidence().encode());
        stream.write_all(&envelope).await.ok()?;
        stream.flush().await.ok()?;
        let then = {
            let mut script = self.script.lock().unwrap();
            if script.len() > 1 {
                script.remove(0)
            } else {
                script[0]
            }
        };
        while let Some((id, body)) = request(&mut stream).await {
            self.requests.fetch_add(1, Ordering::SeqCst);
            let said = match then {
                Then::Answer => answer(id, "text/plain", &body),
                Then::GoAway { last, code } | Then::GoAwayAndClose { last, code } => {
                    assert_eq!(id, REQUEST);
                    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
                }
                Then::Close => Vec::new(),
            };
            stream.write_all(&said).await.ok()?;
            stream.flush().await.ok()?;
            if matches!(then, Then::Close | Then::GoAwayAndClose { .. }) {
                stream.shutdown().await.ok()?;
                return None;
            }
        }
        None
    }
}

/// Asks once over a pool: the answer, and how many requests came to the node.
async fn ask(script: &[Then]) -> (Result<Bytes, PoolError>, usize) {
    let node = Scripted::then(script);
    let connector = Connector::new(BindingAppraiser::shared()).with_http(HttpVersions::Any);
    let pool = AttestedPool::new(connector, vec![node.listen().await], PoolLimits::default());
    let request = Request::post("/echo").body(Full::from("prompt")).unwrap();
    let answer = match pool.send(request).await {
        Ok((_connection, response)) => Ok(response.into_body().collect().await.unwrap().to_bytes()),
        Err(error) => Err(error),
    };
    (answer, node.requests.load(Ordering::SeqCst))
}

const CROSSED: Then = Then::GoAway {
    last: BEFORE_IT,
    code: NO_ERROR,
};

#[tokio::test]
async fn a_request_that_the_node_did_not_begin_with_is_sent_again_over_another_connection() {
    for crossed in [
        CROSSED,
        Then::GoAwayAndClose {
            last: BEFORE_IT,
            code: NO_ERROR,
        },
        Then::GoAway {
            last: 0,
            code: NO_ERROR,
        },
    ] {
        let (answer, requests) = ask(&[crossed, Then::Answer]).await;
        assert_eq!(answer.unwrap(), "prompt", "{crossed:?}");
        assert_eq!(requests, 2);
    }
}

#[tokio::test]
async fn it_is_sent_again_once_and_no_more() {
    let (answer, requests) = ask(&[CROSSED]).await;
    let error = answer.unwrap_err();
    assert_eq!(error.code(), "session.closed");
    assert!(
        matches!(&error, PoolError::Send(error) if matches!(**error, SendError::NotBegun(_))),
        "{error:?}"
    );
    assert_eq!(requests, 2);
}

/// Whatever leaves a doubt that it was begun with is told, and not sent again.
#[tokio::test]
async fn a_request_that_may_have_been_begun_with_is_never_sent_again() {
    for broken in [
        Then::Close,
        Then::GoAwayAndClose {
            last: REQUEST,
            code: NO_ERROR,
        },
        Then::GoAwayAndClose {
            last: u32::MAX >> 1,
            code: NO_ERROR,
        },
        Then::GoAwayAndClose {
            last: REQUEST,
            code: INTERNAL_ERROR,
        },
        Then::GoAwayAndClose {
            last: BEFORE_IT,
            code: INTERNAL_ERROR,
        },
    ] {
        let (answer, requests) = ask(&[broken, Then::Answer]).await;
        let error = answer.unwrap_err();
        assert!(
            matches!(&error, PoolError::Send(error) if matches!(**error, SendError::Interrupted(_))),
            "{broken:?}: {error:?}"
        );
        assert_eq!(requests, 1, "{broken:?}");
    }
}
