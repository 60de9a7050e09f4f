//! Sealed mode against a running enclave, through a relay that can misbehave in
//! every way a relay can. What the client then does is the client's own code.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bastide_attestation::sealed::{
    Field, Kem, SEALED_KEY_PATH, SEALED_PATH, SEALED_REQUEST_TYPE, SealedKeyAnswer, SealedRequest,
};
use bastide_attestation::{
    ATTEST_PATH, Appraiser, AttestationResult, Commitment, EpochStatement, Evidence, Nonce, Receipt, Salt,
    SessionExpectation, UnixTime, Untrusted, Verdict, binding,
};
use bastide_attested_tls::{
    Carrier, NodeAddress, SealedConnector, SealedError, SealedKey, SealedKeys, SealedResponse,
};
use bastide_enclave::Limits;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use crate::serving::node::{Bound, MODEL, Node, accepted, ask};

/// What a relay does to an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mischief {
    Nothing,
    /// Answers itself, in plain, with this status and what looks like a model's answer.
    Forges(u16),
    /// The same, and says that it is sealed.
    ForgesType,
    /// Leaves out this many bytes at the end.
    Cuts(usize),
    /// Flips a bit of the answer.
    Flips,
    /// Sends the request twice and passes the second answer on.
    Repeats,
    /// Passes on the key answer with a key of its own.
    OwnKey,
    /// Passes on an answer to another client's challenge.
    OldKey,
}

struct Relay {
    address: SocketAddr,
    mischief: Arc<Mutex<Mischief>>,
    seen: Arc<Mutex<Vec<Bytes>>>,
    sealed: Arc<AtomicUsize>,
}

