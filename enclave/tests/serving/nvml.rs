//! An NVML that tests play: one simulated GPU, which can be reconfigured and can
//! hang, and whose ready state can be seen.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bastide_attestation::GpuNonce;
use bastide_attestation::nvidia::GpuEvidence;
use bastide_attester::nvml::library::{
    Failure, Library, MemorySizes, RawCapabilities, RawSettings, RawState,
};
use bastide_attester::nvml::{Limits, Worker};
use bastide_attester::simulator::nvidia::{GpuOptions, SimulatedGpus};
use bastide_enclave::gpus::{EndorsementFolder, Gpus, NvmlGpus, Rhythm};
use bastide_verifier::Policy;
use tempfile::TempDir;

use crate::serving::node::now;

/// Fast enough for a test to wait.
pub(crate) const RHYTHM: Rhythm = Rhythm {
    renew: Duration::from_secs(3600),
    look: Duration::from_millis(20),
    retry: Duration::from_millis(50),
    longest: Duration::from_secs(3600),
};

#[derive(Debug)]
struct State {
    developer_tools: u32,
    hanging: bool,
    ready: u32,
    /// Every ready state that was set.
    set: Vec<bool>,
}

/// A machine with one simulated GPU behind NVML, and NVIDIA's word for it in a folder.
#[derive(Clone)]
pub(crate) struct Machine {
    state: Arc<(Mutex<State>, Condvar)>,
    gpus: Arc<SimulatedGpus>,
    folder: Arc<TempDir>,
}

impl Machine {
    /// One whose GPU a process before left open.
    pub(crate) fn boot() -> Self {
        let gpus = SimulatedGpus::new(GpuOptions::new(now())).unwrap();
        let endorsements = gpus.endorsements(now()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let files = [("xml", &endorsements.rims), ("ocsp", &endorsements.ocsp)];
        for (extension, items) in files {
            for (index, item) in items.iter().enumerate() {
                std::fs::write(folder.path().join(format!("{index}.{extension}")), item).unwrap();
            }
        }
        let state = State {
            developer_tools: 0,
            hanging: false,
            ready: 1,
            set: Vec::new(),
        };
        Self {
            state: Arc::new((Mutex::new(state), Condvar::new())),
            gpus: Arc::new(gpus),
            folder: Arc::new(folder),
        }
    }

    /// Its GPUs as the enclave sees them, judged by this policy.
    pub(crate) fn gpus(&self, policy: &str, rhythm: Rhythm) -> Gpus {
        let library = self.clone();
        let limits = Limits {
            call: Duration::from_millis(800),
            ..Limits::default()
        };
        let worker = Worker::start(move || Ok(library), limits).unwrap();
        let folder = EndorsementFolder::new(self.folder.path().to_owned());
        let source = NvmlGpus::new(worker, Some(folder));
        let policy = Policy::parse(policy.as_bytes()).unwrap();
        Gpus::new(Box::new(source), policy).with_rhythm(rhythm)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.0.lock().unwrap());
        self.state.1.notify_all();
    }

    /// Lets profilers and debuggers look in, or not.
    pub(crate) fn set_developer_tools(&self, on: bool) {
        self.change(|state| state.developer_tools = u32::from(on));
    }

    /// Takes away what NVIDIA issued.
    pub(crate) fn lose_manifests(&self) {
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }

    /// From now on calls return once this machine is dropped by the test.
    pub(crate) fn hang(&self, hanging: bool) {
        self.change(|state| state.hanging = hanging);
    }

    pub(crate) fn ready(&self) -> u32 {
        self.state.0.lock().unwrap().ready
    }

    pub(crate) fn was_opened(&self) -> bool {
        self.state.0.lock().unwrap().set.contains(&true)
    }

    fn evidence(&self, nonce: &GpuNonce) -> GpuEvidence {
        self.gpus.evidence(nonce).unwrap()
    }
}

impl Library for Machine {
    fn driver_version(&self) -> Result<String, Failure> {
        Ok("580.159.03".to_owned())
    }

    fn capabilities(&self) -> Result<RawCapabilities, Failure> {
        Ok(RawCapabilities { cpu: 3, gpus: 1 })
    }

    fn state(&self) -> Result<RawState, Failure> {
        self.settings().map(|settings| RawState {
            environment: settings.environment,
            feature: settings.feature,
            developer_tools: settings.developer_tools,
        })
    }

    fn settings(&self) -> Result<RawSettings, Failure> {
        let mut state = self.state.0.lock().unwrap();
        while state.hanging {
            state = self.state.1.wait(state).unwrap();
        }
        Ok(RawSettings {
            environment: 2,
            feature: 1,
            developer_tools: state.developer_tools,
            multi_gpu: 0,
        })
    }

    fn ready_state(&self) -> Result<u32, Failure> {
        Ok(self.ready())
    }

    fn set_ready_state(&self, accepting: bool) -> Result<(), Failure> {
        self.change(|state| {
            state.ready = u32::from(accepting);
            state.set.push(accepting);
        });
        Ok(())
    }

    fn key_rotation_threshold(&self) -> Result<u64, Failure> {
        Ok(62)
    }

    fn device_count(&self) -> Result<u32, Failure> {
        Ok(1)
    }

    fn architecture(&self, _: u32) -> Result<u32, Failure> {
        Ok(9)
    }

    fn uuid(&self, device: u32) -> Result<String, Failure> {
        Ok(format!("GPU-{device}"))
    }

    fn vbios_version(&self, _: u32) -> Result<String, Failure> {
        Ok("96.00.9F.00.01".to_owned())
    }

    fn attestation_chain(&self, _: u32) -> Result<Vec<u8>, Failure> {
        Ok(self.evidence(&GpuNonce::new([0; 32])).devices()[0].chain.clone())
    }

    fn attestation_report(&self, _: u32, nonce: &GpuNonce) -> Result<Vec<u8>, Failure> {
        Ok(self.evidence(nonce).devices()[0].report.clone())
    }

    fn memory_sizes(&self, _: u32) -> Result<MemorySizes, Failure> {
        Ok(MemorySizes {
            protected_kib: 83_886_080,
            unprotected_kib: 0,
        })
    }
}
