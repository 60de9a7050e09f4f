//! What differs between the generations: names, serial numbers, levels, ids.

use core::fmt;
use core::str::FromStr;

use bastide_attestation::snp::{self, Cpuid, TcbVersion};
use bastide_attestation::{ChipId, sha512};

const CHIP_LABEL: &[u8] = b"bastide-simulated-chip-v1\0";

/// A generation that can be simulated. Milan can't: its reports are not
/// trusted anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// EPYC 9004.
    Genoa,
    /// EPYC 9005.
    Turin,
}

impl From<Generation> for snp::Generation {
    fn from(generation: Generation) -> Self {
        match generation {
            Generation::Genoa => Self::Genoa,
            Generation::Turin => Self::Turin,
        }
    }
}

impl Generation {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Genoa, Self::Turin];

    /// AMD's name, as in certificates.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// Levels that AMD advised in February 2026.
    pub(super) const fn tcb(self) -> TcbVersion {
        match self {
            Self::Genoa => TcbVersion {
                fmc: None,
                boot_loader: 10,
                tee: 0,
                snp: 27,
                microcode: 84,
            },
            Self::Turin => TcbVersion {
                fmc: Some(1),
                boot_loader: 1,
                tee: 1,
                snp: 4,
                microcode: 81,
            },
        }
    }

    pub(super) const fn cpuid(self) -> Cpuid {
        let (family, model) = match self {
            Self::Genoa => (0x19, 0x11),
            Self::Turin => (0x1a, 0x02),
        };
        Cpuid {
            family,
            model,
            stepping: 1,
        }
    }

    /// PLATFORM_INFO as real hosts have it: SMT, ECC, ALIAS_CHECK_COMPLETE; Turin's bit 6 too.
    pub(super) const fn platform_info(self) -> u64 {
        match self {
            Self::Genoa => 0x25,
            Self::Turin => 0x65,
        }
    }

    /// Build, minor and major of the firmware.
    pub(super) const fn firmware(self) -> [u8; 3] {
        match self {
            Self::Genoa => [49, 55, 1],
            Self::Turin => [65, 55, 1],
        }
    }

    /// Mitigation vector as seen with that firmware.
    pub(super) const fn mitigations(self) -> u64 {
        match self {
            Self::Genoa => 0x0b,
            Self::Turin => 0x3f,
        }
    }

    /// Serial numbers of ARK and ASK, as AMD's.
    pub(super) const fn serials(self) -> (u32, u32) {
        match self {
            Self::Genoa => (0x2_0000, 0x2_0002),
            Self::Turin => (0x3_0000, 0x3_0001),
        }
    }

    /// CHIP_ID of a simulated chip.
    pub(super) fn chip_id(self, chip: u8) -> ChipId {
        let mut id = sha512(&[CHIP_LABEL, self.name().as_bytes(), &[chip]]);
        let significant = snp::Generation::from(self).hwid_len();
        id.iter_mut().skip(significant).for_each(|byte| *byte = 0);
        ChipId::new(id)
    }

    /// The part of CHIP_ID that a VCEK names.
    pub(super) fn hwid(self, chip: u8) -> Vec<u8> {
        let significant = snp::Generation::from(self).hwid_len();
        let id = self.chip_id(chip);
        id.as_bytes().iter().take(significant).copied().collect()
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Genoa => "genoa",
            Self::Turin => "turin",
        })
    }
}

impl FromStr for Generation {
    type Err = UnknownGeneration;

    fn from_str(text: &str) -> Result<Self, UnknownGeneration> {
        match text {
            "genoa" => Ok(Self::Genoa),
            "turin" => Ok(Self::Turin),
            _ => Err(UnknownGeneration),
        }
    }
}

/// The text names no generation that can be simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `genoa` or `turin`")]
pub struct UnknownGeneration;
