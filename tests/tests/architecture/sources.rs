//! What manifests and sources must hold that `cargo metadata` doesn't show:
//! inherited lints, no unsafe code, and no clock, file, socket or random number
//! where those have to be arguments.

use std::fs;
use std::path::{Path, PathBuf};

use bastide_tests::workspace_root;

use crate::graph::Graph;

#[test]
fn every_crate_inherits_lints_edition_licence_version_and_stays_unpublished() {
    for package in Graph::read().members() {
        let manifest = fs::read_to_string(&package.manifest).expect("a manifest is readable");
        let name = package.manifest.display();
        for (section, line) in [
            ("[lints]", "workspace = true"),
            ("[package]", "version.workspace = true"),
            ("[package]", "edition.workspace = true"),
            ("[package]", "rust-version.workspace = true"),
            ("[package]", "license.workspace = true"),
            ("[package]", "publish.workspace = true"),
        ] {
            assert!(
                section_has(&manifest, section, line),
                "{name}: {section} lacks `{line}`"
            );
        }
        assert_eq!(package.edition, "2024", "{name}");
        assert_eq!(package.licence, "Apache-2.0 OR MIT", "{name}");
        assert!(!package.published, "{name}: cargo publish would take it");
    }
}

fn section_has(manifest: &str, section: &str, line: &str) -> bool {
    let words = |line: &str| line.split_whitespace().collect::<String>();
    manifest
        .lines()
        .skip_while(|candidate| candidate.trim() != section)
        .skip(1)
        .take_while(|candidate| !candidate.trim_start().starts_with('['))
        .any(|candidate| words(candidate) == words(line))
}

#[test]
fn crates_that_must_not_be_unsafe_forbid_it() {
    for path in [
        "attestation/src/lib.rs",
        "attestation/attested-tls/src/lib.rs",
        "verifier/src/lib.rs",
        "verifier/endorsements/src/lib.rs",
        "verifier/measure/src/lib.rs",
        "host-shim/src/lib.rs",
    ] {
        let source = fs::read_to_string(workspace_root().join(path)).expect("a crate has its root");
        assert!(
            source.lines().any(|line| line == "#![forbid(unsafe_code)]"),
            "{path} may contain unsafe code"
        );
    }
}

#[test]
fn the_vocabulary_and_the_verifier_name_no_clock_no_file_no_socket_and_no_random_numbers() {
    let names = [
        "SystemTime",
        "Instant::",
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "std::os",
        "ring::rand",
        "aws_lc_rs::rand",
        "SystemRandom",
        "getrandom",
        "println!",
        "eprintln!",
    ];
    let mut files = 0;
    for folder in ["attestation/src", "verifier/src", "verifier/measure/src"] {
        for path in sources(&workspace_root().join(folder)) {
            files += 1;
            let source = fs::read_to_string(&path).expect("a source is readable");
            // Tests may read files; by the style guide they come last in a file.
            let product = source.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            for (number, line) in product.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for name in names {
                    let place = format!("{}:{}", path.display(), number + 1);
                    assert!(
                        !code.contains(name),
                        "{place} names {name}: it has to be an argument"
                    );
                }
            }
        }
    }
    assert!(files > 10, "only {files} sources were found");
}

/// Rust files under a folder, without those that hold only tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a crate has sources").flatten() {
        let path = entry.path();
        let tests = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !tests {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !tests {
            found.push(path);
        }
    }
    found
}
