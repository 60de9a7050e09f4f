//! The calls of NVML that evidence and the ready state need, as a trait, so that
//! tests can play the library. Owns what a call's answer looks like and how it
//! fails; decides nothing about either.

mod failure;
mod loaded;

use bastide_attestation::GpuNonce;

pub use failure::{Failure, Status};
pub use loaded::LoadedLibrary;

/// The library's name as the driver installs it; found as the dynamic linker finds it.
pub const DEFAULT_LIBRARY: &str = "libnvidia-ml.so.1";

/// `nvmlConfComputeSystemCaps_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawCapabilities {
    /// `cpuCaps`: 0 none, 1 SEV, 2 TDX, 3 SEV-SNP, 4 SEV-SNP with vTOM.
    pub cpu: u32,
    /// `gpusCaps`: 1 if the GPUs can compute confidentially.
    pub gpus: u32,
}

/// `nvmlConfComputeSystemState_t`, the older of two answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawState {
    /// `environment`: 0 unavailable, 1 simulation, 2 production.
    pub environment: u32,
    /// `ccFeature`: 1 if confidential computing is on.
    pub feature: u32,
    /// `devToolsMode`: 1 if profilers and debuggers may look in.
    pub developer_tools: u32,
}

/// `nvmlSystemConfComputeSettings_v1_t` without its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawSettings {
    /// `environment`, as in [`RawState`].
    pub environment: u32,
    /// `ccFeature`, as in [`RawState`].
    pub feature: u32,
    /// `devToolsMode`, as in [`RawState`].
    pub developer_tools: u32,
    /// `multiGpuMode`: 0 none, 1 protected PCIe, 2 NVLink encryption.
    pub multi_gpu: u32,
}

/// `nvmlConfComputeMemSizeInfo_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemorySizes {
    /// Protected memory in KiB.
    pub protected_kib: u64,
    /// Unprotected memory in KiB.
    pub unprotected_kib: u64,
}

/// NVML, initialised. One call each, none of them combined or repeated; the
/// driver serialises them, so one thread makes them all.
///
/// # Errors
/// Each call fails with [`Failure`], which names the call.
#[expect(
    clippy::missing_errors_doc,
    reason = "all fail alike, as the trait itself says"
)]
pub trait Library {
    /// `nvmlSystemGetDriverVersion`, as `550.90.07`.
    fn driver_version(&self) -> Result<String, Failure>;
    /// `nvmlSystemGetConfComputeCapabilities`.
    fn capabilities(&self) -> Result<RawCapabilities, Failure>;
    /// `nvmlSystemGetConfComputeState`.
    fn state(&self) -> Result<RawState, Failure>;
    /// `nvmlSystemGetConfComputeSettings` (driver 550 and later).
    fn settings(&self) -> Result<RawSettings, Failure>;
    /// `nvmlSystemGetConfComputeGpusReadyState`: whether GPUs accept work.
    fn ready_state(&self) -> Result<u32, Failure>;
    /// `nvmlSystemSetConfComputeGpusReadyState`, of every GPU at once; needs root.
    fn set_ready_state(&self, accepting: bool) -> Result<(), Failure>;
    /// `nvmlSystemGetConfComputeKeyRotationThresholdInfo`: the exponent of the
    /// advantage that an attacker may gain before keys rotate (50 to 65).
    fn key_rotation_threshold(&self) -> Result<u64, Failure>;
    /// `nvmlDeviceGetCount_v2`.
    fn device_count(&self) -> Result<u32, Failure>;
    /// `nvmlDeviceGetArchitecture`: 9 is Hopper, 10 Blackwell.
    fn architecture(&self, device: u32) -> Result<u32, Failure>;
    /// `nvmlDeviceGetUUID`. The driver says so; no GPU signs it.
    fn uuid(&self, device: u32) -> Result<String, Failure>;
    /// `nvmlDeviceGetVbiosVersion`, as `96.00.9F.00.01`.
    fn vbios_version(&self, device: u32) -> Result<String, Failure>;
    /// `attestationCertChain` of `nvmlDeviceGetConfComputeGpuCertificate`: PEM.
    fn attestation_chain(&self, device: u32) -> Result<Vec<u8>, Failure>;
    /// `attestationReport` of `nvmlDeviceGetConfComputeGpuAttestationReport`, cut
    /// to the size that NVML gives: an SPDM request with its response.
    fn attestation_report(&self, device: u32, nonce: &GpuNonce) -> Result<Vec<u8>, Failure>;
    /// `nvmlDeviceGetConfComputeMemSizeInfo`.
    fn memory_sizes(&self, device: u32) -> Result<MemorySizes, Failure>;
}
