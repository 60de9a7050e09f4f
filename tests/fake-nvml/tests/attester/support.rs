//! A scene: a folder with a scenario and a copy of the fake beside it. Each copy
//! is a library of its own to the dynamic linker, so scenes don't meet.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bastide_attester::nvml::{GpuError, Limits, LoadedLibrary, Worker};
use tempfile::TempDir;

/// One H100 in production on SEV-SNP.
pub(crate) const PRODUCTION: &str = "driver = 550.90.07\ncapabilities = 3 1\nsettings = 2 1 0 0\n";

pub(crate) struct Scene(TempDir);

impl Scene {
    pub(crate) fn new(scenario: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let built = std::env::current_exe().unwrap();
        let built = built.with_file_name("libbastide_fake_nvml.so");
        std::fs::copy(&built, folder.path().join("libnvidia-ml.so.1"))
            .unwrap_or_else(|error| panic!("`{}`: {error}", built.display()));
        std::fs::write(folder.path().join("scenario"), scenario).unwrap();
        Self(folder)
    }

    /// A scene with one GPU that gives `report` and `chain`, bytes that nobody verifies.
    pub(crate) fn of_one_gpu(scenario: &str) -> Self {
        let scene = Self::new("");
        for (name, bytes) in [("report", "a report"), ("chain", "a chain")] {
            std::fs::write(scene.path(name), bytes).unwrap();
        }
        let gpu = gpu(0, &scene.path("chain"), &scene.path("report"));
        std::fs::write(scene.path("scenario"), format!("{scenario}{gpu}")).unwrap();
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn library(&self) -> Result<LoadedLibrary, GpuError> {
        LoadedLibrary::open(&self.path("libnvidia-ml.so.1"))
    }

    pub(crate) fn worker(&self) -> Worker {
        self.worker_within(Limits::default()).unwrap()
    }

    pub(crate) fn worker_within(&self, limits: Limits) -> Result<Worker, GpuError> {
        let library = self.path("libnvidia-ml.so.1");
        Worker::start(move || LoadedLibrary::open(&library), limits)
    }

    /// What was called, in order, with its argument.
    pub(crate) fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    pub(crate) fn count(&self, call: &str) -> usize {
        self.calls().iter().filter(|made| made.starts_with(call)).count()
    }

    /// Where a call stands among all, the last of them if it was made several times.
    pub(crate) fn at(&self, call: &str) -> usize {
        let calls = self.calls();
        let at = calls.iter().rposition(|made| made == call);
        at.unwrap_or_else(|| panic!("no {call} in {calls:?}"))
    }

    /// Waits until the fake has done something.
    pub(crate) fn until(&self, done: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !done(self) {
            assert!(started.elapsed() < Duration::from_secs(20), "{:?}", self.calls());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The lines of one Hopper GPU.
pub(crate) fn gpu(index: usize, chain: &Path, report: &Path) -> String {
    format!(
        "device.{index}.architecture = 9\ndevice.{index}.uuid = GPU-{index}\n\
        device.{index}.vbios = 96.00.9F.00.01\ndevice.{index}.chain = {}\ndevice.{index}.report = {}\n",
        chain.display(),
        report.display()
    )
}

/// The folder of recorded evidence: the one named by `BASTIDE_VECTORS`, else next
/// to the workspace. `None`, and a line on stdout, where there is none.
pub(crate) fn vectors() -> Option<PathBuf> {
    let root = std::env::var_os("BASTIDE_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"),
        PathBuf::from,
    );
    let folder = root.join("nvidia");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("ignored: no vectors");
    None
}
