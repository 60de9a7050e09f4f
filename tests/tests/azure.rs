//! A session with a simulated Azure VM over real TLS: evidence whose statement
//! is in a vTPM's quote, judged by the same command as any other's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bastide_attestation::{sha256, sha384};
use bastide_tests::binaries::Binaries;
use bastide_tests::node::Node;
use bastide_verifier::shipped;
use serde_json::Value;

/// The shipped development policy, for Azure VMs whose PCR 7 has this value.
fn policy(folder: &Path, pcr_7: &[u8; 32]) -> PathBuf {
    let window = "not_before = 2020-01-01\nnot_after = 2049-12-31\nreason = \"simulated\"";
    let id_key = hex(&sha384(&[b"bastide-simulated-azure-id-key-v1"]));
    let text = shipped::DEVELOPMENT.replace("id_block = \"forbid\"", "id_block = \"pinned\"");
    assert_ne!(text, shipped::DEVELOPMENT);
    let text = format!(
        "{text}\n[[snp.id_keys]]\ndigest = \"{id_key}\"\n{window}\n\
         [[azure.pcrs]]\nindex = 7\nsha256 = [\"{}\"]\n{window}\n",
        hex(pcr_7)
    );
    let path = folder.join("policy.toml");
    fs::write(&path, text).unwrap();
    path
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What every simulated vTPM has in PCR 7.
fn simulated_pcr_7() -> [u8; 32] {
    sha256(&[b"bastide-simulated-pcr-v1\0", &[7]])
}

fn bastide(arguments: &[&str]) -> (Output, Value) {
    let output = Command::new(&Binaries::build().cli)
        .args(arguments)
        .args(["--output", "json"])
        .output()
        .unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output, json)
}

fn check<'v>(verdict: &'v Value, id: &str) -> &'v str {
    let checks = verdict["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["id"] == id);
    check.unwrap_or_else(|| panic!("no {id} in {verdict}"))["status"]
        .as_str()
        .expect("a status")
}

#[test]
fn a_session_with_an_azure_vm_is_accepted_by_its_quote_and_refused_by_other_policies() {
    let logs = tempfile::tempdir().unwrap();
    let node = Node::start(logs.path(), &["--simulated-platform", "azure"]).unwrap();
    let url = node.url();
    let verify = |policy: &str, more: &[&str]| {
        let fixed = ["verify", &url, "--policy", policy, "--allow-simulated"];
        bastide(&[&fixed, more].concat())
    };

    let good = policy(logs.path(), &simulated_pcr_7()).display().to_string();
    let kept = logs.path().join("evidence.cmw").display().to_string();
    let (output, verdict) = verify(&good, &["--save-evidence", &kept]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(verdict["platform"], "azure");
    for id in [
        "azure.runtime_data",
        "azure.quote.signature",
        "azure.quote.nonce",
        "azure.pcrs",
        "session.binding",
    ] {
        assert_eq!(check(&verdict, id), "pass", "{id}");
    }

    let prompt = [
        "chat",
        &url,
        "--policy",
        &good,
        "--allow-simulated",
        "What is Bastide?",
    ];
    let answered = Command::new(&Binaries::build().cli)
        .args(prompt)
        .output()
        .unwrap();
    assert!(
        answered.status.success() && !answered.stdout.is_empty(),
        "{answered:?}"
    );

    // What was kept proves the same afterwards, but for the session.
    let appraise = [
        "appraise",
        "--evidence",
        &kept,
        "--policy",
        &good,
        "--allow-simulated",
    ];
    let (output, verdict) = bastide(&appraise);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(check(&verdict, "azure.quote.nonce"), "pass");
    assert_eq!(check(&verdict, "session.binding"), "skip");

    let (output, verdict) = verify("development", &[]);
    assert_eq!(
        (output.status.code(), &verdict["code"]),
        (Some(10), &"azure.not_allowed".into())
    );
    let other = policy(logs.path(), &[7; 32]).display().to_string();
    let (output, verdict) = verify(&other, &[]);
    assert_eq!(
        (output.status.code(), &verdict["code"]),
        (Some(10), &"azure.pcr.not_allowed".into())
    );
}
