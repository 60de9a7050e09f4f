//! `appraise` over recorded evidence of Azure VMs, in each form in which an
//! auditor has it.

use std::path::{Path, PathBuf};

use bastide_verifier::shipped;
use serde_json::Value;

use crate::process::{Run, run, vectors};

const AT: &str = "2025-06-01T00:00:00Z";
const GENOA_NONCE: &str =
    "0218488bae25d2509232bf676f1a66a30d7372add909109b36016ef136f2938ca05475f8b46094de6b64270ea35d950f";
/// `challenge`
const MILAN_NONCE: &str = "6368616c6c656e6765";
const WINDOW: &str = "not_before = 2025-01-01, not_after = 2025-12-31, reason = \"recorded\"";

/// The shipped policy, pinned to what the Genoa VM shows.
fn genoa_policy(folder: &Path) -> PathBuf {
    let measurement =
        "f57dc09a507c6ecd82369bffb600f0003792f4d99bc26e985ec0c266fc34faf3706faf814c9e61065768a6ff917c89ae";
    let pcr = "3b20e022416fdf61d72e4da32b4354781be3de0608116976d28ffdad8c341d2a";
    let text = shipped::AZURE
        .replace(
            "launch = []",
            &format!("launch = [{{ measurement = \"{measurement}\", {WINDOW} }}]"),
        )
        .replace(
            "pcrs = []",
            &format!("pcrs = [{{ index = 7, sha256 = [\"{pcr}\"], {WINDOW} }}]"),
        );
    written(folder, &text)
}

/// For the chips of the two Milan VMs, whatever they launched.
fn milan_policy(folder: &Path) -> PathBuf {
    let chips = [
        "66a5a7b4403a3006ca734aa36a76dd3061d56f398e1e73b0be683ecd2eede9e70811c677abf8d9c9251b52baafbdc97b8121ec0c75661ffba636073b09fa563a",
        "19752a447db501a32ade46428a46e92639bd3515dbb45e2e67bbcb0934ffcf1f3e3c004ccb4a99c9fa7e4ffb09da6b324ac58acedaf679f24ba7db5f838c6cca",
    ]
    .map(|chip| format!("{{ chip_id = \"{chip}\", {WINDOW} }}"));
    let text = shipped::AZURE
        .replace("amd = [\"genoa\"]", "amd = [\"milan\"]")
        .replace(
            "products = [\"genoa\"]",
            "products = [\"milan\"]\nv2_product = \"milan\"",
        )
        .replace("[3, 5]", "[2, 3]")
        .replace(
            "ignore = [\"snp.id_block\", \"snp.chip_id\",",
            "ignore = [\"snp.id_block\", \"snp.launch_measurement\", \"snp.tcb_floor\", \"azure.pcrs\",",
        )
        .replace("tcb_profile = \"amd-2025-02\"", "")
        .replace("launch = []", &format!("chips = [{}]", chips.join(", ")))
        .replace("pcrs = []", "")
        .replace("alias_check_complete = \"set\"", "alias_check_complete = \"any\"");
    written(folder, &text)
}

