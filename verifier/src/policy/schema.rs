//! The shape of a policy file, `bastide.policy/v1`: keys and types. Unknown
//! keys are refused at every level; what values mean is `load`'s business.

use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

/// The only schema.
pub(super) const SCHEMA: &str = "bastide.policy/v1";

/// A list whose place in the file is known, as are its entries'.
pub(super) type List<T> = Spanned<Vec<Spanned<T>>>;

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
    pub(super) session: Session,
    pub(super) model: Option<Spanned<Model>>,
    pub(super) azure: Option<Spanned<Azure>>,
    pub(super) gpu: Option<Spanned<Gpu>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Roots {
    pub(super) amd: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) extra: Vec<Spanned<ExtraRoot>>,
    /// Whether NVIDIA's roots of devices and of manifests are relied on.
    pub(super) nvidia: Option<Spanned<bool>>,
    #[serde(default)]
    pub(super) gpu_extra: Vec<Spanned<ExtraGpuRoot>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExtraGpuRoot {
    pub(super) name: Spanned<String>,
    pub(super) device_spki: Spanned<String>,
    pub(super) rim_spki: Spanned<String>,
    pub(super) simulated: bool,
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
pub(super) struct Session {
    pub(super) key_exchange: Spanned<String>,
    pub(super) certificate: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Snp {
    pub(super) products: List<String>,
    pub(super) report_versions: List<u32>,
    /// Which product a report of version 2 is of, since it doesn't say.
    pub(super) v2_product: Option<Spanned<String>>,
    pub(super) vmpl: Option<List<u32>>,
    pub(super) key: Spanned<String>,
    pub(super) vlek_providers: Option<List<String>>,
    pub(super) id_block: Option<Spanned<String>>,
    pub(super) crl: Spanned<String>,
    pub(super) tcb_profile: Option<Spanned<String>>,
    pub(super) tcb_floor: Option<Spanned<Floors>>,
    pub(super) guest_policy: GuestPolicyBits,
    pub(super) platform_info: PlatformInfoBits,
    pub(super) launch: Option<List<LaunchPin>>,
    pub(super) chips: Option<List<ChipPin>>,
    pub(super) id_keys: Option<List<KeyPin>>,
    pub(super) author_keys: Option<List<KeyPin>>,
    pub(super) host_data: Option<List<HostDataPin>>,
}

/// A table of bits, every one of them to be decided.
macro_rules! bits {
    ($(#[doc = $doc:literal] $name:ident { $($bit:ident,)* })*) => {$(
        #[doc = $doc]
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($bit: Spanned<String>,)*
        }

        impl $name {
            /// Name and rule of each.
            pub(super) fn rules(&self) -> impl Iterator<Item = (&'static str, &Spanned<String>)> {
                [$((stringify!($bit), &self.$bit),)*].into_iter()
            }
        }
    )*};
}

bits! {
    /// Bits of the guest's POLICY.
    GuestPolicyBits {
        smt,
        migrate_ma,
        debug,
        single_socket,
        cxl,
        mem_aes_256_xts,
        rapl_dis,
        ciphertext_hiding,
        page_swap_disable,
    }
    /// Bits of PLATFORM_INFO.
    PlatformInfoBits {
        smt,
        tsme,
        ecc,
        rapl_dis,
        ciphertext_hiding,
        alias_check_complete,
        iommu_write_safe,
        tio,
    }
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
pub(super) struct Model {
    pub(super) manifests: List<ManifestPin>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Azure {
    pub(super) pcrs: Option<List<PcrPin>>,
}

/// One register and what it may be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PcrPin {
    pub(super) index: Spanned<u32>,
    pub(super) sha256: List<String>,
    pub(super) not_before: Spanned<Datetime>,
    pub(super) not_after: Spanned<Datetime>,
    pub(super) reason: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gpu {
    pub(super) count: Spanned<u32>,
    pub(super) families: List<String>,
    pub(super) modes: List<String>,
    pub(super) rim_expiry: Spanned<String>,
    pub(super) rim_grace_days: Option<Spanned<u32>>,
    pub(super) rims: Option<List<RimPin>>,
    pub(super) revocation: Spanned<String>,
    pub(super) revocation_max_age_hours: Option<Spanned<u32>>,
    pub(super) drivers: Option<List<DriverMinimum>>,
    pub(super) deny_drivers: Option<List<String>>,
    pub(super) vbioses: Option<List<VbiosMinimum>>,
    pub(super) deny_vbioses: Option<List<String>>,
    pub(super) devices: Option<List<DevicePin>>,
}

/// The oldest driver of a branch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DriverMinimum {
    pub(super) minimum: Spanned<String>,
    pub(super) reason: Spanned<String>,
}

/// The oldest VBIOS of a generation, or of one project's boards.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VbiosMinimum {
    pub(super) project: Option<Spanned<String>>,
    pub(super) minimum: Spanned<String>,
    pub(super) reason: Spanned<String>,
}

/// What every pin has besides its value.
pub(super) struct PinParts<'d> {
    pub(super) value: &'d Spanned<String>,
    pub(super) not_before: &'d Spanned<Datetime>,
    pub(super) not_after: &'d Spanned<Datetime>,
    pub(super) reason: &'d Spanned<String>,
    pub(super) release: Option<&'d Spanned<String>>,
    pub(super) shape: Option<&'d Spanned<String>>,
}

macro_rules! pins {
    ($($name:ident { $value:ident })*) => {$(
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $value: Spanned<String>,
            not_before: Spanned<Datetime>,
            not_after: Spanned<Datetime>,
            reason: Spanned<String>,
        }

        impl $name {
            pub(super) fn parts(&self) -> PinParts<'_> {
                PinParts {
                    value: &self.$value,
                    not_before: &self.not_before,
                    not_after: &self.not_after,
                    reason: &self.reason,
                    release: None,
                    shape: None,
                }
            }
        }
    )*};
}

pins! {
    ChipPin { chip_id }
    KeyPin { digest }
    HostDataPin { value }
    ManifestPin { manifest }
    RimPin { sha256 }
    DevicePin { ueid }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LaunchPin {
    measurement: Spanned<String>,
    release: Option<Spanned<String>>,
    shape: Option<Spanned<String>>,
    not_before: Spanned<Datetime>,
    not_after: Spanned<Datetime>,
    reason: Spanned<String>,
}

impl LaunchPin {
    pub(super) fn parts(&self) -> PinParts<'_> {
        PinParts {
            value: &self.measurement,
            not_before: &self.not_before,
            not_after: &self.not_after,
            reason: &self.reason,
            release: self.release.as_ref(),
            shape: self.shape.as_ref(),
        }
    }
}
