//! `credential`: nothing is issued without accepted evidence, what is issued
//! says what the evidence said, and whatever was changed is refused.

use std::path::Path;

use bastide_attestation::{Attester as _, PlatformEvidence, snp::SnpReport};
use bastide_attestation::{
    BootId, Credential, EpochStatement, Evidence, GpuSeedKind, InclusionProof, KeyThumbprint, LeafHash,
    ManifestDigest, PolicyDigest, Salt, StatementDigest, TimeSource, Tree, UnixTime,
};
use bastide_attester::simulator::{Generation, Simulator, SimulatorOptions};

use crate::process::{Run, run};

/// Beginning of 2026, when the simulator's machine was started.
const NOW: u64 = 1_767_225_600;
const AT: &str = "2026-01-01T00:10:00Z";
const PIPELINE: &str = "00112233445566778899aabbccddeeff";
const MODEL: ManifestDigest = ManifestDigest::new([0x60; 32]);

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
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

    /// The shipped policy for simulated machines, without GPUs.
    fn policy(&self) -> String {
        let mut policy: toml::Table = bastide_verifier::shipped::by_name("development")
            .unwrap()
            .parse()
            .unwrap();
        policy.remove("gpu").unwrap();
        policy["roots"].as_table_mut().unwrap().remove("gpu_extra");
        let ignored = policy["ignore"].as_array_mut().unwrap();
        ignored.retain(|check| !check.as_str().unwrap().starts_with("gpu."));
        self.written("ours.toml", toml::to_string(&policy).unwrap().as_bytes())
    }
}

/// Evidence of a simulated enclave as `verify --save-evidence` keeps it, and
/// the REPORT_ID in it.
fn evidence() -> (Vec<u8>, String) {
    let options = SimulatorOptions::new(Generation::Genoa, UnixTime::from_secs(NOW));
    let simulator = Simulator::new(options).unwrap();
    let tree = Tree::new(&[LeafHash::new([1; 32])]).unwrap();
    let statement = EpochStatement {
        boot_id: BootId::new([1; 16]),
        epoch: 0,
        previous: StatementDigest::new([0; 32]),
        depth: tree.depth(),
        root: tree.root(),
        gpu_epoch: 0,
        gpu_digest: None,
        gpu_seed: GpuSeedKind::PreviousStatement,
        session_key: [2; 32],
        receipt_key: KeyThumbprint::new([3; 32]),
        sealed_key: None,
        model: MODEL,
        configuration: PolicyDigest::new([5; 32]),
        time_ms: NOW * 1000,
        time_source: TimeSource::Host,
        debug: false,
        pipeline: false,
    }
    .encode();
    let attestation = simulator.attest(&statement).unwrap();
    let PlatformEvidence::Snp(report) = &attestation.platform else {
        panic!("the simulator makes SNP reports");
    };
    let report_id = SnpReport::parse(report.as_slice())
        .unwrap()
        .report_id()
        .to_string();
    let envelope = Evidence {
        statement: statement.as_bytes().to_vec(),
        proof: InclusionProof {
            index: 0,
            path: Vec::new(),
            salt: Salt::new([0; 32]),
        },
        platform: attestation.platform,
        endorsements: attestation.endorsements,
        gpu: None,
    };
    (envelope.encode(), report_id)
}

struct Owner {
    folder: Folder,
    key: String,
    policy: String,
    evidence: String,
    report_id: String,
    spki: String,
}

impl Owner {
    fn new() -> Self {
        let folder = Folder::new();
        let (evidence, report_id) = evidence();
        Self {
            key: folder.key("owner.key"),
            policy: folder.policy(),
            evidence: folder.written("evidence.cmw", &evidence),
            report_id,
            spki: "ab".repeat(32),
            folder,
        }
    }

    fn issue(&self, out: &str, more: &[&str]) -> Run {
        let fixed = [
            "credential",
            "issue",
            "--evidence",
            &self.evidence,
            "--policy",
            &self.policy,
            "--key",
            &self.key,
            "--pipeline",
            PIPELINE,
            "--spki",
            &self.spki,
            "--at",
            AT,
            "-o",
            out,
        ];
        run(&[&fixed, more].concat())
    }

    fn issued(&self) -> String {
        let out = self.folder.path("credential.cose");
        let run = self.issue(&out, &["--stage", "3-5", "--allow-simulated"]);
        assert_eq!(run.code, 0, "{run:?}");
        out
    }

    fn verify(&self, file: &str, more: &[&str]) -> Run {
        let public = format!("{}.pub", self.key);
        let fixed = ["credential", "verify", file, "--issuer", &public, "--at", AT];
        run(&[&fixed, more].concat())
    }
}

fn refused(run: &Run, exit: i32, code: &str) {
    assert_eq!((run.code, run.stdout.as_str()), (exit, ""), "{run:?}");
    assert!(run.stderr.starts_with(&format!("error {code}  ")), "{run:?}");
}

