//! NVIDIA GPUs through NVML, NVIDIA's management library: collects their
//! attestation reports and certificate chains, and holds their ready state,
//! without which no CUDA context opens. Judges no report: who appraises is an
//! argument of [`open_gate`].
//!
//! - [`library`]: the calls of NVML that are needed, and the library that makes them;
//! - [`settings`]: what NVML says about confidential computing, typed;
//! - [`collect`]: reports and chains of every GPU, between two equal snapshots;
//! - [`worker`]: the one thread that calls NVML, with a deadline for each call;
//! - [`gate`]: GPUs become ready only after an appraisal.
//!
//! NVML's answers come from the driver in this guest. Only a report's signature
//! comes from a GPU, and what it doesn't sign (developer tools, the environment,
//! a UUID) is worth as much as the measured image that asks for it.

pub mod collect;
mod error;
pub mod gate;
pub mod library;
#[cfg(test)]
mod played;
pub mod settings;
pub mod worker;

pub use collect::{CollectedDevice, CollectedGpus, MAX_GPUS};
pub use error::GpuError;
pub use gate::{Closing, GateError, GateFault, open_gate};
pub use library::{DEFAULT_LIBRARY, Failure, Library, LoadedLibrary, Status};
pub use settings::{
    CpuCapability, Environment, GpuCapability, MultiGpuMode, Settings, SettingsFault, Switch,
};
pub use worker::{Health, Limits, Worker};
