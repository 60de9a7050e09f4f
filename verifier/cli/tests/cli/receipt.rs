//! `receipt` offline: forms, signatures, and that nothing is accepted without
//! evidence that is.

use std::path::{Path, PathBuf};

use bastide_attestation::{
    Commitment, Endorsements, Evidence, FinishReason, InclusionProof, ManifestDigest, Nonce,
    PlatformEvidence, Receipt, ReceiptClaims, Salt, StatementDigest,
};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::process::{recorded_policy, run, snp_vectors};

fn receipt() -> Receipt {
    let salt = Salt::new([1; 32]);
    let mut response = Commitment::response(&salt);
    response.update(b"answer");
    let claims = ReceiptClaims {
        issued_at: 1_764_000_000,
        nonce: Nonce::new([2; 32]),
        request: Commitment::request(&salt, b"question"),
        response: response.finish(),
        model: ManifestDigest::new([3; 32]),
        statement: StatementDigest::new([4; 32]),
        sequence: 5,
        finish: FinishReason::Stop,
        sampling: [6; 32],
        usage: [7, 8],
        previous: [0; 32],
        pipeline: None,
    };
    let key = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
    let public = key.public_key().as_ref().try_into().unwrap();
    Receipt::sign(claims, &public, |bytes| key.sign(bytes).as_ref().try_into().ok()).unwrap()
}

fn written(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

/// Real evidence of a machine that never stated what we claim it did.
fn foreign_evidence(snp: &Path) -> Vec<u8> {
    let read = |name: &str| std::fs::read(snp.join(name)).unwrap();
    let chain = bastide_verifier::pem_certificates(&read("endorsements/ask-ark-genoa.pem")).unwrap();
    Evidence {
        statement: vec![0xa0],
        proof: InclusionProof {
            index: 0,
            path: Vec::new(),
            salt: Salt::new([0; 32]),
        },
        platform: PlatformEvidence::Snp(Box::new(read("genoa-v3/report.bin").try_into().unwrap())),
        endorsements: Endorsements {
            vek: read("genoa-v3/vcek.der"),
            chain,
            crl: None,
        },
        gpu: None,
    }
    .encode()
}

#[test]
fn show_and_inspect_tell_the_claims_and_vouch_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), "receipt.cose", receipt().as_bytes());
    for arguments in [["receipt", "show", &path].as_slice(), &["inspect", &path]] {
        let human = run(arguments);
        assert_eq!(human.code, 0, "{human:?}");
        for wanted in [
            "UNVERIFIED",
            "sequence",
            "2025-11-24T16:00:00Z",
            "finish",
            "0303030303030303…",
        ] {
            assert!(human.stdout.contains(wanted), "{wanted} in {}", human.stdout);
        }
        let json = run(&[arguments, &["--output", "json"]].concat()).json();
        assert_eq!(json["verified"], false);
    }
}

#[test]
fn an_altered_receipt_is_rejected_and_another_file_is_malformed() {
    let folder = tempfile::tempdir().unwrap();
    let evidence = written(folder.path(), "evidence.cmw", b"x");
    let mut altered = receipt().as_bytes().to_vec();
    *altered.last_mut().unwrap() ^= 1;
    for (bytes, exit, code) in [
        (altered.as_slice(), 10, "receipt.signature"),
        (b"hello", 30, "receipt.malformed"),
        (&receipt().as_bytes()[..100], 30, "receipt.malformed"),
        (receipt().as_bytes(), 30, "evidence.malformed"),
    ] {
        let path = written(folder.path(), "receipt.cose", bytes);
        let run = run(&[
            "receipt",
            "verify",
            &path,
            "--evidence",
            &evidence,
            "--policy",
            "development",
        ]);
        assert_eq!((run.code, run.stdout.as_str()), (exit, ""), "{run:?}");
        assert!(run.stderr.contains(code), "{code} in {}", run.stderr);
    }
}

#[test]
fn evidence_that_does_not_vouch_for_the_statement_refuses_every_receipt() {
    let Some(snp) = snp_vectors() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), "receipt.cose", receipt().as_bytes());
    let evidence = written(folder.path(), "evidence.cmw", &foreign_evidence(&snp));
    let policy: PathBuf = recorded_policy(
        folder.path(),
        "genoa = { boot_loader = 1, tee = 0, snp = 1, microcode = 1 }",
    );
    let policy = policy.display().to_string();
    let arguments = [
        "receipt",
        "verify",
        &path,
        "--evidence",
        &evidence,
        "--policy",
        &policy,
        "--at",
        "2026-06-01T00:00:00Z",
    ];
    let human = run(&arguments);
    assert_ne!(human.code, 0, "{human:?}");
    assert!(
        human.stdout.contains("; this receipt proves nothing\n"),
        "{}",
        human.stdout
    );
    assert!(
        !human.stdout.contains("─ receipt"),
        "nothing to hold it against: {}",
        human.stdout
    );
    let json = run(&[&arguments[..], &["--output", "json"]].concat());
    let verdict = json.json();
    assert_eq!(json.code, human.code);
    assert_eq!(verdict["schema"], "bastide.receipt-verdict/v1");
    assert_eq!(verdict["evidence"]["schema"], "bastide.verdict/v1");
    assert_ne!(verdict["verdict"], "accepted");
    assert_eq!(verdict["code"], verdict["evidence"]["code"]);
    assert_eq!(verdict["checks"], serde_json::json!([]));

    let inspected = run(&["inspect", &evidence, "--output", "json"]).json();
    assert_eq!(inspected["kind"], "evidence envelope");
    let appraised = run(&[
        "appraise",
        "--evidence",
        &evidence,
        "--policy",
        &policy,
        "--at",
        "2026-06-01T00:00:00Z",
        "--output",
        "json",
    ]);
    assert_eq!(appraised.json()["code"], verdict["code"]);
}