#[test]
fn what_is_issued_says_what_the_evidence_said_and_verifies() {
    let owner = Owner::new();
    let out = owner.folder.path("credential.cose");
    let issued = owner.issue(
        &out,
        &[
            "--stage",
            "3-5",
            "--days",
            "2",
            "--allow-simulated",
            "--output",
            "json",
        ],
    );
    assert_eq!(issued.code, 0, "{issued:?}");
    let json = issued.json();
    assert_eq!(json["schema"], "bastide.credential-issued/v1");
    let credential = &json["credential"];
    assert_eq!(credential["report_id"], owner.report_id.as_str());
    assert_eq!(credential["model"], MODEL.to_string());
    assert_eq!(credential["pipeline"], PIPELINE);
    assert_eq!(credential["stages"], serde_json::json!([3, 5]));
    assert_eq!(credential["not_before"], "2026-01-01T00:09:00Z");
    assert_eq!(credential["expires"], "2026-01-03T00:10:00Z");
    assert_eq!(json["evidence"]["simulated"], true);

    let verified = owner.verify(&out, &["--output", "json"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    assert_eq!(verified.json()["verified"], true);
    assert_eq!(verified.json()["credential"], *credential);
    let shown = run(&["credential", "show", &out, "--output", "json"]).json();
    assert_eq!(
        (&shown["verified"], &shown["credential"]),
        (&false.into(), credential)
    );
    let human = run(&["credential", "show", &out]);
    for wanted in ["UNVERIFIED", "3-5", "report_id", "2026-01-03T00:10:00Z"] {
        assert!(human.stdout.contains(wanted), "{wanted} in {}", human.stdout);
    }
    let bytes = std::fs::read(Path::new(&out)).unwrap();
    assert!(Credential::inspect(&bytes).is_ok());
    // What is there is not overwritten.
    refused(
        &owner.issue(&out, &["--stage", "3", "--allow-simulated"]),
        2,
        "output.exists",
    );
}

#[test]
fn nothing_is_issued_without_accepted_evidence() {
    let owner = Owner::new();
    let out = owner.folder.path("credential.cose");
    // Simulated, and nobody allowed that.
    let run_ = owner.issue(&out, &["--stage", "3", "--output", "json"]);
    assert_eq!(run_.code, 10, "{run_:?}");
    assert_eq!(run_.json()["evidence"]["code"], "simulated.not_allowed");
    assert_eq!(run_.json()["credential"], serde_json::Value::Null);
    // Altered by one bit, in the report.
    let mut altered = std::fs::read(&owner.evidence).unwrap();
    let (_, id) = (0, hex::decode(&owner.report_id).unwrap());
    let at = altered.windows(id.len()).position(|window| window == id).unwrap();
    altered[at] ^= 1;
    owner.folder.written("evidence.cmw", &altered);
    let run_ = owner.issue(&out, &["--stage", "3", "--allow-simulated"]);
    assert_eq!(run_.code, 10, "{run_:?}");
    assert!(
        run_.stdout.contains("no credential was issued"),
        "{}",
        run_.stdout
    );
    // No evidence at all.
    owner.folder.written("evidence.cmw", b"x");
    let run_ = owner.issue(&out, &["--stage", "3", "--allow-simulated", "--output", "json"]);
    assert_eq!(
        (run_.code, &run_.json()["credential"]),
        (30, &serde_json::Value::Null)
    );
    assert!(!Path::new(&out).exists());
}

#[test]
fn a_credential_that_is_altered_foreign_or_for_another_is_refused() {
    let owner = Owner::new();
    let out = owner.issued();
    let other = owner.folder.key("other.key");
    let foreign = run(&[
        "credential",
        "verify",
        &out,
        "--issuer",
        &format!("{other}.pub"),
        "--at",
        AT,
    ]);
    refused(&foreign, 10, "credential.issuer");

    let bytes = std::fs::read(&out).unwrap();
    let mut altered = bytes.clone();
    *altered.last_mut().unwrap() ^= 1;
    let path = owner.folder.written("altered.cose", &altered);
    refused(&owner.verify(&path, &[]), 10, "credential.signature");
    for (name, bytes) in [("cut.cose", &bytes[..100]), ("text.cose", b"hello")] {
        let path = owner.folder.written(name, bytes);
        refused(&owner.verify(&path, &[]), 30, "credential.malformed");
        refused(&run(&["credential", "show", &path]), 30, "credential.malformed");
    }

    let zeros = "00".repeat(32);
    for more in [
        ["--stage", "6"],
        ["--pipeline", "ffffffffffffffffffffffffffffffff"],
        ["--model", &zeros],
        ["--spki", &zeros],
        ["--report-id", &zeros],
    ] {
        refused(&owner.verify(&out, &more), 10, "credential.other");
    }
    let all = [
        "--stage",
        "4",
        "--pipeline",
        PIPELINE,
        "--spki",
        &owner.spki,
        "--report-id",
        &owner.report_id,
    ];
    assert_eq!(owner.verify(&out, &all).code, 0);
    for at in ["2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"] {
        let public = format!("{}.pub", owner.key);
        let late = run(&["credential", "verify", &out, "--issuer", &public, "--at", at]);
        refused(&late, 10, "credential.time");
    }
}

#[test]
fn stages_days_and_names_out_of_range_are_usage_errors() {
    let owner = Owner::new();
    let out = owner.folder.path("credential.cose");
    for more in [
        ["--stage", "5-3"].as_slice(),
        &["--stage", "65536"],
        &["--stage", "x"],
        &["--stage", "3", "--days", "0"],
        &["--stage", "3", "--days", "366"],
        &[],
    ] {
        assert_eq!(owner.issue(&out, more).code, 2, "{more:?}");
    }
    assert!(!Path::new(&out).exists());
}
