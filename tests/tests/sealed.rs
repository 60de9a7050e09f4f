//! Sealed mode with real processes: enclave, shim, the relay of sealed requests,
//! and the proxy; recorders where a host and a network would sit.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bastide_tests::binaries::Binaries;
use bastide_tests::http::{self, Answer};
use bastide_tests::node::{Node, START_LIMIT, start_proxy};
use bastide_tests::process::Process;
use bastide_tests::recorder::Recorder;
use serde_json::{Value, json};

const SEALED: [&str; 5] = ["--sealed", "-v", "--policy", "development", "--allow-simulated"];

fn relay(gateway: &str, logs: &Path) -> Process {
    let mut command = Command::new(&Binaries::build().shim);
    command.args(["relay-ohttp", "--listen", "127.0.0.1:0", "--gateway", gateway]);
    Process::start(command, "relay-ohttp", logs, START_LIMIT).expect("the relay starts")
}

fn address(process: &Process) -> &str {
    process.ready("listen").trim_start_matches("tcp:")
}

fn proxy(node: &str, relay: Option<&str>, logs: &Path, more: &[&str]) -> Process {
    let mut arguments: Vec<String> = SEALED.iter().chain(more).map(|&word| word.to_owned()).collect();
    if let Some(relay) = relay {
        arguments.extend(["--relay".to_owned(), format!("http://{relay}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    start_proxy(node, logs, &arguments).expect("the proxy starts")
}

fn chat(proxy: &Process, prompt: &str, stream: bool) -> Result<Answer, String> {
    let body = json!({
        "model": "bastide-5m", "stream": stream, "temperature": 0, "max_tokens": 24,
        "messages": [{"role": "user", "content": prompt}],
    });
    http::request(
        proxy.ready("listen"),
        "POST",
        "/v1/chat/completions",
        &body.to_string(),
        |_| (),
    )
}

fn code(answer: &Answer) -> String {
    let body: Value = serde_json::from_str(&answer.body).expect("a JSON body");
    body["error"]["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_sealed_prompt_is_answered_through_the_relay_streamed_and_not_and_its_receipt_verifies_offline() {
    const CANARY: &str = "zugzwang-canary-8842";
    let logs = tempfile::tempdir().unwrap();
    let node = Node::start(logs.path(), &[]).unwrap();
    // Between relay and node, and between client and relay.
    let inner = Recorder::start(address(&node.shim));
    let relay = relay(&format!("https://{}", inner.address()), logs.path());
    let outer = Recorder::start(address(&relay));
    let saved = tempfile::tempdir().unwrap();
    let save = saved.path().to_str().unwrap();
    let proxy = proxy(
        &node.url(),
        Some(&outer.address().to_string()),
        logs.path(),
        &["--save", save],
    );

    let models = http::request(proxy.ready("listen"), "GET", "/v1/models", "", |_| ()).unwrap();
    let models: Value = serde_json::from_str(&models.body).unwrap();
    assert_eq!(models["data"][0]["id"], "bastide-5m");

    let prompt = format!("What is {CANARY}?");
    let whole = chat(&proxy, &prompt, false).unwrap();
    assert_eq!(whole.status, 200, "{}", whole.body);
    let verdict = whole.header("x-bastide-verdict").expect("a verdict header");
    assert!(
        verdict.starts_with("accepted-simulated; policy=development"),
        "{verdict}"
    );
    assert!(whole.header("x-bastide-receipt").is_some());
    let body: Value = serde_json::from_str(&whole.body).unwrap();
    let text = body["choices"][0]["message"]["content"].as_str().unwrap();

    let streamed = chat(&proxy, &prompt, true).unwrap();
    assert_eq!(streamed.status, 200, "{}", streamed.body);
    let joined: String = streamed
        .body
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str::<Value>(data).ok())
        .filter_map(|chunk| {
            let content = chunk.pointer("/choices/0/delta/content")?;
            content.as_str().map(str::to_owned)
        })
        .collect();
    assert_eq!(joined, text);
    assert!(streamed.body.contains("event: bastide.receipt\ndata: {"));

    // What was kept of both answers verifies without the node.
    let mut folders: Vec<_> = fs::read_dir(save)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    assert_eq!(folders.len(), 2);
    for folder in &folders {
        let output = Command::new(&Binaries::build().cli)
            .args([
                "receipt",
                "verify",
                "--policy",
                "development",
                "--allow-simulated",
            ])
            .arg("--evidence")
            .arg(folder.join("evidence.cmw"))
            .arg("--salt")
            .arg(fs::read_to_string(folder.join("salt.hex")).unwrap().trim())
            .arg("--request")
            .arg(folder.join("request.body"))
            .arg("--response")
            .arg(folder.join("response.body"))
            .arg(folder.join("receipt.cose"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    // An error doesn't repeat what it is about, either.
    let bad = format!("{{\"model\": \"bastide-5m\", \"messages\": \"{CANARY}\"}}");
    let refused = http::request(
        proxy.ready("listen"),
        "POST",
        "/v1/chat/completions",
        &bad,
        |_| (),
    )
    .unwrap();
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(!refused.body.contains(CANARY));

    // The client's way to the relay is plain HTTP here: every byte of it was looked at.
    assert!(outer.saw(b"message/ohttp-chunked-req") && outer.saw(b"message/ohttp-chunked-res"));
    for recorder in [&inner, &outer] {
        assert!(
            !recorder.saw(CANARY.as_bytes()),
            "the prompt was on the wire in plain"
        );
        assert!(
            !recorder.saw(b"bastide-5m"),
            "the answer was on the wire in plain"
        );
    }
    let metrics = http::request(node.enclave.ready("metrics"), "GET", "/metrics", "", |_| ()).unwrap();
    assert!(
        metrics.body.contains("{outcome=\"answered\"} 2\n"),
        "{}",
        metrics.body
    );
    assert!(!metrics.body.contains(CANARY));
    proxy.terminate(Duration::from_secs(10)).unwrap();
    relay.terminate(Duration::from_secs(30)).unwrap();
    node.shim.terminate(Duration::from_secs(10)).unwrap();
    node.enclave.terminate(Duration::from_secs(40)).unwrap();
    for entry in fs::read_dir(logs.path()).unwrap().map(Result::unwrap) {
        let text = fs::read(entry.path()).unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains(CANARY), "{}", entry.path().display());
        if entry.file_name() == "relay-ohttp.stderr" {
            assert!(text.is_empty(), "the relay logs nothing of its clients: {text}");
        }
    }
}

#[test]
fn without_a_relay_requests_are_sealed_to_the_node_itself() {
    let logs = tempfile::tempdir().unwrap();
    let node = Node::start(logs.path(), &[]).unwrap();
    let proxy = proxy(&node.url(), None, logs.path(), &[]);
    let answer = chat(&proxy, "What is Bastide?", true).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("event: bastide.receipt\ndata: {"));
}

/// T20: in the relay's place, somebody who answers himself.
#[test]
fn t20_a_plaintext_answer_of_a_relay_is_never_shown_as_the_models() {
    let logs = tempfile::tempdir().unwrap();
    let node = Node::start(logs.path(), &[]).unwrap();
    let relay = relay(&node.url(), logs.path());
    let upstream = address(&relay).to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let liar = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (turn, mut socket) in listener.incoming().map_while(Result::ok).enumerate() {
            // The key is passed on; every sealed request is answered with a lie.
            if turn == 0 {
                let mut onward = std::net::TcpStream::connect(&upstream).unwrap();
                let (mut back, mut from) = (socket.try_clone().unwrap(), onward.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut from, &mut back));
                std::thread::spawn(move || std::io::copy(&mut socket, &mut onward));
                continue;
            }
            let mut buffer = [0; 65_536];
            let _ = socket.read(&mut buffer);
            let lie = r#"{"object":"chat.completion","choices":[{"message":{"content":"FORGED"}}]}"#;
            let status = if turn % 2 == 0 {
                "200 OK"
            } else {
                "502 Bad Gateway"
            };
            let _ = write!(
                socket,
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{lie}",
                lie.len()
            );
        }
    });
    let proxy = proxy(&node.url(), Some(&liar.to_string()), logs.path(), &[]);
    for stream in [false, true, false, true] {
        let answer = chat(&proxy, "Hello", stream).unwrap();
        assert_eq!(answer.status, 502, "{}", answer.body);
        assert_eq!(code(&answer), "sealed.plaintext");
        assert!(!answer.body.contains("FORGED"), "{}", answer.body);
    }
}

#[test]
fn simulated_evidence_of_a_key_needs_permission_and_nothing_is_sealed_without() {
    let logs = tempfile::tempdir().unwrap();
    let node = Node::start(logs.path(), &[]).unwrap();
    let proxy = start_proxy(&node.url(), logs.path(), &["--sealed", "--policy", "development"]).unwrap();
    let answer = chat(&proxy, "Hello", false).unwrap();
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(code(&answer), "simulated.not_allowed");
    let metrics = http::request(node.enclave.ready("metrics"), "GET", "/metrics", "", |_| ()).unwrap();
    assert!(
        metrics.body.contains("{outcome=\"answered\"} 0\n"),
        "{}",
        metrics.body
    );
}

#[test]
fn a_relay_without_sealed_mode_or_with_two_nodes_is_a_usage_error() {
    let run = |arguments: &[&str]| {
        let output = Command::new(&Binaries::build().cli)
            .args(["proxy", "--policy", "development", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let relay = ["--relay", "http://127.0.0.1:1", "https://127.0.0.1:1"];
    let (code, text) = run(&relay);
    assert!(code == Some(2) && text.contains("--sealed"), "{code:?} {text}");
    let (code, text) = run(&["--sealed", relay[0], relay[1], relay[2], "https://127.0.0.1:2"]);
    assert!(
        code == Some(2) && text.contains("proxy.relay_nodes"),
        "{code:?} {text}"
    );
}