impl Relay {
    async fn before(node: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self {
            address: listener.local_addr().unwrap(),
            mischief: Arc::new(Mutex::new(Mischief::Nothing)),
            seen: Arc::default(),
            sealed: Arc::default(),
        };
        let (mischief, seen, sealed) = (
            Arc::clone(&relay.mischief),
            Arc::clone(&relay.seen),
            Arc::clone(&relay.sealed),
        );
        let old = Arc::new(Mutex::new(None));
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (mischief, seen, sealed, old) = (
                    Arc::clone(&mischief),
                    Arc::clone(&seen),
                    Arc::clone(&sealed),
                    Arc::clone(&old),
                );
                let service = service_fn(move |request: Request<Incoming>| {
                    let mischief = *mischief.lock().unwrap();
                    let (seen, sealed, old) = (Arc::clone(&seen), Arc::clone(&sealed), Arc::clone(&old));
                    async move {
                        let path = request.uri().path().to_owned();
                        let kind = request.headers()[CONTENT_TYPE].clone();
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        seen.lock().unwrap().push(body.clone());
                        if path == SEALED_PATH {
                            sealed.fetch_add(1, Ordering::Relaxed);
                        }
                        let ask = || forward(node, &path, kind.to_str().unwrap(), body.clone());
                        let (status, kind, mut answer) = ask().await;
                        let mut kind = kind;
                        let mut status = status;
                        let forged = json!({"choices": [{"message": {"content": "FORGED"}}]}).to_string();
                        match mischief {
                            Mischief::Forges(with) if path == SEALED_PATH => {
                                status = with;
                                kind = "application/json".to_owned();
                                answer = forged.into_bytes();
                            }
                            Mischief::ForgesType if path == SEALED_PATH => answer = forged.into_bytes(),
                            Mischief::Cuts(bytes) if path == SEALED_PATH => {
                                answer.truncate(answer.len() - bytes);
                            }
                            Mischief::Flips if path == SEALED_PATH => {
                                let last = answer.len() - 1;
                                answer[last] ^= 1;
                            }
                            Mischief::Repeats if path == SEALED_PATH => (_, _, answer) = ask().await,
                            Mischief::OwnKey if path == SEALED_KEY_PATH => {
                                let (evidence, _) = SealedKeyAnswer::decode(&answer).unwrap();
                                answer = SealedKeyAnswer {
                                    evidence: evidence.as_unverified().clone(),
                                    key_config: SealedKeys::generate(0).unwrap().config().to_vec(),
                                }
                                .encode();
                            }
                            Mischief::OldKey if path == SEALED_KEY_PATH => {
                                answer = old.lock().unwrap().get_or_insert(answer).clone();
                            }
                            _ => {
                                if path == SEALED_KEY_PATH {
                                    old.lock().unwrap().get_or_insert(answer.clone());
                                }
                            }
                        }
                        Response::builder()
                            .status(status)
                            .header(CONTENT_TYPE, kind)
                            .body(Full::new(Bytes::from(answer)))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        relay
    }

    fn does(&self, mischief: Mischief) {
        *self.mischief.lock().unwrap() = mischief;
    }

    fn carrier(&self) -> Carrier {
        format!("http://{}", self.address).parse().unwrap()
    }
}

async fn forward(node: SocketAddr, path: &str, kind: &str, body: Bytes) -> (u16, String, Vec<u8>) {
    let carrier: Carrier = format!("https://{node}").parse().unwrap();
    let mut sender = carrier.open(Duration::from_secs(10)).await.unwrap();
    let request = Request::post(path)
        .header("host", "node")
        .header(CONTENT_TYPE, kind)
        .body(Full::new(body))
        .unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let kind = head.headers[CONTENT_TYPE].to_str().unwrap().to_owned();
    (
        head.status.as_u16(),
        kind,
        body.collect().await.unwrap().to_bytes().to_vec(),
    )
}

fn connector(node: &Node, relay: Option<&Relay>) -> SealedConnector {
    let address: NodeAddress = format!("https://{}", node.address).parse().unwrap();
    SealedConnector::new(Arc::new(Bound), address, relay.map(Relay::carrier))
}

fn request(method: &str, path: &str, body: &str) -> SealedRequest {
    SealedRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        fields: vec![Field::new("content-type", "application/json")],
        body: Zeroizing::new(body.as_bytes().to_vec()),
    }
}

fn chat(body: &Value) -> SealedRequest {
    request("POST", "/v1/chat/completions", &body.to_string())
}

async fn whole(response: SealedResponse) -> Result<Vec<u8>, SealedError> {
    Ok(response.body.collect().await?.to_bytes().to_vec())
}

fn verify(key: &SealedKey, response: (&str, &str), nonce: &Nonce, bodies: (&[u8], &[u8])) {
    let receipt = Receipt::verify(&URL_SAFE_NO_PAD.decode(response.0).unwrap()).unwrap();
    receipt.signed_by(&key.result().statement.receipt_key).unwrap();
    let salt: Salt = response.1.parse().unwrap();
    let claims = receipt.claims();
    assert_eq!(claims.request, Commitment::request(&salt, bodies.0));
    let mut commitment = Commitment::response(&salt);
    commitment.update(bodies.1);
    assert_eq!(claims.response, commitment.finish());
    assert_eq!(claims.statement, key.result().statement_digest);
    assert_eq!(
        &claims.nonce, nonce,
        "the receipt is for this request and no other"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_answer_whole_or_streamed_has_a_receipt_for_this_request() {
    let node = Node::start().await;
    let relay = Relay::before(node.address).await;
    let connector = connector(&node, Some(&relay));
    let key = connector.key().await.unwrap();
    assert_eq!(key.kem(), Kem::XWing);

    let body = ask("What is attestation?", &json!({}));
    let response = connector.send(&key, chat(&body)).await.unwrap();
    assert_eq!(response.head.status, 200);
    let head = response.head.clone();
    let nonce = response.request;
    let answer = whole(response).await.unwrap();
    let json: Value = serde_json::from_slice(&answer).unwrap();
    let text = json["choices"][0]["message"]["content"]
        .as_str()
        .unwrap()
        .to_owned();
    verify(
        &key,
        (
            head.field("x-bastide-receipt").unwrap(),
            head.field("x-bastide-receipt-salt").unwrap(),
        ),
        &nonce,
        (body.to_string().as_bytes(), &answer),
    );

    let body = ask("What is attestation?", &json!({"stream": true}));
    let response = connector.send(&key, chat(&body)).await.unwrap();
    assert_eq!(response.head.field("content-type"), Some("text/event-stream"));
    let nonce = response.request;
    let stream = String::from_utf8(whole(response).await.unwrap()).unwrap();
    let (committed, last) = stream.split_once("event: bastide.receipt\ndata: ").unwrap();
    let receipt: Value = serde_json::from_str(last.trim()).unwrap();
    verify(
        &key,
        (
            receipt["receipt"].as_str().unwrap(),
            receipt["salt"].as_str().unwrap(),
        ),
        &nonce,
        (body.to_string().as_bytes(), committed.as_bytes()),
    );
    let joined: String = committed
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .filter_map(|chunk| {
            chunk["choices"][0]["delta"]["content"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(joined, text);

    // Nothing of either was on the wire in plain.
    let prompt = b"What is attestation?";
    for body in relay.seen.lock().unwrap().iter() {
        assert!(!body.windows(prompt.len()).any(|window| window == prompt));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_come_sealed_and_what_is_not_the_api_is_not_there() {
    let node = Node::start().await;
    let connector = connector(&node, None);
    let key = connector.key().await.unwrap();
    let models = connector
        .send(&key, request("GET", "/v1/models", ""))
        .await
        .unwrap();
    assert_eq!(models.head.status, 200);
    let models: Value = serde_json::from_slice(&whole(models).await.unwrap()).unwrap();
    assert_eq!(models["data"][0]["id"], MODEL);
    // Above the limit by less than padding and header may have.
    let large = ask(&"x".repeat(262_144), &json!({}));
    for (sent, status, code) in [
        (request("GET", "/v1/models/other", ""), 404, "model_not_found"),
        (
            request("GET", "/v1/chat/completions", ""),
            405,
            "method_not_allowed",
        ),
        (request("POST", "/v1/models", ""), 405, "method_not_allowed"),
        (request("POST", "/v1/chat/completions", "{"), 400, "invalid_json"),
        (chat(&large), 413, "body_too_large"),
        (request("POST", ATTEST_PATH, ""), 404, "unknown_url"),
        (request("POST", SEALED_PATH, ""), 404, "unknown_url"),
        (request("GET", "/metrics", ""), 404, "unknown_url"),
    ] {
        let response = connector.send(&key, sent).await.unwrap();
        assert_eq!(response.head.status, status);
        let body: Value = serde_json::from_slice(&whole(response).await.unwrap()).unwrap();
        assert_eq!(body["error"]["code"], code);
    }
}

/// T20.
#[tokio::test(flavor = "multi_thread")]
async fn t20_a_cut_or_changed_answer_is_an_error_and_never_complete() {
    let node = Node::start().await;
    let relay = Relay::before(node.address).await;
    let connector = connector(&node, Some(&relay));
    let key = connector.key().await.unwrap();
    let body = ask("Count.", &json!({"stream": true, "max_tokens": 4}));
    // The final chunk is mark, two bytes and tag; then a byte of it; then more than it.
    for (mischief, code) in [
        (Mischief::Cuts(19), "sealed.cut"),
        (Mischief::Cuts(18), "sealed.cut"),
        (Mischief::Cuts(1), "sealed.tampered"),
        (Mischief::Cuts(40), "sealed.cut"),
        (Mischief::Flips, "sealed.tampered"),
    ] {
        relay.does(mischief);
        let ended = match connector.send(&key, chat(&body)).await {
            Ok(response) => whole(response).await,
            Err(error) => Err(error),
        };
        let error = ended.expect_err("an answer that isn't whole must not end as one");
        assert_eq!(error.code(), code, "{mischief:?}");
    }
}

/// T20.
#[tokio::test(flavor = "multi_thread")]
async fn t20_a_plaintext_answer_is_never_an_answer_whatever_it_says() {
    let node = Node::start().await;
    let relay = Relay::before(node.address).await;
    let connector = connector(&node, Some(&relay));
    let key = connector.key().await.unwrap();
    let body = ask("Count.", &json!({}));
    for status in [200, 400, 403, 422, 502, 503] {
        relay.does(Mischief::Forges(status));
        let error = connector.send(&key, chat(&body)).await.unwrap_err();
        assert_eq!(error.code(), "sealed.plaintext");
        assert!(!format!("{error} {error:?}").contains("FORGED"));
    }
    relay.does(Mischief::ForgesType);
    let error = connector.send(&key, chat(&body)).await.unwrap_err();
    assert!(matches!(error, SealedError::Open(_)), "{error:?}");
}

/// T20.
#[tokio::test(flavor = "multi_thread")]
async fn t20_a_repeated_request_is_refused_and_its_answer_not_made_again() {
    let node = Node::start().await;
    let relay = Relay::before(node.address).await;
    let connector = connector(&node, Some(&relay));
    let key = connector.key().await.unwrap();
    relay.does(Mischief::Repeats);
    let response = connector
        .send(&key, chat(&ask("Count.", &json!({}))))
        .await
        .unwrap();
    assert_eq!(response.head.status, 409);
    let body: Value = serde_json::from_slice(&whole(response).await.unwrap()).unwrap();
    assert_eq!(body["error"]["code"], "sealed_replay");
    let metrics = node.monitor("/metrics").await;
    assert!(
        metrics.contains("{outcome=\"answered\"} 1\n"),
        "one answer, not two: {metrics}"
    );
}

/// T20: neither a key of the relay's nor an answer to another challenge passes.
#[tokio::test(flavor = "multi_thread")]
async fn t20_evidence_of_another_key_or_challenge_is_refused_and_nothing_is_sealed() {
    /// [`Bound`], with a verdict in the place of a panic where evidence isn't bound.
    struct Judge;
    impl Appraiser for Judge {
        fn appraise(
            &self,
            evidence: &Untrusted<Evidence>,
            session: &SessionExpectation,
            now: UnixTime,
        ) -> Result<AttestationResult, Box<Verdict>> {
            let shown = evidence.as_unverified();
            let statement = EpochStatement::decode(&shown.statement).unwrap();
            let leaf = binding::leaf(session.leaf, &shown.proof.salt, &session.binder);
            match shown.proof.verify(&leaf, statement.depth, &statement.root) {
                Ok(()) => Bound.appraise(evidence, session, now),
                Err(_) => Err(Box::new(Verdict {
                    code: Some("session.leaf"),
                    ..accepted(now)
                })),
            }
        }
    }
    let node = Node::start().await;
    let relay = Relay::before(node.address).await;
    let address: NodeAddress = format!("https://{}", node.address).parse().unwrap();
    let connector = SealedConnector::new(Arc::new(Judge), address, Some(relay.carrier()));
    connector.key().await.unwrap();
    for mischief in [Mischief::OwnKey, Mischief::OldKey] {
        relay.does(mischief);
        let error = connector.key().await.unwrap_err();
        assert_eq!(error.code(), "session.leaf", "{mischief:?}");
    }
    assert_eq!(relay.sealed.load(Ordering::Relaxed), 0);
}

/// The client's own lease.
#[tokio::test(flavor = "multi_thread")]
async fn t20_a_key_whose_lease_is_over_seals_nothing() {
    static CLOCK: AtomicU64 = AtomicU64::new(1_800_000_000);
    let node = Node::start().await;
    let relay = Relay::before(node.address).await;
    let connector =
        connector(&node, Some(&relay)).with_clock(|| UnixTime::from_secs(CLOCK.load(Ordering::Relaxed)));
    let key = connector.key().await.unwrap();
    CLOCK.fetch_add(299, Ordering::Relaxed);
    assert!(key.is_usable());
    CLOCK.fetch_add(1, Ordering::Relaxed);
    assert!(!key.is_usable());
    let error = connector
        .send(&key, chat(&ask("Count.", &json!({}))))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "sealed.lease_over");
    assert!(error.wants_new_key());
    CLOCK.fetch_sub(301, Ordering::Relaxed);
    assert!(!key.is_usable(), "a clock that was set back ends it, too");
    assert_eq!(relay.sealed.load(Ordering::Relaxed), 0);
}

/// The enclave's end of the same, for clients that keep no lease.
#[tokio::test(flavor = "multi_thread")]
async fn t20_an_enclave_answers_no_request_that_names_a_statement_whose_lease_is_over() {
    let limits = Limits {
        lease: Duration::from_millis(200),
        ..Limits::default()
    };
    let node = Node::with(limits).await;
    let connector = connector(&node, None);
    let key = connector.key().await.unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    let response = connector
        .send(&key, chat(&ask("Count.", &json!({}))))
        .await
        .unwrap();
    assert_eq!(response.head.status, 403);
    let body: Value = serde_json::from_slice(&whole(response).await.unwrap()).unwrap();
    assert_eq!(body["error"]["code"], "sealed_statement");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_is_refused_in_plain_with_a_code() {
    let node = Node::start().await;
    let foreign = SealedKeys::generate(9).unwrap();
    let mut unknown = vec![foreign.config()[2]];
    unknown.extend_from_slice(&[0; 200]);
    for (path, kind, body, status, code) in [
        (
            SEALED_PATH,
            SEALED_REQUEST_TYPE,
            vec![],
            422,
            "sealed_key_unknown",
        ),
        (
            SEALED_PATH,
            SEALED_REQUEST_TYPE,
            unknown,
            422,
            "sealed_key_unknown",
        ),
        (
            SEALED_PATH,
            SEALED_REQUEST_TYPE,
            vec![1; 9],
            400,
            "sealed_malformed",
        ),
        (
            SEALED_PATH,
            SEALED_REQUEST_TYPE,
            [&[1, 0, 0x20, 0, 1, 0, 3][..], &[9; 300]].concat(),
            400,
            "sealed_malformed",
        ),
        (
            SEALED_PATH,
            SEALED_REQUEST_TYPE,
            vec![1; 400_000],
            413,
            "body_too_large",
        ),
        (
            SEALED_PATH,
            "application/json",
            vec![1],
            415,
            "unsupported_media_type",
        ),
        (
            SEALED_KEY_PATH,
            "application/cbor",
            vec![1],
            400,
            "attest_malformed",
        ),
    ] {
        let (got, kind, answer) = forward(node.address, path, kind, Bytes::from(body)).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)));
        assert_eq!(kind, "application/json");
    }
}
