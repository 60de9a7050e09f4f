//! A pipeline whose plan names no machine: who is let in shows a credential that
//! its owner issues after the enclave was started, for the key of that boot.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use bastide_tests::binaries::Binaries;
use bastide_tests::node::Node;
use bastide_tests::pipeline::{Pipeline, Plan, run, start_stage};
use std::process::Command;

use crate::ask::{PROMPT, Said, TRUST, ask, bastide, one_node, proxy, try_ask};

/// How long a head may take to be let in, and its stages.
const LET_IN: Duration = Duration::from_secs(60);

#[test]
fn enclaves_are_let_in_by_credentials_that_are_issued_and_given_to_them_while_they_run() {
    let folder = tempfile::tempdir().unwrap();
    let owner = folder.path().join("owner.key.pub");
    let plan = Plan::sign_edited(folder.path(), 2, true, "development", |source| {
        let (before, _) = source.split_once("chips = ").unwrap();
        format!("{before}issuers = [\"{}\"]\n", owner.display())
    })
    .unwrap();
    let file = |name: &str| folder.path().join(name);
    let given = |stage: u16| file(&format!("stage-{stage}.given"));
    let argument = |stage: u16| given(stage).to_str().unwrap().to_owned();
    let stage = start_stage(&plan, 1, "stage", folder.path(), &["--credential", &argument(1)]).unwrap();
    let head_arguments = [
        "--credential".to_owned(),
        argument(0),
        "--stage-address".to_owned(),
        format!("1={}", stage.ready("links")),
    ];
    let head_arguments = head_arguments.each_ref().map(String::as_str);
    let head = Pipeline::start_head(&plan, folder.path(), &head_arguments).unwrap();
    let url = |listen: &str| format!("https://{listen}");
    let urls = [url(head.ready("listen")), url(stage.ready("listen"))];

    // Without one, nobody is let in.
    let proxy = proxy(&urls[0], folder.path(), &[]);
    assert_eq!(ask(&proxy, PROMPT, None, false, |_| ()).status, 503);

    let issue = |url: &str, stage: u16, trust: &[&str]| {
        bastide(|command| {
            command.args(["credential", "issue", "--node", url, "--key"]);
            command.arg(file("owner.key")).args(trust);
            command.args([
                "--pipeline",
                &"5a".repeat(16),
                "--stage",
                &stage.to_string(),
                "-o",
            ]);
            command.arg(file(&format!("stage-{stage}.cose")));
        })
    };
    // Nothing is signed for whom the owner's policy refuses, nor for a node outside pipelines.
    let (exit, refused) = issue(&urls[1], 1, &["--policy", "production"]);
    assert_eq!(
        (exit, &refused["credential"]),
        (10, &serde_json::Value::Null),
        "{refused}"
    );
    let outside = Node::start(folder.path(), &[]).unwrap();
    let (exit, refused) = issue(&outside.url(), 1, &TRUST);
    assert_eq!((exit, &refused["code"]), (10, &"credential.no_link_key".into()));
    assert!(!file("stage-1.cose").exists());

    for (stage, url) in (0..).zip(&urls) {
        let (exit, issued) = issue(url, stage, &TRUST);
        assert_eq!(exit, 0, "{issued}");
        // Whole, whenever the enclave looks.
        fs::rename(file(&format!("stage-{stage}.cose")), given(stage)).unwrap();
    }
    let mut verify = Command::new(&Binaries::build().cli);
    verify.args(["credential", "verify", "--issuer"]).arg(&owner);
    run(verify.args(["--stage", "1"]).arg(given(1))).unwrap();

    let began = Instant::now();
    let said = loop {
        match try_ask(&proxy, PROMPT, None, false, |_| ()) {
            Ok(answer) if answer.status == 200 => break Said::of(&answer),
            other => assert!(began.elapsed() < LET_IN, "{other:?}"),
        }
        thread::sleep(Duration::from_millis(500));
    };
    assert_eq!(said, one_node()[0]);
}
