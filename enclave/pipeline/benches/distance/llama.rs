//! llama.cpp over its RPC back end: the same model, the same relays, the same
//! prompts as token ids.
//!
//! Owns its processes, which end with it: a server of layers for each stage
//! after the first, and the one that is asked, which holds the first stage's
//! layers and, where it drafts, the draft. Refuses an answer that it can't read.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::delay::Delay;
use crate::measure::{Answered, K, Text};
use crate::ring::{LAYERS, range};

/// How long a process may take to listen, and llama.cpp to load over RPC.
const STARTS: Duration = Duration::from_secs(60);
const ANSWERS: Duration = Duration::from_secs(120);

/// llama.cpp at work.
pub(crate) struct Llama {
    port: u16,
    processes: Vec<Child>,
    /// Relays end with this process.
    _relays: Vec<Delay>,
}

impl Drop for Llama {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // One that has ended by itself is noticed where it is asked.
            drop(process.kill());
            drop(process.wait());
        }
    }
}

/// One answer of llama.cpp's.
pub(crate) struct Said {
    pub(crate) answered: Answered,
    /// Whether it is the one node's of ours, token for token.
    pub(crate) same: bool,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

fn start(program: &Path, arguments: &[String]) -> Child {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

fn wait_until(what: &str, ready: impl Fn() -> bool) {
    let began = Instant::now();
    while !ready() {
        assert!(began.elapsed() < STARTS, "{what} doesn't answer");
        thread::sleep(Duration::from_millis(50));
    }
}

impl Llama {
    /// Starts it over `stages` machines, its own among them, `one_way` from each
    /// of the others. `folder` is what `tests/peers/llama-rpc` built.
    pub(crate) fn start(folder: &Path, stages: u16, one_way: Duration, drafts: bool) -> Self {
        let (mut processes, mut relays) = (Vec::new(), Vec::new());
        for _ in 1..stages {
            let port = free_port();
            let arguments = format!("-H 127.0.0.1 -p {port} -t 1");
            let words = arguments.split(' ').map(str::to_owned).collect::<Vec<_>>();
            processes.push(start(&folder.join("ggml-rpc-server"), &words));
            let address = format!("127.0.0.1:{port}");
            wait_until("ggml-rpc-server", || TcpStream::connect(&address).is_ok());
            relays.push(Delay::start(&address, one_way));
        }
        let model = |name: &str| folder.join(name).display().to_string();
        let addresses: Vec<String> = relays.iter().map(|relay| relay.address().to_string()).collect();
        let shares = vec!["1"; relays.len()].join(",");
        // Layers of the other stages, and the last norm and head, which it counts as one.
        let away = LAYERS - range(0, stages).len() + 1;
        let port = free_port();
        let arguments = format!(
            "--host 127.0.0.1 --port {port} -t 1 -tb 1 -np 1 -c 512 --no-ui -fit off --rpc {} -ngl {away} -ts {shares}",
            addresses.join(","),
        );
        let mut words: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        words.extend(["-m".to_owned(), model("bastide-5m.gguf")]);
        if drafts {
            let draft = format!(
                "--spec-type draft-simple -ngld 0 -devd none -td 1 -tbd 1 \
                 --spec-draft-n-max {K} --spec-draft-n-min 1 --spec-draft-p-min 0"
            );
            words.extend(draft.split(' ').map(str::to_owned));
            words.extend(["-md".to_owned(), model("bastide-5m-draft.gguf")]);
        }
        processes.push(start(&folder.join("llama-server"), &words));
        let llama = Self {
            port,
            processes,
            _relays: relays,
        };
        wait_until("llama-server", || {
            llama.get("/health").is_some_and(|body| body["status"] == "ok")
        });
        llama
    }

    /// Asks for an answer of at most `budget` tokens, greedily.
    pub(crate) fn answer(&self, text: &Text, budget: usize) -> Said {
        let budget = budget.min(text.answer.len());
        let request = json!({
            "prompt": text.prompt,
            "n_predict": budget,
            "temperature": 0.0,
            "cache_prompt": false,
            "return_tokens": true,
        });
        let began = Instant::now();
        let answer = self.post("/completion", &request);
        let seconds = began.elapsed().as_secs_f64();
        let answer = answer.expect("llama-server answers");
        let tokens = answer["timings"]["predicted_n"].as_u64();
        let tokens = tokens.unwrap_or_else(|| panic!("an answer without its length: {answer}"));
        let ids: Vec<u64> = answer["tokens"]
            .as_array()
            .map(|ids| ids.iter().filter_map(Value::as_u64).collect())
            .unwrap_or_default();
        // It keeps the token that ends an answer to itself.
        let ours = text.answer.iter().take(ids.len()).map(|id| u64::from(*id));
        let same = ids.len() + 1 >= budget && ids.iter().copied().eq(ours);
        Said {
            answered: Answered {
                seconds,
                tokens: u32::try_from(tokens).expect("a short answer"),
                rounds: 0,
            },
            same,
        }
    }

    fn get(&self, path: &str) -> Option<Value> {
        self.http(&format!(
            "GET {path} HTTP/1.1\r\nhost: llama\r\nconnection: close\r\n\r\n"
        ))
    }

    fn post(&self, path: &str, body: &Value) -> Option<Value> {
        let body = body.to_string();
        self.http(&format!(
            "POST {path} HTTP/1.1\r\nhost: llama\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    fn http(&self, request: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(ANSWERS)).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8(answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    }
}
