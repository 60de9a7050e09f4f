//! Every code that a person can meet is known here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// Sources under a folder, without tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let tests = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() {
            found.extend(sources(&path));
        } else if !tests && path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn is_code(word: &str) -> bool {
    word.split('.').count() > 1
        && word.split('.').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        })
}

/// First components of codes that this program prints; names of files and of
/// checks look the same.
const FAMILIES: [&str; 22] = [
    "api",
    "credential",
    "endorsements",
    "evidence",
    "explain",
    "input",
    "kds",
    "key",
    "ledger",
    "link",
    "measure",
    "nvidia",
    "output",
    "pipeline",
    "policy",
    "proxy",
    "receipt",
    "result",
    "sealed",
    "session",
    "simulated",
    "stream",
];
/// Texts of that form that are no codes.
const NO_CODES: [&str; 11] = [
    "credential.cose",
    "endorsements.sha256",
    "evidence.cmw",
    "ledger.redb",
    "receipt.cose",
    "result.cose",
    "session.certificate",
    "session.debug",
    "session.key_exchange",
    "session.report_data",
    "session.statement",
];

#[test]
fn every_code_in_the_sources_is_known() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = BTreeSet::new();
    for folder in [
        "src",
        "../endorsements/src",
        "../measure/src",
        "../../attestation/attested-tls/src/client",
        "../../attestation/attested-tls/src/sealed",
        "../../attestation/attested-tls/src/link",
        "../../attestation/src/link",
        "../../attestation/src/pipeline",
        "../src/policy",
    ] {
        for path in sources(&root.join(folder)) {
            let source = fs::read_to_string(&path).unwrap();
            let product = source.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            for word in product.split('"').skip(1).step_by(2) {
                let family = word.split('.').next().unwrap_or_default();
                if is_code(word) && FAMILIES.contains(&family) && !NO_CODES.contains(&word) {
                    assert!(
                        explain(word).is_some(),
                        "`{word}` of {} is not known",
                        path.display()
                    );
                    seen.insert(word.to_owned());
                }
            }
        }
    }
    assert!(seen.len() > 40, "only {} codes were found", seen.len());
}

#[test]
fn every_code_of_the_reference_page_is_known() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/rejections.md");
    let page = fs::read_to_string(page).unwrap();
    let mut count = 0;
    for word in page.split('`').skip(1).step_by(2).filter(|word| is_code(word)) {
        assert!(explain(word).is_some(), "`{word}` is not known");
        count += 1;
    }
    assert!(count > 60, "only {count} codes were found");
}

#[test]
fn codes_are_unique_and_have_every_text() {
    let mut codes = BTreeSet::new();
    for explanation in all() {
        assert!(codes.insert(explanation.code), "{} twice", explanation.code);
        assert_ne!(explanation.exit, exit::ACCEPTED, "{}", explanation.code);
        for text in [explanation.means, explanation.remedy.unwrap_or_default()] {
            assert!(!text.is_empty() && !text.ends_with('.'), "{}", explanation.code);
        }
    }
    assert!(of("no.such.code").is_none());
}

#[test]
fn every_code_that_a_policy_decides_names_keys_of_the_reference() {
    for (code, named) in keys::KEYS {
        assert!(explain(code).is_some(), "{code}");
        assert!(!named.is_empty(), "{code}");
    }
    for rejection in Rejection::ALL {
        let code = rejection.code();
        let decided = ["not_allowed", "below_floor", "below_minimum", "denied"];
        if decided.iter().any(|end| code.ends_with(end)) {
            assert!(!keys::of(code).is_empty(), "no key governs `{code}`");
        }
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/policy.md");
    let page = fs::read_to_string(page).unwrap();
    for key in keys::KEYS.iter().flat_map(|(_, keys)| *keys) {
        let last = key.rsplit('.').next().unwrap_or_default();
        assert!(page.contains(last), "`{key}` is not in the reference");
    }
}
