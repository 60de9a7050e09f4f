//! A library that tests script. It answers for two GPUs in production, unless told
//! otherwise, and keeps which calls were made.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};

use bastide_attestation::GpuNonce;

use super::library::{Failure, Library, MemorySizes, RawCapabilities, RawSettings, RawState, Status};

pub(super) const REPORT: &str = "nvmlDeviceGetConfComputeGpuAttestationReport";
pub(super) const SET_READY: &str = "nvmlSystemSetConfComputeGpusReadyState";

pub(super) const PRODUCTION: RawSettings = RawSettings {
    environment: 2,
    feature: 1,
    developer_tools: 0,
    multi_gpu: 0,
};

pub(super) fn status(call: &'static str, code: u32) -> Failure {
    Failure::Status {
        call,
        status: Status::new(code),
    }
}

#[derive(Debug)]
pub(super) struct Script {
    /// One after another; the last stays.
    pub(super) settings: VecDeque<RawSettings>,
    /// Likewise.
    pub(super) counts: VecDeque<u32>,
    /// What reports fail with, one after another; none then.
    pub(super) report_failures: VecDeque<Failure>,
    /// A call that fails whenever it is made.
    pub(super) failing: Option<&'static str>,
    /// A call that does not return until [`Played::release`].
    pub(super) hanging: Option<&'static str>,
    /// Whether NVML keeps the ready state that it took.
    pub(super) forgets_ready: bool,
    pub(super) ready: u32,
    pub(super) calls: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Played(Arc<(Mutex<Script>, Condvar)>);

impl Played {
    pub(super) fn new(change: impl FnOnce(&mut Script)) -> Self {
        let mut script = Script {
            settings: [PRODUCTION].into(),
            counts: [2].into(),
            report_failures: VecDeque::new(),
            failing: None,
            hanging: None,
            forgets_ready: false,
            ready: 0,
            calls: Vec::new(),
        };
        change(&mut script);
        Self(Arc::new((Mutex::new(script), Condvar::new())))
    }

    pub(super) fn release(&self) {
        self.0.0.lock().unwrap().hanging = None;
        self.0.1.notify_all();
    }

    /// Who holds this library, the caller among them.
    pub(super) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    pub(super) fn ready(&self) -> u32 {
        self.0.0.lock().unwrap().ready
    }

    pub(super) fn calls(&self) -> Vec<String> {
        self.0.0.lock().unwrap().calls.clone()
    }

    /// How often a call was made.
    pub(super) fn count(&self, call: &str) -> usize {
        self.calls().iter().filter(|made| made.starts_with(call)).count()
    }

    fn made<T>(
        &self,
        call: &'static str,
        argument: &str,
        answer: impl FnOnce(&mut Script) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (script, released) = &*self.0;
        let mut script = script.lock().unwrap();
        script.calls.push(format!("{call}{argument}"));
        while script.hanging == Some(call) {
            script = released.wait(script).unwrap();
        }
        if script.failing == Some(call) {
            return Err(status(call, 999));
        }
        answer(&mut script)
    }
}

fn next<T: Copy>(answers: &mut VecDeque<T>) -> T {
    let first = answers[0];
    if answers.len() > 1 {
        answers.pop_front();
    }
    first
}

impl Library for Played {
    fn driver_version(&self) -> Result<String, Failure> {
        self.made("nvmlSystemGetDriverVersion", "", |_| Ok("580.1".to_owned()))
    }

    fn capabilities(&self) -> Result<RawCapabilities, Failure> {
        self.made("nvmlSystemGetConfComputeCapabilities", "", |_| {
            Ok(RawCapabilities { cpu: 3, gpus: 1 })
        })
    }

    fn state(&self) -> Result<RawState, Failure> {
        unreachable!("settings say more")
    }

    fn settings(&self) -> Result<RawSettings, Failure> {
        self.made("nvmlSystemGetConfComputeSettings", "", |script| {
            Ok(next(&mut script.settings))
        })
    }

    fn ready_state(&self) -> Result<u32, Failure> {
        self.made("nvmlSystemGetConfComputeGpusReadyState", "", |script| {
            Ok(script.ready)
        })
    }

    fn set_ready_state(&self, accepting: bool) -> Result<(), Failure> {
        let argument = format!(" {}", u32::from(accepting));
        self.made(SET_READY, &argument, |script| {
            if !script.forgets_ready {
                script.ready = accepting.into();
            }
            Ok(())
        })
    }

    fn key_rotation_threshold(&self) -> Result<u64, Failure> {
        unreachable!("nothing is decided by it")
    }

    fn device_count(&self) -> Result<u32, Failure> {
        self.made("nvmlDeviceGetCount_v2", "", |script| Ok(next(&mut script.counts)))
    }

    fn architecture(&self, _: u32) -> Result<u32, Failure> {
        self.made("nvmlDeviceGetArchitecture", "", |_| Ok(9))
    }

    fn uuid(&self, device: u32) -> Result<String, Failure> {
        self.made("nvmlDeviceGetUUID", "", |_| Ok(format!("GPU-{device}")))
    }

    fn vbios_version(&self, _: u32) -> Result<String, Failure> {
        self.made("nvmlDeviceGetVbiosVersion", "", |_| {
            Ok("96.00.9F.00.01".to_owned())
        })
    }

    fn attestation_chain(&self, device: u32) -> Result<Vec<u8>, Failure> {
        self.made("nvmlDeviceGetConfComputeGpuCertificate", "", |_| {
            Ok(format!("chain of {device}").into_bytes())
        })
    }

    fn attestation_report(&self, device: u32, nonce: &GpuNonce) -> Result<Vec<u8>, Failure> {
        let nonce = *nonce.as_bytes();
        self.made(REPORT, &format!(" {device}"), |script| {
            match script.report_failures.pop_front() {
                Some(failure) => Err(failure),
                None => Ok([&nonce[..], b"report of ", device.to_string().as_bytes()].concat()),
            }
        })
    }

    fn memory_sizes(&self, _: u32) -> Result<MemorySizes, Failure> {
        unreachable!("nothing is decided by it")
    }
}
