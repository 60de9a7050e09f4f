//! `cargo demo`: the whole chain on this machine, with real processes, real
//! TLS and a real (small) model. The hardware alone is simulated, and every
//! verdict says so.

mod pipeline;

use std::ffi::OsString;
use std::io::{Write as _, stdout};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use bastide_tests::binaries::Binaries;
use bastide_tests::http;
use bastide_tests::node::{Node, start_proxy};
use bastide_tests::recorder::{Direction, Recorder};
use serde_json::{Value, json};

const HELP: &str = "\
The whole chain on this machine: enclave (simulated hardware), host-shim, verification,
a prompt, its answer, its receipt, and a refusal.

Usage: cargo demo [-- [--serve | --pipeline N] [--prompt TEXT]]

  --serve        leave node and proxy running and print OPENAI_BASE_URL (Ctrl-C ends them)
  --pipeline N   one model over N enclaves (1 to 6), one of them killed in the middle of the answer
  --prompt TEXT  what to ask [default: What is Bastide?]

Examples:
  cargo demo
  cargo demo -- --prompt 'What is the capital of Norway?'
  cargo demo -- --serve
  cargo demo -- --pipeline 3
";

fn main() -> ExitCode {
    let mut serve = false;
    let mut stages = None;
    let mut prompt = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--serve" => serve = true,
            "--prompt" => match arguments.next() {
                Some(text) => prompt = Some(text),
                None => return usage("--prompt wants a text"),
            },
            "--pipeline" => match arguments.next().and_then(|number| number.parse().ok()) {
                Some(number) if (1..=6).contains(&number) => stages = Some(number),
                _ => return usage("--pipeline wants a number from 1 to 6: the model has six layers"),
            },
            "-h" | "--help" => {
                print(HELP);
                return ExitCode::SUCCESS;
            }
            other => return usage(&format!("unknown argument `{other}`")),
        }
    }
    let text = |default: &str| prompt.clone().unwrap_or_else(|| default.to_owned());
    let ended = match stages {
        Some(_) if serve => return usage("--serve and --pipeline don't go together"),
        Some(stages) => pipeline::run(stages, &text("Tell me a story about a fox.")),
        None => run(serve, &text("What is Bastide?")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage(fault: &str) -> ExitCode {
    eprintln!("demo: {fault}\n\n{HELP}");
    ExitCode::from(2)
}

fn print(text: &str) {
    let mut out = stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn step(number: u8, title: &str) {
    print(&format!("\n── {number}. {title}\n"));
}

fn run(serve: bool, prompt: &str) -> Result<(), String> {
    step(1, "build the three commands, as a user would");
    let started = Instant::now();
    let binaries = Binaries::build();
    print(&format!(
        "   bastide-enclave, bastide-shim, bastide: {:.1} s\n",
        started.elapsed().as_secs_f32()
    ));

    step(
        2,
        "a provider starts a node: the enclave, and the host-shim in front of it",
    );
    let logs = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let node = Node::start(logs.path(), &[])?;
    let url = node.url();
    print(&format!(
        "   enclave  {} (SIMULATED hardware, with one SIMULATED H100)\n",
        node.enclave.ready("listen")
    ));
    print(&format!("   shim     {url}  moves ciphertext, holds no key\n"));

    step(3, "a user verifies it; no prompt is sent");
    print(&format!(
        "   $ bastide verify {url} --policy development --allow-simulated\n\n"
    ));
    succeed(Command::new(&binaries.cli).args([
        "verify",
        &url,
        "--policy",
        "development",
        "--allow-simulated",
    ]))?;

    step(
        4,
        "an OpenAI client asks through the local proxy; the answer is streamed",
    );
    let answers = logs.path().join("answers");
    let save = answers.to_str().ok_or("the temporary folder's name is no text")?;
    let arguments = ["--policy", "development", "--allow-simulated", "--save", save];
    let proxy = start_proxy(&url, logs.path(), &arguments)?;
    print(&format!("   {prompt}\n   > "));
    let answer = ask(proxy.ready("listen"), prompt, || {})?;
    if answer.status != 200 {
        return Err(format!("the proxy answered {}: {}", answer.status, answer.body));
    }
    print(&format!(
        "\n   x-bastide-verdict: {}\n",
        answer.header("x-bastide-verdict").unwrap_or("MISSING")
    ));

    step(5, "the receipt of that answer, verified offline");
    verify_receipt(&binaries.cli, &answers, &[])?;

    step(
        6,
        "the same node under the production policy: refused before a byte of the prompt is sent",
    );
    refuse(&node, logs.path(), prompt)?;

    if serve {
        print(&format!(
            "\nLeft running. For any OpenAI client:\n\n  export OPENAI_BASE_URL={}\n  export OPENAI_API_KEY=unused\n\nCtrl-C ends it.\n",
            proxy.ready("base_url")
        ));
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }
    proxy.terminate(Duration::from_secs(10))?;
    node.shim.terminate(Duration::from_secs(10))?;
    node.enclave.terminate(Duration::from_secs(10))?;
    print(&format!("\nDone in {:.1} s.\n", started.elapsed().as_secs_f32()));
    Ok(())
}

/// Runs a command that must end with success; its output is the demo's.
fn succeed(command: &mut Command) -> Result<(), String> {
    let status = command
        .status()
        .map_err(|error| format!("can't start {command:?}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{command:?} ended with {status}"))
    }
}

/// Asks through the proxy, prints the answer as it comes, and tells of each piece before it is printed.
fn ask(proxy: &str, prompt: &str, mut piece_came: impl FnMut()) -> Result<http::Answer, String> {
    let body = json!({
        "model": "bastide-5m",
        "stream": true,
        "temperature": 0,
        "max_tokens": 120,
        "messages": [{"role": "user", "content": prompt}],
    });
    http::request(proxy, "POST", "/v1/chat/completions", &body.to_string(), |line| {
        let chunk = line
            .strip_prefix("data: ")
            .and_then(|data| serde_json::from_str::<Value>(data).ok());
        let piece = chunk
            .as_ref()
            .and_then(|chunk| chunk.pointer("/choices/0/delta/content"));
        if let Some(piece) = piece.and_then(Value::as_str) {
            piece_came();
            print(piece);
        }
    })
}

/// Verifies the receipt that the proxy kept, against evidence, request and answer.
fn verify_receipt(cli: &Path, answers: &Path, further: &[OsString]) -> Result<(), String> {
    let answer = std::fs::read_dir(answers)
        .map_err(|error| format!("the proxy kept no answer: {error}"))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .max()
        .ok_or("the proxy kept no answer")?;
    let salt =
        std::fs::read_to_string(answer.join("salt.hex")).map_err(|error| format!("no salt: {error}"))?;
    print("   $ bastide receipt verify receipt.cose --evidence evidence.cmw --policy development …\n\n");
    succeed(
        Command::new(cli)
            .args(["receipt", "verify"])
            .arg(answer.join("receipt.cose"))
            .arg("--evidence")
            .arg(answer.join("evidence.cmw"))
            .args([
                "--policy",
                "development",
                "--allow-simulated",
                "--salt",
                salt.trim(),
                "--request",
            ])
            .arg(answer.join("request.body"))
            .arg("--response")
            .arg(answer.join("response.body"))
            .args(further),
    )
}

/// Asks the same node through a proxy that holds the production policy, with a
/// recorder on the wire to see what was sent.
fn refuse(node: &Node, logs: &Path, prompt: &str) -> Result<(), String> {
    let folder = logs.join("production");
    std::fs::create_dir(&folder).map_err(|error| format!("no folder: {error}"))?;
    let recorder = Recorder::start(node.shim.ready("listen").trim_start_matches("tcp:"));
    let url = format!("https://{}", recorder.address());
    let proxy = start_proxy(&url, &folder, &["--policy", "production"])?;
    let padding = " ".repeat(16 * 1024);
    let answer = ask(proxy.ready("listen"), &format!("{prompt}{padding}"), || {})?;
    let error: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let text = |member: &str| {
        error
            .pointer(member)
            .and_then(Value::as_str)
            .unwrap_or("MISSING")
            .to_owned()
    };
    print(&format!("   HTTP {}  {}\n", answer.status, text("/error/code")));
    for line in text("/error/message").lines() {
        print(&format!("   {line}\n"));
    }
    let sent: usize = recorder
        .records()
        .iter()
        .filter(|record| record.direction == Direction::ToNode && record.content_type == 23)
        .map(|record| record.length)
        .sum();
    print(&format!(
        "   on the wire: {sent} encrypted bytes to the node (handshakes and attest requests), \
         of a prompt of {} bytes: none\n",
        prompt.len() + padding.len()
    ));
    if answer.status != 503 || sent >= padding.len() {
        return Err("the production policy did not refuse the simulated node".to_owned());
    }
    proxy.terminate(Duration::from_secs(10))?;
    Ok(())
}
