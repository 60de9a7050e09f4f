//! The whole chain with real processes: enclave, shim, proxy, and a recorder
//! where a host would sit.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bastide_tests::binaries::Binaries;
use bastide_tests::http::{self, Answer};
use bastide_tests::node::{Node, model_folder, start_proxy};
use bastide_tests::recorder::{Direction, Recorder, TlsRecord};
use serde_json::{Value, json};

const DEVELOPMENT: [&str; 3] = ["--policy", "development", "--allow-simulated"];
const APPLICATION_DATA: u8 = 23;

fn chat(proxy: &str, prompt: &str, stream: bool) -> Answer {
    let body = json!({
        "model": "bastide-5m", "stream": stream, "temperature": 0, "max_tokens": 24,
        "messages": [{"role": "user", "content": prompt}],
    });
    http::request(proxy, "POST", "/v1/chat/completions", &body.to_string(), |_| ()).expect("an answer")
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).expect("a JSON body")
}

#[test]
fn a_prompt_is_answered_streamed_and_not_with_the_same_text_and_a_receipt() {
    let logs = tempfile::tempdir().unwrap();
    let node = Node::start(logs.path(), &[]).unwrap();
    let proxy = start_proxy(&node.url(), logs.path(), &DEVELOPMENT).unwrap();
    let authority = proxy.ready("listen");

    let models = http::request(authority, "GET", "/v1/models", "", |_| ()).unwrap();
    assert_eq!(json_of(&models)["data"][0]["id"], "bastide-5m");

    let whole = chat(authority, "What is Bastide?", false);
    assert_eq!(whole.status, 200, "{}", whole.body);
    assert!(whole.header("x-bastide-receipt").is_some());
    let verdict = whole.header("x-bastide-verdict").expect("a verdict header");
    assert!(
        verdict.starts_with("accepted-simulated; policy=development"),
        "{verdict}"
    );
    let body = json_of(&whole);
    let text = body["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(!text.is_empty());
    assert!(body["usage"]["completion_tokens"].as_u64().unwrap() > 0);

    let streamed = chat(authority, "What is Bastide?", true);
    assert_eq!(streamed.status, 200, "{}", streamed.body);
    let joined: String = streamed
        .body
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .filter_map(|chunk| {
            chunk
                .pointer("/choices/0/delta/content")?
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(joined, text);
    let (_, last) = streamed
        .body
        .split_once("data: [DONE]\n\n")
        .expect("the stream is complete");
    assert!(
        last.starts_with("event: bastide.receipt\ndata: {"),
        "the receipt is the last event: {last}"
    );
}

/// Records from the client: everything that it encrypted after the handshake
/// shows as application data, the first of them being its Finished.
fn sent(records: &[TlsRecord]) -> Vec<usize> {
    records
        .iter()
        .filter(|record| record.direction == Direction::ToNode && record.content_type == APPLICATION_DATA)
        .map(|record| record.length)
        .collect()
}

#[test]
fn with_a_good_node_the_first_bytes_after_the_attest_exchange_are_the_prompts() {
    let logs = tempfile::tempdir().unwrap();
    let node = Node::start(logs.path(), &[]).unwrap();
    let recorder = Recorder::start(node.shim.ready("listen").trim_start_matches("tcp:"));
    let url = format!("https://{}", recorder.address());
    let status = Command::new(&Binaries::build().cli)
        .args(["chat", &url])
        .args(DEVELOPMENT)
        .arg("Hello! ".repeat(60))
        .output()
        .unwrap();
    assert!(
        status.status.success(),
        "{}",
        String::from_utf8_lossy(&status.stderr)
    );

    let records = recorder.records();
    let application: Vec<_> = records
        .iter()
        .filter(|record| record.content_type == APPLICATION_DATA)
        .collect();
    // The server's encrypted handshake comes first; the client's Finished, its
    // attest request (with HTTP/2's settings and headers before it), then the
    // evidence, and only then anything else.
    let prompt = application
        .iter()
        .position(|record| record.direction == Direction::ToNode && record.length > 420)
        .expect("a record that could hold the prompt");
    let attest = application
        .iter()
        .position(|record| record.direction == Direction::ToNode)
        .expect("the client's Finished");
    let before = application[attest..prompt]
        .iter()
        .filter(|record| record.direction == Direction::ToNode);
    let before: usize = before.map(|record| record.length).sum();
    assert!(before < 1000, "{before} bytes of the client's before its prompt");
    let evidence: usize = application[attest..prompt]
        .iter()
        .filter(|record| record.direction == Direction::ToClient)
        .map(|record| record.length)
        .sum();
    assert!(
        evidence > 1184,
        "evidence of {evidence} bytes came before the prompt"
    );
    assert!(!recorder.saw(b"Hello!"));
}

#[test]
fn with_a_refused_node_no_prompt_byte_is_ever_encrypted() {
    let logs = tempfile::tempdir().unwrap();
    let node = Node::start(logs.path(), &[]).unwrap();
    let recorder = Recorder::start(node.shim.ready("listen").trim_start_matches("tcp:"));
    let url = format!("https://{}", recorder.address());
    let proxy = start_proxy(&url, logs.path(), &["--policy", "production"]).unwrap();
    let before = sent(&recorder.records()).iter().sum::<usize>();
    let prompt = "x".repeat(50_000);
    let answer = chat(proxy.ready("listen"), &prompt, false);
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(
        answer
            .header("x-bastide-verdict")
            .unwrap()
            .starts_with("rejected"),
        "{:?}",
        answer.headers
    );
    let error = json_of(&answer);
    assert_eq!(error["error"]["code"], "snp.root.unknown", "{}", answer.body);
    assert!(!answer.body.contains("xxxx"));

    let after = sent(&recorder.records());
    assert!(
        after.iter().sum::<usize>() - before < 2_000,
        "only handshakes and attest requests: {after:?}"
    );
    assert!(
        after.iter().all(|length| *length < 1_000),
        "no record could hold the prompt: {after:?}"
    );
}

#[test]
fn verify_exits_with_the_documented_codes_and_sends_no_prompt() {
    let logs = tempfile::tempdir().unwrap();
    let node = Node::start(logs.path(), &[]).unwrap();
    let url = node.url();
    let run = |arguments: &[&str]| {
        let output = Command::new(&Binaries::build().cli)
            .args(["verify", &url])
            .args(arguments)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    };
    let (code, text) = run(&["--policy", "development", "--allow-simulated"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("SIMULATED"), "{text}");
    let (code, text) = run(&["--policy", "development"]);
    assert_eq!(code, Some(10), "{text}");
    let (code, text) = run(&["--policy", "production", "--output", "json"]);
    assert_eq!(code, Some(10), "{text}");
    let verdict: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&verdict["schema"], &verdict["verdict"]),
        (&json!("bastide.verdict/v1"), &json!("rejected"))
    );
    assert_eq!(verdict["code"], "snp.root.unknown");
}

#[test]
fn an_enclave_built_without_the_simulator_cannot_simulate() {
    let output = Command::new(Binaries::enclave_without_simulator())
        .args([
            "serve",
            "--attester",
            "simulator",
            "--listen",
            "tcp:127.0.0.1:0",
            "--model",
        ])
        .arg(model_folder())
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(message.contains("simulator"), "{message}");
    assert!(output.stdout.is_empty(), "it never says it is ready");
}

#[test]
fn a_canary_prompt_is_in_no_log_metric_error_or_file_afterwards() {
    const CANARY: &str = "zugzwang-canary-7431";
    let logs = tempfile::tempdir().unwrap();
    let node = Node::start(logs.path(), &[]).unwrap();
    let recorder = Recorder::start(node.shim.ready("listen").trim_start_matches("tcp:"));
    let url = format!("https://{}", recorder.address());
    let verbose = ["--policy", "development", "--allow-simulated", "-v"];
    let proxy = start_proxy(&url, logs.path(), &verbose).unwrap();
    let authority = proxy.ready("listen");

    let prompt = format!("Say {CANARY} please");
    assert_eq!(chat(authority, &prompt, false).status, 200);
    assert_eq!(chat(authority, &prompt, true).status, 200);
    // Requests that fail must not repeat what they were about, either.
    for body in [
        format!("{{\"model\": \"bastide-5m\", \"messages\": \"{CANARY}\""),
        format!("{{\"model\": \"bastide-5m\", \"messages\": \"{CANARY}\"}}"),
        json!({"model": "bastide-5m", "temperature": CANARY, "messages": []}).to_string(),
        json!({"model": "bastide-5m", "messages": [{"role": CANARY, "content": CANARY}]}).to_string(),
        json!({"model": "bastide-5m", "messages": [{"role": "user", "content": CANARY.repeat(900)}]})
            .to_string(),
    ] {
        let answer = http::request(authority, "POST", "/v1/chat/completions", &body, |_| ()).unwrap();
        assert!(
            (400..500).contains(&answer.status),
            "{} {}",
            answer.status,
            answer.body
        );
        assert!(
            !answer.body.contains(CANARY),
            "an error repeats the prompt: {}",
            answer.body
        );
    }

    let metrics = http::request(node.enclave.ready("metrics"), "GET", "/metrics", "", |_| ()).unwrap();
    assert!(metrics.body.contains("bastide_"), "{}", metrics.body);
    assert!(!metrics.body.contains(CANARY));
    assert!(!recorder.saw(CANARY.as_bytes()), "the host saw the prompt");
    proxy.terminate(Duration::from_secs(10)).unwrap();
    node.shim.terminate(Duration::from_secs(10)).unwrap();
    node.enclave.terminate(Duration::from_secs(40)).unwrap();
    assert_eq!(files_with(logs.path(), CANARY), Vec::<String>::new());
}

fn files_with(folder: &Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else if String::from_utf8_lossy(&fs::read(&path).unwrap()).contains(needle) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_node_that_is_not_there_or_not_attested_gets_its_own_code() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            use std::io::Write as _;
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let verify = |url: &str| {
        let output = Command::new(&Binaries::build().cli)
            .args(["verify", url, "--policy", "development", "--output", "json"])
            .output()
            .unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.code(), text)
    };
    let (code, text) = verify("https://127.0.0.1:1");
    assert!(code != Some(0) && text.contains("session.tcp"), "{code:?} {text}");
    let (code, text) = verify(&format!("https://{silent}"));
    assert!(code != Some(0) && text.contains("session.tls"), "{code:?} {text}");
    let (code, text) = verify("http://127.0.0.1:1");
    assert!(code == Some(2) && text.contains("https://"), "{code:?} {text}");
}
