//! Policies for the tests, as text with changes.

use bastide_attestation::binding;
use bastide_verifier::Policy;

use super::keys::RsaKey;

/// A policy that accepts the tests' good evidence, as text.
pub(crate) fn text() -> String {
    let spki = |key: RsaKey| binding::spki_digest(&key.spki()).to_string();
    BASE.replace("BITS\n", &format!("{BITS}\n"))
        .replace("ARK", &spki(RsaKey::Ark))
        .replace("ASK", &spki(RsaKey::Ask))
        .replace("ASVK", &spki(RsaKey::Asvk))
        .replace("MEASUREMENT", &"b1".repeat(48))
        .replace("MANIFEST", &"3c".repeat(32))
}

/// That policy with changes; what is changed must be there.
pub(crate) fn with(changes: &[(&str, &str)]) -> Policy {
    let mut text = text();
    for (from, to) in changes {
        assert!(text.contains(from), "`{from}` is not in the policy");
        text = text.replace(from, to);
    }
    parse(&text)
}

/// A policy that must be right.
pub(crate) fn parse(text: &str) -> Policy {
    match Policy::parse(text.as_bytes()) {
        Ok(policy) => policy,
        Err(error) => panic!("{error}\n{text}"),
    }
}

/// A policy's text for machines without GPUs.
pub(crate) fn without_gpus(text: &str) -> String {
    let mut policy: toml::Table = text.parse().unwrap();
    assert!(policy.remove("gpu").is_some(), "the policy has a [gpu] section");
    let roots = policy["roots"].as_table_mut().unwrap();
    roots.remove("gpu_extra");
    roots.remove("nvidia");
    let ignored = policy["ignore"].as_array_mut().unwrap();
    ignored.retain(|check| !check.as_str().unwrap().starts_with("gpu."));
    toml::to_string(&policy).unwrap()
}

/// Both tables of bits, as lenient as a policy for real machines is.
pub(crate) const BITS: &str = r#"[snp.guest_policy]
smt = "any"
migrate_ma = "clear"
debug = "clear"
single_socket = "any"
cxl = "clear"
mem_aes_256_xts = "any"
rapl_dis = "any"
ciphertext_hiding = "any"
page_swap_disable = "any"

[snp.platform_info]
smt = "any"
tsme = "any"
ecc = "any"
rapl_dis = "any"
ciphertext_hiding = "any"
alias_check_complete = "set"
iommu_write_safe = "any"
tio = "any"
"#;

const BASE: &str = r#"schema = "bastide.policy/v1"
name = "test"
description = "accepts the tests' own evidence"
allow_simulated = true
ignore = ["snp.chip_id", "snp.host_data"]

[roots]
amd = []

[[roots.extra]]
name = "test-root"
generation = "genoa"
ark_spki = "ARK"
ask_spki = "ASK"
asvk_spki = "ASVK"
simulated = true

[snp]
products = ["genoa", "bergamo"]
report_versions = [3, 5]
vmpl = [0]
key = "vcek"
id_block = "forbid"
crl = "soft"

[snp.tcb_floor]
genoa = { boot_loader = 10, tee = 0, snp = 27, microcode = 84 }
bergamo = { boot_loader = 10, tee = 0, snp = 27, microcode = 27 }

BITS
[[snp.launch]]
measurement = "MEASUREMENT"
release = "v0"
shape = "4vcpu"
not_before = 2026-01-01
not_after = 2026-12-31
reason = "the tests' release"

[[model.manifests]]
manifest = "MANIFEST"
not_before = 2026-01-01
not_after = 2026-12-31
reason = "the tests' model"

[session]
key_exchange = "any"
certificate = "any"
"#;

/// The same for Azure VMs, with PCRs pinned that the tests' quotes have.
pub(crate) fn azure(changes: &[(&str, &str)]) -> Policy {
    let pins = format!(
        "[[azure.pcrs]]\nindex = 4\nsha256 = [\"{}\", \"{}\"]\n{WINDOW}\n\
         [[azure.pcrs]]\nindex = 7\nsha256 = [\"{}\"]\n{WINDOW}\n",
        "04".repeat(32),
        "a4".repeat(32),
        "07".repeat(32),
    );
    let mut text = text() + &pins;
    for (from, to) in changes {
        assert!(text.contains(from), "`{from}` is not in the policy");
        text = text.replace(from, to);
    }
    parse(&text)
}

/// The same, any PCR accepted.
pub(crate) fn azure_open() -> Policy {
    let ignored = text().replace("ignore = [", "ignore = [\"azure.pcrs\", ");
    parse(&(ignored + "[azure]\n"))
}

/// When the tests' PCRs count, and why.
pub(crate) const WINDOW: &str =
    "not_before = 2026-02-01\nnot_after = 2026-03-31\nreason = \"the tests' image\"";

/// The same for a provider's keys.
pub(crate) fn vlek(provider: &str) -> Policy {
    let key = format!("key = \"vlek\"\nvlek_providers = [\"{provider}\"]");
    with(&[("key = \"vcek\"", &key)])
}

/// The same for Turin.
pub(crate) fn turin() -> Policy {
    with(&[
        ("generation = \"genoa\"", "generation = \"turin\""),
        ("\"genoa\", \"bergamo\"", "\"turin\""),
        (
            "bergamo = { boot_loader = 10, tee = 0, snp = 27, microcode = 27 }",
            "turin = { fmc = 1, boot_loader = 1, tee = 1, snp = 4, microcode = 81 }",
        ),
        (
            "genoa = { boot_loader = 10, tee = 0, snp = 27, microcode = 84 }\n",
            "",
        ),
    ])
}
