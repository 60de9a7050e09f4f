//! Chat completions: shapes, determinism, and receipts over the exact bytes.

use bastide_attestation::FinishReason;
use hyper::Method;
use serde_json::{Value, json};

use crate::serving::node::{Answer, Client, MODEL, Node, ask};

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_has_a_receipt_over_its_exact_bytes() {
    let node = Node::start().await;
    let mut client = node.connect().await;
    let request = ask("What is attestation?", &json!({}));
    let answer = client.chat(&request).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let body = answer.json();
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], MODEL);
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(body["system_fingerprint"].as_str().unwrap().starts_with("fp_"));
    let choice = &body["choices"][0];
    assert!(!choice["message"]["content"].as_str().unwrap().is_empty());
    assert_eq!(choice["logprobs"], Value::Null);
    let usage = &body["usage"];
    assert_eq!(
        usage["total_tokens"].as_u64().unwrap(),
        usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap()
    );
    let header = |name: &str| answer.headers.get(name).unwrap().to_str().unwrap().to_owned();
    let receipt = client.verify(
        &header("x-bastide-receipt"),
        &header("x-bastide-receipt-salt"),
        request.to_string().as_bytes(),
        &answer.body,
    );
    let claims = receipt.claims();
    assert_eq!((claims.sequence, claims.previous), (0, [0; 32]));
    assert_eq!(claims.finish.as_str(), choice["finish_reason"].as_str().unwrap());
    assert_eq!(
        claims.usage,
        [
            usage["prompt_tokens"].as_u64().unwrap(),
            usage["completion_tokens"].as_u64().unwrap()
        ]
    );

    let second = client.chat(&request).await;
    assert_eq!(second.json()["choices"], body["choices"], "greedy answers repeat");
    let header = |name: &str| second.headers.get(name).unwrap().to_str().unwrap().to_owned();
    let next = client.verify(
        &header("x-bastide-receipt"),
        &header("x-bastide-receipt-salt"),
        request.to_string().as_bytes(),
        &second.body,
    );
    assert_eq!(
        (next.claims().sequence, next.claims().previous),
        (1, receipt.digest())
    );
}

/// Whole and streamed at once, on connections of their own: one chain without
/// gaps, in the order in which the answers ended.
#[tokio::test(flavor = "multi_thread")]
async fn answers_at_the_same_time_share_one_chain() {
    let node = Node::start().await;
    let mut running = Vec::new();
    for number in 0..8 {
        let mut client = node.connect().await;
        running.push(tokio::spawn(async move {
            let request = ask(
                "Count.",
                &json!({"max_tokens": 20 + number, "stream": number % 2 == 0}),
            );
            let answer = client.chat(&request).await;
            let header = |name: &str| {
                answer
                    .headers
                    .get(name)
                    .map(|value| value.to_str().unwrap().to_owned())
            };
            let (receipt, salt, covered) = match header("x-bastide-receipt") {
                Some(receipt) => (
                    receipt,
                    header("x-bastide-receipt-salt").unwrap(),
                    answer.body.len(),
                ),
                None => {
                    let (_, covered, last) = events(&answer);
                    let text = |name: &str| last[name].as_str().unwrap().to_owned();
                    (text("receipt"), text("salt"), covered)
                }
            };
            let request = request.to_string();
            client.verify(&receipt, &salt, request.as_bytes(), &answer.body[..covered])
        }));
    }
    let mut receipts = Vec::new();
    for answer in running {
        receipts.push(answer.await.unwrap());
    }
    receipts.sort_by_key(|receipt| receipt.claims().sequence);
    let mut previous = [0; 32];
    for (sequence, receipt) in (0..).zip(&receipts) {
        assert_eq!(
            (receipt.claims().sequence, receipt.claims().previous),
            (sequence, previous)
        );
        previous = receipt.digest();
    }
}

/// A stream's chunks, and what comes after `[DONE]`.
fn events(answer: &Answer) -> (Vec<Value>, usize, Value) {
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let text = std::str::from_utf8(&answer.body).unwrap();
    let done = "data: [DONE]\n\n";
    let covered = text.find(done).unwrap() + done.len();
    let chunks = text[..covered - done.len()]
        .split_terminator("\n\n")
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
        .collect();
    let last = text[covered..]
        .strip_prefix("event: bastide.receipt\ndata: ")
        .and_then(|rest| rest.strip_suffix("\n\n"))
        .unwrap();
    (chunks, covered, serde_json::from_str(last).unwrap())
}

fn content(chunks: &[Value]) -> String {
    chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect()
}

