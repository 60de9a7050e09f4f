//! No prompt goes to a head before its client has accepted every stage, and the
//! plan by which others could take a stage's place.

use std::fs;
use std::path::{Path, PathBuf};

use bastide_tests::http::Answer;
use bastide_tests::node::start_proxy;
use bastide_tests::pipeline::{Options, Pipeline};
use bastide_tests::process::Process;
use bastide_tests::workspace_root;
use serde_json::Value;

use crate::answers::counter;
use crate::ask::{PROMPT, Said, ask, bastide, one_node, plan, proxy};

/// The shipped policy for simulated hardware, as somebody's own file: its digest
/// is another, and it accepts exactly the same evidence.
fn own_policy(folder: &Path) -> PathBuf {
    let shipped = workspace_root().join("policies/development.toml");
    let shipped = fs::read_to_string(shipped).unwrap();
    let file = folder.join("ours.toml");
    fs::write(&file, format!("{shipped}\n# Ours.\n")).unwrap();
    file
}

pub(crate) fn by_own_policy(url: &str, logs: &Path, policy: &Path, more: &[&str]) -> Process {
    let arguments = ["--policy", policy.to_str().unwrap(), "--allow-simulated"];
    start_proxy(url, logs, &[&arguments[..], more].concat()).unwrap()
}

/// Code of an answer that isn't one.
pub(crate) fn refused(answer: &Answer) -> (u16, String) {
    let error: Value = serde_json::from_str(&answer.body).unwrap();
    let code = error["error"]["code"].as_str().unwrap_or_default();
    (answer.status, code.to_owned())
}

#[test]
fn a_plan_that_holds_stages_to_another_policy_than_the_clients_gets_no_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(2);
    let pipeline = Pipeline::start(plan, folder.path(), Options::default()).unwrap();
    let url = pipeline.url();
    let ours = own_policy(folder.path());
    let asked = || counter(&pipeline, "prompt_tokens_total");

    let refusing = by_own_policy(&url, folder.path(), &ours, &["--no-ledger"]);
    let answer = ask(&refusing, PROMPT, None, false, |_| ());
    assert_eq!(refused(&answer), (503, "pipeline.plan_policy".to_owned()));
    assert_eq!(asked(), 0, "no prompt came to the head");

    // What `verify` shows without being asked for stages, and what chat does.
    let trust = [
        "--policy",
        ours.to_str().unwrap(),
        "--allow-simulated",
        "--no-ledger",
    ];
    let (exit, shown) = bastide(|command| {
        command.args(["verify", &url]).args(trust);
    });
    assert_eq!((exit, &shown["code"]), (10, &"pipeline.plan_policy".into()));
    assert_eq!(shown["pipeline"]["stages"].as_array().map(Vec::len), Some(2));
    let (exit, said) = bastide(|command| {
        command.args(["chat", &url, PROMPT]).args(trust);
    });
    assert_eq!((exit, &said["code"]), (10, &"pipeline.plan_policy".into()));
    assert_eq!(asked(), 0, "no prompt came to the head");

    // Whoever accepts the owner's word, or this very plan, is answered.
    let (owner, file) = (plan.owner.to_str().unwrap(), plan.file.to_str().unwrap());
    for named in [["--no-ledger", "--owner", owner], ["--no-ledger", "--plan", file]] {
        let accepting = by_own_policy(&url, folder.path(), &ours, &named);
        let answer = ask(&accepting, PROMPT, None, false, |_| ());
        assert_eq!(Said::of(&answer), one_node()[0], "{named:?}");
    }
    assert!(asked() > 0);
}

#[test]
fn without_all_stages_no_prompt_goes_to_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let mut pipeline = Pipeline::start(plan(2), folder.path(), Options::default()).unwrap();
    drop(pipeline.stages.remove(0));
    let proxy = proxy(&pipeline.url(), folder.path(), &[]);
    let answer = ask(&proxy, PROMPT, None, false, |_| ());
    assert_eq!(refused(&answer), (503, "pipeline.stage_evidence".to_owned()));
    assert_eq!(counter(&pipeline, "prompt_tokens_total"), 0);
}

#[test]
fn a_head_is_refused_in_sealed_mode_before_a_prompt_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = Pipeline::start(plan(2), folder.path(), Options::default()).unwrap();
    let sealed = proxy(&pipeline.url(), folder.path(), &["--sealed"]);
    let answer = ask(&sealed, PROMPT, None, false, |_| ());
    assert_eq!(refused(&answer), (503, "sealed.pipeline".to_owned()));
    assert_eq!(counter(&pipeline, "prompt_tokens_total"), 0);
}
