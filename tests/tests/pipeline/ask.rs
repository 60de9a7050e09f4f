//! Asking a node or a head through a proxy, and what one node says.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use bastide_tests::binaries::Binaries;
use bastide_tests::http::{self, Answer};
use bastide_tests::node::{Node, start_proxy};
use bastide_tests::pipeline::Plan;
use bastide_tests::process::Process;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const TRUST: [&str; 3] = ["--policy", "development", "--allow-simulated"];
pub(crate) const PROMPT: &str = "Tell me a story about a fox and a zugzwang-canary.";
/// Tokens of an answer.
pub(crate) const TOKENS: u32 = 64;
/// One greedy answer and one that is drawn.
pub(crate) const SEEDS: [Option<u32>; 2] = [None, Some(11)];

/// A proxy in front of a node, for a client who trusts simulated hardware.
pub(crate) fn proxy(url: &str, logs: &Path, more: &[&str]) -> Process {
    let arguments = [&TRUST[..], &["--no-ledger"], more].concat();
    start_proxy(url, logs, &arguments).expect("the proxy starts")
}

/// Asks; `line` sees each line of a streamed answer as it comes.
pub(crate) fn ask(
    proxy: &Process,
    prompt: &str,
    seed: Option<u32>,
    stream: bool,
    line: impl FnMut(&str),
) -> Answer {
    try_ask(proxy, prompt, seed, stream, line).expect("an answer")
}

/// The same where the answer may be cut.
pub(crate) fn try_ask(
    proxy: &Process,
    prompt: &str,
    seed: Option<u32>,
    stream: bool,
    line: impl FnMut(&str),
) -> Result<Answer, String> {
    let mut body = json!({
        "model": "bastide-5m", "stream": stream, "temperature": 0, "max_tokens": TOKENS,
        "logprobs": true, "top_logprobs": 1,
        "messages": [{"role": "user", "content": prompt}],
    });
    if let Some(seed) = seed {
        body["temperature"] = json!(0.9);
        body["seed"] = json!(seed);
    }
    let path = "/v1/chat/completions";
    http::request(proxy.ready("listen"), "POST", path, &body.to_string(), line)
}

/// Text, and every token with its log probability, to the last digit.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) tokens: Vec<Value>,
}

impl Said {
    pub(crate) fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.body);
        let mut said = Self::default();
        let stream = answer.body.lines().filter_map(|line| line.strip_prefix("data: "));
        let chunks: Vec<Value> = match answer.body.starts_with('{') {
            true => vec![serde_json::from_str(&answer.body).unwrap()],
            false => stream
                .filter_map(|data| serde_json::from_str(data).ok())
                .collect(),
        };
        for chunk in &chunks {
            let choice = &chunk["choices"][0];
            for part in ["message", "delta"] {
                said.text
                    .push_str(choice[part]["content"].as_str().unwrap_or_default());
            }
            said.tokens.extend(
                choice["logprobs"]["content"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .cloned(),
            );
        }
        assert!(!said.tokens.is_empty(), "an answer: {}", answer.body);
        said
    }
}

/// What one node says to [`PROMPT`], for each of [`SEEDS`].
pub(crate) fn one_node() -> &'static [Said] {
    static SAID: OnceLock<Vec<Said>> = OnceLock::new();
    SAID.get_or_init(|| {
        let logs = tempfile::tempdir().unwrap();
        let node = Node::start(logs.path(), &[]).unwrap();
        let proxy = proxy(&node.url(), logs.path(), &[]);
        SEEDS
            .map(|seed| Said::of(&ask(&proxy, PROMPT, seed, false, |_| ())))
            .to_vec()
    })
}

/// A plan for so many stages, with the draft; made once.
pub(crate) fn plan(stages: usize) -> &'static Plan {
    static PLANS: [OnceLock<(TempDir, Plan)>; 5] = [const { OnceLock::new() }; 5];
    let (_, plan) = PLANS[stages].get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::sign(folder.path(), stages, true, "development").unwrap();
        (folder, plan)
    });
    plan
}

/// Runs `bastide`, and gives its exit status and its JSON.
pub(crate) fn bastide(arguments: impl FnOnce(&mut Command)) -> (i32, Value) {
    let mut command = Command::new(&Binaries::build().cli);
    arguments(&mut command);
    let output = command.args(["--output", "json"]).output().unwrap();
    // An error without a verdict is said on stderr.
    let said = match output.stdout.is_empty() {
        true => &output.stderr,
        false => &output.stdout,
    };
    let said = serde_json::from_slice(said).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    (output.status.code().unwrap_or(-1), said)
}
