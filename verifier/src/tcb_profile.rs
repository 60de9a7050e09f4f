//! Dated floors of TCB versions, by name. AMD publishes no machine-readable
//! list of them: these are read from bulletins and from the code of others that
//! acts on them. A profile says what it covers and what it doesn't; neither is
//! ever changed, a newer one gets a name of its own.

use bastide_attestation::snp::{Product, TcbVersion};

/// A published vulnerability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advisory {
    /// Bulletin and CVE.
    pub id: &'static str,
    /// What it is called or about.
    pub title: &'static str,
}

impl core::fmt::Display for Advisory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}: {}", self.id, self.title)
    }
}

const ENTRYSIGN: Advisory = Advisory {
    id: "AMD-SB-3019, CVE-2024-56161",
    title: "microcode signatures can be forged (EntrySign)",
};
const RMPOCALYPSE: Advisory = Advisory {
    id: "AMD-SB-3020, CVE-2025-0033",
    title: "the reverse map table can be corrupted while it is set up (RMPocalypse)",
};
const SEV_ES_GUEST: Advisory = Advisory {
    id: "AMD-SB-3023, CVE-2025-48514",
    title: "an SEV-ES guest can break the integrity of an SNP guest",
};
const MMIO_ROUTING: Advisory = Advisory {
    id: "AMD-SB-3034, CVE-2025-54510",
    title: "the security processor's MMIO routing lacks a lock; no patch level that fixes it is known here",
};

/// Every advisory that a patch level can answer, oldest first. BadRAM
/// (AMD-SB-3015) is not among them: PLATFORM_INFO shows it.
pub const ADVISORIES: [Advisory; 4] = [ENTRYSIGN, RMPOCALYPSE, SEV_ES_GUEST, MMIO_ROUTING];

/// A named set of floors, one for each product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcbProfile {
    /// Name, with year and month of the newest advisory that it covers.
    pub name: &'static str,
    /// Advisories that a machine at or above its floors is not open to.
    pub covers: &'static [Advisory],
    genoa: TcbVersion,
    bergamo: TcbVersion,
    turin: TcbVersion,
    milan: TcbVersion,
}

const fn before_turin(boot_loader: u8, snp: u8, microcode: u8) -> TcbVersion {
    TcbVersion {
        fmc: None,
        boot_loader,
        tee: 0,
        snp,
        microcode,
    }
}

const fn turin(fmc: u8, tee: u8, snp: u8, microcode: u8) -> TcbVersion {
    TcbVersion {
        fmc: Some(fmc),
        boot_loader: 1,
        tee,
        snp,
        microcode,
    }
}

/// Every profile, oldest first.
pub const PROFILES: [TcbProfile; 2] = [
    TcbProfile {
        name: "amd-2025-02",
        covers: &[ENTRYSIGN],
        genoa: before_turin(10, 0x17, 0x54),
        bergamo: before_turin(10, 0x17, 0x19),
        turin: turin(0, 0, 2, 0x47),
        milan: before_turin(0, 0x18, 0xdb),
    },
    TcbProfile {
        name: "amd-2026-02",
        covers: &[ENTRYSIGN, RMPOCALYPSE, SEV_ES_GUEST],
        genoa: before_turin(10, 0x1b, 0x54),
        bergamo: before_turin(10, 0x1b, 0x1b),
        turin: turin(1, 1, 4, 0x51),
        milan: before_turin(0, 0x1b, 0xdb),
    },
];

impl TcbProfile {
    /// The profile of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        PROFILES.iter().find(|profile| profile.name == name)
    }

    /// The lowest TCB version that it accepts of a product: microcode counts
    /// separately in each CPUID family and model.
    #[must_use]
    pub const fn floor(&self, product: Product) -> TcbVersion {
        match product {
            Product::Milan => self.milan,
            Product::Genoa => self.genoa,
            Product::Bergamo => self.bergamo,
            Product::Turin => self.turin,
        }
    }

    /// Advisories that it leaves open.
    pub fn uncovered(&self) -> impl Iterator<Item = Advisory> + '_ {
        ADVISORIES
            .into_iter()
            .filter(|advisory| !self.covers.contains(advisory))
    }

    /// The newest profile that `floor` is at or above, for this product.
    #[must_use]
    pub fn met_by(floor: &TcbVersion, product: Product) -> Option<&'static Self> {
        PROFILES
            .iter()
            .rev()
            .find(|profile| floor.meets(&profile.floor(product)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_profile_asks_for_no_less_and_covers_no_less() {
        for pair in PROFILES.windows(2) {
            for product in Product::ALL {
                assert!(
                    pair[1].floor(product).meets(&pair[0].floor(product)),
                    "{product} in {}",
                    pair[1].name
                );
            }
            assert!(
                pair[0]
                    .covers
                    .iter()
                    .all(|advisory| pair[1].covers.contains(advisory))
            );
        }
        let newest = PROFILES.last().unwrap();
        assert_eq!(newest.uncovered().collect::<Vec<_>>(), [MMIO_ROUTING]);
        for product in Product::ALL {
            assert_eq!(TcbProfile::met_by(&newest.floor(product), product), Some(newest));
        }
        assert_eq!(TcbProfile::met_by(&before_turin(0, 0, 0), Product::Genoa), None);
    }

    #[test]
    fn bergamo_counts_microcode_apart_from_genoa() {
        let profile = TcbProfile::by_name("amd-2026-02").unwrap();
        assert_eq!(profile.floor(Product::Genoa).microcode, 0x54);
        assert_eq!(profile.floor(Product::Bergamo).microcode, 0x1b);
        assert_eq!(TcbProfile::by_name("amd-2026-2"), None);
    }
}
