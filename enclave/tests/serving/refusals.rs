//! Requests that get an error: each its status and code, none the content.

use std::time::Duration;

use bastide_attestation::FinishReason;
use bastide_attested_tls::HttpVersions;
use bastide_enclave::Limits;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use serde_json::json;

use crate::serving::node::{MODEL, Node, ask};

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_their_own_status_and_code() {
    let node = Node::start().await;
    let long = "word ".repeat(2000);
    let cases: [(Method, &str, String, u16, &str); 13] = [
        (
            Method::POST,
            "/v1/chat/completions",
            "CANARY".to_owned(),
            400,
            "invalid_json",
        ),
        (
            Method::POST,
            "/v1/chat/completions",
            String::new(),
            400,
            "invalid_json",
        ),
        (
            Method::POST,
            "/v1/chat/completions",
            "[]".to_owned(),
            400,
            "invalid_object",
        ),
        (
            Method::POST,
            "/v1/chat/completions",
            json!({"model": "CANARY", "messages": []}).to_string(),
            404,
            "model_not_found",
        ),
        (
            Method::POST,
            "/v1/chat/completions",
            ask("CANARY", &json!({"temperature": 3})).to_string(),
            400,
            "invalid_value",
        ),
        (
            Method::POST,
            "/v1/chat/completions",
            ask("CANARY", &json!({"n": 2})).to_string(),
            400,
            "unsupported_parameter",
        ),
        (
            Method::POST,
            "/v1/chat/completions",
            ask("CANARY", &json!({"CANARY": 2})).to_string(),
            400,
            "unknown_parameter",
        ),
        (
            Method::POST,
            "/v1/chat/completions",
            ask(&long, &json!({})).to_string(),
            400,
            "context_length_exceeded",
        ),
        (
            Method::POST,
            "/v1/chat/completions",
            ask("CANARY", &json!({"max_tokens": 1023})).to_string(),
            400,
            "context_length_exceeded",
        ),
        (
            Method::POST,
            "/v1/chat/completions",
            json!({"model": MODEL, "messages": [{"role": "system", "content": "CANARY"}]}).to_string(),
            400,
            "invalid_messages",
        ),
        (
            Method::GET,
            "/v1/chat/completions",
            String::new(),
            405,
            "method_not_allowed",
        ),
        (Method::GET, "/v1/CANARY", String::new(), 404, "unknown_url"),
        (Method::POST, "/readyz", String::new(), 405, "method_not_allowed"),
    ];
    let mut client = node.connect().await;
    for (method, path, body, status, code) in cases {
        let answer = client.send(method, path, body).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{text}");
        assert!(!text.contains("CANARY"), "{text}");
        assert!(answer.headers.get("x-bastide-receipt").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_too_large_is_refused_and_ends_the_connection() {
    let node = Node::with(Limits {
        body_bytes: 2000,
        ..Limits::default()
    })
    .await;
    for http in [HttpVersions::Any, HttpVersions::Http1] {
        let mut client = node.connect_by(http).await;
        let answer = client.chat(&ask(&"a".repeat(2000), &json!({}))).await;
        assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
        let closes = answer
            .headers
            .get("connection")
            .is_some_and(|value| value == "close");
        assert_eq!(closes, http == HttpVersions::Http1, "over HTTP/2 it is GOAWAY");
        for _ in 0..200 {
            if !client.connection.is_usable() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!client.connection.is_usable());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_too_large_is_refused() {
    let node = Node::start().await;
    let mut client = node.connect().await;
    let request = Request::get("/v1/models")
        .header("x-large", "a".repeat(17 * 1024))
        .body(Full::new(Bytes::new()))
        .unwrap();
    let response = client.connection.send(request).await.unwrap();
    assert_eq!(response.status(), 431);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_generations_than_fit_are_refused_with_a_time_to_come_back() {
    let node = Node::with(Limits {
        generations: 1,
        queue: 1,
        ..Limits::default()
    })
    .await;
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let mut client = node.connect().await;
        tasks.push(tokio::spawn(async move {
            let more = json!({"temperature": 2, "max_tokens": 400, "stop": "\u{0}\u{0}"});
            client.chat(&ask("Tell me a long story", &more)).await
        }));
    }
    let (mut answered, mut refused) = (0, 0);
    for task in tasks {
        let answer = task.await.unwrap();
        match answer.status {
            200 => answered += 1,
            503 => {
                assert_eq!(answer.code(), "overloaded");
                assert_eq!(answer.headers["retry-after"], "1");
                refused += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(
        answered >= 2 && refused >= 1,
        "{answered} answered, {refused} refused"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_takes_too_long_is_ended_with_an_error() {
    let node = Node::with(Limits {
        request: Duration::from_millis(40),
        ..Limits::default()
    })
    .await;
    // Reading this prompt alone takes longer.
    let long = "What is attestation? ".repeat(80);
    let answer = node.connect().await.chat(&ask(&long, &json!({}))).await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "time_limit"));

    let mut client = node.connect().await;
    let request = ask(&long, &json!({"stream": true}));
    let answer = client.chat(&request).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    if answer.status == 504 {
        // The queue alone took the time: nothing was streamed.
        assert_eq!(answer.code(), "time_limit");
        return;
    }
    assert_eq!(answer.status, 200, "{text}");
    let done = "data: [DONE]\n\n";
    let covered = text.find(done).unwrap() + done.len();
    assert!(text[..covered].contains("\"code\":\"time_limit\""), "{text}");
    let last = text[covered..]
        .strip_prefix("event: bastide.receipt\ndata: ")
        .unwrap();
    let last: serde_json::Value = serde_json::from_str(last.trim_end()).unwrap();
    let receipt = client.verify(
        last["receipt"].as_str().unwrap(),
        last["salt"].as_str().unwrap(),
        request.to_string().as_bytes(),
        &answer.body[..covered],
    );
    assert_eq!(receipt.claims().finish, FinishReason::Error);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_closed_at_once() {
    let node = Node::with(Limits {
        connections: 1,
        ..Limits::default()
    })
    .await;
    let mut first = node.connect().await;
    assert!(node.try_connect().await.is_err());
    assert_eq!(first.send(Method::GET, "/v1/models", "").await.status, 200);
    assert!(
        node.monitor("/metrics")
            .await
            .contains("bastide_enclave_connections_refused_total 1")
    );
    drop(first);
    // Its place is free once the enclave has noticed.
    for _ in 0..100 {
        if node.try_connect().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the place was never freed");
}
