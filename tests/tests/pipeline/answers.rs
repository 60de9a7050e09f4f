//! The answer of a pipeline is that of one node, and what proves it holds.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bastide_tests::delay::Delay;
use bastide_tests::http;
use bastide_tests::pipeline::{Options, Pipeline};
use serde_json::Value;

use crate::ask::{PROMPT, SEEDS, Said, TRUST, ask, bastide, one_node, plan, proxy};

/// Pieces of text after which a stage is killed.
const PIECES: u32 = 10;

#[test]
fn one_to_four_stages_answer_as_one_node_with_and_without_speculation() {
    for (stages, form) in [
        (1, "pipelined:4:2"),
        (2, "off"),
        (2, "sync:4"),
        (3, "off"),
        (3, "pipelined:4:3"),
        (4, "auto"),
    ] {
        let logs = tempfile::tempdir().unwrap();
        let options = Options {
            head: &["--speculation", form],
            ..Options::default()
        };
        let pipeline = Pipeline::start(plan(stages), logs.path(), options).unwrap();
        let proxy = proxy(&pipeline.url(), logs.path(), &[]);
        for (seed, expected) in SEEDS.iter().zip(one_node()) {
            let answer = ask(&proxy, PROMPT, *seed, false, |_| ());
            assert_eq!(
                &Said::of(&answer),
                expected,
                "{stages} stages, {form}, seed {seed:?}"
            );
        }
        let drafted = counter(&pipeline, "pipeline_drafted_total");
        assert_eq!(
            drafted > 0,
            form != "off",
            "{stages} stages, {form}: {drafted} tokens drafted"
        );
    }
}

/// A counter of the head's.
pub(crate) fn counter(pipeline: &Pipeline, name: &str) -> u64 {
    let metrics = http::request(pipeline.head.ready("metrics"), "GET", "/metrics", "", |_| ()).unwrap();
    let name = format!("bastide_enclave_{name} ");
    let mut lines = metrics.body.lines();
    let value = lines.find_map(|line| line.strip_prefix(&name));
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn a_stage_killed_in_mid_answer_changes_nothing_and_its_receipt_verifies_with_every_stage() {
    let (plan, other) = (plan(3), plan(2));
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        spares: 1,
        ..Options::default()
    };
    let mut relays = Vec::new();
    let mut pipeline = Pipeline::start_behind(plan, folder.path(), options, |_, address| {
        let relay = Delay::start(&address, Duration::from_millis(10));
        let reached = relay.address().to_string();
        relays.push(relay);
        reached
    })
    .unwrap();
    let url = pipeline.url();
    let answers = folder.path().join("answers");
    let proxy = proxy(&url, folder.path(), &["--save", answers.to_str().unwrap()]);

    // The tail, in the middle of a streamed answer: the spare comes in.
    let tail = Cell::new(Some(pipeline.stages.remove(1)));
    let pieces = Cell::new(0);
    let streamed = ask(&proxy, PROMPT, None, true, |line| {
        pieces.set(pieces.get() + u32::from(line.contains("\"content\"")));
        if pieces.get() == PIECES {
            drop(tail.take());
        }
    });
    assert_eq!(Said::of(&streamed), one_node()[0]);
    assert_eq!(
        counter(&pipeline, "pipeline_replans_total"),
        1,
        "the answer was under way"
    );
    // And on the ring as it is now.
    let drawn = ask(&proxy, PROMPT, SEEDS[1], false, |_| ());
    assert_eq!(Said::of(&drawn), one_node()[1]);

    let evidence = folder.path().join("evidence.cmw");
    let verify = |more: &[&str], file: &Path| {
        let (exit, shown) = bastide(|command| {
            command
                .args(["verify", &url, "--pipeline", "--no-ledger"])
                .args(TRUST);
            command.arg("--save-evidence").arg(&evidence).args(more).arg(file);
        });
        (exit, shown["code"].as_str().unwrap_or_default().to_owned())
    };
    let (accepted, refused) = ((0, String::new()), |code: &str| (10, code.to_owned()));
    assert_eq!(verify(&["--owner"], &other.owner), refused("pipeline.owner"));
    assert_eq!(verify(&["--plan"], &other.file), refused("pipeline.plan_differs"));
    assert_eq!(verify(&["--plan"], &plan.file), accepted);
    assert_eq!(verify(&["--plan-policies", "--owner"], &plan.owner), accepted);

    let kept = kept_answers(&answers);
    assert_eq!(kept.len(), 2);
    let stages = [0, 1, 2].map(|stage| evidence.with_extension(format!("stage-{stage}.cmw")));
    for answer in &kept {
        let judged = judge(answer, &plan.file, &plan.owner, &stages);
        assert_eq!(judged, accepted, "{}", answer.display());
    }
    let answer = &kept[0];
    assert_eq!(replans(answer), 1);
    assert_eq!(
        judge(answer, &plan.file, &other.owner, &stages),
        refused("receipt.plan_owner")
    );
    assert_eq!(
        judge(answer, &other.file, &other.owner, &stages),
        refused("receipt.plan")
    );
    // One guest too few is the first thing that is wrong then; the stage's own check says which.
    for left in 1..3 {
        let mut some = stages.to_vec();
        some.remove(left);
        let (exit, shown) = verdict(answer, &plan.file, &plan.owner, &some);
        assert_eq!(
            (exit, &shown["code"]),
            (10, &"receipt.distinct".into()),
            "without stage {left}"
        );
        let failed: Vec<&str> = shown["pipeline"]["stages"][left]["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|check| check["status"] == "fail")
            .filter_map(|check| check["id"].as_str())
            .collect();
        assert_eq!(failed, ["receipt.stage_evidence"], "without stage {left}");
    }
    pipeline.terminate().unwrap();
}

/// Folders of the answers that the proxy kept, in their order.
fn kept_answers(folder: &Path) -> Vec<PathBuf> {
    let mut kept: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    kept.sort();
    kept
}

/// Exit status and code of a judgement of a kept answer.
fn judge(answer: &Path, plan: &Path, owner: &Path, stages: &[PathBuf]) -> (i32, String) {
    let (exit, shown) = verdict(answer, plan, owner, stages);
    (exit, shown["code"].as_str().unwrap_or_default().to_owned())
}

fn verdict(answer: &Path, plan: &Path, owner: &Path, stages: &[PathBuf]) -> (i32, Value) {
    let salt = fs::read_to_string(answer.join("salt.hex")).unwrap();
    bastide(|command| {
        command
            .args(["receipt", "verify"])
            .arg(answer.join("receipt.cose"))
            .args(TRUST);
        command.arg("--evidence").arg(answer.join("evidence.cmw"));
        for stage in stages {
            command.arg("--evidence").arg(stage);
        }
        command.arg("--plan").arg(plan).arg("--owner").arg(owner);
        command
            .args(["--salt", salt.trim(), "--request"])
            .arg(answer.join("request.body"));
        command.arg("--response").arg(answer.join("response.body"));
    })
}

/// How often the receipt of an answer says that it was taken up again.
fn replans(answer: &Path) -> usize {
    let mut show = Command::new(&bastide_tests::binaries::Binaries::build().cli);
    show.args(["receipt", "show", "--output", "json"])
        .arg(answer.join("receipt.cose"));
    let shown: Value = serde_json::from_slice(&show.output().unwrap().stdout).unwrap();
    shown["pipeline"]["replans"].as_array().map_or(0, Vec::len)
}
