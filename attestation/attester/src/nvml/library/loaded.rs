//! NVML itself, loaded from the driver's `libnvidia-ml.so.1` at run time.
//! The only unsafe code about GPUs: one call each, on structures of `nvml.h`.
//!
//! `nvml-wrapper` (0.13) loads and initialises the library, counts devices and
//! finds their handles. The other calls go through its bindings, since its own:
//!
//! - turn SEV-SNP (3, 4) into an error, in `get_confidential_compute_capabilities`;
//! - slice reports and chains by the size that NVML gives, without looking at the
//!   buffer's: a panic;
//! - read texts up to a NUL that nothing holds to the buffer;
//! - drop the multi-GPU mode of NVLink encryption;
//! - turn an architecture that is newer than they are into an error;
//! - ask for a device where NVML asks for none (the ready state), so that GPUs
//!   can't be closed once a device is lost;
//! - don't exist (key rotation, memory sizes).

use std::mem::ManuallyDrop;
use std::path::Path;

use bastide_attestation::GpuNonce;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings::{
    nvmlConfComputeGetKeyRotationThresholdInfo_t, nvmlConfComputeGpuAttestationReport_t,
    nvmlConfComputeGpuCertificate_t, nvmlConfComputeMemSizeInfo_t, nvmlConfComputeSystemCaps_t,
    nvmlConfComputeSystemState_t, nvmlDevice_t, nvmlSystemConfComputeSettings_t,
};

use super::{Failure, Library, MemorySizes, RawCapabilities, RawSettings, RawState, Status};
use crate::nvml::GpuError;

/// `NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE`, `NVML_DEVICE_UUID_V2_BUFFER_SIZE` and
/// `NVML_DEVICE_VBIOS_VERSION_BUFFER_SIZE` are 80, 96 and 32.
const TEXT_BYTES: u32 = 96;
/// `NVML_STRUCT_VERSION(…, 1)`: the structure's size, and its version above.
const SETTINGS_VERSION: u32 = 20 | 1 << 24;
const KEY_ROTATION_VERSION: u32 = 16 | 1 << 24;

const _: () = {
    assert!(size_of::<nvmlSystemConfComputeSettings_t>() == 20);
    assert!(size_of::<nvmlConfComputeGetKeyRotationThresholdInfo_t>() == 16);
    assert!(size_of::<nvmlConfComputeGpuCertificate_t>() == 8 + 4096 + 5120);
    assert!(size_of::<nvmlConfComputeGpuAttestationReport_t>() == 12 + 32 + 8192 + 4096);
};

/// NVML, loaded and initialised. Shuts it down when dropped.
#[derive(Debug)]
pub struct LoadedLibrary(Nvml);

impl LoadedLibrary {
    /// Loads `library`, a name for the dynamic linker or a path, and initialises it.
    /// Whoever can write that file runs code here, so it belongs to the measured image.
    ///
    /// # Errors
    /// [`GpuError::NoLibrary`] if it can't be loaded or isn't NVML;
    /// [`GpuError::Call`] if NVML does not initialise, as without a driver.
    pub fn open(library: &Path) -> Result<Self, GpuError> {
        let not_loaded = |reason: String| GpuError::NoLibrary {
            library: library.display().to_string(),
            reason,
        };
        let opened = Nvml::builder().lib_path(library.as_os_str()).init();
        let nvml = opened.map_err(|error| match error {
            NvmlError::LibloadingError(error) => not_loaded(error.to_string()),
            NvmlError::FailedToLoadSymbol(reason) => not_loaded(reason),
            error => GpuError::Call(failed("nvmlInit_v2", error)),
        })?;
        if nvml.lib().nvmlShutdown.is_err() {
            // The wrapper panics on drop if it can't shut down, so it isn't dropped.
            let _undropped = ManuallyDrop::new(nvml);
            return Err(not_loaded("it has no nvmlShutdown".to_owned()));
        }
        Ok(Self(nvml))
    }

    fn device(&self, index: u32) -> Result<Device<'_>, Failure> {
        self.0
            .device_by_index(index)
            .map_err(|error| failed("nvmlDeviceGetHandleByIndex_v2", error))
    }

    /// Asks a device for a text: its UUID, its VBIOS version.
    fn device_text<E>(
        &self,
        call: &'static str,
        function: &Result<TextOfDevice, E>,
        index: u32,
    ) -> Result<String, Failure> {
        let function = found(call, function)?;
        let device = self.device(index)?;
        let mut buffer = [0_u8; 96];
        const { assert!(TEXT_BYTES == 96) };
        #[expect(unsafe_code, reason = "NVML is a library in C")]
        // SAFETY: `function` has the type that nvml.h gives it, and the library is
        // loaded and initialised while `self` lives, as are handles of it. It writes
        // at most `TEXT_BYTES` to `buffer`, which has them and is borrowed alone.
        let code = unsafe { function(device.handle(), buffer.as_mut_ptr().cast(), TEXT_BYTES) };
        succeeded(call, code)?;
        text(call, &buffer)
    }
}

