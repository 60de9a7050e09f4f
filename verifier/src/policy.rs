//! Appraisal policies: what a relying party accepts, read from a TOML file that
//! they hold. Every decision is in the file or, by name, in its `ignore` list;
//! there are no defaults to be surprised by.

mod error;
mod load;
mod schema;

use std::collections::BTreeMap;

use bastide_attestation::snp::{Product, TcbVersion};
use bastide_attestation::{LaunchMeasurement, ManifestDigest, PolicyDigest};

use crate::anchors::Anchor;

pub use error::{PolicyError, PolicyFault};

/// Which kinds of endorsement key may have signed a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyKinds {
    /// The chip's own.
    Vcek,
    /// A provider's, one of these.
    Vlek { providers: Vec<String> },
    /// Either.
    Any { providers: Vec<String> },
}

impl KeyKinds {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Vcek => "vcek",
            Self::Vlek { .. } => "vlek",
            Self::Any { .. } => "any",
        }
    }
}

/// What happens without a current revocation list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CrlMode {
    /// The check is left out, visibly.
    Soft,
    /// No acceptance.
    Hard,
}

/// Whether a guest may have been launched with an ID block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdBlock {
    /// None, and no author key.
    Forbid,
    /// Whatever there is.
    Any,
}

/// Rules for the SNP report. `None` where the policy leaves a decision out.
#[derive(Debug, Clone)]
pub(crate) struct SnpRules {
    pub(crate) products: Vec<Product>,
    pub(crate) report_versions: Vec<u32>,
    pub(crate) vmpl: Option<Vec<u32>>,
    pub(crate) debug: bool,
    pub(crate) migrate_ma: bool,
    pub(crate) require_alias_check: bool,
    pub(crate) key: KeyKinds,
    pub(crate) id_block: IdBlock,
    pub(crate) crl: CrlMode,
    pub(crate) tcb_floor: Option<BTreeMap<Product, TcbVersion>>,
    pub(crate) measurements: Option<Vec<LaunchMeasurement>>,
}

/// A policy that was read whole and found free of contradictions.
#[derive(Debug, Clone)]
pub struct Policy {
    name: String,
    description: String,
    digest: PolicyDigest,
    ignored: Vec<String>,
    anchors: Vec<Anchor>,
    snp: SnpRules,
    manifests: Option<Vec<ManifestDigest>>,
    allow_simulated: bool,
}

impl Policy {
    /// Reads a policy: TOML, schema `bastide.policy/v1`, at most 256 KiB.
    ///
    /// # Errors
    /// [`PolicyError`] says which line, what was expected and what came.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        load::load(bytes)
    }

    /// Its name: lower-case letters, digits and hyphens.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says about itself.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// SHA-256 of its exact bytes.
    #[must_use]
    pub const fn digest(&self) -> PolicyDigest {
        self.digest
    }

    /// Whether evidence under a simulation root can be accepted.
    #[must_use]
    pub const fn allows_simulated(&self) -> bool {
        self.allow_simulated
    }

    /// Checks that it leaves out by name.
    #[must_use]
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// The roots that it relies on.
    #[must_use]
    pub fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    pub(crate) const fn snp(&self) -> &SnpRules {
        &self.snp
    }

    pub(crate) fn manifests(&self) -> Option<&[ManifestDigest]> {
        self.manifests.as_deref()
    }
}

/// Allowed values, for a verdict.
pub(crate) fn list<T: ToString>(values: &[T]) -> String {
    let values: Vec<_> = values.iter().map(ToString::to_string).collect();
    values.join(" or ")
}
