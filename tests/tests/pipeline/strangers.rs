//! A peer that isn't the plan's stage: our clients send the head nothing; the
//! head never becomes whole, a client that asks all the same is told so, and
//! nothing but handshake, HELLO and evidence goes to that peer.

use std::path::Path;
use std::thread;

use bastide_tests::pipeline::{Options, Pipeline, Plan, start_stage};
use bastide_tests::process::Process;
use bastide_tests::recorder::Recorder;
use serde_json::Value;

use crate::ask::{Said, TRUST, ask, bastide, plan, proxy};
use crate::careless;

/// Handshake, HELLO and the head's evidence come to 62,900 bytes; with the least
/// frame of activations, of 4,096, it would be more than this.
const MOST_BEFORE_A_FRAME: usize = 64 * 1024;
/// What the rows of the prompt come to, of 256 values of four bytes each.
const PROMPT_ROWS: usize = 138 * 256 * 4;

/// 138 tokens with the template's.
fn prompt() -> String {
    "There was a fox who lived at the edge of a forest, and a town with walls around it. ".repeat(5)
}

/// A head of `plan` that is told to find stage 1 at what runs as stage 1 of
/// `runs`, and what goes to that stage.
fn behind(plan: &Plan, runs: &Plan, logs: &Path) -> (Pipeline, Process, Recorder) {
    let stranger = start_stage(runs, 1, "stranger", logs, &[]).unwrap();
    let recorder = Recorder::start(stranger.ready("links"));
    let reached = recorder.address().to_string();
    let pipeline = Pipeline::start_behind(plan, logs, Options::default(), |_, _| reached.clone()).unwrap();
    (pipeline, stranger, recorder)
}

#[test]
fn a_stage_of_another_plan_policy_or_machine_gets_no_frame_and_clients_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let logs = |name: &str| {
        let logs = folder.path().join(name);
        std::fs::create_dir(&logs).unwrap();
        logs
    };
    let (ours, other) = (logs("ours"), logs("other"));
    let another = Plan::sign(&other, 2, true, "development").unwrap();
    // What the plan's stage gets, at the same place.
    let (pipeline, _stage, recorder) = behind(plan(2), plan(2), &ours);
    let proxy = proxy(&pipeline.url(), &ours, &[]);
    Said::of(&ask(&proxy, &prompt(), None, false, |_| ()));
    let (status, said) = careless::ask(&pipeline.url(), &prompt());
    assert_eq!(status, 200, "{said}");
    let most = recorder
        .connections()
        .iter()
        .map(|sizes| sizes.to_node)
        .max()
        .unwrap();
    assert!(
        most > MOST_BEFORE_A_FRAME + PROMPT_ROWS,
        "the plan's stage got {most} bytes"
    );

    let strict = Plan::sign(&logs("strict"), 2, true, "production").unwrap();
    let elsewhere = Plan::sign_edited(&logs("elsewhere"), 2, true, "development", |source| {
        let (before, chip) = source.split_once("chips = [\"").unwrap();
        let digit = if chip.starts_with('0') { '1' } else { '0' };
        format!("{before}chips = [\"{digit}{}", &chip[1..])
    })
    .unwrap();
    let strangers = [
        (
            "another owner's plan",
            plan(2),
            &another,
            logs("a"),
            "pipeline.stage_evidence",
        ),
        (
            "a policy without simulated hardware",
            &strict,
            &strict,
            logs("b"),
            "pipeline.plan_policy",
        ),
        (
            "a machine that the plan doesn't name",
            &elsewhere,
            &elsewhere,
            logs("c"),
            "pipeline.stage_evidence",
        ),
    ];
    thread::scope(|scope| {
        for (what, plan, runs, logs, code) in &strangers {
            scope.spawn(move || {
                let (pipeline, _stranger, recorder) = behind(plan, runs, logs);
                let (exit, shown) = bastide(|command| {
                    command
                        .args(["chat", &pipeline.url(), "hello", "--no-ledger"])
                        .args(TRUST);
                });
                assert_eq!((exit, &shown["code"]), (10, &Value::from(*code)), "{what}");
                let (status, error) = careless::ask(&pipeline.url(), &prompt());
                assert_eq!(status, 503, "{what}: {error}");
                assert_eq!(error["error"]["code"], "pipeline_unavailable", "{what}");
                let connections = recorder.connections();
                assert!(!connections.is_empty(), "{what}: it was tried");
                for sizes in connections {
                    assert!(sizes.to_node < MOST_BEFORE_A_FRAME, "{what}: {sizes:?}");
                }
            });
        }
    });
}

#[test]
fn a_stage_whose_weights_are_not_those_of_the_plan_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::sign_edited(folder.path(), 2, true, "development", |source| {
        let (before, weights) = source.rsplit_once("weights = \"").unwrap();
        let digit = if weights.starts_with('0') { '1' } else { '0' };
        format!("{before}weights = \"{digit}{}", &weights[1..])
    })
    .unwrap();
    // Stage 0's are as they were.
    let error = start_stage(&plan, 1, "stage-1", folder.path(), &[]).unwrap_err();
    assert!(error.contains("start.pipeline_other"), "{error}");
    assert!(error.contains("weights of its layers"), "{error}");
}
