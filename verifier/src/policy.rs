//! Appraisal policies: what a relying party accepts, read from a TOML file that
//! they hold. Every decision is in the file or, by name, in its `ignore` list;
//! there are no defaults to be surprised by.

mod bits;
mod date;
mod error;
pub(crate) mod gpu;
mod load;
mod pins;
mod schema;
mod session;
mod source;

use std::collections::BTreeMap;

use bastide_attestation::snp::{Product, TcbVersion};
use bastide_attestation::{
    ChipId, HostData, IdKeyDigest, LaunchMeasurement, ManifestDigest, PcrValue, Platform, PolicyDigest,
};

use crate::anchors::Anchor;
use crate::ledger::CheckId;
use crate::tcb_profile::{ADVISORIES, Advisory, TcbProfile};

pub(crate) use bits::{BitRule, BitRules};
pub use date::Window;
pub use error::{PolicyError, PolicyFault};
pub use pins::Pin;
pub(crate) use pins::{Found, PinSet};
pub use session::{KeyExchange, ServerCertificate, SessionRules};

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
    /// No list is looked at, visibly.
    Off,
    /// The check is left out, visibly.
    Soft,
    /// No acceptance.
    Hard,
}

impl CrlMode {
    /// As in a policy file.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Soft => "soft",
            Self::Hard => "hard",
        }
    }
}

/// Whether a guest may have been launched with an ID block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IdBlock {
    /// None, and no author key.
    Forbid,
    /// One signed by one of these keys; an author key, if there is one, must be
    /// one of those.
    Pinned {
        id_keys: PinSet<IdKeyDigest>,
        author_keys: Option<PinSet<IdKeyDigest>>,
    },
}

/// Floors for TCB versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TcbFloors {
    /// The named profile that they are at or above, if the policy names one.
    pub(crate) profile: Option<&'static TcbProfile>,
    pub(crate) floors: BTreeMap<Product, TcbVersion>,
}

/// Rules for the SNP report. `None` where the policy leaves a decision out.
#[derive(Debug, Clone)]
pub(crate) struct SnpRules {
    pub(crate) products: Vec<Product>,
    pub(crate) report_versions: Vec<u32>,
    pub(crate) v2_product: Option<Product>,
    pub(crate) vmpl: Option<Vec<u32>>,
    pub(crate) key: KeyKinds,
    pub(crate) id_block: Option<IdBlock>,
    pub(crate) crl: CrlMode,
    pub(crate) tcb: Option<TcbFloors>,
    pub(crate) guest_policy: BitRules,
    pub(crate) platform_info: BitRules,
    /// Whether PLATFORM_INFO may have a bit that is not known here.
    pub(crate) unknown_platform_bits: bool,
    pub(crate) launch: Option<PinSet<LaunchMeasurement>>,
    pub(crate) chips: Option<PinSet<ChipId>>,
    pub(crate) host_data: Option<PinSet<HostData>>,
}

/// Values of registers, by index. No entry: any value of that register.
pub(crate) type PcrPins = BTreeMap<u8, PinSet<PcrValue>>;

/// Rules for Azure VMs. `None` where the policy leaves a decision out.
#[derive(Debug, Clone)]
pub(crate) struct AzureRules {
    pub(crate) pcrs: Option<PcrPins>,
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
    session: SessionRules,
    manifests: Option<PinSet<ManifestDigest>>,
    azure: Option<AzureRules>,
    gpu: Option<gpu::GpuRules>,
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

    /// The platform that it is for: Azure's if it has an `[azure]` section.
    /// Evidence of the other is refused.
    #[must_use]
    pub const fn platform(&self) -> Platform {
        match self.azure {
            Some(_) => Platform::Azure,
            None => Platform::Snp,
        }
    }

    /// How a session with a node must be set up: for who connects to one.
    #[must_use]
    pub const fn session(&self) -> SessionRules {
        self.session
    }

    /// Processors that it accepts.
    #[must_use]
    pub fn products(&self) -> &[Product] {
        &self.snp.products
    }

