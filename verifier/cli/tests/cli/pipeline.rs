//! `pipeline` and pipelines' receipts, offline: what an owner signs is what is
//! verified, and of a receipt every stage's part is.

use crate::process::{Run, run};
use crate::simulated_pipeline::{AT, Pipeline, policy, statement_of};
use bastide_attestation::binding::LeafType;
use bastide_attestation::pipeline::PartClaims;
use bastide_attestation::{Binder, Nonce};

const TIME: &str = "2026-03-01T00:00:00Z";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.written("ours.toml", policy().as_bytes());
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn written(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn key(&self, name: &str) -> String {
        let path = self.path(name);
        assert_eq!(run(&["key", "new", "-o", &path]).code, 0);
        path
    }

    fn plan(&self) -> String {
        let weights = "11".repeat(32);
        let text = format!(
            r#"schema = "bastide.pipeline-plan/v1"
pipeline = "{}"
model = "{}"
layers = 6

[[stage]]
layers = [0, 3]
weights = "{weights}"
policy = "ours.toml"

[[stage]]
layers = [3, 6]
weights = "{weights}"
policy = "ours.toml"

[admit]
chips = ["{}"]
"#,
            "66".repeat(16),
            "60".repeat(32),
            "07".repeat(64),
        );
        self.written("plan.toml", text.as_bytes())
    }
}

fn refused(run: &Run, exit: i32, code: &str) {
    assert_eq!((run.code, run.stdout.as_str()), (exit, ""), "{run:?}");
    assert!(run.stderr.starts_with(&format!("error {code}  ")), "{run:?}");
}

#[test]
fn what_an_owner_signs_is_shown_and_verified_and_nothing_else() {
    let folder = Folder::new();
    let (key, stranger) = (folder.key("owner.key"), folder.key("stranger.key"));
    let (plan, out) = (folder.plan(), folder.path("plan.cose"));
    let signed = run(&["pipeline", "sign", &plan, "--key", &key, "-o", &out]);
    assert_eq!(signed.code, 0, "{signed:?}");
    assert!(signed.stdout.contains("SIGNED"), "{signed:?}");
    refused(
        &run(&["pipeline", "sign", &plan, "--key", &key, "-o", &out]),
        2,
        "output.exists",
    );

    let shown = run(&["pipeline", "show", &out]);
    assert_eq!(shown.code, 0, "{shown:?}");
    for wanted in [
        "UNVERIFIED",
        "stage 1",
        "layers 3..6",
        "CHIP_ID",
        "development@sha256",
    ] {
        assert!(shown.stdout.contains(wanted), "{wanted} in {}", shown.stdout);
    }
    let public = format!("{key}.pub");
    let verify = |more: &[&str]| run(&[&["pipeline", "verify", &out, "--owner"], more].concat());
    let ours = folder.path("ours.toml");
    let good = verify(&[
        &public,
        "--policy",
        &ours,
        "--pipeline",
        &"66".repeat(16),
        "--output",
        "json",
    ]);
    assert_eq!(good.code, 0, "{good:?}");
    let json = good.json();
    assert_eq!(
        (&json["schema"], &json["verified"]),
        (&"bastide.pipeline/v1".into(), &true.into())
    );
    assert_eq!(json["plan"]["stages"][1]["layers"], serde_json::json!([3, 6]));
    assert_eq!(json["plan"]["policies"][0]["name"], "development");

    refused(&verify(&[&format!("{stranger}.pub")]), 10, "pipeline.owner");
    refused(
        &verify(&[&public, "--policy", "production"]),
        10,
        "pipeline.policy",
    );
    refused(
        &verify(&[&public, "--pipeline", &"67".repeat(16)]),
        10,
        "pipeline.other",
    );
    refused(
        &verify(&[&public, "--model", &"67".repeat(32)]),
        10,
        "pipeline.other",
    );

    let mut bytes = std::fs::read(&out).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let altered = folder.written("altered.cose", &bytes);
    refused(&run(&["pipeline", "show", &altered]), 10, "pipeline.signature");
    let cut = folder.written("cut.cose", &bytes[..100]);
    refused(&run(&["pipeline", "show", &cut]), 30, "pipeline.malformed");
}

/// A receipt, its plan and its evidence in files, after a change of the parts.
struct Kept {
    folder: Folder,
    evidence: Vec<String>,
}

impl Kept {
    fn new(change: impl FnOnce(&mut Vec<PartClaims>)) -> Self {
        let (folder, pipeline) = (Folder::new(), Pipeline::new());
        let nonce = Nonce::new([0x11; 32]);
        let head = pipeline.guests[0].attest(LeafType::ServerTls, &Binder::new([0x5a; 32]), 4);
        let head = head.encode();
        let stages: Vec<Vec<u8>> = (0..3).map(|at| pipeline.stage(at.into(), at, &nonce)).collect();
        let statements: Vec<_> = stages.iter().map(|envelope| statement_of(envelope)).collect();
        let mut parts = pipeline.parts(&statements);
        change(&mut parts);
        let receipt = pipeline.receipt(&parts, statement_of(&head));
        folder.written("receipt.cose", receipt.as_bytes());
        folder.written("plan.cose", pipeline.plan.as_bytes());
        folder.written(
            "owner.pub",
            format!("{}\n", hex::encode(pipeline.plan.owner())).as_bytes(),
        );
        let mut evidence = vec![folder.written("head.cmw", &head)];
        for (number, envelope) in stages.iter().enumerate() {
            evidence.push(folder.written(&format!("stage-{number}.cmw"), envelope));
        }
        Self { folder, evidence }
    }

