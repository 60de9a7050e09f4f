//! How a call of NVML fails. Owns the names of NVML's return codes.

use core::fmt;

/// A return code of NVML (`nvmlReturn_t`). Displays as its name in `nvml.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(u32);

impl Status {
    /// `NVML_SUCCESS`.
    pub const SUCCESS: Self = Self(0);
    /// `NVML_ERROR_NOT_SUPPORTED`.
    pub const NOT_SUPPORTED: Self = Self(3);
    /// `NVML_ERROR_UNKNOWN`.
    pub const UNKNOWN: Self = Self(999);

    /// The code as NVML returned it.
    #[must_use]
    pub const fn new(code: u32) -> Self {
        Self(code)
    }

    /// The number.
    #[must_use]
    pub const fn code(self) -> u32 {
        self.0
    }

    /// Its name in `nvml.h`; `None` for a code that this crate doesn't know.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "NVML_SUCCESS",
            1 => "NVML_ERROR_UNINITIALIZED",
            2 => "NVML_ERROR_INVALID_ARGUMENT",
            3 => "NVML_ERROR_NOT_SUPPORTED",
            4 => "NVML_ERROR_NO_PERMISSION",
            5 => "NVML_ERROR_ALREADY_INITIALIZED",
            6 => "NVML_ERROR_NOT_FOUND",
            7 => "NVML_ERROR_INSUFFICIENT_SIZE",
            8 => "NVML_ERROR_INSUFFICIENT_POWER",
            9 => "NVML_ERROR_DRIVER_NOT_LOADED",
            10 => "NVML_ERROR_TIMEOUT",
            11 => "NVML_ERROR_IRQ_ISSUE",
            12 => "NVML_ERROR_LIBRARY_NOT_FOUND",
            13 => "NVML_ERROR_FUNCTION_NOT_FOUND",
            14 => "NVML_ERROR_CORRUPTED_INFOROM",
            15 => "NVML_ERROR_GPU_IS_LOST",
            16 => "NVML_ERROR_RESET_REQUIRED",
            17 => "NVML_ERROR_OPERATING_SYSTEM",
            18 => "NVML_ERROR_LIB_RM_VERSION_MISMATCH",
            19 => "NVML_ERROR_IN_USE",
            20 => "NVML_ERROR_MEMORY",
            21 => "NVML_ERROR_NO_DATA",
            22 => "NVML_ERROR_VGPU_ECC_NOT_SUPPORTED",
            23 => "NVML_ERROR_INSUFFICIENT_RESOURCES",
            24 => "NVML_ERROR_FREQ_NOT_SUPPORTED",
            25 => "NVML_ERROR_ARGUMENT_VERSION_MISMATCH",
            26 => "NVML_ERROR_DEPRECATED",
            27 => "NVML_ERROR_NOT_READY",
            28 => "NVML_ERROR_GPU_NOT_FOUND",
            29 => "NVML_ERROR_INVALID_STATE",
            30 => "NVML_ERROR_RESET_TYPE_NOT_SUPPORTED",
            999 => "NVML_ERROR_UNKNOWN",
            _ => return None,
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "NVML code {}", self.0),
        }
    }
}

/// Why a call of NVML gave no answer. `call` is its name in `nvml.h`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The call returned an error.
    #[error("{call} answered {status}")]
    Status {
        /// The call.
        call: &'static str,
        /// What it returned.
        status: Status,
    },
    /// The library has no such function.
    #[error("this libnvidia-ml has no {call}; expected a driver of branch 550 or later")]
    Missing {
        /// The call.
        call: &'static str,
    },
    /// The call claims to have written more than its buffer holds.
    #[error("{call} claims to have written {size} bytes; its buffer has {limit}")]
    Oversize {
        /// The call.
        call: &'static str,
        /// The size that it gave.
        size: u32,
        /// Bytes of the buffer.
        limit: usize,
    },
    /// The call succeeded, and wrote nothing.
    #[error("{call} succeeded, but wrote no bytes")]
    Empty {
        /// The call.
        call: &'static str,
    },
    /// The call wrote a text without an end, or one that isn't printable ASCII.
    #[error("{call} wrote no printable, terminated text")]
    Text {
        /// The call.
        call: &'static str,
    },
    /// The call was not made: another has not returned within its deadline.
    #[error("{call} was not made, since an earlier call did not return in time")]
    Abandoned {
        /// The call.
        call: &'static str,
    },
}

impl Failure {
    /// The call that failed, by its name in `nvml.h`.
    #[must_use]
    pub const fn call(&self) -> &'static str {
        match self {
            Self::Status { call, .. }
            | Self::Missing { call }
            | Self::Oversize { call, .. }
            | Self::Empty { call }
            | Self::Text { call }
            | Self::Abandoned { call } => call,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_which_call_and_what_nvml_calls_the_error() {
        let failure = Failure::Status {
            call: "nvmlDeviceGetConfComputeGpuCertificate",
            status: Status::NOT_SUPPORTED,
        };
        assert_eq!(
            failure.to_string(),
            "nvmlDeviceGetConfComputeGpuCertificate answered NVML_ERROR_NOT_SUPPORTED"
        );
        assert_eq!(failure.call(), "nvmlDeviceGetConfComputeGpuCertificate");
    }

    #[test]
    fn a_code_without_a_name_displays_as_its_number() {
        assert_eq!(Status::new(31).to_string(), "NVML code 31");
        assert_eq!(Status::new(998).name(), None);
    }

    /// The bindings are generated from NVIDIA's header.
    #[test]
    fn names_are_those_of_the_header() {
        use nvml_wrapper_sys::bindings as header;
        for (code, name) in [
            (
                header::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED,
                "NVML_ERROR_NOT_SUPPORTED",
            ),
            (
                header::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST,
                "NVML_ERROR_GPU_IS_LOST",
            ),
            (
                header::nvmlReturn_enum_NVML_ERROR_LIB_RM_VERSION_MISMATCH,
                "NVML_ERROR_LIB_RM_VERSION_MISMATCH",
            ),
            (header::nvmlReturn_enum_NVML_ERROR_NO_DATA, "NVML_ERROR_NO_DATA"),
            (
                header::nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
                "NVML_ERROR_ARGUMENT_VERSION_MISMATCH",
            ),
            (
                header::nvmlReturn_enum_NVML_ERROR_RESET_TYPE_NOT_SUPPORTED,
                "NVML_ERROR_RESET_TYPE_NOT_SUPPORTED",
            ),
            (header::nvmlReturn_enum_NVML_ERROR_UNKNOWN, "NVML_ERROR_UNKNOWN"),
        ] {
            assert_eq!(Status::new(code).to_string(), name);
        }
    }
}
