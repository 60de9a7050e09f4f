//! Kinds and families of NVIDIA devices that can be attested.

use core::fmt;

/// What a report is of. The number of measurement blocks tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKind {
    /// A GPU.
    Gpu,
    /// An NVSwitch.
    NvSwitch,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gpu => "GPU",
            Self::NvSwitch => "NVSwitch",
        })
    }
}

/// A family of devices: its certificates' names and its reference manifests'
/// names follow one pattern. The certificate chain tells, never the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// H100, H200, H800 (GH100).
    Hopper,
    /// B200 and the other chips GB1xx.
    Blackwell,
    /// NVSwitch of Hopper systems (LS10).
    Ls10,
}

impl Family {
    /// What devices of the family are.
    #[must_use]
    pub const fn kind(self) -> DeviceKind {
        match self {
            Self::Hopper | Self::Blackwell => DeviceKind::Gpu,
            Self::Ls10 => DeviceKind::NvSwitch,
        }
    }

    /// The family's name as NVIDIA's services spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hopper => "HOPPER",
            Self::Blackwell => "BLACKWELL",
            Self::Ls10 => "LS10",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
