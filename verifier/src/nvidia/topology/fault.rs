//! Why devices don't make one machine. Devices are counted by their place in
//! the evidence, from 0.

use bastide_attestation::nvidia::{Family, Mode, Pdi};

use super::{PPCIE_GPUS, PPCIE_SWITCHES};

/// One thing that is wrong with a set of devices.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TopologyFault {
    /// No device is a GPU.
    #[error("no device is a GPU")]
    NoGpu,
    /// Another number of GPUs than the policy expects.
    #[error("{expected} GPU(s) were expected, got {got}")]
    GpuCountMismatch {
        /// The policy's number.
        expected: usize,
        /// How many came.
        got: usize,
    },
    /// Another number of GPUs than the mode is of.
    #[error("a machine in mode {mode} has {expected} GPU(s), got {got}")]
    ModeGpuCount {
        /// The mode that a GPU states.
        mode: Mode,
        /// The mode's number.
        expected: usize,
        /// How many came.
        got: usize,
    },
    /// A family that the policy doesn't allow.
    #[error("device {device} is of family {got}, which is not allowed")]
    ArchMismatch {
        /// Which.
        device: usize,
        /// Its family.
        got: Family,
    },
    /// A GPU whose report says nothing about its mode.
    #[error("device {device} states no mode of protection")]
    ModeNotStated {
        /// Which.
        device: usize,
    },
    /// A mode that the policy doesn't allow.
    #[error("mode {mode} is not allowed")]
    ModeNotAllowed {
        /// The mode.
        mode: Mode,
    },
    /// A GPU in another mode than the first.
    #[error("device {device} is in mode {got}, the first GPU in {expected}")]
    MixedMode {
        /// Which.
        device: usize,
        /// The first GPU's.
        expected: Mode,
        /// Its own.
        got: Mode,
    },
    /// A GPU of another family than the first.
    #[error("device {device} is of family {got}, the first GPU of {expected}")]
    MixedFamily {
        /// Which.
        device: usize,
        /// The first GPU's.
        expected: Family,
        /// Its own.
        got: Family,
    },
    /// A GPU with another driver than the first.
    #[error("device {device} has driver `{got}`, the first GPU `{expected}`")]
    MixedDriver {
        /// Which.
        device: usize,
        /// The first GPU's.
        expected: String,
        /// Its own.
        got: String,
    },
    /// One device twice, by its leaf's serial number.
    #[error("device {device} is device {same_as} again")]
    DuplicateDevice {
        /// Which.
        device: usize,
        /// Which one before it.
        same_as: usize,
    },
    /// Two devices with one identity on NVLink.
    #[error("devices {same_as} and {device} have the same identity {pdi} on NVLink")]
    DuplicateIdentity {
        /// Which.
        device: usize,
        /// Which one before it.
        same_as: usize,
        /// The identity.
        pdi: Pdi,
    },
    /// NVSwitches in a mode that has none.
    #[error("a machine in mode {mode} has no NVSwitch, got {got}")]
    SwitchUnexpected {
        /// The mode that a GPU states.
        mode: Mode,
        /// How many came.
        got: usize,
    },
    /// Fewer NVSwitches than a machine in protected PCIe mode has.
    #[error("evidence of {PPCIE_SWITCHES} NVSwitches was expected, got {got}")]
    SwitchEvidenceMissing {
        /// How many came.
        got: usize,
    },
    /// More NVSwitches than a machine in protected PCIe mode has.
    #[error("evidence of {PPCIE_SWITCHES} NVSwitches was expected, got {got}")]
    SwitchCountMismatch {
        /// How many came.
        got: usize,
    },
    /// An NVSwitch whose certificate and report say different things.
    #[error("device {device} has identity {certified} in its certificate, {reported} in its report")]
    SwitchIdentity {
        /// Which.
        device: usize,
        /// By its certificate.
        certified: Pdi,
        /// By its report.
        reported: Pdi,
    },
    /// A GPU that names more or fewer NVSwitches.
    #[error("device {device} names {got} NVSwitches, expected {PPCIE_SWITCHES}")]
    SwitchesNamed {
        /// Which.
        device: usize,
        /// How many it names.
        got: usize,
    },
    /// A GPU that names other NVSwitches than the first GPU.
    #[error("device {device} names other NVSwitches than device {first}")]
    SwitchesDiffer {
        /// Which.
        device: usize,
        /// The first GPU.
        first: usize,
    },
    /// An NVSwitch that names more or fewer GPUs.
    #[error("device {device} names {got} GPUs, expected {PPCIE_GPUS}")]
    GpusNamed {
        /// Which.
        device: usize,
        /// How many it names.
        got: usize,
    },
    /// An NVSwitch that names other GPUs than the first switch.
    #[error("device {device} names other GPUs than device {first}")]
    GpusDiffer {
        /// Which.
        device: usize,
        /// The first switch.
        first: usize,
    },
    /// An NVSwitch at a GPU's link that sent no evidence.
    #[error("GPUs name NVSwitch {pdi}, of which there is no evidence")]
    SwitchUnknown {
        /// Who it is.
        pdi: Pdi,
    },
    /// An NVSwitch that is at no GPU's link.
    #[error("device {device}, NVSwitch {pdi}, is named by no GPU")]
    SwitchUnnamed {
        /// Which.
        device: usize,
        /// Who it is.
        pdi: Pdi,
    },
    /// A GPU at a switch's port that sent no evidence.
    #[error("NVSwitches name GPU {pdi}, of which there is no evidence")]
    GpuUnknown {
        /// Who it is.
        pdi: Pdi,
    },
    /// A GPU that is at no switch's port.
    #[error("device {device}, GPU {pdi}, is named by no NVSwitch")]
    GpuUnnamed {
        /// Which.
        device: usize,
        /// Who it is.
        pdi: Pdi,
    },
}
