//! Keys, signed policies and signed results, as the people who hold them use
//! them: one signs, another verifies, and whatever was changed is refused.

use std::path::Path;

use crate::process::{Run, run};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// A new key; its public half is in `NAME.pub`.
    fn key(&self, name: &str) -> String {
        let path = self.path(name);
        assert_eq!(run(&["key", "new", "-o", &path]).code, 0);
        path
    }

    fn policy(&self) -> String {
        let path = self.path("ours.toml");
        assert_eq!(
            run(&["policy", "init", "--profile", "development", "-o", &path]).code,
            0
        );
        path
    }
}

fn append(path: &str, text: &str) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes.extend_from_slice(text.as_bytes());
    std::fs::write(path, bytes).unwrap();
}

fn refused(run: &Run, exit: i32, code: &str) {
    assert_eq!((run.code, run.stdout.as_str()), (exit, ""), "{run:?}");
    assert!(run.stderr.starts_with(&format!("error {code}  ")), "{run:?}");
}

#[test]
fn a_key_is_private_shown_as_its_public_half_and_never_overwritten() {
    let folder = Folder::new();
    let path = folder.path("a.key");
    let made = run(&["key", "new", "-o", &path, "--output", "json"]).json();
    let public = made["public_key"].as_str().unwrap();
    assert_eq!(
        std::fs::read_to_string(format!("{path}.pub")).unwrap(),
        format!("{public}\n")
    );
    let secret = std::fs::read_to_string(&path).unwrap();
    assert!(secret.starts_with("-----BEGIN PRIVATE KEY-----\n"), "a PEM");
    for named in [path.clone(), format!("{path}.pub")] {
        assert_eq!(run(&["key", "show", &named, "--output", "json"]).json(), made);
    }
    refused(&run(&["key", "new", "-o", &path]), 2, "output.exists");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), secret);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}

#[test]
fn a_policy_that_enough_people_signed_is_used_and_any_other_is_refused() {
    let folder = Folder::new();
    let (policy, alice, bob) = (folder.policy(), folder.key("alice"), folder.key("bob"));
    let (alice_pub, bob_pub) = (format!("{alice}.pub"), format!("{bob}.pub"));
    let both = ["--signer", &alice_pub, "--signer", &bob_pub];
    let check = |more: &[&str]| run(&[&["policy", "verify", &policy], both.as_slice(), more].concat());

    refused(&check(&[]), 10, "policy.not_signed");
    assert_eq!(run(&["policy", "sign", &policy, "--key", &alice]).code, 0);
    assert_eq!(check(&["--threshold", "1"]).code, 0);
    let one = check(&[]);
    refused(&one, 10, "policy.not_signed");
    assert!(one.stderr.contains("did not sign"), "{one:?}");
    assert_eq!(run(&["policy", "sign", &policy, "--key", &bob]).code, 0);
    let signed = check(&["--output", "json"]).json();
    assert_eq!(signed["valid"].as_array().unwrap().len(), 2, "{signed}");

    // Every command asks the same before it does anything else.
    let evidence = folder.path("none.cmw");
    let node = "https://127.0.0.1:1";
    let commands: [&[&str]; 5] = [
        &["verify", node],
        &["chat", node, "CANARY"],
        &["proxy", node, "--listen", "127.0.0.1:0"],
        &["appraise", "--evidence", &evidence],
        &["receipt", "verify", &evidence, "--evidence", &evidence],
    ];
    let signers = [
        "--policy",
        &policy,
        "--policy-signer",
        &alice_pub,
        "--policy-signer",
        &bob_pub,
    ];
    let used = run(&[commands[0], &signers].concat());
    assert_eq!(
        used.code, 40,
        "the policy is good, the node isn't there: {used:?}"
    );
    append(&policy, "# a comment more\n");
    for command in commands {
        refused(&run(&[command, &signers].concat()), 10, "policy.not_signed");
    }
    let changed = check(&[]);
    assert!(changed.stderr.contains("signed something else"), "{changed:?}");

    // Signing again keeps no signature of the older version.
    let again = run(&["policy", "sign", &policy, "--key", &alice, "--output", "json"]).json();
    assert_eq!(again["signers"].as_array().unwrap().len(), 1, "{again}");
    refused(&check(&[]), 10, "policy.not_signed");
    assert_eq!(check(&["--threshold", "1"]).code, 0);
}

