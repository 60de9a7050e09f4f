//! The ledger as commands keep and read it, where no node answers: what is
//! kept, where, and that nothing about it ever changes a verdict. With a node it
//! is in the workspace's end-to-end tests.

use std::path::Path;

use serde_json::Value;

use crate::process::{Run, bastide, data_folder, finish, run};

const NODE: &str = "https://127.0.0.1:1";

fn verify(ledger: &Path) -> Run {
    let ledger = ledger.display().to_string();
    run(&["verify", NODE, "--policy", "development", "--ledger", &ledger])
}

fn ledger(action: &[&str], file: &Path) -> Run {
    let file = file.display().to_string();
    run(&[&["ledger"], action, &["--ledger", &file]].concat())
}

fn lines(run: &Run) -> Vec<Value> {
    let lines = run.stdout.lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_refused_node_is_kept_listed_exported_and_holds() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a").join("ledger.redb");
    for _ in 0..2 {
        let run = verify(&file);
        assert_eq!((run.code, run.stderr.as_str()), (40, ""), "{run:?}");
    }
    let listed = lines(&ledger(&["list", "--output", "json"], &file));
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0]["schema"], "bastide.ledger-entry/v1");
    assert_eq!(listed[1]["number"], 2);
    let entry = &listed[0]["entry"];
    assert_eq!(
        (&entry["kind"], &entry["code"]),
        (&"appraisal".into(), &"session.tcp".into())
    );
    assert_eq!(entry["node"], NODE);
    let human = ledger(&["list", "--last", "1"], &file);
    assert!(
        human.stdout.contains("session.tcp") && human.stdout.lines().count() == 1,
        "{human:?}"
    );
    let none = ledger(&["list", "--receipts"], &file);
    assert_eq!((none.code, none.stdout.as_str()), (0, ""));

    let shown = ledger(&["show", "1", "--output", "json"], &file).json();
    assert_eq!(shown["verdict"]["schema"], "bastide.verdict/v1");
    assert_eq!(shown["verdict"]["at"], shown["time"]);

    let exported = lines(&ledger(&["export", "--since", "2020-01-01T00:00:00Z"], &file));
    assert_eq!(exported.len(), 2);
    for line in exported {
        assert_eq!(
            (&line["schema"], &line["kind"]),
            (&"bastide.ledger-export/v1".into(), &"appraisal".into())
        );
        assert_eq!(line["verdict"]["code"], "session.tcp");
    }

    let diff = ledger(&["diff", "--exit-code"], &file);
    assert_eq!((diff.code, diff.stdout.as_str()), (0, ""));
    assert!(diff.stderr.contains("nothing was ever established"), "{diff:?}");

    let held = ledger(&["verify", "--policy", "development", "--output", "json"], &file).json();
    assert_eq!(
        (&held["holds"], &held["counts"]["evidence"]),
        (&true.into(), &0.into())
    );
}

#[test]
fn a_ledger_that_cannot_be_kept_is_said_once_and_changes_no_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let no_folder = folder.path().join("file").join("ledger.redb");
    std::fs::write(folder.path().join("file"), b"x").unwrap();
    let damaged = folder.path().join("damaged.redb");
    std::fs::write(&damaged, b"this is no ledger").unwrap();
    let unkept = run(&["verify", NODE, "--policy", "development", "--no-ledger"]);
    for file in [&no_folder, &damaged] {
        let run = verify(file);
        assert_eq!(run.code, 40);
        assert_eq!(run.stderr.matches("the ledger is not kept").count(), 1, "{run:?}");
        assert_eq!(run.stdout.lines().count(), unkept.stdout.lines().count());
    }
    assert_eq!(
        std::fs::read(&damaged).unwrap(),
        b"this is no ledger",
        "it is not overwritten"
    );
    for (file, exit, code) in [
        (folder.path().join("none.redb"), 2, "ledger.none"),
        (damaged, 30, "ledger.corrupt"),
    ] {
        let run = ledger(&["list"], &file);
        assert_eq!((run.code, run.stdout.as_str()), (exit, ""), "{run:?}");
        assert!(run.stderr.contains(code), "{run:?}");
        assert!(!file.with_file_name("none.redb").exists(), "reading begins none");
    }
}

#[test]
fn without_a_name_it_is_in_the_data_folder_and_with_no_ledger_nowhere() {
    let home = tempfile::tempdir().unwrap();
    let default = home.path().join("bastide").join("ledger.redb");
    let here = |more: &[&str]| {
        let output = bastide()
            .env("XDG_DATA_HOME", home.path())
            .args(["verify", NODE, "--policy", "development"])
            .args(more)
            .output();
        finish(output.unwrap())
    };
    assert_eq!(here(&["--no-ledger"]).code, 40);
    assert!(!default.exists());
    assert_eq!(here(&[]).code, 40);
    assert!(default.is_file());
    assert!(data_folder().is_dir());
    let both = here(&["--no-ledger", "--keep-salts"]);
    assert_eq!(both.code, 2, "{both:?}");
}

#[test]
fn a_receipt_that_the_ledger_has_not_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.redb");
    assert_eq!(verify(&file).code, 40);
    let file = file.display().to_string();
    for name in [
        "ledger:last",
        "ledger:1",
        "ledger:seq=0",
        "ledger:0011223344556677",
    ] {
        let run = run(&["receipt", "show", name, "--ledger", &file]);
        assert_eq!(run.code, 2, "{run:?}");
        assert!(run.stderr.contains("ledger.no_entry"), "{run:?}");
    }
    let run = run(&["receipt", "show", "ledger:x"]);
    assert_eq!(run.code, 2, "{run:?}");
}
