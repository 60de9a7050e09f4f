//! docs/spec/threats.md is made from the table here, and each of its rows has
//! at least one test named after it.
//! `BASTIDE_BLESS=1 cargo test -p bastide-tests --test threats` writes the page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bastide_tests::workspace_root;

/// Number, attack, what stops it.
const THREATS: [(u8, &str, &str); 24] = [
    (
        1,
        "A man in the middle with the stolen TLS key relays evidence",
        "the binder is keyed by the TLS exporter",
    ),
    (2, "Replay of evidence", "the client's nonce in the binder"),
    (
        3,
        "Reflection on mutual links",
        "exporter label, role byte and leaf type differ by role; both ends' keys in the binder",
    ),
    (
        4,
        "A resumed or 0-RTT session is used unattested",
        "TLS 1.3 with full handshakes only, asked on both ends",
    ),
    (
        5,
        "A load balancer or corporate proxy ends TLS",
        "its exporter is another",
    ),
    (
        6,
        "Diversion: the genuine image on the attacker's chip",
        "hardware set, membership credential",
    ),
    (
        7,
        "The right binder, with evidence from elsewhere",
        "the verifier makes REPORT_DATA from S, and the leaf from its own binder",
    ),
    (
        8,
        "Label confusion",
        "labels are constants, never fields; unknown keys are refused",
    ),
    (
        9,
        "The tree bent: another shape, a second preimage",
        "prefixes, exact depth in S, a salt of the enclave's own",
    ),
    (
        10,
        "GPU evidence swapped",
        "its digest in S; a nonce of boot, round and seed",
    ),
    (
        11,
        "The enclave as an oracle for REPORT_DATA",
        "one function makes it; one process may open the device",
    ),
    (
        12,
        "Starvation of the security processor",
        "one report for many sessions, pacing, a cap",
    ),
    (
        13,
        "Attest, then change the model or reset a GPU",
        "a change makes an epoch; sessions of the one before are closed",
    ),
    (
        14,
        "Downgrade: no endpoint, 404",
        "the client requires the endpoint",
    ),
    (15, "The exporter fails, or gives zeros", "fails closed"),
    (
        16,
        "SSLKEYLOGFILE gives the exporter's secret away",
        "no key log is ever set",
    ),
    (
        17,
        "Oversized, duplicate-key or indefinite CBOR",
        "strict decoding: re-encoding must give the input",
    ),
    (
        18,
        "(r, n − s) makes two of one report",
        "logs go by a report's body, not its signature",
    ),
    (
        19,
        "A broken chip",
        "outside cryptography: firmware floor, chips listed by the policy",
    ),
    (
        20,
        "A stream cut short, a forged error in clear",
        "the last chunk is marked; errors are sealed",
    ),
    (
        21,
        "A forged hash in a receipt",
        "the enclave hashes what it read and wrote",
    ),
    (
        22,
        "The wrong stage joins a pipeline",
        "the link's context in the binder; credentials name a stage",
    ),
    (
        23,
        "One slow session holds up a batch",
        "bounded waits, waiters independent of one another",
    ),
    (
        24,
        "The pool hands out a connection that isn't attested",
        "only an attested connection can send",
    ),
];

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    name: String,
    package: String,
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder)
        .expect("a folder of the workspace is readable")
        .flatten()
    {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Name of the package whose folder is the nearest above a source.
fn package_of(path: &Path) -> String {
    let manifest = path
        .ancestors()
        .map(|folder| folder.join("Cargo.toml"))
        .find(|manifest| manifest.is_file())
        .expect("every source belongs to a package");
    let text = fs::read_to_string(manifest).expect("a manifest is readable");
    text.lines()
        .find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .expect("a package has a name")
        .to_owned()
}

/// Tests named after a threat, `t7_…`: only what carries a test attribute.
fn tests() -> BTreeMap<u8, Vec<Found>> {
    let mut files = Vec::new();
    sources(&workspace_root(), &mut files);
    let mut tests: BTreeMap<u8, Vec<Found>> = BTreeMap::new();
    for path in files {
        let text = fs::read_to_string(&path).expect("a source is readable");
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let declared = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn t");
            let Some(declared) = declared else { continue };
            let digits = declared.chars().take_while(char::is_ascii_digit).count();
            let (number, rest) = declared.split_at(digits);
            let (Ok(number), true) = (number.parse(), rest.starts_with('_')) else {
                continue;
            };
            let is_test = lines[..at]
                .iter()
                .rev()
                .take_while(|before| before.starts_with("#[") || before.starts_with("//"))
                .any(|before| before.starts_with("#[test]") || before.starts_with("#[tokio::test"));
            if is_test {
                let name = declared.split('(').next().unwrap_or_default();
                tests.entry(number).or_default().push(Found {
                    name: format!("t{name}"),
                    package: package_of(&path),
                });
            }
        }
    }
    for found in tests.values_mut() {
        found.sort();
    }
    tests
}

fn page(tests: &BTreeMap<u8, Vec<Found>>) -> String {
    let mut page = "# Threats, and the tests that hold them off

Attacks on attested sessions, what stops each, and the tests that say so. A test is named after its row: `cargo test --workspace -- t7_` runs those of T7. What stands in for hardware is said in the test's own file.

[The model](model.md) shows that a part of the protocol which seems one of two for a row is: it takes each part out and looks for the attack.

| # | attack | stopped by | tests |
|---|---|---|---|
"
    .to_owned();
    for (number, attack, stopped_by) in THREATS {
        let tests: Vec<String> = tests
            .get(&number)
            .into_iter()
            .flatten()
            .map(|test| format!("`{}` ({})", test.name, test.package))
            .collect();
        writeln!(
            page,
            "| T{number} | {attack} | {stopped_by} | {} |",
            tests.join("<br>")
        )
        .expect("a string can be written to");
    }
    page
}

#[test]
fn every_threat_has_a_test_named_after_it() {
    let tests = tests();
    let without: Vec<String> = THREATS
        .iter()
        .filter(|(number, ..)| !tests.contains_key(number))
        .map(|(number, attack, _)| format!("T{number}: {attack}"))
        .collect();
    assert!(
        without.is_empty(),
        "no test is named after\n{}",
        without.join("\n")
    );
}

#[test]
fn no_test_is_named_after_a_threat_that_is_not_in_the_table() {
    for (number, found) in tests() {
        let known = THREATS.iter().any(|(known, ..)| *known == number);
        assert!(known, "T{number} is in no row: {found:?}");
    }
}

#[test]
fn the_page_of_threats_is_what_the_table_and_the_sources_say() {
    let path = workspace_root().join("docs/spec/threats.md");
    let page = page(&tests());
    if std::env::var_os("BASTIDE_BLESS").is_some() {
        fs::write(&path, &page).expect("the page can be written");
    }
    let have = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        have == page,
        "docs/spec/threats.md is out of date: run with BASTIDE_BLESS=1"
    );
}
