//! `bastide appraise` over real evidence from public hardware.

use std::path::Path;
use std::process::Command;

use bastide_tests::binaries::Binaries;
use serde_json::Value;

struct Vector {
    folder: &'static str,
    chain: &'static str,
    at: &'static str,
    /// A floor that its TCB meets, and one that it doesn't.
    met: &'static str,
    missed: &'static str,
}

const VECTORS: [Vector; 3] = [
    Vector {
        folder: "genoa-v3",
        chain: "ask-ark-genoa.pem",
        at: "2026-06-01T00:00:00Z",
        met: "genoa = { boot_loader = 1, tee = 0, snp = 1, microcode = 1 }",
        missed: "genoa = { boot_loader = 1, tee = 0, snp = 255, microcode = 1 }",
    },
    Vector {
        folder: "genoa-v5",
        chain: "ask-ark-genoa.pem",
        at: "2026-10-01T00:00:00Z",
        met: "bergamo = { boot_loader = 10, tee = 0, snp = 27, microcode = 27 }",
        missed: "bergamo = { boot_loader = 10, tee = 0, snp = 27, microcode = 84 }",
    },
    Vector {
        folder: "turin-v5",
        chain: "ask-ark-turin.pem",
        at: "2026-06-01T00:00:00Z",
        met: "turin = { fmc = 0, boot_loader = 1, tee = 0, snp = 2, microcode = 71 }",
        missed: "turin = { fmc = 255, boot_loader = 1, tee = 0, snp = 2, microcode = 71 }",
    },
];

/// The development policy with AMD's roots, these floors, and no pins.
fn policy(folder: &Path, floor: &str) -> std::path::PathBuf {
    let product = floor.split_whitespace().next().unwrap();
    let text = format!(
        r#"schema = "bastide.policy/v1"
name = "vectors"
description = "for recorded evidence"
ignore = ["snp.launch_measurement", "model.manifest"]
allow_simulated = false

[roots]
amd = ["{product}"]

[snp]
products = ["{product}"]
report_versions = [3, 5]
vmpl = [0, 1, 2, 3]
debug = false
migrate_ma = false
require_alias_check = false
key = "vcek"
id_block = "any"
crl = "soft"

[snp.tcb_floor]
{floor}
"#
    );
    let path = folder.join(format!("{}.toml", text.len()));
    std::fs::write(&path, text).unwrap();
    path
}

fn appraise(vectors: &Path, vector: &Vector, policy: &Path, chain: &str) -> (Option<i32>, Value, String) {
    let snp = vectors.join("snp");
    let output = Command::new(&Binaries::build().cli)
        .arg("appraise")
        .arg("--snp-report")
        .arg(snp.join(vector.folder).join("report.bin"))
        .arg("--vek")
        .arg(snp.join(vector.folder).join("vcek.der"))
        .arg("--chain")
        .arg(snp.join("endorsements").join(chain))
        .arg("--policy")
        .arg(policy)
        .args(["--at", vector.at, "--output", "json"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (
        output.status.code(),
        serde_json::from_slice(&output.stdout).unwrap_or_default(),
        stderr,
    )
}

#[test]
fn real_evidence_is_accepted_where_the_policy_allows_its_tcb_and_refused_where_not() {
    let Some(vectors) = bastide_tests::vectors() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for vector in &VECTORS {
        let met = policy(folder.path(), vector.met);
        let (code, verdict, stderr) = appraise(&vectors, vector, &met, vector.chain);
        assert_eq!(
            (code, verdict["verdict"].as_str()),
            (Some(0), Some("accepted")),
            "{} {verdict} {stderr}",
            vector.folder
        );
        let missed = policy(folder.path(), vector.missed);
        let (code, verdict, stderr) = appraise(&vectors, vector, &missed, vector.chain);
        assert_eq!(
            (code, verdict["code"].as_str()),
            (Some(10), Some("snp.tcb.below_floor")),
            "{} {verdict} {stderr}",
            vector.folder
        );
    }
}

#[test]
fn a_strangers_chain_is_refused() {
    let Some(vectors) = bastide_tests::vectors() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for (vector, stranger) in
        VECTORS
            .iter()
            .zip(["ask-ark-milan.pem", "ask-ark-turin.pem", "asvk-ark-turin.pem"])
    {
        let (code, verdict, stderr) =
            appraise(&vectors, vector, &policy(folder.path(), vector.met), stranger);
        assert_eq!(
            (code, verdict["verdict"].as_str()),
            (Some(10), Some("rejected")),
            "{} {verdict} {stderr}",
            vector.folder
        );
    }
}
