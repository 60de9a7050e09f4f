//! What NVML says about confidential computing, typed, and whether it is what
//! production needs. A number that NVIDIA's header (13) doesn't list is an error
//! where it decides anything.

use core::fmt;

use super::error::GpuError;
use super::library::{Failure, Library, RawCapabilities, RawSettings};

/// `NVML_CC_SYSTEM_ENVIRONMENT_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// No confidential computing: 0.
    Unavailable,
    /// Keys and measurements are not real: 1.
    Simulation,
    /// 2.
    Production,
}

/// Something that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// 0.
    Off,
    /// 1.
    On,
}

/// `NVML_CC_SYSTEM_MULTIGPU_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MultiGpuMode {
    /// Each GPU for itself: 0.
    None,
    /// PCIe is protected, NVLink is trusted and in the clear: 1.
    ProtectedPcie,
    /// NVLink is encrypted: 2.
    NvLink,
}

/// `NVML_CC_SYSTEM_CPU_CAPS_*`: what the driver takes this guest for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuCapability {
    /// No confidential guest: 0.
    None,
    /// AMD SEV: 1.
    Sev,
    /// Intel TDX: 2.
    Tdx,
    /// AMD SEV-SNP: 3.
    SevSnp,
    /// AMD SEV-SNP with a virtual top of memory, as on Azure: 4.
    SnpVtom,
    /// One that came after this was written. Nothing here is decided by it.
    Other(u32),
}

/// `NVML_CC_SYSTEM_GPUS_CC_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuCapability {
    /// 0.
    NotCapable,
    /// 1.
    Capable,
}

/// One snapshot of the settings. They are system-wide: of every GPU here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Where keys and measurements come from.
    pub environment: Environment,
    /// Confidential computing (`ccFeature`).
    pub feature: Switch,
    /// Profilers and debuggers (`devToolsMode`). No report shows this.
    pub developer_tools: Switch,
    /// How several GPUs form one.
    pub multi_gpu: MultiGpuMode,
    /// What the guest is.
    pub cpu: CpuCapability,
    /// What the GPUs can do.
    pub gpus: GpuCapability,
}

/// A setting that is not as production needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsFault {
    /// Neither `ccFeature` nor a multi-GPU mode is on.
    #[error(
        "confidential computing is off; the host has to switch the GPU's mode on and reset it before this guest boots"
    )]
    ConfidentialComputingOff,
    /// `devToolsMode` is on.
    #[error("developer tools are on, so profilers and debuggers may read the GPU; expected them off")]
    DeveloperTools,
    /// The environment isn't production.
    #[error("the environment is {environment}; expected production")]
    Environment {
        /// What it is.
        environment: Environment,
    },
}

impl Settings {
    /// Asks NVML.
    ///
    /// # Errors
    /// [`GpuError::Call`] as NVML fails; [`GpuError::UnknownSetting`]. If it fails
    /// to give capabilities alone, [`GpuError::NotProduction`] comes first.
    pub fn read<L: Library + ?Sized>(library: &L) -> Result<Self, GpuError> {
        let settings = library.settings()?;
        Self::new_or_fault(library.capabilities(), settings)
    }

    /// Types NVML's numbers, or says why there are no capabilities: that settings
    /// are not those of production tells more than that a call fails then.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn new_or_fault(
        capabilities: Result<RawCapabilities, Failure>,
        settings: RawSettings,
    ) -> Result<Self, GpuError> {
        let capabilities = capabilities.or_else(|failure| {
            let none = RawCapabilities { cpu: 0, gpus: 0 };
            Self::new(none, settings)?.require_production()?;
            Err(GpuError::Call(failure))
        })?;
        Self::new(capabilities, settings)
    }

    /// Types NVML's numbers.
    ///
    /// # Errors
    /// [`GpuError::UnknownSetting`] for a number that isn't in NVIDIA's header.
    pub fn new(capabilities: RawCapabilities, settings: RawSettings) -> Result<Self, GpuError> {
        let unknown = |setting, value| GpuError::UnknownSetting { setting, value };
        let switch = |setting, value| match value {
            0 => Ok(Switch::Off),
            1 => Ok(Switch::On),
            _ => Err(unknown(setting, value)),
        };
        Ok(Self {
            environment: match settings.environment {
                0 => Environment::Unavailable,
                1 => Environment::Simulation,
                2 => Environment::Production,
                value => return Err(unknown("environment", value)),
            },
            feature: switch("ccFeature", settings.feature)?,
            developer_tools: switch("devToolsMode", settings.developer_tools)?,
            multi_gpu: match settings.multi_gpu {
                0 => MultiGpuMode::None,
                1 => MultiGpuMode::ProtectedPcie,
                2 => MultiGpuMode::NvLink,
                value => return Err(unknown("multiGpuMode", value)),
            },
            cpu: match capabilities.cpu {
                0 => CpuCapability::None,
                1 => CpuCapability::Sev,
                2 => CpuCapability::Tdx,
                3 => CpuCapability::SevSnp,
                4 => CpuCapability::SnpVtom,
                value => CpuCapability::Other(value),
            },
            gpus: match capabilities.gpus {
                0 => GpuCapability::NotCapable,
                1 => GpuCapability::Capable,
                value => return Err(unknown("gpusCaps", value)),
            },
        })
    }

    /// Every setting that is not as production needs it.
    #[must_use]
    pub fn faults(&self) -> Vec<SettingsFault> {
        let mut faults = Vec::new();
        // Under protected PCIe NVML may leave `ccFeature` off.
        if self.feature == Switch::Off && self.multi_gpu == MultiGpuMode::None {
            faults.push(SettingsFault::ConfidentialComputingOff);
        }
        if self.developer_tools == Switch::On {
            faults.push(SettingsFault::DeveloperTools);
        }
        if self.environment != Environment::Production {
            faults.push(SettingsFault::Environment {
                environment: self.environment,
            });
        }
        faults
    }

    /// Holds that confidential computing is on, real, and without developer tools.
    ///
    /// # Errors
    /// [`GpuError::NotProduction`] with every setting that is wrong.
    pub fn require_production(&self) -> Result<(), GpuError> {
        match self.faults() {
            faults if faults.is_empty() => Ok(()),
            faults => Err(GpuError::NotProduction { faults }),
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "unavailable",
            Self::Simulation => "simulation",
            Self::Production => "production",
        })
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::On => "on",
        })
    }
}

impl fmt::Display for MultiGpuMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::ProtectedPcie => "protected-pcie",
            Self::NvLink => "nvlink-encryption",
        })
    }
}

impl fmt::Display for CpuCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Sev => "sev",
            Self::Tdx => "tdx",
            Self::SevSnp => "sev-snp",
            Self::SnpVtom => "sev-snp-vtom",
            Self::Other(value) => return write!(f, "other-{value}"),
        })
    }
}

impl fmt::Display for GpuCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotCapable => "not-capable",
            Self::Capable => "capable",
        })
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "environment {}, confidential computing {}, developer tools {}, multi-GPU mode {}, CPU {}, GPUs {}",
            self.environment, self.feature, self.developer_tools, self.multi_gpu, self.cpu, self.gpus
        )
    }
}

#[cfg(test)]
mod tests;
