//! The ledger beside the whole chain: two boots of a node, answers, what is
//! found out about them afterwards, offline, and that no word of them is kept.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bastide_tests::binaries::Binaries;
use bastide_tests::node::Node;
use serde_json::Value;

const DEVELOPMENT: [&str; 3] = ["--policy", "development", "--allow-simulated"];
const CANARY: &str = "CANARY-the-words-of-a-prompt";

struct Ledger {
    folder: tempfile::TempDir,
    file: String,
}

impl Ledger {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ledger.redb").display().to_string();
        Self { folder, file }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(&Binaries::build().cli)
            .args(arguments)
            .args(["--ledger", &self.file])
            .output()
            .unwrap()
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {out}\n{err}");
        assert!(!err.contains("the ledger is not kept"), "{err}");
        out
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let out = self.succeeds(&[arguments, &["--output", "json"]].concat());
        out.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn chat(&self, url: &str) {
        self.succeeds(&[&["chat", url, CANARY], DEVELOPMENT.as_slice()].concat());
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn written(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn what_a_node_proved_and_answered_is_kept_compared_and_judged_again() {
    let logs = tempfile::tempdir().unwrap();
    let ledger = Ledger::new();
    let node = Node::start(logs.path(), &[]).unwrap();
    let url = node.url();
    ledger.chat(&url);
    ledger.chat(&url);
    ledger.succeeds(&[&["verify", &url], DEVELOPMENT.as_slice()].concat());

    let receipts = ledger.json(&["ledger", "list", "--receipts"]);
    assert_eq!(receipts.len(), 2);
    assert_eq!(receipts[0]["entry"]["salt"], Value::Null);
    let appraisals = ledger.json(&["ledger", "list", "--appraisals"]);
    assert!(appraisals.len() >= 3, "{appraisals:?}");
    assert!(
        appraisals
            .iter()
            .all(|line| line["entry"]["decision"] == "accepted")
    );
    // The boot, its keys, model and code are the same: an epoch is no change.
    let diff = ledger.json(&["ledger", "diff"]);
    assert_eq!(diff[0]["changes"], serde_json::json!([]), "{diff:?}");

    // Both receipts, out of the ledger alone, and held against each other.
    let number = |at: usize| format!("ledger:{}", receipts[at]["number"]);
    let names = [number(0), number(1)];
    let arguments = ["receipt", "verify", &names[0], &names[1]];
    let verified = ledger.json(&[&arguments[..], &DEVELOPMENT].concat());
    assert_eq!(verified.len(), 2);
    for one in &verified {
        assert_eq!(one["verdict"], "accepted", "{one}");
    }
    let linked = verified[1]["checks"].as_array().unwrap();
    let check = linked
        .iter()
        .find(|check| check["id"] == "receipt.previous")
        .unwrap();
    assert_eq!(check["status"], "pass", "{check}");
    let turned = ledger.run(
        &[
            &["receipt", "verify", &names[1], &names[0]],
            DEVELOPMENT.as_slice(),
        ]
        .concat(),
    );
    assert_eq!(turned.status.code(), Some(10), "{turned:?}");
    assert!(text(&turned.stdout).contains("receipt.sequence"), "{turned:?}");

    let verify = [&["ledger", "verify"], DEVELOPMENT.as_slice()].concat();
    let held = &ledger.json(&verify)[0];
    assert_eq!(
        (&held["holds"], &held["counts"]["receipts"]),
        (&true.into(), &2.into()),
        "{held}"
    );
    assert_eq!(held["counts"]["linked"], 1);
    // Under a policy that accepts no simulated hardware nothing of it holds.
    let refused = ledger.run(&["ledger", "verify", "--policy", "production"]);
    assert_eq!(refused.status.code(), Some(10), "{}", text(&refused.stdout));

    // Another boot at the same address is named by what it changes.
    drop(node);
    let bytes = std::fs::read(&ledger.file).unwrap();
    assert!(
        !bytes
            .windows(CANARY.len())
            .any(|window| window == CANARY.as_bytes())
    );
    let exported = ledger.succeeds(&["ledger", "export"]);
    assert!(!exported.contains(CANARY));
    let kinds: Vec<Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let first = kinds.iter().position(|line| line["kind"] == "evidence").unwrap();
    assert!(kinds[..first].iter().all(|line| line["evidence"].is_null()));
    assert!(kinds.iter().filter(|line| line["kind"] == "receipt").count() == 2);

    // A file that was altered in one place is not read as if nothing were.
    let mut altered = bytes.clone();
    let at = altered.len() / 2;
    for byte in &mut altered[at..at + 64] {
        *byte ^= 0xff;
    }
    let damaged = written(ledger.folder.path(), "damaged.redb", &altered);
    let listed = Command::new(&Binaries::build().cli)
        .args(["ledger", "list", "--ledger"])
        .arg(&damaged)
        .output()
        .unwrap();
    let code = listed.status.code();
    assert!(code == Some(0) || code == Some(30), "{listed:?}");
}

#[test]
fn another_boot_is_named_by_its_keys_and_salts_are_kept_only_if_asked_for() {
    let logs = tempfile::tempdir().unwrap();
    let ledger = Ledger::new();
    for _ in 0..2 {
        let node = Node::start(logs.path(), &[]).unwrap();
        let url = node.url();
        ledger.succeeds(&[&["chat", &url, CANARY, "--keep-salts"], DEVELOPMENT.as_slice()].concat());
    }
    let receipts = ledger.json(&["ledger", "list", "--receipts"]);
    assert_eq!(receipts[0]["entry"]["salt"].as_str().unwrap().len(), 64);
    let appraisals = ledger.json(&["ledger", "list", "--appraisals"]);
    let number = |line: &Value| line["number"].to_string();
    let (from, to) = (
        number(appraisals.first().unwrap()),
        number(appraisals.last().unwrap()),
    );
    let diff = &ledger.json(&["ledger", "diff", "--from", &from, "--to", &to])[0];
    let topics: Vec<_> = diff["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["topic"].as_str().unwrap())
        .collect();
    assert!(topics.contains(&"boot") && topics.contains(&"keys"), "{diff}");
    assert!(!topics.contains(&"model") && !topics.contains(&"code"), "{diff}");
    let same = ledger.run(&["ledger", "diff", "--from", &from, "--to", &to, "--exit-code"]);
    assert_eq!(same.status.code(), Some(10));
}
