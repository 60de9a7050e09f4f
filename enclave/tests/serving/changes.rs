//! What an enclave states changes while it serves: the model, its keys. Nobody
//! goes on under what is no longer so (T13).

use std::time::Duration;

use bastide_attestation::ManifestDigest;
use bastide_enclave::Limits;
use serde_json::json;

use crate::serving::node::{Node, ask};

/// T13, hot swap: connections of before close, and an answer under way is cut
/// before its next token.
#[tokio::test(flavor = "multi_thread")]
async fn t13_another_model_cuts_answers_under_way_and_closes_connections_of_before() {
    let node = Node::start().await;
    let idle = node.connect().await;
    let before = idle.connection.result().statement.model;
    // Several, one after the other, so that the swap finds one under way.
    let mut generations = Vec::new();
    for seed in 3..7 {
        let mut client = node.connect().await;
        generations.push(tokio::spawn(async move {
            let more = json!({"temperature": 2, "seed": seed, "max_tokens": 900, "stream": true});
            loop {
                let Ok(answer) = client.try_chat(&ask("Tell me a story", &more)).await else {
                    return None;
                };
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                if answer.status != 200 || !body.contains("\"finish_reason\":\"") {
                    return Some((answer.status, body));
                }
            }
        }));
    }
    while node.monitor("/metrics").await.contains("generations_running 0") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let model = ManifestDigest::new([0x66; 32]);
    node.lane.restate(|facts| facts.model = model);
    idle.closed().await;
    let mut cut = 0;
    for generation in generations {
        // None: it was between two answers, and found its connection closed.
        let Some((status, body)) = generation.await.unwrap() else {
            continue;
        };
        match status {
            200 => {
                assert!(body.contains("attestation_outdated"), "{body}");
                cut += 1;
            }
            _ => assert!(
                status == 403 && body.contains("attestation_required"),
                "{status}: {body}"
            ),
        }
    }
    assert!(cut > 0, "no answer was under way at the swap");
    let after = node.connect().await;
    assert_ne!(before, model);
    assert_eq!(after.connection.result().statement.model, model);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_key_is_replaced_in_its_time_and_answers_under_way_go_on() {
    let node = Node::with(Limits {
        session_key: Duration::from_millis(1500),
        ..Limits::default()
    })
    .await;
    let mut client = node.connect().await;
    let idle = node.connect().await;
    let before = client.connection.result().statement.clone();
    client.answers_until_closed().await;
    idle.closed().await;
    let after = node.connect().await.connection.result().statement.clone();
    assert_ne!(after.session_key, before.session_key);
    assert_eq!((after.boot_id, after.model), (before.boot_id, before.model));
}
