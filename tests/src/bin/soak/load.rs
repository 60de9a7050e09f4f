//! What goes on during a soak: prompts through proxies, new sessions, kills.
//! Each kind counts what came of it; none stops the run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bastide_tests::binaries::Binaries;
use bastide_tests::http;
use bastide_tests::node::Node;
use bastide_tests::watcher::Watcher;
use serde_json::json;

/// In every prompt; must never be seen on a wire.
pub(crate) const CANARY: &str = "zugzwang-canary-2218";
/// Bytes of a request at least: no record that is allowed before an attestation holds one.
const REQUEST_BYTES: usize = 6 * 1024;

/// Counters of one kind of work.
#[derive(Debug, Default)]
pub(crate) struct Count {
    pub(crate) done: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) failed: AtomicU64,
}

impl Count {
    pub(crate) fn add(to: &AtomicU64) {
        to.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> [u64; 3] {
        [&self.done, &self.refused, &self.failed].map(|count| count.load(Ordering::Relaxed))
    }
}

/// Says when to stop.
pub(crate) type Stop = Arc<AtomicBool>;

/// Repeats `work` until told to stop.
pub(crate) fn repeat(
    stop: &Stop,
    pause: Duration,
    mut work: impl FnMut() + Send + 'static,
) -> thread::JoinHandle<()> {
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            work();
            thread::sleep(pause);
        }
    })
}

/// One short answer to a marked prompt.
pub(crate) fn prompt(proxy: &str, stream: bool, count: &Count) {
    let body = json!({
        "model": "bastide-5m", "stream": stream, "temperature": 0, "max_tokens": 4,
        "messages": [{"role": "user", "content": format!("Say {CANARY} please")}],
    });
    // Space between two members: part of the request, and not of the prompt.
    let mut body = body.to_string();
    body.insert_str(1, &" ".repeat(REQUEST_BYTES));
    match http::request(proxy, "POST", "/v1/chat/completions", &body, |_| ()) {
        Ok(answer) if answer.status == 200 => Count::add(&count.done),
        Ok(_) => Count::add(&count.refused),
        Err(_) => Count::add(&count.failed),
    }
}

/// A new session, attested and closed.
pub(crate) fn verify(url: &str, count: &Count) {
    let status = Command::new(&Binaries::build().cli)
        .args(["verify", url, "--policy", "development", "--allow-simulated"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Count::add(&count.done),
        Ok(_) => Count::add(&count.refused),
        Err(_) => Count::add(&count.failed),
    }
}

/// A node that is killed and started anew.
#[derive(Debug)]
pub(crate) struct Mortal {
    node: Mutex<Option<Node>>,
    logs: PathBuf,
    arguments: Vec<String>,
    watcher: Watcher,
}

impl Mortal {
    pub(crate) fn new(node: Node, logs: &Path, arguments: &[&str], watcher: Watcher) -> Self {
        Self {
            node: Mutex::new(Some(node)),
            logs: logs.to_path_buf(),
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            watcher,
        }
    }

    /// Kills enclave and shim without a word, and starts others.
    pub(crate) fn kill(&self, count: &Count) {
        let mut node = self.node.lock().unwrap_or_else(PoisonError::into_inner);
        drop(node.take());
        thread::sleep(Duration::from_secs(2));
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        match Node::start(&self.logs, &arguments) {
            Ok(started) => {
                self.watcher
                    .redirect(started.shim.ready("listen").trim_start_matches("tcp:"));
                *node = Some(started);
                Count::add(&count.done);
            }
            Err(message) => {
                eprintln!("{message}");
                Count::add(&count.failed);
            }
        }
    }
}
