//! The policies that come with the verifier, as the exact text of the files in
//! `policies/`. A user's own file is used in the same way.

/// For real nodes. Refuses everything until a release is pinned in it.
pub const PRODUCTION: &str = include_str!("../../policies/production.toml");
/// For simulated nodes on a developer's machine. Proves nothing to anyone.
pub const DEVELOPMENT: &str = include_str!("../../policies/development.toml");
/// Names of the policies.
pub const NAMES: [&str; 2] = ["production", "development"];

/// The text of the policy with this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static str> {
    match name {
        "production" => Some(PRODUCTION),
        "development" => Some(DEVELOPMENT),
        _ => None,
    }
}
