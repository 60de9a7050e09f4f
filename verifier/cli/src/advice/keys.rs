//! Which keys of a policy file govern a rejection. Where there is none, no
//! policy can change the outcome.

/// Codes and their keys.
pub(super) const KEYS: &[(&str, &[&str])] = &[
    ("snp.report_version.not_allowed", &["snp.report_versions"]),
    ("snp.product.not_allowed", &["snp.products"]),
    ("snp.key.not_allowed", &["snp.key"]),
    (
        "snp.vlek.provider_not_allowed",
        &["snp.key", "snp.vlek_providers"],
    ),
    ("snp.tcb.below_floor", &["snp.tcb_floor"]),
    ("snp.root.unknown", &["roots.amd", "roots.extra"]),
    ("snp.intermediate.unknown", &["roots.amd", "roots.extra"]),
    ("snp.crl.missing", &["snp.crl"]),
    ("snp.crl.stale", &["snp.crl"]),
    ("snp.policy.debug", &["snp.debug"]),
    ("snp.policy.migrate_ma", &["snp.migrate_ma"]),
    ("snp.platform.alias_check", &["snp.require_alias_check"]),
    ("snp.vmpl.not_allowed", &["snp.vmpl"]),
    ("snp.id_block.not_allowed", &["snp.id_block"]),
    ("snp.launch.not_allowed", &["snp.launch"]),
    ("model.not_allowed", &["model.manifests"]),
    ("simulated.not_allowed", &["allow_simulated", "roots.extra"]),
    ("policy.simulated", &["allow_simulated", "roots.extra"]),
];

/// The keys that govern a code.
pub(super) fn of(code: &str) -> &'static [&'static str] {
    KEYS.iter()
        .find(|(known, _)| *known == code)
        .map_or(&[], |(_, keys)| keys)
}