fn written(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("policy.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn appraise(policy: &Path, arguments: &[&str]) -> (Run, Value) {
    let policy = policy.display().to_string();
    let fixed = ["appraise", "--policy", &policy, "--at", AT, "--output", "json"];
    let run = run(&[&fixed, arguments].concat());
    let json = if run.stdout.is_empty() {
        Value::Null
    } else {
        run.json()
    };
    (run, json)
}

fn status(json: &Value, id: &str) -> String {
    let checks = json["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["id"] == id);
    check.unwrap_or_else(|| panic!("no {id} in {json}"))["status"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn an_agents_json_is_judged_by_the_pins_and_the_nonce() {
    let (Some(azure), Some(snp)) = (vectors("azure"), vectors("snp")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let policy = genoa_policy(folder.path());
    let evidence = azure.join("evidence-genoa.json").display().to_string();
    let chain = snp.join("endorsements/ask-ark-genoa.pem").display().to_string();
    let given = ["--azure-evidence", &evidence, "--chain", &chain];

    let (run, json) = appraise(&policy, &given);
    assert_eq!((run.code, &json["verdict"]), (0, &"accepted".into()), "{json:#}");
    assert_eq!(json["platform"], "azure");
    assert_eq!(json["azure"]["vtpm_firmware"], "0x2020031200120003");
    assert_eq!(status(&json, "azure.quote.nonce"), "skip");
    assert_eq!(status(&json, "azure.pcrs"), "pass");

    let (run, json) = appraise(&policy, &[&given[..], &["--quote-nonce", GENOA_NONCE]].concat());
    assert_eq!(run.code, 0, "{json:#}");
    assert_eq!(status(&json, "azure.quote.nonce"), "pass");
    let (run, json) = appraise(&policy, &[&given[..], &["--quote-nonce", MILAN_NONCE]].concat());
    assert_eq!((run.code, &json["code"]), (10, &"azure.quote.nonce".into()));
    for (shipped, code) in [
        ("azure", "snp.launch.not_allowed"),
        ("production", "azure.not_allowed"),
    ] {
        let (run, json) = appraise(Path::new(shipped), &given);
        assert_eq!((run.code, &json["code"]), (10, &code.into()), "{shipped}");
    }
    let milan = azure.join("evidence-milan.json").display().to_string();
    let (run, json) = appraise(&policy, &["--azure-evidence", &milan, "--chain", &chain]);
    assert_eq!((run.code, &json["code"]), (10, &"snp.root.unknown".into()));
}

#[test]
fn milan_is_accepted_only_by_a_policy_for_its_chip_and_in_every_form() {
    let (Some(azure), Some(snp)) = (vectors("azure"), vectors("snp")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let policy = milan_policy(folder.path());
    let file = |name: &str| azure.join(name).display().to_string();
    let chain = snp.join("endorsements/ask-ark-milan.pem").display().to_string();
    let (run, json) = appraise(
        &policy,
        &[
            "--azure-evidence",
            &file("evidence-milan.json"),
            "--chain",
            &chain,
            "--quote-nonce",
            MILAN_NONCE,
        ],
    );
    assert_eq!(run.code, 0, "{json:#}");

    let (report, vek, quote) = (
        file("hcl-report.bin"),
        file("hcl-vcek.pem"),
        file("tpm-quote.bin"),
    );
    let base = ["--hcl-report", &report, "--vek", &vek];
    let (run, json) = appraise(
        &policy,
        &[&base[..], &["--tpm-quote", &quote, "--quote-nonce", MILAN_NONCE]].concat(),
    );
    assert_eq!(run.code, 0, "{json:#}");
    assert_eq!(status(&json, "azure.quote.nonce"), "pass");

    // The same quote in the three files of tpm2_quote.
    let bytes = std::fs::read(&quote).unwrap();
    let part = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let message = part("quote.msg", &bytes[272..394]);
    let signature = part("quote.sig", &[&[0, 0x14, 0, 0x0b, 1, 0], &bytes[8..264]].concat());
    let pcrs = part("pcrs.bin", &bytes[402..]);
    let three = [
        "--tpm-quote",
        &message,
        "--tpm-signature",
        &signature,
        "--tpm-pcrs",
        &pcrs,
    ];
    let (run, again) = appraise(
        &policy,
        &[&base[..], &three, &["--quote-nonce", MILAN_NONCE]].concat(),
    );
    assert_eq!((run.code, &again), (0, &json));

    // Without a quote nothing that needs one is passed.
    let (run, json) = appraise(&policy, &base);
    assert_eq!(run.code, 0, "{json:#}");
    for id in [
        "azure.quote.form",
        "azure.quote.signature",
        "azure.quote.pcr_digest",
        "azure.quote.nonce",
    ] {
        assert_eq!(status(&json, id), "skip", "{id}");
    }
    let (run, json) = appraise(&genoa_policy(folder.path()), &base);
    assert_eq!((run.code, &json["code"]), (10, &"snp.root.unknown".into()));
}

#[test]
fn arguments_that_do_not_go_together_and_files_that_are_no_evidence_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let hcl = path("hcl.bin", b"HCLA");
    let quote = path("quote.msg", b"\xffTCG");
    let azure = Path::new("azure");
    for arguments in [
        &["--hcl-report", hcl.as_str()][..],
        &["--hcl-report", &hcl, "--vek", &hcl, "--quote-nonce", "00"],
        &["--hcl-report", &hcl, "--vek", &hcl, "--quote-nonce", "0"],
        &["--hcl-report", &hcl, "--vek", &hcl, "--tpm-signature", &quote],
        &["--hcl-report", &hcl, "--vek", &hcl, "--tpm-quote", &quote],
        &["--hcl-report", &hcl, "--snp-report", &hcl, "--vek", &hcl],
        &["--azure-evidence", &hcl, "--vek", &hcl],
        &["--tpm-quote", &quote],
    ] {
        let (run, _) = appraise(azure, arguments);
        assert_eq!(run.code, 2, "{arguments:?}: {run:?}");
    }
    let (run, json) = appraise(azure, &["--hcl-report", &hcl, "--vek", &quote]);
    assert_eq!(
        (run.code, &json["code"]),
        (30, &"azure.hcl_report.malformed".into())
    );
    let (run, json) = appraise(azure, &["--azure-evidence", &hcl]);
    assert_eq!((run.code, &json["code"]), (30, &"evidence.malformed".into()));
}

#[test]
fn an_hcl_report_is_inspected_and_marked_unverified() {
    let Some(azure) = vectors("azure") else { return };
    let file = azure.join("hcl-report.bin").display().to_string();
    let json = run(&["inspect", &file, "--output", "json"]).json();
    assert_eq!(
        (&json["kind"], &json["verified"]),
        (&"HCL report".into(), &false.into())
    );
    let fields = &json["fields"];
    assert_eq!(fields["version"], "1");
    assert_eq!(fields["snp_report"]["version"], "2");
    assert_eq!(fields["runtime_data"]["secure_boot"], "true");
}
