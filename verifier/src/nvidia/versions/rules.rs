//! An operator's rules about versions. What no rule speaks of is refused: a
//! driver of a branch, or a VBIOS of a generation, without a minimum.

use super::{DriverVersion, VbiosVersion};

/// Which drivers are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DriverRules {
    /// The oldest that is taken, for each branch: the branch is the version's
    /// own. Where a branch has several, all hold.
    pub(crate) minimum: Vec<DriverVersion>,
    /// Versions that are refused whatever the minimum.
    pub(crate) deny: Vec<DriverVersion>,
}

/// Why a driver isn't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DriverFault {
    /// No minimum for the branch.
    #[error("driver {got}: no minimum is set for branch {}", .got.branch())]
    BranchUnknown {
        /// The driver's version.
        got: DriverVersion,
    },
    /// Too old.
    #[error("driver {got} is older than {minimum}")]
    BelowMinimum {
        /// The driver's version.
        got: DriverVersion,
        /// The branch's minimum.
        minimum: DriverVersion,
    },
    /// On the list.
    #[error("driver {got} is denied")]
    Denied {
        /// The driver's version.
        got: DriverVersion,
    },
}

impl DriverRules {
    /// Requires that a driver is taken.
    ///
    /// # Errors
    /// [`DriverFault`]: denied first, then the minimum.
    pub(crate) fn judge(&self, version: &DriverVersion) -> Result<(), DriverFault> {
        let got = || version.clone();
        if self.deny.contains(version) {
            return Err(DriverFault::Denied { got: got() });
        }
        let of_branch = |minimum: &&DriverVersion| minimum.branch() == version.branch();
        match self.minimum.iter().filter(of_branch).max() {
            None => Err(DriverFault::BranchUnknown { got: got() }),
            Some(minimum) if version < minimum => Err(DriverFault::BelowMinimum {
                got: got(),
                minimum: minimum.clone(),
            }),
            Some(_) => Ok(()),
        }
    }
}

/// The oldest VBIOS that is taken, for the generation of its first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VbiosMinimum {
    /// The boards that it is for, by the report's PROJECT, such as `G520`;
    /// `None` for all that have no minimum of their own.
    pub(crate) project: Option<String>,
    /// The minimum.
    pub(crate) minimum: VbiosVersion,
}

/// Which VBIOSes are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VbiosRules {
    /// Minima. One with a project takes precedence over one without; where
    /// several are as good, all hold.
    pub(crate) minimum: Vec<VbiosMinimum>,
    /// Versions that are refused whatever the minimum.
    pub(crate) deny: Vec<VbiosVersion>,
}

/// Why a VBIOS isn't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VbiosFault {
    /// No minimum for the generation, on this board.
    #[error("VBIOS {got}: no minimum is set for generation {:02X}", .got.generation())]
    GenerationUnknown {
        /// The VBIOS's version.
        got: VbiosVersion,
    },
    /// Too old.
    #[error("VBIOS {got} is older than {minimum}")]
    BelowMinimum {
        /// The VBIOS's version.
        got: VbiosVersion,
        /// The minimum that counts.
        minimum: VbiosVersion,
    },
    /// On the list.
    #[error("VBIOS {got} is denied")]
    Denied {
        /// The VBIOS's version.
        got: VbiosVersion,
    },
}

impl VbiosRules {
    /// Requires that the VBIOS of a board, by its report's PROJECT, is taken.
    ///
    /// # Errors
    /// [`VbiosFault`]: denied first, then the minimum.
    pub(crate) fn judge(&self, project: &str, got: VbiosVersion) -> Result<(), VbiosFault> {
        if self.deny.contains(&got) {
            return Err(VbiosFault::Denied { got });
        }
        let highest = |of: Option<&str>| {
            self.minimum
                .iter()
                .filter(|entry| entry.project.as_deref() == of)
                .map(|entry| entry.minimum)
                .filter(|minimum| minimum.generation() == got.generation())
                .max()
        };
        match highest(Some(project)).or_else(|| highest(None)) {
            None => Err(VbiosFault::GenerationUnknown { got }),
            Some(minimum) if got < minimum => Err(VbiosFault::BelowMinimum { got, minimum }),
            Some(_) => Ok(()),
        }
    }
}