async fn whole_text(client: &mut Client, request: &Value) -> String {
    let body = client.chat(request).await.json();
    body["choices"][0]["message"]["content"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_answer_is_the_same_text_and_ends_with_a_receipt() {
    let node = Node::start().await;
    let mut client = node.connect().await;
    let request = ask("What is attestation?", &json!({}));
    let text = whole_text(&mut client, &request).await;
    let streamed = ask(
        "What is attestation?",
        &json!({"stream": true, "stream_options": {"include_usage": true}}),
    );
    let answer = client.chat(&streamed).await;
    let (chunks, covered, last) = events(&answer);
    assert_eq!(content(&chunks), text);
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let [.., closing, usage] = chunks.as_slice() else {
        panic!("at least two chunks");
    };
    assert!(closing["choices"][0]["finish_reason"].is_string());
    assert_eq!(closing["usage"], Value::Null);
    assert_eq!(usage["choices"], json!([]));
    let receipt = client.verify(
        last["receipt"].as_str().unwrap(),
        last["salt"].as_str().unwrap(),
        streamed.to_string().as_bytes(),
        &answer.body[..covered],
    );
    assert_eq!(
        receipt.claims().usage[1],
        usage["usage"]["completion_tokens"].as_u64().unwrap()
    );
    // The connection is still good.
    assert_eq!(whole_text(&mut client, &request).await, text);
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_do_what_they_say() {
    let node = Node::start().await;
    let mut client = node.connect().await;
    let question = "What is attestation?";
    let text = whole_text(&mut client, &ask(question, &json!({}))).await;

    let short = client
        .chat(&ask(question, &json!({"max_tokens": 2})))
        .await
        .json();
    assert_eq!(short["choices"][0]["finish_reason"], "length");
    assert_eq!(short["usage"]["completion_tokens"], 2);

    let word = text.split_whitespace().nth(1).unwrap();
    let stopped = client
        .chat(&ask(question, &json!({"stop": [word, "\u{1f3f0}"]})))
        .await
        .json();
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    let cut = stopped["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(cut, &text[..text.find(word).unwrap()]);

    let drawn = json!({"temperature": 1.5, "top_p": 0.9, "seed": 7});
    let one = whole_text(&mut client, &ask(question, &drawn)).await;
    assert_eq!(one, whole_text(&mut client, &ask(question, &drawn)).await);

    let logged = client
        .chat(&ask(
            question,
            &json!({"logprobs": true, "top_logprobs": 3, "max_tokens": 4}),
        ))
        .await
        .json();
    let entries = logged["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(entries.len(), 4);
    for entry in entries {
        let top = entry["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        assert_eq!(
            entry["logprob"], top[0]["logprob"],
            "greedy takes the most probable"
        );
        assert_eq!(entry["bytes"], top[0]["bytes"]);
    }
    let streamed = client
        .chat(&ask(
            question,
            &json!({"logprobs": true, "max_tokens": 4, "stream": true}),
        ))
        .await;
    let (chunks, _, last) = events(&streamed);
    let reported: usize = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["logprobs"]["content"].as_array())
        .map(Vec::len)
        .sum();
    assert_eq!(reported, 4);
    assert!(last["receipt"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_different_parameters_differ_in_the_sampling_digest() {
    let node = Node::start().await;
    let mut client = node.connect().await;
    let mut digests = Vec::new();
    for more in [json!({}), json!({"seed": 1}), json!({"max_tokens": 3})] {
        let request = ask("Hello", &more);
        let answer = client.chat(&request).await;
        let header = |name: &str| answer.headers.get(name).unwrap().to_str().unwrap().to_owned();
        let receipt = client.verify(
            &header("x-bastide-receipt"),
            &header("x-bastide-receipt-salt"),
            request.to_string().as_bytes(),
            &answer.body,
        );
        assert_ne!(receipt.claims().finish, FinishReason::Error);
        digests.push(receipt.claims().sampling);
    }
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_list_names_the_one_model() {
    let node = Node::start().await;
    let mut client = node.connect().await;
    let list = client.send(Method::GET, "/v1/models", "").await.json();
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert_eq!(list["data"][0]["id"], MODEL);
    let one = client
        .send(Method::GET, &format!("/v1/models/{MODEL}"), "")
        .await
        .json();
    assert_eq!(one, list["data"][0]);
    let other = client.send(Method::GET, "/v1/models/gpt-4", "").await;
    assert_eq!((other.status, other.code().as_str()), (404, "model_not_found"));
}
