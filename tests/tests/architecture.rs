//! The architecture as tests over `cargo metadata`: which crate may know which,
//! and what may be linked into the ones that must stay small. What the sources
//! themselves must hold is in `sources`. A failure names the path that offends.

#[path = "architecture/graph.rs"]
mod graph;
#[path = "architecture/sources.rs"]
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bastide_tests::workspace_root;
use graph::{Graph, Kind, Package, cargo, matches};

/// Every crate: its folder, and which of ours it may depend on. Crates that are
/// to come stand here already, so that they come as designed.
const CRATES: &[(&str, &str, &[&str])] = &[
    ("bastide-attestation", "attestation", &[]),
    (
        "bastide-attester",
        "attestation/attester",
        &["bastide-attestation"],
    ),
    (
        "bastide-attested-tls",
        "attestation/attested-tls",
        &["bastide-attestation"],
    ),
    ("bastide-verifier", "verifier", &["bastide-attestation"]),
    (
        "bastide-endorsements",
        "verifier/endorsements",
        &["bastide-attestation"],
    ),
    ("bastide-measure", "verifier/measure", &["bastide-attestation"]),
    (
        "bastide-cli",
        "verifier/cli",
        &[
            "bastide-verifier",
            "bastide-endorsements",
            "bastide-measure",
            "bastide-attested-tls",
            "bastide-attestation",
        ],
    ),
    (
        "bastide-enclave",
        "enclave",
        &[
            "bastide-attester",
            "bastide-attested-tls",
            "bastide-verifier",
            "bastide-endorsements",
            "bastide-engine",
            "bastide-pipeline",
            "bastide-attestation",
        ],
    ),
    ("bastide-engine", "enclave/engine", &[]),
    (
        "bastide-pipeline",
        "enclave/pipeline",
        &["bastide-engine", "bastide-attested-tls", "bastide-attestation"],
    ),
    (
        "bastide-host-shim",
        "host-shim",
        &["bastide-endorsements", "bastide-attestation"],
    ),
    (
        "bastide-ohttp-relay",
        "host-shim/ohttp-relay",
        &["bastide-host-shim", "bastide-attested-tls", "bastide-attestation"],
    ),
    ("bastide-tests", "tests", &[]),
    ("bastide-fake-nvml", "tests/fake-nvml", &["bastide-attestation"]),
];

/// For their tests only: the simulator makes the evidence that these judge, and
/// the attester is who calls the fake of NVML.
const MAY_TEST_WITH_THE_ATTESTER: &[&str] = &[
    "bastide-attested-tls",
    "bastide-cli",
    "bastide-endorsements",
    "bastide-fake-nvml",
    "bastide-pipeline",
    "bastide-verifier",
];

/// For their tests only: peers on real links are judged by the real verifier.
const MAY_TEST_WITH_THE_VERIFIER: &[&str] = &["bastide-pipeline"];

/// Whatever reaches a network or a runtime for it.
const NETWORK: &[&str] = &[
    "tokio*",
    "async-std",
    "smol",
    "mio",
    "socket2",
    "hyper*",
    "h2",
    "h3",
    "quinn*",
    "reqwest",
    "ureq",
    "curl*",
    "hickory-*",
    "tungstenite*",
];

/// Whatever speaks TLS.
const TLS: &[&str] = &[
    "rustls*",
    "tokio-rustls",
    "hyper-rustls",
    "openssl*",
    "native-tls",
    "s2n-tls*",
    "boring*",
];

/// Libraries that the design excludes from everything that is shipped.
const NEVER_LINKED: &[&str] = &["openssl*", "native-tls", "rsa", "serde_cbor", "bincode"];

fn row(name: &str) -> Option<(&'static str, &'static [&'static str])> {
    CRATES
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|(_, folder, arrows)| (*folder, *arrows))
}

fn folder(package: &Package) -> &Path {
    package.manifest.parent().expect("a manifest is in a folder")
}

fn assert_not_linked(member: &str, forbidden: &[&str], rule: &str) {
    let paths = Graph::read().paths_to(member, forbidden);
    assert!(
        paths.is_empty(),
        "{member} {rule}, but links:\n  {}",
        paths.join("\n  ")
    );
}

