//! `appraise` over real recorded evidence: each decision has its exit code and
//! one JSON object.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::process::{Run, recorded_policy, run, snp_vectors};

const AT: &str = "2026-06-01T00:00:00Z";
const MET: &str = "genoa = { boot_loader = 1, tee = 0, snp = 1, microcode = 1 }";
const MISSED: &str = "genoa = { boot_loader = 1, tee = 0, snp = 255, microcode = 1 }";

struct Files {
    report: PathBuf,
    vek: PathBuf,
    chain: PathBuf,
}

fn genoa() -> Option<Files> {
    recorded("genoa-v3", "ask-ark-genoa.pem")
}

fn recorded(folder: &str, chain: &str) -> Option<Files> {
    let snp = snp_vectors()?;
    Some(Files {
        report: snp.join(folder).join("report.bin"),
        vek: snp.join(folder).join("vcek.der"),
        chain: snp.join("endorsements").join(chain),
    })
}

/// Evidence, its chain, a stranger's chain, a floor that it meets and one that it misses.
const RECORDED: [[&str; 5]; 3] = [
    ["genoa-v3", "ask-ark-genoa.pem", "ask-ark-milan.pem", MET, MISSED],
    [
        "genoa-v5",
        "ask-ark-genoa.pem",
        "ask-ark-turin.pem",
        "bergamo = { boot_loader = 10, tee = 0, snp = 27, microcode = 27 }",
        "bergamo = { boot_loader = 10, tee = 0, snp = 27, microcode = 84 }",
    ],
    [
        "turin-v5",
        "ask-ark-turin.pem",
        "asvk-ark-turin.pem",
        "turin = { fmc = 0, boot_loader = 1, tee = 0, snp = 2, microcode = 71 }",
        "turin = { fmc = 255, boot_loader = 1, tee = 0, snp = 2, microcode = 71 }",
    ],
];

#[test]
fn each_generation_is_judged_by_its_floor_and_its_chain() {
    let folder = tempfile::tempdir().unwrap();
    for [name, chain, stranger, met, missed] in RECORDED {
        let (Some(own), Some(strange)) = (recorded(name, chain), recorded(name, stranger)) else {
            return;
        };
        let judged = |files: &Files, floor: &str| {
            let policy = recorded_policy(folder.path(), floor);
            let run = appraise(files, &policy, &["--output", "json"]);
            let verdict: Value = serde_json::from_str(&run.stdout).unwrap();
            (run.code, verdict["verdict"].clone(), verdict["code"].clone())
        };
        assert_eq!(judged(&own, met), (0, "accepted".into(), Value::Null), "{name}");
        let below = (10, "rejected".into(), "snp.tcb.below_floor".into());
        assert_eq!(judged(&own, missed), below, "{name}");
        let (code, verdict, _) = judged(&strange, met);
        assert_eq!(
            (code, verdict),
            (10, "rejected".into()),
            "{name} under {stranger}"
        );
    }
}

fn appraise(files: &Files, policy: &Path, more: &[&str]) -> Run {
    let text = |path: &Path| path.display().to_string();
    let (report, vek, chain, policy) = (
        text(&files.report),
        text(&files.vek),
        text(&files.chain),
        text(policy),
    );
    let fixed = [
        "appraise",
        "--snp-report",
        &report,
        "--vek",
        &vek,
        "--chain",
        &chain,
        "--policy",
        &policy,
        "--at",
        AT,
    ];
    run(&[&fixed, more].concat())
}

