//! A policy's life as a security team leads it: pinned, checked, tested on
//! recorded evidence, compared. And the tests of the shipped policies.

use std::path::{Path, PathBuf};

use crate::process::{Run, run, snp_vectors};

const TERMS: [&str; 6] = [
    "--not-before",
    "2026-01-01",
    "--not-after",
    "2026-12-31",
    "--reason",
    "ticket 4711",
];
const AT: &str = "2026-06-01T00:00:00Z";

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies")
}

/// Evidence that the simulator made.
fn simulated(name: &str) -> String {
    policies().join("tests/evidence").join(name).display().to_string()
}

struct Policy {
    folder: tempfile::TempDir,
    path: String,
}

impl Policy {
    fn of(profile: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ours.toml").display().to_string();
        let made = run(&["policy", "init", "--profile", profile, "-o", &path]);
        assert_eq!(made.code, 0, "{made:?}");
        Self { folder, path }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap()
    }

    fn pin(&self, more: &[&str]) -> Run {
        run(&[&["policy", "pin", &self.path], more, TERMS.as_slice()].concat())
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

fn refused(run: &Run, exit: i32, code: &str) {
    assert_eq!(run.code, exit, "{run:?}");
    assert!(run.stderr.contains(&format!("error {code}  ")), "{run:?}");
}

#[test]
fn every_shipped_policy_can_be_started_from() {
    for name in ["production", "baseline", "regulated", "azure", "development"] {
        let policy = Policy::of(name);
        let shipped = std::fs::read_to_string(policies().join(format!("{name}.toml"))).unwrap();
        assert_eq!(policy.text(), shipped);
    }
}

#[test]
fn a_pin_is_shown_written_once_and_leaves_the_rest_as_it_was() {
    let policy = Policy::of("production");
    let before = policy.text();
    let measurement = "ab".repeat(48);
    let pin = ["--launch", &measurement, "--release", "v1"];
    let shown = policy.pin(&[&pin[..], &["--dry-run"]].concat());
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.stdout.contains("\n+ [[snp.launch]]\n"), "{shown:?}");
    assert!(shown.stdout.contains("\n- launch = []\n"), "{shown:?}");
    assert_eq!(policy.text(), before, "a dry run writes nothing");

    let written = policy.pin(&pin);
    assert_eq!(written.code, 0, "{written:?}");
    let after = policy.text();
    assert!(
        after.contains(&format!("measurement = \"{measurement}\"\nrelease = \"v1\"\n")),
        "{after}"
    );
    for line in before.lines().filter(|line| line.starts_with('#')) {
        assert!(after.contains(line), "lost: {line}");
    }
    refused(&policy.pin(&pin), 30, "policy.malformed");
    assert_eq!(policy.text(), after, "what is refused is not written");
    let json = policy
        .pin(&["--manifest", &"cd".repeat(32), "--output", "json"])
        .json();
    assert_eq!(
        (&json["schema"], &json["written"], &json["pins"][0]["set"]),
        (
            &"bastide.policy-pinned/v1".into(),
            &true.into(),
            &"model.manifests".into()
        )
    );
}

#[test]
fn pins_without_terms_of_no_length_or_of_an_ignored_set_are_refused() {
    let policy = Policy::of("production");
    let before = policy.text();
    let bare = run(&["policy", "pin", &policy.path, "--launch", &"ab".repeat(48)]);
    refused(&bare, 2, "policy.pin_terms");
    refused(&policy.pin(&["--launch", "ab"]), 30, "policy.malformed");
    refused(&policy.pin(&["--chip", &"ab".repeat(64)]), 30, "policy.malformed");
    refused(&policy.pin(&[]), 2, "usage");
    let other = policy.file("pins.toml", "[snp]\nvmpl = [3]\n");
    refused(&policy.pin(&["--from", &other]), 30, "policy.pins_malformed");
    assert_eq!(policy.text(), before);
}

#[test]
fn a_file_of_entries_is_taken_over_with_what_it_says_itself() {
    let policy = Policy::of("production");
    let pins = policy.file(
        "pins.toml",
        &format!(
            "# computed\n[[snp.launch]]\nmeasurement = \"{}\"\nshape = \"2vcpu\"\nreason = \"own\"\n\n[[snp.launch]]\nmeasurement = \"{}\"\nshape = \"4vcpu\"\n",
            "ab".repeat(48),
            "cd".repeat(48)
        ),
    );
    let done = policy.pin(&["--from", &pins, "--release", "v2"]);
    assert_eq!(done.code, 0, "{done:?}");
    let text = policy.text();
    assert!(
        text.contains("shape = \"2vcpu\"\nnot_before = 2026-01-01\nnot_after = 2026-12-31\nreason = \"own\""),
        "{text}"
    );
    assert!(text.contains("reason = \"ticket 4711\""), "{text}");
    assert_eq!(text.matches("release = \"v2\"").count(), 2);
}

#[test]
fn evidence_is_verified_and_shown_and_pinned_only_when_somebody_says_yes() {
    let policy = Policy::of("development");
    let text = policy.text().replace("ignore = [\"snp.chip_id\", \"snp.host_data\", \"model.manifest\", \"gpu.device\"]", "ignore = [\"snp.host_data\", \"gpu.device\"]")
        .replace("[[snp.launch]]", "[[snp.chips]]\nchip_id = \"00000000000000ff\"\nnot_before = 2026-01-01\nnot_after = 2026-12-31\nreason = \"r\"\n\n[[snp.launch]]")
        + "\n[model]\nmanifests = []\n";
    std::fs::write(&policy.path, &text).unwrap();
    let genoa = simulated("genoa.cmw");
    let what = ["--evidence", &genoa, "--what", "launch,chip,manifest", "--at", AT];
    let shown = policy.pin(&what);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(
        shown.stderr.contains("SIMULATED") && shown.stderr.contains("(pinned already)"),
        "{shown:?}"
    );
    assert_eq!(policy.text(), text, "nothing is written without --yes");
    let judged = || {
        run(&[
            "appraise",
            "--evidence",
            &genoa,
            "--policy",
            &policy.path,
            "--at",
            AT,
            "--allow-simulated",
        ])
    };
    assert_eq!(judged().code, 10);
    assert_eq!(policy.pin(&[&what[..], &["--yes"]].concat()).code, 0);
    assert_eq!(judged().code, 0);
    assert!(
        policy
            .pin(&[&what[..], &["--yes"]].concat())
            .stderr
            .contains("nothing is left to pin")
    );

    // What isn't authentic is never pinned, whoever says yes.
    let production = Policy::of("production");
    let before = production.text();
    let refusal = production.pin(&["--evidence", &genoa, "--yes", "--at", AT]);
    refused(&refusal, 10, "snp.root.unknown");
    assert_eq!(production.text(), before);
}

#[test]
fn gpus_and_manifests_are_pinned_by_identity_and_by_digest() {
    let policy = Policy::of("regulated");
    let (one, two) = ("4711", "460154561420146014");
    let pinned = policy.pin(&["--gpu", one, "--gpu", two]);
    assert_eq!(pinned.code, 0, "{pinned:?}");
    let text = policy.text();
    assert!(
        text.contains("[[gpu.devices]]\nueid = \"4711\"\n") && !text.contains("devices = []"),
        "{text}"
    );
    refused(&policy.pin(&["--gpu", one]), 30, "policy.malformed");
    refused(&policy.pin(&["--gpu", "0x4711"]), 30, "policy.malformed");
    assert_eq!(policy.text(), text);

    // A manifest's digest, or the file that it is of; only where they are pinned.
    let file = policy.file("rim.xml", "<SoftwareIdentity/>");
    refused(&policy.pin(&["--rim", &file]), 30, "policy.malformed");
    let text = text.replace("rim_expiry = \"strict\"", "rim_expiry = \"pinned\"\nrims = []");
    policy.file("ours.toml", &text);
    let pinned = policy.pin(&["--rim", &file, "--rim", &"ab".repeat(32)]);
    assert_eq!(pinned.code, 0, "{pinned:?}");
    let digest = hex::encode(bastide_attestation::sha256(&[b"<SoftwareIdentity/>"]));
    let text = policy.text();
    for digest in [digest, "ab".repeat(32)] {
        assert!(text.contains(&format!("sha256 = \"{digest}\"")), "{text}");
    }
    assert_eq!(policy.pin(&["--rim", "no-such-file.xml"]).code, 2);
}

#[test]
fn what_evidence_says_of_its_gpus_is_pinned_only_if_it_says_something() {
    let policy = Policy::of("development");
    let genoa = simulated("genoa.cmw");
    let pin = ["--evidence", &genoa, "--what", "gpu", "--at", AT, "--yes"];
    // The policy leaves devices out by name: what is pinned beside that contradicts it.
    refused(&policy.pin(&pin), 30, "policy.malformed");
    let listing = policy
        .text()
        .replace(", \"gpu.device\"", "")
        .replace("\n[gpu]\n", "\n[gpu]\ndevices = []\n");
    std::fs::write(&policy.path, listing).unwrap();
    let pinned = policy.pin(&pin);
    assert_eq!(pinned.code, 0, "{pinned:?}");
    assert!(
        policy.text().contains("[[gpu.devices]]\nueid = \""),
        "{}",
        policy.text()
    );

    let without = Policy::of("azure");
    let none = without.pin(&["--evidence", &genoa, "--what", "gpu", "--at", AT]);
    assert_ne!(none.code, 0, "{none:?}");
}

#[test]
fn lint_warns_by_line_and_refuses_where_that_is_asked_for() {
    let policy = Policy::of("production");
    let human = run(&["policy", "lint", &policy.path]);
    assert_eq!((human.code, human.stderr.as_str()), (0, ""), "{human:?}");
    let line = policy
        .text()
        .lines()
        .position(|line| line.starts_with("crl"))
        .unwrap()
        + 1;
    assert!(
        human.stdout.contains(&format!(":{line}: lint.crl  ")),
        "{human:?}"
    );
    assert_eq!(run(&["policy", "lint", &policy.path, "--deny-warnings"]).code, 10);
    let json = run(&["policy", "lint", &policy.path, "--output", "json", "--at", AT]).json();
    assert_eq!(
        (&json["schema"], &json["at"]),
        (&"bastide.policy-lint/v1".into(), &AT.into())
    );
    let ids: std::collections::BTreeSet<_> = json["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|warning| warning["id"].as_str().unwrap().to_owned())
        .collect();
    let mut allowed = vec![
        "policy".to_owned(),
        "lint".to_owned(),
        policy.path.clone(),
        "--deny-warnings".to_owned(),
    ];
    for id in ids {
        allowed.extend(["--allow".to_owned(), id]);
    }
    let quiet = run(&allowed);
    assert_eq!(
        (quiet.code, quiet.stdout.as_str()),
        (0, "nothing to warn about\n"),
        "{quiet:?}"
    );
    assert_eq!(
        run(&["policy", "lint", &policy.path, "--allow", "lint.nonsense"]).code,
        2
    );

    // A pin of one release, close to its end.
    let pin = policy.pin(&["--launch", &"ab".repeat(48), "--release", "v1"]);
    assert_eq!(pin.code, 0, "{pin:?}");
    let late = run(&["policy", "lint", &policy.path, "--at", "2026-12-15T00:00:00Z"]).stdout;
    assert!(
        late.contains("lint.one_release") && late.contains("lint.all_end_soon"),
        "{late}"
    );
    let over = run(&["policy", "lint", &policy.path, "--at", "2027-01-01T00:00:00Z"]).stdout;
    assert!(
        over.contains("lint.expired") && over.contains("lint.none_current"),
        "{over}"
    );
}

#[test]
fn recorded_evidence_is_a_table_and_an_expectation_that_is_not_met_is_a_refusal() {
    let policy = Policy::of("development");
    let folder = policy.folder.path().join("recorded");
    std::fs::create_dir(&folder).unwrap();
    for (name, expect) in [("genoa", "accepted"), ("turin", "snp.tcb.below_floor")] {
        std::fs::copy(
            simulated(&format!("{name}.cmw")),
            folder.join(format!("{name}.cmw")),
        )
        .unwrap();
        std::fs::write(folder.join(format!("{name}.expect")), expect).unwrap();
    }
    let folder = folder.display().to_string();
    let test = [
        "policy",
        "test",
        &policy.path,
        "--evidence",
        &folder,
        "--at",
        AT,
        "--allow-simulated",
    ];
    let failed = run(&test);
    assert_eq!(failed.code, 10, "{failed:?}");
    assert!(
        failed.stdout.contains("✔ as expected") && failed.stdout.contains("✘ NOT MET: snp.tcb.below_floor"),
        "{failed:?}"
    );
    std::fs::write(Path::new(&folder).join("turin.expect"), "accepted\n").unwrap();
    let passed = run(&[&test[..], &["--output", "json"]].concat());
    assert_eq!(passed.code, 0, "{passed:?}");
    let json = passed.json();
    assert_eq!(json["results"][1]["met"], true);
    std::fs::write(Path::new(&folder).join("turin.expect"), "acepted").unwrap();
    refused(&run(&test), 30, "policy.tests_malformed");
    let empty = policy.folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let none = run(&[
        "policy",
        "test",
        &policy.path,
        "--evidence",
        &empty.display().to_string(),
    ]);
    refused(&none, 2, "input.no_evidence");
}

#[test]
fn a_diff_says_which_way_and_which_evidence_it_makes_a_difference_for() {
    let (old, new) = (Policy::of("development"), Policy::of("development"));
    let text = new
        .text()
        .replace("products = [\"genoa\", \"turin\"]", "products = [\"turin\"]");
    std::fs::write(&new.path, text).unwrap();
    let (genoa, turin) = (simulated("genoa.cmw"), simulated("turin.cmw"));
    let evidence = ["--evidence", &genoa, &turin, "--at", AT, "--allow-simulated"];
    let diff = |from: &str, to: &str, more: &[&str]| run(&[&["policy", "diff", from, to], more].concat());
    let narrower = diff(&old.path, &new.path, &evidence);
    assert_eq!(narrower.code, 0, "{narrower:?}");
    assert!(
        narrower
            .stdout
            .starts_with("tightened  snp.products  genoa → –\n"),
        "{narrower:?}"
    );
    assert!(
        narrower
            .stdout
            .contains("STOPS PASSING  accepted → rejected snp.product.not_allowed"),
        "{narrower:?}"
    );
    assert!(
        narrower.stdout.contains("the same  accepted → accepted"),
        "{narrower:?}"
    );
    let wider = diff(
        &new.path,
        &old.path,
        &[&evidence[..], &["--output", "json"]].concat(),
    )
    .json();
    assert_eq!(wider["changes"][0]["direction"], "loosened");
    assert_eq!(wider["evidence"][0]["effect"], "starts_passing");
    assert_eq!(diff(&new.path, &old.path, &["--deny-loosened"]).code, 10);
    assert_eq!(diff(&old.path, &new.path, &["--deny-loosened"]).code, 0);
    assert_eq!(
        diff("production", "production", &[]).stdout,
        "both demand the same\n"
    );
}

/// Runs the tests of the shipped policies whose names end so.
fn shipped(suffix: &str, root: Option<&Path>) {
    let mut count = 0;
    for name in bastide_verifier::shipped::NAMES {
        let tests = policies().join("tests").join(format!("{name}.{suffix}.toml"));
        // Development accepts no real evidence, so there is nothing to say about it.
        if !tests.is_file() {
            assert_eq!((name, suffix), ("development", "real"));
            continue;
        }
        let tests = tests.display().to_string();
        let mut arguments = vec!["policy", "test", name, "--tests", &tests];
        let root = root.map(|root| root.display().to_string());
        if let Some(root) = &root {
            arguments.extend(["--root", root]);
        }
        let done = run(&arguments);
        assert_eq!(done.code, 0, "{name}: {}\n{}", done.stdout, done.stderr);
        count += done.stdout.matches("✔ as expected").count();
    }
    assert!(count > 8, "only {count} expectations");
}

#[test]
fn shipped_policies_do_what_their_tests_say_of_simulated_evidence() {
    shipped("simulated", None);
}

#[test]
fn shipped_policies_do_what_their_tests_say_of_real_evidence() {
    let Some(snp) = snp_vectors() else { return };
    shipped("real", snp.parent());
}
