//! What a verdict looks like, and what must never be in one.

use super::*;
use bastide_attestation::VERDICT_SCHEMA;

fn check(id: &'static str, status: Status, expected: &str, got: &str) -> Check {
    Check {
        id,
        status,
        expected: expected.to_owned().into(),
        got: got.to_owned().into(),
        basis: Basis::Derived,
    }
}

fn verdict(decision: Decision, code: Option<&'static str>, checks: Vec<Check>) -> Verdict {
    Verdict {
        schema: VERDICT_SCHEMA,
        decision,
        code,
        reason: code.map(|code| format!("reason of {code}")),
        checks,
        roots: vec![format!("ARK-Genoa {}", "ab".repeat(32))],
        simulated: false,
        snp: None,
        platform: None,
        azure: None,
        gpus: Vec::new(),
        uncovered: Vec::new(),
        session: None,
        policy: "ours".to_owned(),
        policy_digest: "cd".repeat(32),
        ignored: vec!["model.manifest".to_owned()],
        at: "2026-06-01T00:00:00Z".to_owned(),
    }
}

const SUBJECT: Subject<'_> = Subject {
    name: "https://node.example",
    accepted: "VERIFIED",
    consequence: "nothing was sent",
    elapsed: None,
    verbose: false,
};

#[test]
fn an_accepted_verdict_is_a_tree_and_names_its_roots() {
    let verdict = verdict(
        Decision::Accepted,
        None,
        vec![
            check("snp.chain.root", Status::Pass, "a root", "ARK-Genoa"),
            check(
                "snp.chain.intermediate",
                Status::Pass,
                "an intermediate",
                "SEV-Genoa",
            ),
            check("snp.vmpl", Status::Pass, "0", "0"),
            check("model.manifest", Status::Skip, "listed", "left out by the policy"),
        ],
    );
    assert_eq!(
        render(&verdict, &SUBJECT, Paint::PLAIN),
        "\
https://node.example   VERIFIED   policy ours@sha256:cdcdcdcdcdcdcdcd…   3 pass, 0 fail, 1 skip
├─ snp
│  ├─ chain
│  │  ├─ ✔ pass  root  ARK-Genoa
│  │  └─ ✔ pass  intermediate  SEV-Genoa
│  └─ ✔ pass  vmpl  0
└─ model
   └─ – skip  manifest  left out by the policy
Left out by the policy: model.manifest
You are trusting: ARK-Genoa abababababababab…; policy ours@sha256:cdcdcdcdcdcdcdcd…; this program; time 2026-06-01T00:00:00Z
"
    );
}

#[test]
fn a_refusal_shows_the_failure_first_and_what_to_do() {
    let verdict = verdict(
        Decision::Rejected,
        Some("snp.tcb.below_floor"),
        vec![
            check("snp.vmpl", Status::Pass, "0", "0"),
            check("snp.tcb.launch", Status::Pass, "a", "b"),
            check("snp.tcb.reported", Status::Fail, "microcode 84", "microcode 27"),
            check("session.binding", Status::Unknown, "bound", "not reached"),
        ],
    );
    let text = render(&verdict, &SUBJECT, Paint::PLAIN);
    let (tree, block) = text.split_once("BLOCKED").unwrap();
    assert!(
        tree.contains("├─ snp\n│  ├─ tcb\n│  │  ├─ ✘ FAIL  reported\n│  │  │  ├─ expected  microcode 84\n"),
        "{tree}"
    );
    assert!(tree.contains("? unknown       1 more not reached"), "{tree}");
    assert!(block.starts_with("  snp.tcb.below_floor  "), "{block}");
    for wanted in [
        "; nothing was sent\n",
        "  expected  microcode 84\n",
        "  got       microcode 27\n",
        "  do        ",
    ] {
        assert!(block.contains(wanted), "{wanted:?} in {block}");
    }
    let verbose = render(
        &verdict,
        &Subject {
            verbose: true,
            ..SUBJECT
        },
        Paint::PLAIN,
    );
    assert!(
        verbose.contains("? unknown  binding  not reached  [derived]"),
        "{verbose}"
    );
}

#[test]
fn simulation_is_loud_and_never_called_verified() {
    let mut verdict = verdict(
        Decision::Accepted,
        None,
        vec![check("snp.vmpl", Status::Pass, "0", "0")],
    );
    verdict.simulated = true;
    let text = render(&verdict, &SUBJECT, Paint::PLAIN);
    assert!(text.starts_with("SIMULATED  "), "{text}");
    assert!(!text.contains("VERIFIED"), "{text}");
}

#[test]
fn text_of_a_peer_cannot_reach_the_terminal() {
    let mut verdict = verdict(
        Decision::Rejected,
        Some("model.not_allowed"),
        vec![check(
            "model.manifest",
            Status::Fail,
            "a\u{1b}[2Kb",
            "c\n✔ pass  model\u{202e}",
        )],
    );
    verdict.policy = "p\u{1b}]0;x\u{7}".to_owned();
    verdict.roots = vec!["r\u{9b}2J".to_owned()];
    let text = render(
        &verdict,
        &Subject {
            verbose: true,
            ..SUBJECT
        },
        Paint::PLAIN,
    );
    assert!(
        !text.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']),
        "{text:?}"
    );
    assert!(
        !text.lines().any(|line| line.starts_with("✔ pass  model")),
        "{text}"
    );
}
