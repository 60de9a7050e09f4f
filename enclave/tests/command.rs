//! The command as an operator meets it when something is missing: exit code,
//! a clear line on stderr, nothing on stdout. This build has no simulator.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

fn run(args: &[&str], model: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bastide-enclave"))
        .args(args)
        .arg("--model")
        .arg(model)
        .output()
        .unwrap()
}

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/models/bastide-5m")
}

fn refused(output: &Output, code: i32, words: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(output.stdout.is_empty());
    for word in words {
        assert!(message.contains(word), "`{word}` in: {message}");
    }
}

#[cfg(not(feature = "simulator"))]
#[test]
fn a_build_without_the_simulator_says_so() {
    let output = run(&["serve", "--attester", "simulator"], &model());
    refused(
        &output,
        2,
        &["start.no_simulator", "this build can't simulate", "do: "],
    );
}

#[test]
fn a_machine_without_the_device_says_so() {
    if Path::new("/dev/sev-guest").exists() || Path::new("/sys/kernel/config/tsm/report").exists() {
        println!("ignored: this machine can attest");
        return;
    }
    for attester in ["auto", "sev-guest", "configfs-tsm"] {
        let output = run(&["serve", "--attester", attester], &model());
        refused(&output, 1, &["start.attester", "SEV-SNP", "do: "]);
    }
}

#[test]
fn wrong_flags_are_usage_errors() {
    refused(
        &run(&["serve", "--listen", "udp:1"], &model()),
        2,
        &["tcp:IP:PORT"],
    );
    refused(
        &run(&["serve", "--metrics-listen", "0.0.0.0:1"], &model()),
        2,
        &["loopback"],
    );
    refused(
        &run(&["serve", "--max-tokens", "0"], &model()),
        2,
        &["--max-tokens"],
    );
    refused(
        &run(&["serve", "--endorsements", "/nowhere/at/all"], &model()),
        1,
        &[
            "start.endorsements",
            "/nowhere/at/all",
            "bastide endorsements sync",
        ],
    );
    refused(
        &run(&["serve", "--simulated-generation", "turin"], &model()),
        2,
        &["--attester simulator"],
    );
}

#[test]
fn a_models_manifest_is_printed_and_a_broken_model_is_refused() {
    let output = run(&["manifest"], &model());
    assert_eq!(output.status.code(), Some(0));
    let described: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(described["schema"], "bastide.model-manifest/v1");
    assert_eq!(described["manifest"].as_str().unwrap().len(), 64);

    let folder = tempfile::tempdir().unwrap();
    refused(
        &run(&["manifest"], folder.path()),
        1,
        &["model.read", "config.json", "do: "],
    );
    for entry in fs::read_dir(model()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let weights = folder.path().join("model.safetensors");
    let whole = fs::read(&weights).unwrap();
    fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    refused(
        &run(&["manifest"], folder.path()),
        1,
        &["model.safetensors", "do: "],
    );
    fs::write(&weights, &whole).unwrap();
    let config = fs::read_to_string(folder.path().join("config.json")).unwrap();
    let wider = config.replace("\"hidden_size\": 256", "\"hidden_size\": 320");
    assert_ne!(config, wider);
    fs::write(folder.path().join("config.json"), wider).unwrap();
    refused(&run(&["manifest"], folder.path()), 1, &["model.", "do: "]);
}

#[test]
fn an_endorsement_file_that_is_missing_is_named() {
    let vek = ["serve", "--attester", "auto", "--vek", "/nowhere/vcek.der"];
    refused(&run(&vek, &model()), 1, &["/nowhere/vcek.der", "do: "]);
}

/// A model that never finishes loading, played by a pipe nobody writes to.
#[cfg(feature = "simulator")]
#[test]
fn a_signal_while_starting_ends_the_process() {
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, Signal, kill_process};

    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("config.json");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut enclave = Command::new(env!("CARGO_BIN_EXE_bastide-enclave"))
        .args(["serve", "--attester", "simulator", "--model"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Opens when the enclave reads, which is after it took the signals over.
    let (opened, opens) = std::sync::mpsc::channel();
    std::thread::spawn(move || opened.send(fs::File::options().write(true).open(&pipe)));
    let _held_open = opens.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
    kill_process(Pid::from_child(&enclave), Signal::TERM).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline && enclave.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(10));
    }
    // Killed only if it went on starting; then it has no exit code.
    enclave.kill().unwrap();
    assert_eq!(enclave.wait().unwrap().code(), Some(0));
}

/// A certificate's file and that of its key. The key is for everybody to read.
fn issued(folder: &Path, name: &str) -> [String; 2] {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["node.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let parts = [
        ("CERTIFICATE", certificate.der().to_vec()),
        ("PRIVATE KEY", key.serialize_der()),
    ];
    parts.map(|(label, der)| {
        let file = folder.join(format!("{name} {label}.pem"));
        let text = STANDARD.encode(der);
        fs::write(
            &file,
            format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n"),
        )
        .unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        file.to_str().unwrap().to_owned()
    })
}

#[test]
fn a_certificate_that_cannot_be_served_with_is_refused_before_anything_is_attested() {
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = issued(folder.path(), "one");
    let [_, other] = issued(folder.path(), "other");
    let serve = |certificate: &str, key: &str| {
        let args = ["serve", "--tls-certificate", certificate, "--tls-key", key];
        run(&args, &model())
    };
    for (certificate, key, words) in [
        (
            &certificate,
            &other,
            "the private key is not that of the first certificate",
        ),
        (&key, &key, "expected certificates alone"),
        (&certificate, &certificate, "one private key that has no password"),
    ] {
        let output = serve(certificate, key);
        refused(
            &output,
            1,
            &["start.tls_identity", words, "--tls-certificate", "do: "],
        );
    }
    let output = serve("/nowhere/at/all", &key);
    refused(&output, 1, &["start.tls_file", "/nowhere/at/all", "do: "]);
    for one in ["--tls-certificate", "--tls-key"] {
        let output = run(&["serve", one, &certificate], &model());
        refused(&output, 2, &["--tls-key", "--tls-certificate"]);
    }
}

#[test]
fn a_key_that_everybody_may_read_is_warned_of_and_its_owners_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = issued(folder.path(), "one");
    // A contradiction that is found right after: no machine starts with it.
    let serve = || {
        let args = ["serve", "--tls-certificate", &certificate, "--tls-key", &key];
        let output = run(
            &[&args[..], &["--simulated-generation", "turin"]].concat(),
            &model(),
        );
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let warned = serve();
    assert!(
        warned.contains("enclave.tls_key") && warned.contains("0600"),
        "{warned}"
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let silent = serve();
    assert!(!silent.contains("enclave.tls_key"), "{silent}");
}