#[test]
fn recorded_evidence_is_accepted_and_refused_by_the_policys_floor() {
    let Some(files) = genoa() else { return };
    let folder = tempfile::tempdir().unwrap();
    let policy = recorded_policy(folder.path(), MET);
    let accepted = appraise(&files, &policy, &[]);
    assert_eq!((accepted.code, accepted.stderr.as_str()), (0, ""), "{accepted:?}");
    assert!(
        accepted.stdout.contains("   ACCEPTED   policy recorded@sha256:"),
        "{}",
        accepted.stdout
    );
    assert!(accepted.stdout.contains("– skip  binding"), "{}", accepted.stdout);
    assert!(
        accepted.stdout.contains("You are trusting: "),
        "{}",
        accepted.stdout
    );
    let digest = |line: &str| {
        line.split(|c: char| !c.is_ascii_hexdigit())
            .any(|run| run.len() > 31)
    };
    assert!(
        !accepted.stdout.lines().any(digest),
        "digests are cut: {}",
        accepted.stdout
    );

    let json = appraise(&files, &policy, &["--output", "json"]).json();
    assert_eq!(
        (&json["schema"], &json["verdict"]),
        (&"bastide.verdict/v1".into(), &"accepted".into())
    );
    assert_eq!(
        (&json["at"], &json["simulated"]),
        (&AT.into(), &Value::Bool(false))
    );
    let checks = json["checks"].as_array().unwrap();
    assert!(
        checks.iter().all(|check| match check["id"].as_str() {
            Some("snp.memory_bus") => check["status"] == "not_provable",
            _ => check["status"] == "pass" || check["status"] == "skip",
        }),
        "{json}"
    );
    assert_eq!(json["policy_digest"].as_str().unwrap().len(), 64);

    let policy = recorded_policy(folder.path(), MISSED);
    let refused = appraise(&files, &policy, &[]);
    assert_eq!(refused.code, 10, "{refused:?}");
    let (tree, block) = refused
        .stdout
        .split_once("BLOCKED  snp.tcb.below_floor  ")
        .expect("a refusal");
    assert!(
        tree.find("✘ FAIL").unwrap() < tree.find("✔ pass").unwrap(),
        "failures first: {tree}"
    );
    for row in [
        "; this evidence proves nothing\n",
        "\n  expected  ",
        "\n  got       ",
        "\n  do        ",
    ] {
        assert!(block.contains(row), "{row:?} in {block}");
    }
    let json = appraise(&files, &policy, &["--output", "json"]);
    assert_eq!(
        (json.code, &json.json()["code"]),
        (10, &"snp.tcb.below_floor".into())
    );
}

#[test]
fn a_strangers_chain_an_expected_report_data_and_the_shipped_policies_refuse() {
    let Some(files) = genoa() else { return };
    let folder = tempfile::tempdir().unwrap();
    let policy = recorded_policy(folder.path(), MET);
    let stranger = Files {
        chain: files.chain.with_file_name("ask-ark-turin.pem"),
        report: files.report.clone(),
        vek: files.vek.clone(),
    };
    let refused = appraise(&stranger, &policy, &["--output", "json"]);
    assert_ne!(refused.code, 0, "{refused:?}");
    let other = "11".repeat(64);
    let refused = appraise(&files, &policy, &["--report-data", &other, "--output", "json"]);
    assert_eq!(
        (refused.code, &refused.json()["code"]),
        (10, &"session.report_data".into())
    );
    for shipped in ["production", "development"] {
        assert_ne!(appraise(&files, Path::new(shipped), &[]).code, 0, "{shipped}");
    }
}

#[test]
fn malformed_and_unsupported_evidence_have_their_own_exit_codes() {
    let Some(files) = genoa() else { return };
    let folder = tempfile::tempdir().unwrap();
    let policy = recorded_policy(folder.path(), MET);
    let written = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let report = std::fs::read(&files.report).unwrap();
    let mut newer = report.clone();
    newer[0] = 9;
    for (report, code, exit) in [
        (written("short.bin", &report[..1000]), "snp.report.length", 30),
        (written("newer.bin", &newer), "snp.report.version", 20),
    ] {
        let files = Files {
            report,
            vek: files.vek.clone(),
            chain: files.chain.clone(),
        };
        let run = appraise(&files, &policy, &["--output", "json"]);
        assert_eq!((run.code, &run.json()["code"]), (exit, &code.into()), "{run:?}");
    }
    let bad_pem = Files {
        chain: written(
            "bad.pem",
            b"-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n",
        ),
        report: files.report.clone(),
        vek: files.vek.clone(),
    };
    let run = appraise(&bad_pem, &policy, &["--output", "json"]);
    assert_eq!(
        (run.code, &run.json()["code"]),
        (30, &"input.pem".into()),
        "{run:?}"
    );
    let empty = Files {
        chain: written("empty.pem", b""),
        report: files.report.clone(),
        vek: files.vek.clone(),
    };
    let run = appraise(&empty, &policy, &[]);
    assert_eq!(run.code, 30, "{run:?}");
    assert!(
        run.stdout.contains("input.empty") && run.stdout.contains("empty.pem` is empty"),
        "{run:?}"
    );
    let missing = Files {
        report: folder.path().join("none.bin"),
        ..bad_pem
    };
    let run = appraise(&missing, &policy, &[]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("input.unreadable"), "{run:?}");
}

#[test]
fn a_pem_revocation_list_is_read() {
    let Some(files) = genoa() else { return };
    let folder = tempfile::tempdir().unwrap();
    let policy = recorded_policy(folder.path(), MET);
    let crl = files.chain.with_file_name("crl-genoa.pem").display().to_string();
    let json = appraise(&files, &policy, &["--crl", &crl, "--output", "json"]).json();
    let checks = json["checks"].as_array().unwrap();
    let crl = checks.iter().find(|check| check["id"] == "snp.crl").unwrap();
    assert_ne!(crl["status"], "fail", "{json}");
}
