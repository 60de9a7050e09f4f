//! The policies that come with the verifier, as the exact text of the files in
//! `policies/`. A user's own file is used in the same way.

/// For real nodes. Refuses everything until a release is pinned in it.
pub const PRODUCTION: &str = include_str!("../../policies/production.toml");
/// For real nodes whose firmware is a year behind. Refuses everything until a release is pinned.
pub const BASELINE: &str = include_str!("../../policies/baseline.toml");
/// For those who list chips and host data too. Refuses everything until all of it is pinned.
pub const REGULATED: &str = include_str!("../../policies/regulated.toml");
/// For confidential virtual machines on Azure. Refuses everything until a release is pinned.
pub const AZURE: &str = include_str!("../../policies/azure.toml");
/// For simulated nodes on a developer's machine. Proves nothing to anyone.
pub const DEVELOPMENT: &str = include_str!("../../policies/development.toml");

/// Name and text of each.
pub const POLICIES: [(&str, &str); 5] = [
    ("production", PRODUCTION),
    ("baseline", BASELINE),
    ("regulated", REGULATED),
    ("azure", AZURE),
    ("development", DEVELOPMENT),
];
/// Names of the policies.
pub const NAMES: [&str; 5] = ["production", "baseline", "regulated", "azure", "development"];

/// The text of the policy with this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static str> {
    POLICIES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}
