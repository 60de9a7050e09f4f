//! GPUs with real processes: an enclave that won't start where they are not as
//! they must be, and clients that refuse what doesn't vouch for them, before a
//! byte of a prompt is sent.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bastide_tests::binaries::Binaries;
use bastide_tests::http;
use bastide_tests::node::{Node, model_folder, start_proxy};
use bastide_tests::recorder::{Direction, Recorder};
use bastide_tests::workspace_root;
use bastide_verifier::shipped;
use serde_json::{Value, json};

const SET_READY: &str = "nvmlSystemSetConfComputeGpusReadyState";

/// Starts an enclave on a machine whose NVML plays `scenario`. It must not start.
fn refused(folder: &Path, scenario: &str) -> Output {
    fs::write(folder.join("scenario"), scenario).unwrap();
    let _ = fs::remove_file(folder.join("calls"));
    let output = Command::new(&Binaries::build().enclave)
        .env("BASTIDE_FAKE_NVML", folder)
        .args([
            "serve",
            "--attester",
            "simulator",
            "--listen",
            "tcp:127.0.0.1:0",
            "--gpus",
            "nvml",
        ])
        .arg("--nvml-library")
        .arg(Binaries::fake_nvml())
        .arg("--model")
        .arg(model_folder())
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(output.stdout.is_empty(), "it never says it is ready");
    assert!(message.contains("GPUs are closed (ready state 0)"), "{message}");
    let calls = fs::read_to_string(folder.join("calls")).unwrap();
    let set: Vec<&str> = calls
        .lines()
        .filter_map(|line| line.strip_prefix(SET_READY))
        .map(str::trim)
        .collect();
    assert!(
        !set.is_empty() && set.iter().all(|state| *state == "0"),
        "{calls}"
    );
    output
}

fn with_one_gpu(settings: &str, chain: &Path, report: &Path) -> String {
    format!(
        "driver = 550.90.07\ncapabilities = 3 1\nready = 1\n{settings}\n\
         device.0.architecture = 9\ndevice.0.uuid = GPU-0\ndevice.0.vbios = 96.00.9F.00.01\n\
         device.0.chain = {}\ndevice.0.report = {}\n",
        chain.display(),
        report.display()
    )
}

#[test]
fn an_enclave_does_not_start_unless_gpus_are_as_production_needs_them() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, report) = (folder.path().join("chain"), folder.path().join("report"));
    fs::write(&chain, "a chain").unwrap();
    fs::write(&report, "a report").unwrap();
    for (settings, code, sentence) in [
        ("settings = 0 0 0 0", "gpus.nvml", "confidential computing is off"),
        ("settings = 2 1 1 0", "gpus.nvml", "developer tools are on"),
        ("settings = 2 1 0 0\ncount = 0", "gpus.nvml", "NVML sees no GPU"),
        ("settings = 2 1 0 0", "gpu.report.version", "policy `production`"),
    ] {
        let output = refused(folder.path(), &with_one_gpu(settings, &chain, &report));
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        for wanted in [code, sentence, "do: "] {
            assert!(message.contains(wanted), "{settings}: `{wanted}` in {message}");
        }
    }
}

/// Genuine evidence of a real H100, over the nonce of whoever recorded it.
#[test]
fn evidence_of_another_boot_opens_no_gpu() {
    let vectors = std::env::var_os("BASTIDE_VECTORS")
        .map_or_else(|| workspace_root().join("../shared/vectors"), PathBuf::from)
        .join("nvidia/h100-550.90.07");
    if !vectors.is_dir() {
        println!("ignored: no vectors");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (chain, report) = (vectors.join("chain.pem"), vectors.join("report.bin"));
    let scenario = with_one_gpu("settings = 2 1 0 0", &chain, &report);
    let output = refused(folder.path(), &scenario);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("gpu.nonce.mismatch"), "{message}");
}

#[test]
fn a_library_that_is_missing_and_flags_that_contradict_each_other_are_named() {
    let serve = |arguments: &[&str]| {
        let output = Command::new(&Binaries::build().enclave)
            .args(["serve", "--attester", "simulator", "--model"])
            .arg(model_folder())
            .args(arguments)
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), message)
    };
    for (arguments, code, wanted) in [
        (
            ["--gpus=nvml", "--nvml-library=/nowhere/libnvidia-ml.so.1"].as_slice(),
            1,
            "/nowhere/libnvidia-ml.so.1",
        ),
        (&["--rim-dir=/nowhere"], 2, "--gpus nvml"),
        (&["--gpus=none", "--gpu-policy=/nowhere"], 2, "--gpu-policy"),
        (&["--gpu-policy=/nowhere/policy.toml"], 1, "/nowhere/policy.toml"),
    ] {
        let (exit, message) = serve(arguments);
        assert_eq!(exit, Some(code), "{arguments:?}: {message}");
        assert!(message.contains(wanted), "{arguments:?}: {message}");
    }
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "`{from}` is not in the policy");
    text.replace(from, to)
}