type TextOfDevice =
    unsafe extern "C" fn(nvmlDevice_t, *mut core::ffi::c_char, core::ffi::c_uint) -> core::ffi::c_uint;

/// A function of the library, if it has it.
fn found<F: Copy, E>(call: &'static str, function: &Result<F, E>) -> Result<F, Failure> {
    function.as_ref().copied().map_err(|_| Failure::Missing { call })
}

fn succeeded(call: &'static str, code: u32) -> Result<(), Failure> {
    match Status::new(code) {
        Status::SUCCESS => Ok(()),
        status => Err(Failure::Status { call, status }),
    }
}

fn failed(call: &'static str, error: NvmlError) -> Failure {
    match error {
        NvmlError::FailedToLoadSymbol(_) => Failure::Missing { call },
        error => Failure::Status {
            call,
            status: Status::new(error.into()),
        },
    }
}

/// The text before the first NUL of a buffer.
fn text(call: &'static str, buffer: &[u8]) -> Result<String, Failure> {
    let end = buffer.iter().position(|byte| *byte == 0);
    end.and_then(|end| buffer.get(..end))
        .filter(|text| text.iter().all(|byte| matches!(byte, b' '..=b'~')))
        .and_then(|text| core::str::from_utf8(text).ok())
        .map(str::to_owned)
        .ok_or(Failure::Text { call })
}

/// What a call wrote: as many bytes as it says, if its buffer has them.
fn written(call: &'static str, buffer: &[u8], size: u32) -> Result<Vec<u8>, Failure> {
    let written = usize::try_from(size).ok().and_then(|size| buffer.get(..size));
    match written {
        None => Err(Failure::Oversize {
            call,
            size,
            limit: buffer.len(),
        }),
        Some([]) => Err(Failure::Empty { call }),
        Some(written) => Ok(written.to_vec()),
    }
}

impl Library for LoadedLibrary {
    fn driver_version(&self) -> Result<String, Failure> {
        const CALL: &str = "nvmlSystemGetDriverVersion";
        let function = found(CALL, &self.0.lib().nvmlSystemGetDriverVersion)?;
        let mut buffer = [0_u8; 96];
        #[expect(unsafe_code, reason = "NVML is a library in C")]
        // SAFETY: as in `device_text`, without a device.
        let code = unsafe { function(buffer.as_mut_ptr().cast(), TEXT_BYTES) };
        succeeded(CALL, code)?;
        text(CALL, &buffer)
    }

    fn capabilities(&self) -> Result<RawCapabilities, Failure> {
        const CALL: &str = "nvmlSystemGetConfComputeCapabilities";
        let function = found(CALL, &self.0.lib().nvmlSystemGetConfComputeCapabilities)?;
        let mut answer = nvmlConfComputeSystemCaps_t {
            cpuCaps: 0,
            gpusCaps: 0,
        };
        #[expect(unsafe_code, reason = "NVML is a library in C")]
        // SAFETY: `function` has the type that nvml.h gives it, and the library is
        // loaded and initialised while `self` lives. It writes to `answer` alone,
        // a structure of that type, which lives until after the call.
        let code = unsafe { function(&raw mut answer) };
        succeeded(CALL, code)?;
        Ok(RawCapabilities {
            cpu: answer.cpuCaps,
            gpus: answer.gpusCaps,
        })
    }

    fn state(&self) -> Result<RawState, Failure> {
        const CALL: &str = "nvmlSystemGetConfComputeState";
        let function = found(CALL, &self.0.lib().nvmlSystemGetConfComputeState)?;
        let mut answer = nvmlConfComputeSystemState_t {
            environment: 0,
            ccFeature: 0,
            devToolsMode: 0,
        };
        #[expect(unsafe_code, reason = "NVML is a library in C")]
        // SAFETY: as in `capabilities`.
        let code = unsafe { function(&raw mut answer) };
        succeeded(CALL, code)?;
        Ok(RawState {
            environment: answer.environment,
            feature: answer.ccFeature,
            developer_tools: answer.devToolsMode,
        })
    }