#[test]
fn a_key_named_twice_counts_once_and_a_shipped_policy_has_no_signatures() {
    let folder = Folder::new();
    let (policy, alice) = (folder.policy(), format!("{}.pub", folder.key("alice")));
    let twice = [
        "policy",
        "verify",
        &policy,
        "--signer",
        &alice,
        "--signer",
        &alice,
        "--threshold",
        "2",
    ];
    refused(&run(&twice), 2, "policy.signers");
    let shipped = run(&["verify", "https://127.0.0.1:1", "--policy-signer", &alice]);
    refused(&shipped, 10, "policy.not_signed");
    assert!(
        shipped.stderr.contains("policy init --profile production"),
        "{shipped:?}"
    );
    assert_eq!(
        run(&["verify", "https://127.0.0.1:1", "--policy-threshold", "1"]).code,
        2
    );
}

#[test]
fn a_signature_file_that_was_edited_is_malformed_and_a_faulty_policy_is_not_signed() {
    let folder = Folder::new();
    let (policy, alice) = (folder.policy(), folder.key("alice"));
    let public = format!("{alice}.pub");
    assert_eq!(run(&["policy", "sign", &policy, "--key", &alice]).code, 0);
    append(&format!("{policy}.sig"), "# mine\n");
    let verify = ["policy", "verify", &policy, "--signer", &public];
    refused(&run(&verify), 30, "policy.signatures_malformed");
    let typo = folder.path("typo.toml");
    let text = std::fs::read_to_string(&policy).unwrap();
    std::fs::write(&typo, text.replace("allow_simulated", "alow_simulated")).unwrap();
    refused(
        &run(&["policy", "sign", &typo, "--key", &alice]),
        30,
        "policy.malformed",
    );
    assert!(!Path::new(&format!("{typo}.sig")).exists());
    refused(
        &run(&["policy", "sign", &policy, "--key", &public]),
        30,
        "key.malformed",
    );
}

/// An appraisal of nothing usable, signed: verdict, result and key.
fn signed_refusal(folder: &Folder) -> (String, String, String, String) {
    let (key, evidence) = (folder.key("auditor"), folder.path("evidence.cmw"));
    std::fs::write(&evidence, b"not an envelope").unwrap();
    let result = folder.path("result.cose");
    let judged = run(&[
        "appraise",
        "--evidence",
        &evidence,
        "--policy",
        "development",
        "--output",
        "json",
        "--sign-result",
        &key,
        "--result-out",
        &result,
        "--result-nonce",
        &"ab".repeat(16),
    ]);
    assert_eq!(judged.code, 30, "{judged:?}");
    let verdict = folder.path("verdict.json");
    std::fs::write(&verdict, &judged.stdout).unwrap();
    (result, format!("{key}.pub"), verdict, evidence)
}

#[test]
fn a_signed_result_is_held_against_key_verdict_evidence_and_nonce_and_keeps_its_exit_code() {
    let folder = Folder::new();
    let (result, key, verdict, evidence) = signed_refusal(&folder);
    let nonce = "ab".repeat(16);
    let good = run(&[
        "result",
        "verify",
        &result,
        "--key",
        &key,
        "--verdict",
        &verdict,
        "--evidence",
        &evidence,
        "--nonce",
        &nonce,
        "--output",
        "json",
    ]);
    let said = good.json();
    // It is authentic, and it says no.
    assert_eq!((good.code, &said["verified"]), (30, &true.into()), "{good:?}");
    assert_eq!(said["result"]["decision"], "malformed");
    assert_eq!(said["result"]["code"], "evidence.malformed");
    assert_eq!(said["result"]["status"], "none");
    assert_eq!(said["result"]["trustworthiness_vector"]["hardware"], 0);

    let stranger = format!("{}.pub", folder.key("stranger"));
    let other = folder.path("other");
    std::fs::write(&other, b"{}").unwrap();
    let more: [(&[&str], &str); 4] = [
        (&["--key", &stranger], "result.key"),
        (&["--key", &key, "--verdict", &other], "result.verdict"),
        (&["--key", &key, "--evidence", &other], "result.evidence"),
        (&["--key", &key, "--nonce", "0011223344556677"], "result.nonce"),
    ];
    for (arguments, code) in more {
        let refusal = run(&[&["result", "verify", &result], arguments].concat());
        refused(&refusal, 10, code);
    }
    let mut bytes = std::fs::read(&result).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&other, &bytes).unwrap();
    refused(
        &run(&["result", "verify", &other, "--key", &key]),
        10,
        "result.signature",
    );
    refused(&run(&["result", "show", &verdict]), 30, "result.malformed");
    let shown = run(&["result", "show", &result]);
    assert_eq!(shown.code, 0);
    assert!(shown.stdout.starts_with("result   UNVERIFIED"), "{shown:?}");
}

