//! Which processor: from the CPUID fields that are signed in reports of
//! version 3 and later.

use core::fmt;

/// CPUID family, model and stepping of a report \[SNP ABI 56860, 0x188\].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpuid {
    /// Combined family, for example 0x19.
    pub family: u8,
    /// Combined model.
    pub model: u8,
    /// Stepping.
    pub stepping: u8,
}

/// A line of processors with one layout of TCB versions and one key hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Generation {
    /// EPYC 7003.
    Milan,
    /// EPYC 9004, and 8004 and 97x4, which share its certificate authority.
    Genoa,
    /// EPYC 9005.
    Turin,
}

impl Generation {
    /// AMD's name, as in certificates.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// Bytes of CHIP_ID that carry the chip's identity; the rest are zero.
    #[must_use]
    pub const fn hwid_len(self) -> usize {
        match self {
            Self::Milan | Self::Genoa => 64,
            Self::Turin => 8,
        }
    }
}

/// A product in the sense of TCB floors: microcode counts separately in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    /// Family 19h, models 00h–0Fh.
    Milan,
    /// Family 19h, models 10h–1Fh.
    Genoa,
    /// Family 19h, models A0h–AFh: Bergamo and Siena, under Genoa's authority.
    Bergamo,
    /// Family 1Ah, models 00h–1Fh \[AMD 57230 §1.5\].
    Turin,
}

impl Product {
    /// Every product.
    pub const ALL: [Self; 4] = [Self::Milan, Self::Genoa, Self::Bergamo, Self::Turin];

    /// The product of a CPUID, if it is one of these.
    #[must_use]
    pub const fn of(cpuid: Cpuid) -> Option<Self> {
        match (cpuid.family, cpuid.model) {
            (0x19, 0x00..=0x0f) => Some(Self::Milan),
            (0x19, 0x10..=0x1f) => Some(Self::Genoa),
            (0x19, 0xa0..=0xaf) => Some(Self::Bergamo),
            (0x1a, 0x00..=0x1f) => Some(Self::Turin),
            _ => None,
        }
    }

    /// The generation whose layouts and authority apply.
    #[must_use]
    pub const fn generation(self) -> Generation {
        match self {
            Self::Milan => Generation::Milan,
            Self::Genoa | Self::Bergamo => Generation::Genoa,
            Self::Turin => Generation::Turin,
        }
    }

    /// Lower-case name, as in policies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Milan => "milan",
            Self::Genoa => "genoa",
            Self::Bergamo => "bergamo",
            Self::Turin => "turin",
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::{Cpuid, Generation, Product};

    #[test]
    fn bergamo_counts_microcode_apart_but_has_genoas_authority() {
        let product = Product::of(Cpuid {
            family: 0x19,
            model: 0xa0,
            stepping: 2,
        })
        .unwrap();
        assert_eq!(
            (product, product.generation()),
            (Product::Bergamo, Generation::Genoa)
        );
        assert_eq!(
            Product::of(Cpuid {
                family: 0x1a,
                model: 0x50,
                stepping: 0
            }),
            None
        );
    }
}
