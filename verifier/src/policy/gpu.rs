//! What a policy says about GPUs, read and free of contradictions.

use bastide_attestation::{RimDigest, UnixTime};

use super::{CrlMode, PinSet};
use crate::nvidia::rim::{Expiry, RimAnchor};
use crate::nvidia::{DeviceAnchor, DriverRules, TopologyRules, Ueid, VbiosRules};

/// What is done about manifests whose signers have expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RimExpiry {
    /// Refused.
    Strict,
    /// Accepted for this many days.
    Grace { days: u16 },
    /// Accepted if the file is pinned.
    Pinned { rims: PinSet<RimDigest> },
}

impl RimExpiry {
    /// As in a policy file.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Grace { .. } => "grace",
            Self::Pinned { .. } => "pinned",
        }
    }

    /// For the time of one appraisal: pins count in their windows.
    pub(crate) fn at(&self, now: UnixTime) -> Expiry {
        match self {
            Self::Strict => Expiry::Strict,
            Self::Grace { days } => Expiry::Grace { days: *days },
            Self::Pinned { rims } => Expiry::Pinned {
                sha256: rims.current(now).map(|rim| *rim.as_bytes()).collect(),
            },
        }
    }
}

/// Rules for GPUs. `None` where the policy leaves a decision out.
#[derive(Debug, Clone)]
pub(crate) struct GpuRules {
    /// Roots of devices.
    pub(crate) device_anchors: Vec<DeviceAnchor>,
    /// Roots of manifests.
    pub(crate) rim_anchors: Vec<RimAnchor>,
    /// How many GPUs, of which families, in which modes.
    pub(crate) topology: TopologyRules,
    pub(crate) rim_expiry: RimExpiry,
    pub(crate) revocation: CrlMode,
    /// Most seconds since an answer about revocation was made.
    pub(crate) revocation_max_age: u64,
    pub(crate) drivers: Option<DriverRules>,
    pub(crate) vbioses: Option<VbiosRules>,
    /// The devices themselves, GPUs and NVSwitches.
    pub(crate) devices: Option<PinSet<Ueid>>,
}