#[test]
fn a_result_of_simulated_hardware_is_contraindicated_and_wants_its_own_permission() {
    let folder = Folder::new();
    let (key, result) = (folder.key("auditor"), folder.path("result.cose"));
    let evidence = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../policies/tests/evidence/genoa.cmw")
        .display()
        .to_string();
    let judged = run(&[
        "appraise",
        "--evidence",
        &evidence,
        "--policy",
        "development",
        "--at",
        "2026-06-01T00:00:00Z",
        "--allow-simulated",
        "--sign-result",
        &key,
        "--result-out",
        &result,
    ]);
    assert_eq!(judged.code, 0, "{judged:?}");
    let key = format!("{key}.pub");
    let verify = [
        "result",
        "verify",
        &result,
        "--key",
        &key,
        "--evidence",
        &evidence,
    ];
    refused(&run(&verify), 10, "simulated.not_allowed");
    let allowed = run(&[&verify[..], &["--allow-simulated", "--output", "json"]].concat());
    assert_eq!(allowed.code, 0, "{allowed:?}");
    let result = &allowed.json()["result"];
    assert_eq!(
        (&result["decision"], &result["status"], &result["simulated"]),
        (&"accepted".into(), &"contraindicated".into(), &true.into())
    );
}

#[test]
fn a_result_is_never_overwritten_and_a_wrong_key_is_found_before_anything_else() {
    let folder = Folder::new();
    let (result, key, verdict, evidence) = signed_refusal(&folder);
    let secret = key.trim_end_matches(".pub");
    let base = ["appraise", "--evidence", &evidence, "--policy", "development"];
    let again = run(&[&base[..], &["--sign-result", secret, "--result-out", &result]].concat());
    refused(&again, 2, "output.exists");
    let out = folder.path("new.cose");
    let wrong = run(&[&base[..], &["--sign-result", &verdict, "--result-out", &out]].concat());
    refused(&wrong, 30, "key.malformed");
    assert!(!Path::new(&out).exists());
    // A node that isn't there has a verdict, too, and it can be signed.
    let node = run(&[
        "verify",
        "https://127.0.0.1:1",
        "--policy",
        "development",
        "--sign-result",
        secret,
        "--result-out",
        &out,
    ]);
    assert_eq!(node.code, 40, "{node:?}");
    assert_eq!(run(&["result", "verify", &out, "--key", &key]).code, 40);
}

#[test]
fn codes_are_explained_alone_and_mistyped_ones_name_the_nearest() {
    for arguments in [
        ["explain", "snp.tcb.below_floor"].as_slice(),
        &["appraise", "--explain", "snp.tcb.below_floor"],
        &["verify", "--explain", "snp.tcb.below_floor"],
    ] {
        let human = run(arguments);
        assert_eq!((human.code, human.stderr.as_str()), (0, ""), "{human:?}");
        for wanted in [
            "rejected, exit 10\n",
            "  means     ",
            "  do        ",
            "  policy    snp.",
        ] {
            assert!(human.stdout.contains(wanted), "{wanted} in {}", human.stdout);
        }
        let json = run(&[arguments, &["--output", "json"]].concat()).json();
        assert_eq!(
            (&json["schema"], &json["code"]["exit"]),
            (&"bastide.explanation/v1".into(), &10.into())
        );
    }
    let session = run(&["explain", "session.tcp"]);
    assert!(
        session.stdout.contains("none: no policy changes this"),
        "{session:?}"
    );
    assert!(
        run(&["explain", "snp.tcb.reported"])
            .stdout
            .contains("a check of every verdict")
    );
    let unknown = run(&["explain", "snp.tcb.belowfloor"]);
    refused(&unknown, 2, "explain.unknown");
    assert!(unknown.stderr.contains("`snp.tcb.below_floor`"), "{unknown:?}");
    let all = run(&["explain", "--all"]);
    assert!(all.code == 0 && all.stdout.lines().count() > 90, "{all:?}");
    assert_eq!(run(&["explain"]).code, 2);
    assert_eq!(run(&["verify", "https://x", "--explain", "session.tcp"]).code, 2);
}
