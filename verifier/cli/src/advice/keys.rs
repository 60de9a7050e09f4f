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
    ("snp.tcb.below_floor", &["snp.tcb_profile", "snp.tcb_floor"]),
    ("snp.root.unknown", &["roots.amd", "roots.extra"]),
    ("snp.intermediate.unknown", &["roots.amd", "roots.extra"]),
    ("snp.crl.missing", &["snp.crl"]),
    ("snp.crl.stale", &["snp.crl"]),
    ("snp.policy.debug", &["snp.guest_policy.debug"]),
    ("snp.policy.migrate_ma", &["snp.guest_policy.migrate_ma"]),
    ("snp.policy.cxl", &["snp.guest_policy.cxl"]),
    ("snp.policy.bit_not_allowed", &["snp.guest_policy"]),
    ("snp.platform.unknown_bits", &["ignore"]),
    (
        "snp.platform.alias_check",
        &["snp.platform_info.alias_check_complete"],
    ),
    ("snp.platform.bit_not_allowed", &["snp.platform_info"]),
    ("snp.vmpl.not_allowed", &["snp.vmpl"]),
    ("snp.id_block.not_allowed", &["snp.id_block"]),
    ("snp.id_key.not_allowed", &["snp.id_block", "snp.id_keys"]),
    ("snp.author_key.not_allowed", &["snp.id_block", "snp.author_keys"]),
    ("snp.launch.not_allowed", &["snp.launch"]),
    ("snp.chip.not_allowed", &["snp.chips"]),
    ("snp.host_data.not_allowed", &["snp.host_data"]),
    (
        "policy.pin_not_current",
        &[
            "snp.launch",
            "snp.chips",
            "snp.id_keys",
            "snp.author_keys",
            "snp.host_data",
            "azure.pcrs",
            "model.manifests",
            "gpu.devices",
        ],
    ),
    ("azure.not_allowed", &["azure"]),
    ("azure.required", &["azure"]),
    ("azure.pcr.not_allowed", &["azure.pcrs"]),
    ("model.not_allowed", &["model.manifests"]),
    ("gpu.evidence.not_expected", &["gpu"]),
    ("gpu.evidence.missing", &["gpu"]),
    ("gpu.root.unknown", &["roots.nvidia", "roots.gpu_extra"]),
    ("gpu.topology.count", &["gpu.count"]),
    ("gpu.family.not_allowed", &["gpu.families"]),
    ("gpu.mode.not_allowed", &["gpu.modes"]),
    ("gpu.device.not_allowed", &["gpu.devices"]),
    ("gpu.driver.below_minimum", &["gpu.drivers"]),
    ("gpu.driver.denied", &["gpu.deny_drivers"]),
    ("gpu.vbios.below_minimum", &["gpu.vbioses"]),
    ("gpu.vbios.denied", &["gpu.deny_vbioses"]),
    ("gpu.rim.root", &["roots.nvidia", "roots.gpu_extra"]),
    (
        "gpu.rim.expired",
        &["gpu.rim_expiry", "gpu.rim_grace_days", "gpu.rims"],
    ),
    ("gpu.revocation.missing", &["gpu.revocation"]),
    (
        "gpu.revocation.stale",
        &["gpu.revocation", "gpu.revocation_max_age_hours"],
    ),
    (
        "simulated.not_allowed",
        &["allow_simulated", "roots.extra", "roots.gpu_extra"],
    ),
    (
        "policy.simulated",
        &["allow_simulated", "roots.extra", "roots.gpu_extra"],
    ),
];

/// The keys that govern a code.
pub(super) fn of(code: &str) -> &'static [&'static str] {
    KEYS.iter()
        .find(|(known, _)| *known == code)
        .map_or(&[], |(_, keys)| keys)
}