/// The shipped development policy without its root for simulated GPUs.
fn without_simulated_root() -> String {
    let text = shipped::DEVELOPMENT;
    let (before, rest) = text.split_once("[[roots.gpu_extra]]").unwrap();
    let (_, after) = rest.split_once("\n[session]\n").unwrap();
    format!("{before}\n[session]\n{after}")
}

/// For machines without GPUs.
fn without_gpus() -> String {
    let text = replaced(&without_simulated_root(), ", \"gpu.device\"]", "]");
    let (before, rest) = text.split_once("\n[gpu]\n").unwrap();
    let (_, after) = rest.split_once("\n[[snp.launch]]\n").unwrap();
    format!("{before}\n[[snp.launch]]\n{after}")
}

fn written(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn verify(url: &str, policy: &str) -> (Option<i32>, Value) {
    let output = Command::new(&Binaries::build().cli)
        .args([
            "verify",
            url,
            "--policy",
            policy,
            "--allow-simulated",
            "--output",
            "json",
        ])
        .output()
        .unwrap();
    let verdict = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), verdict)
}

/// A prompt through a proxy with this policy is refused with this code, and none
/// of it was encrypted to the node.
fn sends_no_prompt(node: &Node, logs: &Path, policy: &str, code: &str) {
    const APPLICATION_DATA: u8 = 23;
    let recorder = Recorder::start(node.shim.ready("listen").trim_start_matches("tcp:"));
    let url = format!("https://{}", recorder.address());
    let proxy = start_proxy(&url, logs, &["--policy", policy, "--allow-simulated"]).unwrap();
    let body = json!({
        "model": "bastide-5m",
        "messages": [{"role": "user", "content": "x".repeat(50_000)}],
    });
    let listen = proxy.ready("listen");
    let answer = http::request(listen, "POST", "/v1/chat/completions", &body.to_string(), |_| ()).unwrap();
    assert_eq!(answer.status, 503, "{}", answer.body);
    let error: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(error["error"]["code"], code, "{}", answer.body);
    let largest = recorder
        .records()
        .iter()
        .filter(|record| record.direction == Direction::ToNode && record.content_type == APPLICATION_DATA)
        .map(|record| record.length)
        .max()
        .expect("an attest request");
    assert!(
        largest < 1_000,
        "a record of {largest} bytes could hold the prompt"
    );
}

#[test]
fn a_simulated_nodes_gpu_is_accepted_by_the_policy_for_it_and_refused_by_every_other() {
    let logs = tempfile::tempdir().unwrap();
    let node = Node::start(logs.path(), &[]).unwrap();
    let url = node.url();
    let (exit, verdict) = verify(&url, "development");
    assert_eq!(exit, Some(0), "{verdict}");
    assert_eq!(
        (&verdict["verdict"], &verdict["simulated"]),
        (&json!("accepted"), &json!(true))
    );
    assert_eq!(verdict["gpus"].as_array().map(Vec::len), Some(1), "{verdict}");
    let checks = verdict["checks"].as_array().unwrap();
    for id in ["gpu.nonce", "gpu.measurements", "gpu.revocation.device"] {
        let check = checks.iter().find(|check| check["id"] == id);
        let check = check.unwrap_or_else(|| panic!("no {id} in {verdict}"));
        assert_eq!(check["status"], "pass", "{id}");
    }

    let none = written(logs.path(), "none.toml", &without_gpus());
    let real = replaced(
        &without_simulated_root(),
        "\namd = []\n",
        "\namd = []\nnvidia = true\n",
    );
    let real = written(logs.path(), "real.toml", &real);
    for (policy, code) in [(&none, "gpu.evidence.not_expected"), (&real, "gpu.root.unknown")] {
        let (exit, verdict) = verify(&url, policy);
        assert_eq!((exit, &verdict["code"]), (Some(10), &json!(code)), "{verdict}");
        sends_no_prompt(&node, logs.path(), policy, code);
    }
}

#[test]
fn a_node_that_names_no_gpu_is_for_policies_that_ask_for_none() {
    let logs = tempfile::tempdir().unwrap();
    let node = Node::start(logs.path(), &["--gpus", "none"]).unwrap();
    let (exit, verdict) = verify(&node.url(), "development");
    assert_eq!(
        (exit, &verdict["code"]),
        (Some(10), &json!("gpu.evidence.missing")),
        "{verdict}"
    );
    sends_no_prompt(&node, logs.path(), "development", "gpu.evidence.missing");
    let none = written(logs.path(), "none.toml", &without_gpus());
    let (exit, verdict) = verify(&node.url(), &none);
    assert_eq!(exit, Some(0), "{verdict}");
}