    /// `vcek`, `vlek` or `any`.
    #[must_use]
    pub const fn key_kind(&self) -> &'static str {
        self.snp.key.name()
    }

    /// `off`, `soft` or `hard`: what happens without a current revocation list.
    #[must_use]
    pub const fn crl_mode(&self) -> &'static str {
        self.snp.crl.name()
    }

    /// The named profile of TCB floors that it uses, if it does.
    #[must_use]
    pub fn tcb_profile(&self) -> Option<&'static TcbProfile> {
        self.snp.tcb.as_ref().and_then(|tcb| tcb.profile)
    }

    /// The lowest TCB version that it accepts of a product; `None` if it has no floor.
    #[must_use]
    pub fn tcb_floor(&self, product: Product) -> Option<&TcbVersion> {
        self.snp.tcb.as_ref()?.floors.get(&product)
    }

    /// Advisories that a machine of this product which meets the policy's floor
    /// may still be open to.
    pub fn uncovered_advisories(&self, product: Product) -> impl Iterator<Item = Advisory> + use<> {
        let covering = self
            .tcb_floor(product)
            .and_then(|floor| TcbProfile::met_by(floor, product));
        ADVISORIES
            .into_iter()
            .filter(move |advisory| !covering.is_some_and(|profile| profile.covers.contains(advisory)))
    }

    /// Everything that it pins, set by set.
    #[must_use]
    pub fn pins(&self) -> Vec<Pin> {
        let mut pins = Vec::new();
        let snp = &self.snp;
        if let Some(set) = &snp.launch {
            pins.extend(set.list(CheckId::Launch.name()));
        }
        if let Some(set) = &snp.chips {
            pins.extend(set.list(CheckId::ChipId.name()));
        }
        if let Some(IdBlock::Pinned { id_keys, author_keys }) = &snp.id_block {
            pins.extend(id_keys.list(CheckId::IdBlock.name()));
            pins.extend(
                author_keys
                    .iter()
                    .flat_map(|set| set.list(CheckId::AuthorKey.name())),
            );
        }
        if let Some(set) = &snp.host_data {
            pins.extend(set.list(CheckId::HostData.name()));
        }
        if let Some(set) = &self.manifests {
            pins.extend(set.list(CheckId::Model.name()));
        }
        let pcrs = self.azure.as_ref().and_then(|azure| azure.pcrs.as_ref());
        for (index, set) in pcrs.into_iter().flatten() {
            pins.extend(set.list(CheckId::Pcrs.name()).map(|pin| Pin {
                value: format!("{index}:{}", pin.value),
                ..pin
            }));
        }
        if let Some(gpu) = &self.gpu {
            if let gpu::RimExpiry::Pinned { rims } = &gpu.rim_expiry {
                pins.extend(rims.list(CheckId::RimValidity.name()));
            }
            if let Some(set) = &gpu.devices {
                pins.extend(set.list_as(CheckId::GpuDevice.name(), ToString::to_string));
            }
        }
        pins
    }

    /// How many GPUs it asks for; `None` if it is for machines without.
    #[must_use]
    pub fn gpu_count(&self) -> Option<u8> {
        self.gpu.as_ref().map(|gpu| gpu.topology.gpus)
    }

    /// `strict`, `grace` or `pinned`: what is done about manifests whose signers
    /// have expired; `None` if it is for machines without GPUs.
    #[must_use]
    pub fn rim_expiry(&self) -> Option<&'static str> {
        self.gpu.as_ref().map(|gpu| gpu.rim_expiry.name())
    }

    /// `off`, `soft` or `hard`: what happens without a current answer about
    /// revocation for GPUs; `None` if it is for machines without.
    #[must_use]
    pub fn gpu_revocation(&self) -> Option<&'static str> {
        self.gpu.as_ref().map(|gpu| gpu.revocation.name())
    }

    pub(crate) const fn gpu(&self) -> Option<&gpu::GpuRules> {
        self.gpu.as_ref()
    }

    pub(crate) const fn azure(&self) -> Option<&AzureRules> {
        self.azure.as_ref()
    }

    pub(crate) const fn snp(&self) -> &SnpRules {
        &self.snp
    }

    pub(crate) const fn manifests(&self) -> Option<&PinSet<ManifestDigest>> {
        self.manifests.as_ref()
    }
}

/// Allowed values, for a verdict.
pub(crate) fn list<T: core::fmt::Display>(values: &[T]) -> String {
    use core::fmt::Write as _;
    let mut text = String::new();
    for (index, value) in values.iter().enumerate() {
        let separator = if index == 0 { "" } else { " or " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{value}");
    }
    text
}