    fn settings(&self) -> Result<RawSettings, Failure> {
        const CALL: &str = "nvmlSystemGetConfComputeSettings";
        let function = found(CALL, &self.0.lib().nvmlSystemGetConfComputeSettings)?;
        let mut answer = nvmlSystemConfComputeSettings_t {
            version: SETTINGS_VERSION,
            environment: 0,
            ccFeature: 0,
            devToolsMode: 0,
            multiGpuMode: 0,
        };
        #[expect(unsafe_code, reason = "NVML is a library in C")]
        // SAFETY: as in `capabilities`; `version` gives the structure's size, asserted
        // above, so that a newer NVML writes no more than that.
        let code = unsafe { function(&raw mut answer) };
        succeeded(CALL, code)?;
        Ok(RawSettings {
            environment: answer.environment,
            feature: answer.ccFeature,
            developer_tools: answer.devToolsMode,
            multi_gpu: answer.multiGpuMode,
        })
    }

    fn ready_state(&self) -> Result<u32, Failure> {
        const CALL: &str = "nvmlSystemGetConfComputeGpusReadyState";
        let function = found(CALL, &self.0.lib().nvmlSystemGetConfComputeGpusReadyState)?;
        let mut accepting = 0;
        #[expect(unsafe_code, reason = "NVML is a library in C")]
        // SAFETY: as in `capabilities`.
        let code = unsafe { function(&raw mut accepting) };
        succeeded(CALL, code)?;
        Ok(accepting)
    }

    fn set_ready_state(&self, accepting: bool) -> Result<(), Failure> {
        const CALL: &str = "nvmlSystemSetConfComputeGpusReadyState";
        let function = found(CALL, &self.0.lib().nvmlSystemSetConfComputeGpusReadyState)?;
        #[expect(unsafe_code, reason = "NVML is a library in C")]
        // SAFETY: as in `capabilities`; it takes a number and writes nothing here.
        let code = unsafe { function(accepting.into()) };
        succeeded(CALL, code)
    }

    fn key_rotation_threshold(&self) -> Result<u64, Failure> {
        const CALL: &str = "nvmlSystemGetConfComputeKeyRotationThresholdInfo";
        let function = found(
            CALL,
            &self.0.lib().nvmlSystemGetConfComputeKeyRotationThresholdInfo,
        )?;
        let mut answer = nvmlConfComputeGetKeyRotationThresholdInfo_t {
            version: KEY_ROTATION_VERSION,
            attackerAdvantage: 0,
        };
        #[expect(unsafe_code, reason = "NVML is a library in C")]
        // SAFETY: as in `settings`.
        let code = unsafe { function(&raw mut answer) };
        succeeded(CALL, code)?;
        Ok(answer.attackerAdvantage)
    }

    fn device_count(&self) -> Result<u32, Failure> {
        self.0
            .device_count()
            .map_err(|error| failed("nvmlDeviceGetCount_v2", error))
    }

    fn architecture(&self, device: u32) -> Result<u32, Failure> {
        const CALL: &str = "nvmlDeviceGetArchitecture";
        let function = found(CALL, &self.0.lib().nvmlDeviceGetArchitecture)?;
        let device = self.device(device)?;
        let mut architecture = 0;
        #[expect(unsafe_code, reason = "NVML is a library in C")]
        // SAFETY: as in `capabilities`; the handle is of the same library.
        let code = unsafe { function(device.handle(), &raw mut architecture) };
        succeeded(CALL, code)?;
        Ok(architecture)
    }

    fn uuid(&self, device: u32) -> Result<String, Failure> {
        let function = &self.0.lib().nvmlDeviceGetUUID;
        self.device_text("nvmlDeviceGetUUID", function, device)
    }

    fn vbios_version(&self, device: u32) -> Result<String, Failure> {
        let function = &self.0.lib().nvmlDeviceGetVbiosVersion;
        self.device_text("nvmlDeviceGetVbiosVersion", function, device)
    }

    fn attestation_chain(&self, device: u32) -> Result<Vec<u8>, Failure> {
        const CALL: &str = "nvmlDeviceGetConfComputeGpuCertificate";
        let function = found(CALL, &self.0.lib().nvmlDeviceGetConfComputeGpuCertificate)?;
        let device = self.device(device)?;
        let mut answer = Box::new(nvmlConfComputeGpuCertificate_t {
            certChainSize: 0,
            attestationCertChainSize: 0,
            certChain: [0; 4096],
            attestationCertChain: [0; 5120],
        });
        #[expect(unsafe_code, reason = "NVML is a library in C")]
        // SAFETY: as in `architecture`; the structure's size is asserted above.
        let code = unsafe { function(device.handle(), &raw mut *answer) };
        succeeded(CALL, code)?;
        written(
            CALL,
            &answer.attestationCertChain,
            answer.attestationCertChainSize,
        )
    }

