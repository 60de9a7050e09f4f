//! What a guest is told its processor is, and which SEV features it runs with:
//! the two words of a VMSA that depend on the shape of a launch.

use core::fmt;
use core::str::FromStr;

/// Why a vCPU can't be as described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VcpuError {
    /// A name that isn't in [`VcpuType::ALL`].
    #[error(
        "`{name}` is no known vCPU type: expected one of {}; give another by its CPUID signature",
        VcpuType::names()
    )]
    UnknownType {
        /// What came.
        name: String,
    },
    /// A family, model or stepping that CPUID can't say.
    #[error(
        "family {family}, model {model}, stepping {stepping} can't be said by CPUID: expected at most 270, 255 and 15"
    )]
    Signature {
        /// Family, as displayed.
        family: u32,
        /// Model, as displayed.
        model: u32,
        /// Stepping.
        stepping: u32,
    },
    /// SNP isn't among the features.
    #[error(
        "guest features {word:#x} lack bit 0, SNPActive, so this is no SEV-SNP guest: expected for example 0x1"
    )]
    NoSnp {
        /// What came.
        word: u64,
    },
}

impl VcpuError {
    /// Stable dotted code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownType { .. } => "measure.vcpu.type",
            Self::Signature { .. } => "measure.vcpu.signature",
            Self::NoSnp { .. } => "measure.vcpu.features",
        }
    }
}

/// CPUID Fn0000_0001 EAX: family, model and stepping \[AMD 25481\]. QEMU puts it
/// into RDX of every vCPU, as a processor has it after reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VcpuSignature(u32);

impl VcpuSignature {
    /// Takes the register's value.
    #[must_use]
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// From family, model and stepping as they are displayed, the extended
    /// parts added in.
    ///
    /// # Errors
    /// [`VcpuError::Signature`] if the register has no room for one of them.
    pub const fn of(family: u32, model: u32, stepping: u32) -> Result<Self, VcpuError> {
        if family > 0xf + 0xff || model > 0xff || stepping > 0xf {
            return Err(VcpuError::Signature {
                family,
                model,
                stepping,
            });
        }
        Ok(Self::packed(family, model, stepping))
    }

    const fn packed(family: u32, model: u32, stepping: u32) -> Self {
        let (base, extended) = if family > 0xf {
            (0xf, family - 0xf)
        } else {
            (family, 0)
        };
        Self(extended << 20 | (model >> 4) << 16 | base << 8 | (model & 0xf) << 4 | stepping)
    }

    /// The register's value.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }
}

impl fmt::Display for VcpuSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A vCPU type by QEMU's name for it. Types of one generation have one
/// signature, and so one digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VcpuType {
    name: &'static str,
    signature: VcpuSignature,
}

const NAPLES: VcpuSignature = VcpuSignature::packed(23, 1, 2);
const ROME: VcpuSignature = VcpuSignature::packed(23, 49, 0);
const MILAN: VcpuSignature = VcpuSignature::packed(25, 1, 1);
const GENOA: VcpuSignature = VcpuSignature::packed(25, 17, 0);
const TURIN: VcpuSignature = VcpuSignature::packed(26, 0, 0);

impl VcpuType {
    /// Every type that is known by name: those of sev-snp-measure 0.0.13, and
    /// the two versions of EPYC-Turin that `sev` 8 adds.
    pub const ALL: &'static [Self] = &[
        Self::named("EPYC", NAPLES),
        Self::named("EPYC-v1", NAPLES),
        Self::named("EPYC-v2", NAPLES),
        Self::named("EPYC-IBPB", NAPLES),
        Self::named("EPYC-v3", NAPLES),
        Self::named("EPYC-v4", NAPLES),
        Self::named("EPYC-Rome", ROME),
        Self::named("EPYC-Rome-v1", ROME),
        Self::named("EPYC-Rome-v2", ROME),
        Self::named("EPYC-Rome-v3", ROME),
        Self::named("EPYC-Milan", MILAN),
        Self::named("EPYC-Milan-v1", MILAN),
        Self::named("EPYC-Milan-v2", MILAN),
        Self::named("EPYC-Genoa", GENOA),
        Self::named("EPYC-Genoa-v1", GENOA),
        Self::named("EPYC-Turin", TURIN),
        Self::named("EPYC-Turin-v1", TURIN),
        Self::named("EPYC-Turin-v2", TURIN),
    ];

    const fn named(name: &'static str, signature: VcpuSignature) -> Self {
        Self { name, signature }
    }

    /// QEMU's name, as after `-cpu`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// What CPUID says in such a guest.
    #[must_use]
    pub const fn signature(self) -> VcpuSignature {
        self.signature
    }

    fn names() -> String {
        let names: Vec<&str> = Self::ALL.iter().map(|known| known.name).collect();
        names.join(", ")
    }
}

impl FromStr for VcpuType {
    type Err = VcpuError;

    fn from_str(name: &str) -> Result<Self, VcpuError> {
        let known = Self::ALL.iter().find(|known| known.name == name);
        known.copied().ok_or_else(|| VcpuError::UnknownType {
            name: name.to_owned(),
        })
    }
}

/// SEV_FEATURES of a VMSA \[AMD64 APM volume 2, table B-4\]: bit 0 SNPActive,
/// bit 5 DebugSwap, which QEMU and KVM of some releases set by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestFeatures(u64);

impl GuestFeatures {
    /// Takes the word.
    ///
    /// # Errors
    /// [`VcpuError::NoSnp`] if SNPActive isn't set.
    pub const fn new(word: u64) -> Result<Self, VcpuError> {
        if word & 1 == 0 {
            return Err(VcpuError::NoSnp { word });
        }
        Ok(Self(word))
    }

    /// The word.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for GuestFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{GuestFeatures, VcpuError, VcpuSignature, VcpuType};

    #[test]
    fn signatures_are_packed_as_cpuid_packs_them() {
        for (family, model, stepping, wanted) in [
            (23, 1, 2, 0x0080_0f12),
            (23, 49, 0, 0x0083_0f10),
            (25, 1, 1, 0x00a0_0f11),
            (25, 17, 0, 0x00a1_0f10),
            (26, 0, 0, 0x00b0_0f00),
            (6, 0x8f, 8, 0x0008_06f8),
            (270, 255, 15, 0x0fff_0fff),
        ] {
            let signature = VcpuSignature::of(family, model, stepping).unwrap();
            assert_eq!(signature.value(), wanted, "{family} {model} {stepping}");
        }
        for (family, model, stepping) in [(271, 0, 0), (25, 256, 0), (25, 1, 16)] {
            let error = VcpuSignature::of(family, model, stepping).unwrap_err();
            assert_eq!(error.code(), "measure.vcpu.signature");
        }
    }

    #[test]
    fn types_are_found_by_their_exact_name_and_only_once() {
        for known in VcpuType::ALL {
            assert_eq!(known.name().parse::<VcpuType>().unwrap(), *known);
        }
        for name in ["epyc-v4", "EPYC-v5", "", "EPYC-v4 "] {
            assert!(matches!(
                name.parse::<VcpuType>(),
                Err(VcpuError::UnknownType { .. })
            ));
        }
    }

    #[test]
    fn features_without_snp_are_refused() {
        assert_eq!(GuestFeatures::new(0x21).unwrap().to_string(), "0x21");
        assert_eq!(GuestFeatures::new(0x20), Err(VcpuError::NoSnp { word: 0x20 }));
    }
}