#[test]
fn every_crate_is_in_the_table_and_in_its_folder() {
    let root = workspace_root().canonicalize().expect("the workspace is there");
    for package in Graph::read().members() {
        let Some((expected, _)) = row(&package.name) else {
            panic!(
                "{} is not in the table of crates; decide what it may depend on",
                package.manifest.display()
            );
        };
        assert_eq!(
            folder(package),
            root.join(expected),
            "{} is in another folder",
            package.name
        );
    }
    // The closures below are about these; without them nothing would be held.
    for name in [
        "bastide-verifier",
        "bastide-host-shim",
        "bastide-attestation",
        "bastide-enclave",
    ] {
        assert!(
            Graph::read().members().any(|package| package.name == name),
            "{name} is missing"
        );
    }
}

#[test]
fn crates_depend_on_each_other_only_along_the_arrows() {
    let graph = Graph::read();
    for package in graph.members().filter(|package| package.name != "bastide-tests") {
        let (_, arrows) = row(&package.name).expect("another test holds that it is in the table");
        for (dependency, kinds) in graph
            .dependencies(package)
            .filter(|(dependency, _)| dependency.member)
        {
            let may_test: &[&str] = match dependency.name.as_str() {
                "bastide-attester" => MAY_TEST_WITH_THE_ATTESTER,
                "bastide-verifier" => MAY_TEST_WITH_THE_VERIFIER,
                _ => &[],
            };
            let for_tests =
                kinds.iter().all(|kind| *kind == Kind::Dev) && may_test.contains(&package.name.as_str());
            assert!(
                arrows.contains(&dependency.name.as_str()) || for_tests,
                "{} → {} ({kinds:?}) is no arrow of the architecture; see {}",
                package.name,
                dependency.name,
                package.manifest.display()
            );
        }
    }
}

#[test]
fn nothing_shipped_depends_on_the_tests_and_the_demo_links_no_crate_of_ours() {
    let graph = Graph::read();
    for package in graph.members() {
        for (dependency, kinds) in graph
            .dependencies(package)
            .filter(|(dependency, _)| dependency.member)
        {
            let names = format!("{} → {} ({kinds:?})", package.name, dependency.name);
            assert_ne!(dependency.name, "bastide-tests", "{names}");
            assert_ne!(
                dependency.name, "bastide-fake-nvml",
                "{names}: it is loaded, never linked"
            );
            if package.name == "bastide-tests" {
                assert!(
                    kinds.iter().all(|kind| *kind == Kind::Dev),
                    "{names}: the demo runs the real commands"
                );
            }
        }
    }
}

#[test]
fn crates_of_this_workspace_form_no_cycle_not_even_through_tests() {
    let graph = Graph::read();
    let mut left: BTreeMap<&str, BTreeSet<&str>> = graph
        .members()
        .map(|package| {
            let ours = graph
                .dependencies(package)
                .filter(|(dependency, _)| dependency.member);
            (
                package.name.as_str(),
                ours.map(|(dependency, _)| dependency.name.as_str()).collect(),
            )
        })
        .collect();
    // Takes away what depends on nothing that is left; a cycle remains.
    loop {
        let names: BTreeSet<&str> = left.keys().copied().collect();
        let before = left.len();
        left.retain(|_, ours| !ours.is_disjoint(&names));
        if left.len() == before {
            break;
        }
    }
    assert!(
        left.is_empty(),
        "these depend on each other in a circle: {}",
        circle(&left)
    );
}

/// A circle among crates each of which depends on another of them: follows the
/// first dependency until a crate comes again.
fn circle(left: &BTreeMap<&str, BTreeSet<&str>>) -> String {
    let mut path: Vec<&str> = left.keys().take(1).copied().collect();
    while let Some(next) = path
        .last()
        .and_then(|last| left[last].iter().find(|name| left.contains_key(*name)))
    {
        let met = path.iter().position(|name| name == next);
        path.push(next);
        if let Some(first) = met {
            return path[first..].join(" → ");
        }
    }
    path.join(" → ")
}

#[test]
fn a_circle_is_named_by_its_own_path() {
    let left = [("a", ["b"].into()), ("b", ["c"].into()), ("c", ["b"].into())].into();
    assert_eq!(circle(&left), "b → c → b");
}

