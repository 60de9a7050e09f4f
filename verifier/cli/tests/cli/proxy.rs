//! The proxy without a node: it stays up, refuses, and answers nobody but
//! programs on this machine.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{bastide, run};

pub(crate) struct Proxy {
    child: Child,
    listen: String,
    stderr: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl Proxy {
    fn start(nodes: &[&str]) -> Self {
        Self::start_with(nodes, &[])
    }

    pub(crate) fn start_with(nodes: &[&str], more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (stderr, ready) = (folder.path().join("stderr"), folder.path().join("ready.json"));
        let mut child = bastide()
            .arg("proxy")
            .args(nodes)
            .args(if more.contains(&"--policy") {
                &[][..]
            } else {
                &["--policy", "development"]
            })
            .args(["--listen", "127.0.0.1:0", "-v", "--ready-file"])
            .arg(&ready)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(said["schema"], "bastide.proxy-ready/v1");
        let listen = said["listen"].as_str().unwrap().to_owned();
        assert_eq!(said["base_url"], format!("http://{listen}/v1"));
        // The file comes right after the line.
        let until = Instant::now() + Duration::from_secs(5);
        while !ready.exists() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(std::fs::read_to_string(&ready).unwrap(), line);
        Self {
            child,
            listen,
            stderr,
            _folder: folder,
        }
    }

    /// Host and port.
    pub(crate) fn listen(&self) -> &str {
        &self.listen
    }

    /// What it said to its person so far.
    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    /// Sends bytes as they are and reads the answer to its end.
    fn raw(&self, request: &str) -> String {
        let mut socket = TcpStream::connect(&self.listen).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // The proxy may close while we still write; what it said counts.
        let _ = socket.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn request(&self, line: &str, headers: &str, body: &str) -> (u16, String, Value) {
        let answer = self.raw(&format!(
            "{line} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            body.len()
        ));
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{answer}"));
        let status = head.get(9..12).and_then(|code| code.parse().ok()).unwrap();
        (
            status,
            head.to_lowercase(),
            serde_json::from_str(body).unwrap_or_default(),
        )
    }

    fn host(&self) -> String {
        format!("host: {}\r\n", self.listen)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const CHAT: &str = "POST /v1/chat/completions";
const CANARY: &str = r#"{"model":"m","messages":[{"role":"user","content":"CANARY-5150"}]}"#;

#[test]
fn without_a_node_requests_get_503_with_the_code_and_the_proxy_stays_up() {
    let proxy = Proxy::start(&["https://127.0.0.1:1", "https://localhost:1"]);
    for _ in 0..2 {
        let (status, head, body) = proxy.request(CHAT, &proxy.host(), CANARY);
        assert_eq!(status, 503, "{body}");
        assert!(
            head.contains("x-bastide-verdict: rejected; code=session.tcp"),
            "{head}"
        );
        assert!(head.contains("content-type: application/json"), "{head}");
        assert!(head.contains("retry-after: "), "{head}");
        let error = &body["error"];
        assert_eq!(
            (&error["code"], &error["param"]),
            (&"session.tcp".into(), &Value::Null)
        );
        let message = error["message"].as_str().unwrap();
        for wanted in [
            "nothing was sent",
            "https://127.0.0.1:1",
            "\n  do  ",
            "also tried https://localhost:1",
        ] {
            assert!(message.contains(wanted), "{wanted:?} in {message}");
        }
    }
    let stderr = std::fs::read_to_string(&proxy.stderr).unwrap();
    assert!(!stderr.contains("CANARY"), "{stderr}");
    assert!(
        stderr.contains("BLOCKED  https://127.0.0.1:1: session.tcp"),
        "{stderr}"
    );
    assert!(stderr.contains("request 1: 503 session.tcp after "), "{stderr}");
    assert_eq!(
        stderr.matches("BLOCKED  https://127.0.0.1:1").count(),
        1,
        "said once: {stderr}"
    );
}

#[test]
fn other_paths_methods_hosts_origins_and_sizes_are_refused_before_any_node_is_asked() {
    let proxy = Proxy::start(&["https://127.0.0.1:1"]);
    let host = proxy.host();
    for (line, headers, status, code) in [
        ("GET /", host.clone(), 404, "unknown_url"),
        ("POST /v1/embeddings", host.clone(), 404, "unknown_url"),
        (
            "GET /.well-known/bastide/attest",
            host.clone(),
            404,
            "unknown_url",
        ),
        (
            "GET /v1/chat/completions",
            host.clone(),
            405,
            "method_not_allowed",
        ),
        (
            "GET /v1/models",
            "host: evil.example\r\n".to_owned(),
            403,
            "proxy.foreign",
        ),
        (
            "GET /v1/models",
            format!("{host}origin: https://evil.example\r\n"),
            403,
            "proxy.foreign",
        ),
        (
            "GET /v1/models",
            format!("{host}sec-fetch-site: cross-site\r\n"),
            403,
            "proxy.foreign",
        ),
        ("GET /v1/models", host, 503, "session.tcp"),
    ] {
        let (got, _, body) = proxy.request(line, &headers, "");
        assert_eq!(
            (got, &body["error"]["code"]),
            (status, &code.into()),
            "{line} {headers:?}"
        );
    }
    let large = "x".repeat(9 * 1024 * 1024);
    let answer = proxy.raw(&format!(
        "{CHAT} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{}",
        proxy.listen,
        large.len(),
        &large[..8 * 1024 * 1024 + 1]
    ));
    assert!(
        answer.starts_with("HTTP/1.1 413 "),
        "{}",
        answer.lines().next().unwrap_or_default()
    );
    assert!(proxy.raw("not http\r\n\r\n").starts_with("HTTP/1.1 400 "));
}

#[test]
fn a_server_that_is_no_node_never_gets_the_prompt() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = std::thread::spawn(move || {
        let mut seen = Vec::new();
        for mut socket in listener.incoming().take(2).map_while(Result::ok) {
            let mut buffer = [0; 4096];
            if let Ok(count) = socket.read(&mut buffer) {
                seen.extend_from_slice(&buffer[..count]);
            }
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
        seen
    });
    let proxy = Proxy::start(&[&format!("https://{address}")]);
    let (status, head, body) = proxy.request(CHAT, &proxy.host(), CANARY);
    assert_eq!(
        (status, &body["error"]["code"]),
        (503, &"session.tls".into()),
        "{head}"
    );
    assert!(!String::from_utf8_lossy(&seen.join().unwrap()).contains("CANARY"));
}

#[test]
fn it_listens_on_loopback_only() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:4181"] {
        let run = run(&[
            "proxy",
            "https://127.0.0.1:1",
            "--policy",
            "development",
            "--listen",
            address,
        ]);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{run:?}");
        assert!(run.stderr.contains("proxy.not_loopback"), "{run:?}");
    }
}

#[cfg(unix)]
#[test]
fn it_ends_with_success_when_it_is_told_to() {
    let mut proxy = Proxy::start(&["https://127.0.0.1:1"]);
    // An idle keep-alive connection must not hold it up.
    let _idle = TcpStream::connect(&proxy.listen).unwrap();
    let pid = proxy.child.id().to_string();
    std::process::Command::new("sh")
        .args(["-c", "kill -TERM \"$0\"", &pid])
        .status()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        if let Some(status) = proxy.child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(0));
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!(
        "still running: {}",
        std::fs::read_to_string(&proxy.stderr).unwrap()
    );
}