    fn verify(&self, evidence: &[String], more: &[&str]) -> Run {
        let (receipt, ours) = (self.folder.path("receipt.cose"), self.folder.path("ours.toml"));
        let mut arguments = vec!["receipt", "verify", &receipt, "--policy", &ours, "--at", TIME];
        for file in evidence {
            arguments.extend(["--evidence", file]);
        }
        arguments.extend(more);
        run(&arguments)
    }
}

#[test]
fn a_pipelines_receipt_is_verified_as_one_object_and_shown_as_a_tree() {
    assert_eq!(bastide_attestation::UnixTime::from_secs(AT).to_string(), TIME);
    let kept = Kept::new(|_| {});
    let (plan, owner) = (kept.folder.path("plan.cose"), kept.folder.path("owner.pub"));
    let named = ["--plan", &plan, "--owner", &owner, "--allow-simulated"];
    let good = kept.verify(&kept.evidence, &named);
    assert_eq!(good.code, 0, "{good:?}");
    for wanted in [
        "pipeline   VERIFIED   3 stages",
        "stage 2   layers 4..6   VERIFIED",
        "pass  joins",
        "pass  part_key",
        "pass  part_weights",
        "pass  emitted",
    ] {
        assert!(good.stdout.contains(wanted), "{wanted} in {}", good.stdout);
    }
    let json = kept
        .verify(&kept.evidence, &[&named[..], &["--output", "json"]].concat())
        .json();
    assert_eq!(json["verdict"], "accepted");
    assert_eq!(json["pipeline"]["stages"][1]["evidence"]["verdict"], "accepted");

    let shown = run(&[
        "receipt",
        "show",
        &kept.folder.path("receipt.cose"),
        "--output",
        "json",
    ])
    .json();
    assert_eq!(shown["pipeline"]["parts"][2]["rows"], 21);
    assert_eq!(shown["pipeline"]["replans"][0]["stage"], 1);
    let shown = run(&["receipt", "show", &kept.folder.path("receipt.cose")]);
    assert!(
        shown
            .stdout
            .contains("9 of 16 drafted tokens accepted in 4 rounds"),
        "{shown:?}"
    );
}

#[test]
fn a_pipelines_receipt_without_plan_or_evidence_of_a_stage_is_not_accepted() {
    let kept = Kept::new(|_| {});
    let plan = kept.folder.path("plan.cose");
    refused(
        &kept.verify(&kept.evidence, &["--allow-simulated"]),
        2,
        "receipt.no_plan",
    );
    let named = ["--plan", &plan, "--allow-simulated", "--output", "json"];
    let without = |at: usize| {
        let mut evidence = kept.evidence.clone();
        evidence.remove(at);
        evidence
    };
    let missing = kept.verify(&without(2), &named);
    assert_eq!(
        (missing.code, &missing.json()["code"]),
        (10, &"receipt.distinct".into())
    );
    let stage = &missing.json()["pipeline"]["stages"][1]["checks"];
    let failed = stage
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["status"] == "fail");
    assert_eq!(failed.unwrap()["id"], "receipt.stage_evidence");
    // The stage's evidence is kept, and the policy refuses it.
    let strict = kept.verify(&kept.evidence, &["--plan", &plan]);
    assert_eq!(strict.code, 10, "{strict:?}");
    let stranger = kept
        .folder
        .written("stranger.pub", format!("{}\n", "ab".repeat(32)).as_bytes());
    let owner = kept.verify(&kept.evidence, &[&named[..], &["--owner", &stranger]].concat());
    assert_eq!(
        (owner.code, &owner.json()["code"]),
        (10, &"receipt.plan_owner".into())
    );
}

#[test]
fn every_changed_part_of_a_receipt_has_its_own_code() {
    type Change = fn(&mut Vec<PartClaims>);
    let cases: [(&str, Change); 7] = [
        ("receipt.joins", |parts| parts[1].input = [9; 32]),
        ("receipt.rows", |parts| parts[2].rows = 20),
        ("receipt.emitted", |parts| parts[2].output = [9; 32]),
        ("receipt.part_weights", |parts| parts[1].weights = [9; 32]),
        ("receipt.part_stage", |parts| parts[1].stage = 2),
        ("receipt.stages", |parts| {
            parts.pop();
        }),
        ("receipt.part_key", |parts| {
            // Signed by the others' keys: parts go to guests in order.
            parts.swap(1, 2);
        }),
    ];
    for (code, change) in cases {
        let kept = Kept::new(change);
        let plan = kept.folder.path("plan.cose");
        let named = ["--plan", &plan, "--allow-simulated", "--output", "json"];
        let run = kept.verify(&kept.evidence, &named);
        assert_eq!(run.code, 10, "{code} {run:?}");
        let json = run.json();
        let failed: Vec<&str> = std::iter::once(&json["checks"])
            .filter_map(|checks| checks.as_array())
            .flatten()
            .filter(|check| check["status"] == "fail")
            .filter_map(|check| check["id"].as_str())
            .collect();
        assert!(failed.contains(&code), "{code} in {failed:?}");
        assert_eq!(json["code"].as_str(), failed.first().copied());
    }
}