#[test]
fn the_verifier_links_no_runtime_no_network_no_tls_and_no_rsa() {
    let rule = "is sans-IO and verifies by its own small trait";
    assert_not_linked("bastide-verifier", NETWORK, rule);
    assert_not_linked("bastide-verifier", TLS, rule);
    assert_not_linked("bastide-verifier", &["rsa"], rule);
}

#[test]
fn launch_digests_are_computed_without_a_runtime_a_network_or_tls() {
    let rule = "is sans-IO, and links what hashes and nothing more";
    assert_not_linked("bastide-measure", NETWORK, rule);
    assert_not_linked("bastide-measure", TLS, rule);
    assert_not_linked("bastide-measure", &["aws-lc-*", "sev", "sha2"], rule);
}

#[test]
fn the_vocabulary_links_no_runtime_no_network_no_tls() {
    let rule = "is the vocabulary, without I/O";
    assert_not_linked("bastide-attestation", NETWORK, rule);
    assert_not_linked("bastide-attestation", TLS, rule);
}

/// ring has a random number generator that it links whether it is used or not.
/// So what is held is that nobody else in the closure brings one in; that our own
/// sources don't call it is held by
/// `the_vocabulary_and_the_verifier_name_no_clock_no_file_no_socket_and_no_random_numbers`.
#[test]
fn random_numbers_come_into_the_vocabulary_and_the_verifier_through_ring_and_aws_lc_alone() {
    let graph = Graph::read();
    let generators: &[&str] = &["getrandom", "rand", "rand_core", "fastrand", "oorandom"];
    for member in ["bastide-attestation", "bastide-verifier"] {
        for (package, path) in graph.linked_into(member) {
            let generators = graph.dependencies(package).filter(|(dependency, kinds)| {
                kinds.contains(&Kind::Normal) && matches(&dependency.name, generators)
            });
            for (generator, _) in generators {
                let brought = matches(&package.name, &["ring", "aws-lc-rs", "aws-lc-sys"]);
                // Named on wasm32 alone, to let ring build there. Nobody calls it: the module
                // of tests/wasm imports nothing.
                let named = package.name == "bastide-attestation"
                    && package
                        .declared
                        .iter()
                        .all(|declared| declared.name != "getrandom" || declared.wasm32_alone);
                assert!(
                    brought || named,
                    "{path} → {} {}",
                    generator.name,
                    generator.version
                );
            }
        }
    }
}

#[test]
fn the_host_shim_links_nothing_that_can_name_a_plaintext_type() {
    let rule = "moves bytes and can't name a plaintext type";
    let ours = [
        "bastide-verifier",
        "bastide-enclave",
        "bastide-engine",
        "bastide-pipeline",
        "bastide-attested-tls",
    ];
    assert_not_linked("bastide-host-shim", &ours, rule);
    assert_not_linked("bastide-host-shim", TLS, rule);
    assert_not_linked(
        "bastide-host-shim",
        &["aws-lc-*", "hyper*", "http*", "tokenizers"],
        rule,
    );
    // It does reach sockets, so a closure that lacks tokio would mean that closures are read wrongly.
    assert!(!Graph::read().paths_to("bastide-host-shim", &["tokio"]).is_empty());
}

/// Whatever could judge evidence or know what is inside a sealed request.
#[test]
fn the_relay_of_sealed_requests_links_no_verifier_and_no_enclave() {
    let ours = [
        "bastide-verifier",
        "bastide-enclave",
        "bastide-engine",
        "bastide-pipeline",
        "bastide-attester",
        "tokenizers",
    ];
    assert_not_linked("bastide-ohttp-relay", &ours, "passes sealed bytes on");
}

#[test]
fn the_engine_links_no_runtime_no_network_no_tls() {
    let rule = "computes, and talks to nobody";
    assert_not_linked("bastide-engine", NETWORK, rule);
    assert_not_linked("bastide-engine", TLS, rule);
}

#[test]
fn no_shipped_crate_links_openssl_native_tls_rsa_or_an_abandoned_codec() {
    for package in Graph::read().members() {
        assert_not_linked(&package.name, NEVER_LINKED, "is shipped");
    }
}

