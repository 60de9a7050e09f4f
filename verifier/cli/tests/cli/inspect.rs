//! `inspect` says what a file is, and never that it is good.

use crate::process::{run, snp_vectors};

#[test]
fn reports_and_certificates_are_named_and_marked_unverified() {
    let Some(snp) = snp_vectors() else { return };
    for (file, kind, wanted) in [
        ("genoa-v5/report.bin", "SNP report", "bergamo"),
        ("turin-v5/report.bin", "SNP report", "fmc"),
        ("turin-v5/vcek.der", "certificate", "SEV-VCEK"),
        ("endorsements/ask-ark-genoa.pem", "certificates", "ARK-Genoa"),
        ("endorsements/crl-genoa.pem", "certificates", "revocation list"),
    ] {
        let path = snp.join(file).display().to_string();
        let human = run(&["inspect", &path]);
        assert_eq!((human.code, human.stderr.as_str()), (0, ""), "{human:?}");
        let first = human.stdout.lines().next().unwrap();
        assert!(first.contains(&format!("   {kind}   UNVERIFIED   ")), "{first}");
        assert!(human.stdout.contains(wanted), "{wanted} in {}", human.stdout);
        let json = run(&["inspect", &path, "--output", "json"]).json();
        assert_eq!(
            (&json["schema"], &json["verified"], &json["kind"]),
            (&"bastide.inspect/v1".into(), &false.into(), &kind.into())
        );
    }
}

#[test]
fn what_is_nothing_known_is_malformed() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("empty", b"".as_slice()),
        ("text", b"hello\x1b[2J"),
        ("der", b"\x30\x82\x00\x01"),
        ("cbor", b"\xa1\x01\x02"),
        ("cose", b"\xd2\x80"),
        ("report", &[7; 1184]),
        ("policy", b"schema = \"bastide.policy/v1\"\n"),
        ("pem", b"-----BEGIN CERTIFICATE-----\n"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let run = run(&["inspect", &path.display().to_string()]);
        assert_eq!((run.code, run.stdout.as_str()), (30, ""), "{name} {run:?}");
        assert!(
            run.stderr.contains("input.unknown") && !run.stderr.contains('\u{1b}'),
            "{name} {run:?}"
        );
    }
}
