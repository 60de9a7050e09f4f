//! The shape of a policy file, `bastide.policy/v1`: keys and types. Unknown
//! keys are refused at every level; what values mean is `load`'s business.

use serde::Deserialize;
use toml::Spanned;

/// The only schema.
pub(super) const SCHEMA: &str = "bastide.policy/v1";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub(super) schema: Spanned<String>,
    pub(super) name: Spanned<String>,
    pub(super) description: Spanned<String>,
    pub(super) allow_simulated: bool,
    pub(super) ignore: Vec<Spanned<String>>,
    pub(super) roots: Roots,
    pub(super) snp: Snp,
    pub(super) model: Option<Spanned<Model>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Roots {
    pub(super) amd: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) extra: Vec<Spanned<ExtraRoot>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExtraRoot {
    pub(super) name: Spanned<String>,
    pub(super) generation: Spanned<String>,
    pub(super) ark_spki: Spanned<String>,
    pub(super) ask_spki: Spanned<String>,
    /// Absent: no VLEKs under this root.
    pub(super) asvk_spki: Option<Spanned<String>>,
    pub(super) simulated: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Snp {
    pub(super) products: Spanned<Vec<Spanned<String>>>,
    pub(super) report_versions: Spanned<Vec<Spanned<u32>>>,
    pub(super) vmpl: Option<Spanned<Vec<Spanned<u32>>>>,
    pub(super) debug: bool,
    pub(super) migrate_ma: bool,
    pub(super) require_alias_check: bool,
    pub(super) key: Spanned<String>,
    pub(super) vlek_providers: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) id_block: Spanned<String>,
    pub(super) crl: Spanned<String>,
    pub(super) tcb_floor: Option<Spanned<Floors>>,
    pub(super) launch: Option<Spanned<Launch>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Floors {
    pub(super) milan: Option<Spanned<Floor>>,
    pub(super) genoa: Option<Spanned<Floor>>,
    pub(super) bergamo: Option<Spanned<Floor>>,
    pub(super) turin: Option<Spanned<Floor>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Floor {
    pub(super) fmc: Option<u8>,
    pub(super) boot_loader: u8,
    pub(super) tee: u8,
    pub(super) snp: u8,
    pub(super) microcode: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Launch {
    pub(super) measurements: Spanned<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    pub(super) manifests: Spanned<Vec<Spanned<String>>>,
}
