//! A stage that the plan lets in and the client's policy doesn't: an answer that
//! it took part in isn't given out, and leaves no receipt behind.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::Path;
use std::process::Command;

use bastide_tests::binaries::Binaries;
use bastide_tests::pipeline::{Options, Pipeline, Plan, run, simulated_chip, start_stage};
use bastide_tests::workspace_root;

use crate::answers::counter;
use crate::ask::{PROMPT, Said, ask, one_node, try_ask};
use crate::trust::{by_own_policy, refused};

/// Pieces of text after which the stage is killed.
const PIECES: u32 = 10;
/// The spare's machine, which the client doesn't accept.
const TURIN: [&str; 2] = ["--simulated-generation", "turin"];

/// Receipts in a ledger: one a line.
fn receipts(ledger: &Path) -> usize {
    let mut list = Command::new(&Binaries::build().cli);
    list.args(["ledger", "list", "--receipts", "--output", "json", "--ledger"]);
    run(list.arg(ledger)).unwrap().lines().count()
}

#[test]
fn an_answer_that_a_refused_stage_took_part_in_is_cut_and_its_receipt_is_not_in_the_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let turin = simulated_chip(folder.path(), &TURIN).unwrap();
    let plan = Plan::sign_edited(folder.path(), 2, true, "development", |source| {
        source.replace("chips = [", &format!("chips = [\"{turin}\", "))
    })
    .unwrap();
    let spare = start_stage(&plan, 1, "spare", folder.path(), &TURIN).unwrap();
    let address = format!("1={}", spare.ready("links"));
    let options = Options {
        head: &["--stage-address", &address],
        ..Options::default()
    };
    let mut pipeline = Pipeline::start(&plan, folder.path(), options).unwrap();

    // The client takes this plan as it is, but holds every stage to its own policy.
    let shipped = fs::read_to_string(workspace_root().join("policies/development.toml")).unwrap();
    let policy = folder.path().join("genoa.toml");
    let genoa = shipped.replace("[\"genoa\", \"turin\"]", "[\"genoa\"]");
    assert_ne!(genoa, shipped);
    fs::write(&policy, genoa).unwrap();
    let (ledger, answers) = (folder.path().join("ledger.redb"), folder.path().join("answers"));
    let named = [
        "--plan",
        plan.file.to_str().unwrap(),
        "--ledger",
        ledger.to_str().unwrap(),
        "--save",
        answers.to_str().unwrap(),
    ];
    let proxy = by_own_policy(&pipeline.url(), folder.path(), &policy, &named);
    let kept = || fs::read_dir(&answers).map_or(0, Iterator::count);

    let whole = ask(&proxy, PROMPT, None, true, |_| ());
    assert_eq!(Said::of(&whole), one_node()[0]);
    assert_eq!(kept(), 1);

    // In the middle of the next one the spare takes the stage's place.
    let stage = Cell::new(Some(pipeline.stages.remove(0)));
    let pieces = Cell::new(0);
    let lines = RefCell::new(Vec::new());
    let cut = try_ask(&proxy, PROMPT, None, true, |line| {
        lines.borrow_mut().push(line.to_owned());
        pieces.set(pieces.get() + u32::from(line.contains("\"content\"")));
        if pieces.get() == PIECES {
            drop(stage.take());
        }
    });
    assert_eq!(counter(&pipeline, "pipeline_replans_total"), 1);
    let said = lines.borrow().join("\n");
    assert!(said.contains("snp.product.not_allowed"), "{said}");
    assert!(!said.contains("[DONE]"), "{said}");
    assert!(cut.is_err(), "{cut:?}");
    assert_eq!(kept(), 1, "it isn't kept as an answer");

    // From then on nothing is sent to a head with such a stage.
    let before = counter(&pipeline, "prompt_tokens_total");
    let again = ask(&proxy, PROMPT, None, false, |_| ());
    assert_eq!(refused(&again), (503, "pipeline.stage_refused".to_owned()));
    assert_eq!(counter(&pipeline, "prompt_tokens_total"), before);

    proxy.terminate(std::time::Duration::from_secs(15)).unwrap();
    assert_eq!(receipts(&ledger), 1, "that of the first answer");
}
