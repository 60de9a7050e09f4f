//! Which call of NVML is being made and since when, and the circuit breaker that
//! trips when it takes too long.

use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bastide_attestation::GpuNonce;

use super::super::error::GpuError;
use super::super::library::{Failure, Library, MemorySizes, RawCapabilities, RawSettings, RawState};
use super::Health;

/// Shared by a worker's thread and its callers.
#[derive(Debug)]
pub(super) struct Watch {
    limit: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current: Option<(&'static str, Instant)>,
    health: Health,
}

impl Watch {
    /// NVML is being opened.
    pub(super) fn opening(limit: Duration) -> Self {
        Self {
            limit,
            state: Mutex::new(State {
                current: Some(("nvmlInit_v2", Instant::now())),
                health: Health::Healthy,
            }),
        }
    }

    /// Whole whoever panicked: each change is one assignment.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn health(&self) -> Health {
        self.lock().health.clone()
    }

    pub(super) fn set_unhealthy(&self, error: &GpuError) {
        let mut state = self.lock();
        if state.health == Health::Healthy {
            state.health = Health::Unhealthy { error: error.clone() };
        }
    }

    pub(super) fn require_attestable(&self) -> Result<(), GpuError> {
        self.lock().require_attestable()
    }

    /// Looks at the clock: how long the current call may still take, `None` without
    /// one. Trips if it has taken too long.
    pub(super) fn look(&self) -> Result<Option<Duration>, GpuError> {
        let mut state = self.lock();
        state.require_attestable()?;
        let Some((call, since)) = state.current else {
            return Ok(None);
        };
        match self.limit.checked_sub(since.elapsed()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => {
                state.health = Health::Unattestable { call };
                let limit = self.limit;
                Err(GpuError::TimedOut { call, limit })
            }
        }
    }

    fn begin(&self, call: &'static str) -> Result<(), Failure> {
        let mut state = self.lock();
        state
            .require_attestable()
            .map_err(|_| Failure::Abandoned { call })?;
        state.current = Some((call, Instant::now()));
        Ok(())
    }

    /// A call that ends too late trips as well, though nobody looked at the clock.
    fn end(&self, call: &'static str) -> Result<(), Failure> {
        let mut state = self.lock();
        let current = state.current.take();
        if state.require_attestable().is_ok()
            && current.is_some_and(|(_, since)| since.elapsed() >= self.limit)
        {
            state.health = Health::Unattestable { call };
        }
        state
            .require_attestable()
            .map_err(|_| Failure::Abandoned { call })
    }
}

impl State {
    fn require_attestable(&self) -> Result<(), GpuError> {
        match self.health {
            Health::Unattestable { call } => Err(GpuError::Unattestable { call }),
            Health::Healthy | Health::Unhealthy { .. } => Ok(()),
        }
    }
}

/// A library whose calls are watched. Makes none once the breaker has tripped.
pub(super) struct Watched<L> {
    library: L,
    watch: Arc<Watch>,
}

impl<L: Library> Watched<L> {
    pub(super) const fn new(library: L, watch: Arc<Watch>) -> Self {
        Self { library, watch }
    }

    pub(super) fn end_of_opening(&self) -> Result<(), Failure> {
        self.watch.end("nvmlInit_v2")
    }

    pub(super) fn tripped(&self) -> bool {
        self.watch.require_attestable().is_err()
    }

    /// A call returned too late. It may have opened the GPUs, and nobody knows:
    /// closes them. Nobody can hear whether that works.
    pub(super) fn close_if_tripped(&self) {
        if self.tripped() {
            drop(self.library.set_ready_state(false));
        }
    }

    fn watched<T>(
        &self,
        call: &'static str,
        make: impl FnOnce(&L) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.watch.begin(call)?;
        let answer = make(&self.library);
        self.watch.end(call)?;
        answer
    }
}

impl<L: Library> Library for Watched<L> {
    fn driver_version(&self) -> Result<String, Failure> {
        self.watched("nvmlSystemGetDriverVersion", L::driver_version)
    }

    fn capabilities(&self) -> Result<RawCapabilities, Failure> {
        self.watched("nvmlSystemGetConfComputeCapabilities", L::capabilities)
    }

    fn state(&self) -> Result<RawState, Failure> {
        self.watched("nvmlSystemGetConfComputeState", L::state)
    }

    fn settings(&self) -> Result<RawSettings, Failure> {
        self.watched("nvmlSystemGetConfComputeSettings", L::settings)
    }

    fn ready_state(&self) -> Result<u32, Failure> {
        self.watched("nvmlSystemGetConfComputeGpusReadyState", L::ready_state)
    }

    fn set_ready_state(&self, accepting: bool) -> Result<(), Failure> {
        self.watched("nvmlSystemSetConfComputeGpusReadyState", |library| {
            library.set_ready_state(accepting)
        })
    }

    fn key_rotation_threshold(&self) -> Result<u64, Failure> {
        self.watched(
            "nvmlSystemGetConfComputeKeyRotationThresholdInfo",
            L::key_rotation_threshold,
        )
    }

    fn device_count(&self) -> Result<u32, Failure> {
        self.watched("nvmlDeviceGetCount_v2", L::device_count)
    }

    fn architecture(&self, device: u32) -> Result<u32, Failure> {
        self.watched("nvmlDeviceGetArchitecture", |library| {
            library.architecture(device)
        })
    }

    fn uuid(&self, device: u32) -> Result<String, Failure> {
        self.watched("nvmlDeviceGetUUID", |library| library.uuid(device))
    }

    fn vbios_version(&self, device: u32) -> Result<String, Failure> {
        self.watched("nvmlDeviceGetVbiosVersion", |library| {
            library.vbios_version(device)
        })
    }

    fn attestation_chain(&self, device: u32) -> Result<Vec<u8>, Failure> {
        self.watched("nvmlDeviceGetConfComputeGpuCertificate", |library| {
            library.attestation_chain(device)
        })
    }

    fn attestation_report(&self, device: u32, nonce: &GpuNonce) -> Result<Vec<u8>, Failure> {
        self.watched("nvmlDeviceGetConfComputeGpuAttestationReport", |library| {
            library.attestation_report(device, nonce)
        })
    }

    fn memory_sizes(&self, device: u32) -> Result<MemorySizes, Failure> {
        self.watched("nvmlDeviceGetConfComputeMemSizeInfo", |library| {
            library.memory_sizes(device)
        })
    }
}
