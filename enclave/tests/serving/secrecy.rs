//! A prompt leaves nothing behind: not in the log, not in the metrics, not in
//! an error, not on the wire in clear.

use hyper::Method;
use serde_json::json;

use crate::serving::node::{Log, Node, ask};

const CANARY: &str = "zwischenzug-canary-5519";

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_prompt_is_in_no_log_metric_or_error() {
    let node = Node::start().await;
    let mut client = node.connect().await;
    for more in [
        json!({}),
        json!({"stream": true}),
        json!({"stop": CANARY, "user": CANARY}),
    ] {
        let answer = client.chat(&ask(CANARY, &more)).await;
        assert_eq!(answer.status, 200);
    }
    for body in [
        format!("{{\"model\":\"{CANARY}"),
        format!("{{\"model\":\"{CANARY}\",\"messages\":[]}}"),
        ask(CANARY, &json!({"seed": CANARY})).to_string(),
        ask(CANARY, &json!({CANARY: 1})).to_string(),
        ask(&CANARY.repeat(200), &json!({})).to_string(),
    ] {
        let answer = client.send(Method::POST, "/v1/chat/completions", body).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!((400..500).contains(&answer.status), "{text}");
        assert!(!text.contains(CANARY), "{text}");
    }
    let path = format!("/v1/{CANARY}?{CANARY}");
    let answer = client.send(Method::GET, &path, "").await;
    assert!(!String::from_utf8_lossy(&answer.body).contains(CANARY));
    let metrics = node.monitor("/metrics").await;
    assert!(
        metrics.contains("bastide_enclave_requests_total{outcome=\"answered\"} 3"),
        "{metrics}"
    );
    assert!(
        metrics.contains("bastide_enclave_requests_total{outcome=\"refused\"} 5"),
        "{metrics}"
    );
    assert!(!metrics.contains(CANARY));
    let log = Log::of_process().text();
    assert!(log.contains("enclave.ready"), "{log}");
    assert!(!log.contains(CANARY));
}