    fn attestation_report(&self, device: u32, nonce: &GpuNonce) -> Result<Vec<u8>, Failure> {
        const CALL: &str = "nvmlDeviceGetConfComputeGpuAttestationReport";
        let function = found(CALL, &self.0.lib().nvmlDeviceGetConfComputeGpuAttestationReport)?;
        let device = self.device(device)?;
        let mut answer = Box::new(nvmlConfComputeGpuAttestationReport_t {
            isCecAttestationReportPresent: 0,
            attestationReportSize: 0,
            cecAttestationReportSize: 0,
            nonce: *nonce.as_bytes(),
            attestationReport: [0; 8192],
            cecAttestationReport: [0; 4096],
        });
        #[expect(unsafe_code, reason = "NVML is a library in C")]
        // SAFETY: as in `architecture`; the structure's size is asserted above.
        let code = unsafe { function(device.handle(), &raw mut *answer) };
        succeeded(CALL, code)?;
        written(CALL, &answer.attestationReport, answer.attestationReportSize)
    }

    fn memory_sizes(&self, device: u32) -> Result<MemorySizes, Failure> {
        const CALL: &str = "nvmlDeviceGetConfComputeMemSizeInfo";
        let function = found(CALL, &self.0.lib().nvmlDeviceGetConfComputeMemSizeInfo)?;
        let device = self.device(device)?;
        let mut answer = nvmlConfComputeMemSizeInfo_t {
            protectedMemSizeKib: 0,
            unprotectedMemSizeKib: 0,
        };
        #[expect(unsafe_code, reason = "NVML is a library in C")]
        // SAFETY: as in `architecture`.
        let code = unsafe { function(device.handle(), &raw mut answer) };
        succeeded(CALL, code)?;
        Ok(MemorySizes {
            protected_kib: answer.protectedMemSizeKib,
            unprotected_kib: answer.unprotectedMemSizeKib,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_library_that_is_not_there_is_named_with_what_the_linker_says() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("libnvidia-ml.so.1");
        let error = LoadedLibrary::open(&missing).unwrap_err();
        assert!(matches!(error, GpuError::NoLibrary { .. }), "{error}");
        assert!(error.to_string().contains("libnvidia-ml.so.1"), "{error}");
    }

    /// A shared library that every Linux with glibc has.
    #[test]
    #[cfg(target_env = "gnu")]
    fn a_library_that_is_not_nvml_is_refused() {
        let error = LoadedLibrary::open(Path::new("libc.so.6")).unwrap_err();
        assert!(matches!(error, GpuError::NoLibrary { .. }), "{error}");
        assert!(error.to_string().contains("nvmlInit_v2"), "{error}");
    }

    #[test]
    fn a_text_without_an_end_or_of_other_characters_is_refused() {
        assert_eq!(text("call", b"550.90.07\0junk").as_deref(), Ok("550.90.07"));
        for bad in [&b"550.90.07"[..], b"", b"550\n\0", b"\xff\0"] {
            assert_eq!(text("call", bad), Err(Failure::Text { call: "call" }), "{bad:?}");
        }
    }

    #[test]
    fn a_size_beyond_the_buffer_is_refused_and_one_of_zero_is_no_answer() {
        assert_eq!(written("call", &[1, 2, 3], 2), Ok(vec![1, 2]));
        assert_eq!(written("call", &[1, 2, 3], 3), Ok(vec![1, 2, 3]));
        assert_eq!(
            written("call", &[1, 2, 3], 4),
            Err(Failure::Oversize {
                call: "call",
                size: 4,
                limit: 3
            })
        );
        assert!(written("call", &[1, 2, 3], u32::MAX).is_err());
        assert_eq!(written("call", &[1], 0), Err(Failure::Empty { call: "call" }));
    }

    proptest! {
        #[test]
        fn what_a_call_wrote_is_a_prefix_of_its_buffer(buffer: Vec<u8>, size: u32) {
            if let Ok(written) = written("call", &buffer, size) {
                prop_assert!(buffer.starts_with(&written));
                prop_assert_eq!(written.len(), size as usize);
            }
        }

        #[test]
        fn a_text_is_printable_whatever_a_call_wrote(buffer: Vec<u8>) {
            if let Ok(text) = text("call", &buffer) {
                prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            }
        }
    }
}
