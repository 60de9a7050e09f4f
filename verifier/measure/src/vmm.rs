//! Who launches the guest. Initial register state and the order of pages are
//! the launcher's choice, so a digest holds for one of them only.

use core::str::FromStr;

/// A launcher whose digests are computed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Vmm {
    /// QEMU with KVM.
    Qemu,
}

/// Why digests for a launcher aren't computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VmmError {
    /// A known launcher, and what its digests could not be compared with.
    #[error("digests for `{name}` are not computed: not verified against {against}; expected `qemu`")]
    Unverified {
        /// What came.
        name: &'static str,
        /// What a computed digest would have to equal first.
        against: &'static str,
    },
    /// Not known at all.
    #[error("`{name}` is no known launcher: expected `qemu`")]
    Unknown {
        /// What came.
        name: String,
    },
}

impl VmmError {
    /// Stable dotted code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unverified { .. } => "measure.vmm.unverified",
            Self::Unknown { .. } => "measure.vmm.unknown",
        }
    }
}

const UNVERIFIED: &[(&str, &str)] = &[
    (
        "ec2",
        "a report of an EC2 guest: sev 8.0 and sev-snp-measure 0.0.13 disagree about its vCPU state",
    ),
    (
        "gce",
        "a report of a Google guest: its measurement is endorsed by Google and can't be recomputed by others",
    ),
    (
        "azure",
        "a report of an Azure guest: its paravisor is not published; appraise its vTPM instead",
    ),
    (
        "svsm",
        "a report of a guest under COCONUT-SVSM; only one implementation computes these",
    ),
    ("igvm", "a report of a guest that was launched from an IGVM file"),
    ("krun", "a second implementation; only sev 8.0 computes these"),
];

impl FromStr for Vmm {
    type Err = VmmError;

    fn from_str(name: &str) -> Result<Self, VmmError> {
        if name == "qemu" {
            return Ok(Self::Qemu);
        }
        let unverified = UNVERIFIED.iter().find(|(known, _)| *known == name);
        Err(unverified.map_or_else(
            || VmmError::Unknown {
                name: name.to_owned(),
            },
            |(name, against)| VmmError::Unverified { name, against },
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::{UNVERIFIED, Vmm};

    #[test]
    fn launchers_that_were_not_verified_are_refused_and_say_so() {
        assert_eq!("qemu".parse::<Vmm>(), Ok(Vmm::Qemu));
        for (name, _) in UNVERIFIED {
            let error = name.parse::<Vmm>().unwrap_err();
            assert_eq!(error.code(), "measure.vmm.unverified");
            assert!(error.to_string().contains("not verified against"), "{error}");
        }
        assert_eq!("QEMU".parse::<Vmm>().unwrap_err().code(), "measure.vmm.unknown");
    }
}