#[test]
fn only_attested_tls_names_rustls() {
    for package in Graph::read()
        .members()
        .filter(|package| package.name != "bastide-attested-tls")
    {
        for dependency in package
            .declared
            .iter()
            .filter(|dependency| matches(&dependency.name, TLS))
        {
            let in_tests = package.name == "bastide-tests" && dependency.kind == Kind::Dev;
            // Downloads are judged by what they hold; a connector carries them, and names no TLS type.
            let carries = package.name == "bastide-endorsements" && dependency.name == "hyper-rustls";
            assert!(
                in_tests || carries,
                "{} → {} ({:?}): ask bastide-attested-tls for a connection instead; see {}",
                package.name,
                dependency.name,
                dependency.kind,
                package.manifest.display()
            );
        }
    }
}

/// Who only reads a directory of endorsements, as the host may, links no network.
#[test]
fn endorsements_without_the_key_servers_client_link_no_network_and_no_tls() {
    let linked = |more: &[&str]| {
        let mut arguments = vec!["tree", "--locked", "--package", "bastide-endorsements"];
        arguments.extend_from_slice(&["--edges", "normal,build", "--target", "all", "--prefix", "none"]);
        arguments.extend_from_slice(more);
        let tree = cargo(&arguments);
        let found: BTreeSet<String> = tree
            .lines()
            .filter_map(|line| line.split(' ').next())
            .filter(|name| matches(name, NETWORK) || matches(name, TLS))
            .map(str::to_owned)
            .collect();
        found
    };
    assert_eq!(linked(&["--no-default-features"]), BTreeSet::new());
    // The same question with the client, so that an empty answer means something.
    assert!(linked(&[]).contains("hyper-rustls"));
}

#[test]
fn serde_cbor_is_the_maintained_fork_everywhere() {
    let graph = Graph::read();
    for package in graph.packages() {
        assert_ne!(package.name, "serde_cbor", "the archived crate is in the graph");
    }
    let mut users = 0;
    for package in graph.members() {
        for dependency in &package.declared {
            let rename = dependency.rename.as_deref();
            if dependency.name == "serde_cbor_2" || rename == Some("serde_cbor") {
                let edge = format!("{} → {} as {rename:?}", package.name, dependency.name);
                assert_eq!(
                    (dependency.name.as_str(), rename),
                    ("serde_cbor_2", Some("serde_cbor")),
                    "{edge}"
                );
                users += 1;
            }
        }
    }
    assert!(users > 0, "nobody uses serde_cbor: this test holds nothing");
}

/// Our crates that are linked into `package` with this feature.
fn with_feature(package: &str, feature: &str, more: &[&str]) -> BTreeSet<String> {
    let mut arguments = vec![
        "tree",
        "--locked",
        "--package",
        package,
        "--edges",
        "normal,build",
    ];
    arguments.extend_from_slice(&["--target", "all", "--prefix", "none", "--format", "{p}|{f}"]);
    arguments.extend_from_slice(more);
    let tree = cargo(&arguments);
    tree.lines()
        .filter_map(|line| line.split_once('|'))
        .filter(|(package, features)| {
            package.starts_with("bastide-")
                && features
                    .trim_end_matches(" (*)")
                    .split(',')
                    .any(|known| known == feature)
        })
        .filter_map(|(package, _)| package.split(' ').next().map(str::to_owned))
        .collect()
}

#[test]
fn the_simulator_is_in_an_enclave_only_when_asked_for() {
    let simulating = |more: &[&str]| with_feature("bastide-enclave", "simulator", more);
    assert_eq!(simulating(&[]), BTreeSet::new(), "the default features simulate");
    // The same question with the feature, so that an empty answer means something.
    let asked = simulating(&["--features", "simulator"]);
    assert_eq!(
        asked,
        ["bastide-attester", "bastide-enclave"].map(str::to_owned).into()
    );
}

/// A benchmark compares attested links with bare TCP, and nothing else may.
#[test]
fn links_that_prove_nothing_are_in_no_enclave_whatever_it_is_built_with() {
    let plain = |package: &str, more: &[&str]| with_feature(package, "plain-transport", more);
    assert_eq!(plain("bastide-enclave", &["--all-features"]), BTreeSet::new());
    assert_eq!(plain("bastide-pipeline", &[]), BTreeSet::new());
    assert_eq!(
        plain("bastide-pipeline", &["--features", "plain-transport"]),
        ["bastide-pipeline"].map(str::to_owned).into()
    );
}
