//! Why there is no evidence of a GPU. Owns the sentences that say so.

use core::time::Duration;

use super::library::Failure;
use super::settings::SettingsFault;

/// Why no evidence could be collected, or why GPUs stay closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// The library isn't there, or isn't NVML.
    #[error(
        "NVIDIA's management library `{library}` can't be loaded: {reason}; install the driver's libraries in this image, of the version of its kernel module"
    )]
    NoLibrary {
        /// What was to be loaded.
        library: String,
        /// What the dynamic linker said.
        reason: String,
    },
    /// NVML failed.
    #[error(transparent)]
    Call(#[from] Failure),
    /// A GPU is required and none is there.
    #[error(
        "NVML sees no GPU, and one is required; pass one through to this guest, and look whether the kernel module found it"
    )]
    NoGpus,
    /// More GPUs than a guest can have.
    #[error("NVML sees {count} GPUs; expected at most {limit}")]
    TooManyGpus {
        /// How many there are.
        count: u32,
        /// How many there may be.
        limit: u32,
    },
    /// A setting has a number that NVIDIA's header doesn't list.
    #[error(
        "NVML gives {setting} as {value}, which nvml.h of version 13 doesn't list; expected an older driver or a newer Bastide"
    )]
    UnknownSetting {
        /// Its name in `nvml.h`.
        setting: &'static str,
        /// The number.
        value: u32,
    },
    /// Settings are not as production needs them.
    #[error("GPUs are not in production mode: {}", sentences(faults))]
    NotProduction {
        /// Every one that is wrong.
        faults: Vec<SettingsFault>,
    },
    /// Two snapshots, before and after, differ.
    #[error(
        "{what} changed while evidence was collected, from `{before}` to `{after}`; nothing may reconfigure GPUs then"
    )]
    Changed {
        /// What differs.
        what: &'static str,
        /// As it was.
        before: String,
        /// As it is.
        after: String,
    },
    /// A GPU gave no report, twice. Asking on can leave it unusable until a reset.
    #[error(
        "GPU {device} gives no report: {first}; once more: {second}; it will not be asked again, reset it or boot again"
    )]
    Unhealthy {
        /// NVML's index of it.
        device: u32,
        /// Why the first attempt failed.
        first: Failure,
        /// Why the second did.
        second: Failure,
    },
    /// A call did not return in time. Nothing calls NVML from now on.
    #[error("{call} did not return within {} ms; GPUs can't be attested any more until this process starts again", limit.as_millis())]
    TimedOut {
        /// The call.
        call: &'static str,
        /// How long it may take.
        limit: Duration,
    },
    /// A call did not return in time before this one.
    #[error("GPUs can't be attested any more until this process starts again: {call} did not return in time")]
    Unattestable {
        /// The call that hung.
        call: &'static str,
    },
    /// As much is waiting for NVML as may wait.
    #[error("{waiting} requests wait for NVML already; ask again later")]
    Busy {
        /// How many may wait.
        waiting: usize,
    },
    /// The thread that calls NVML has ended.
    #[error("the thread that calls NVML has ended; this process has to start again")]
    WorkerEnded,
    /// NVML accepted a ready state and then gave another.
    #[error("NVML took the ready state {expected}, but then gave {got}")]
    ReadyState {
        /// What was set.
        expected: u32,
        /// What is.
        got: u32,
    },
}

fn sentences(faults: &[SettingsFault]) -> String {
    let sentences: Vec<String> = faults.iter().map(ToString::to_string).collect();
    sentences.join("; ")
}
