//! The machine behind the calls: counts them, keeps the ready state, and writes
//! down what was asked. Owns no C.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::scenario::{Device, Scenario};

pub(crate) const UNINITIALIZED: u32 = 1;
pub(crate) const INVALID_ARGUMENT: u32 = 2;
pub(crate) const INSUFFICIENT_SIZE: u32 = 7;
pub(crate) const VERSION_MISMATCH: u32 = 25;
pub(crate) const UNKNOWN: u32 = 999;

/// Longest hang, so that a test that forgot one ends.
const LONGEST_HANG: Duration = Duration::from_secs(60);

/// A scenario being played.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) scenario: Scenario,
    folder: PathBuf,
    ready: u32,
    made: BTreeMap<&'static str, usize>,
}

impl Machine {
    /// The machine of the folder that `BASTIDE_FAKE_NVML` names, else of the one
    /// that this library lies in: copies of it play several scenarios in one process.
    pub(crate) fn boot() -> Result<Self, String> {
        let folder = std::env::var_os("BASTIDE_FAKE_NVML")
            .map(PathBuf::from)
            .or_else(own_folder)
            .ok_or("expected BASTIDE_FAKE_NVML to name a folder")?;
        let scenario = Scenario::read(&folder)?;
        Ok(Self {
            ready: scenario.ready,
            scenario,
            folder,
            made: BTreeMap::new(),
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a call down in the file `calls`; the code that it is to return, and
    /// which one of its calls this is, from 0.
    pub(crate) fn begin(&mut self, call: &'static str, argument: &str) -> (u32, usize) {
        let made = self.made.entry(call).or_default();
        let number = *made;
        *made += 1;
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("calls"));
        let line = format!("{call}{argument}\n");
        if log.and_then(|mut log| log.write_all(line.as_bytes())).is_err() {
            return (UNKNOWN, number);
        }
        let codes = self.scenario.failures.get(call);
        let code = codes.and_then(|codes| codes.get(number)).copied();
        (code.unwrap_or_default(), number)
    }

    /// Settings of one of the calls for them.
    pub(crate) fn settings(&self, number: usize) -> [u32; 4] {
        let settings = &self.scenario.settings;
        let line = settings.get(number).or_else(|| settings.last());
        line.copied().unwrap_or_default()
    }

    pub(crate) const fn ready(&self) -> u32 {
        self.ready
    }

    pub(crate) const fn set_ready(&mut self, ready: u32) {
        self.ready = ready;
    }

    pub(crate) fn count(&self) -> u32 {
        let devices = u32::try_from(self.scenario.devices.len()).unwrap_or(u32::MAX);
        self.scenario.count.unwrap_or(devices)
    }

    pub(crate) fn device(&self, index: usize) -> Option<Device> {
        self.scenario.devices.get(index).cloned()
    }
}

/// Waits as long as a call is to take.
pub(crate) fn take_time(scenario: &Scenario, folder: &Path, call: &str) {
    if let Some(delay) = scenario.delays.get(call) {
        std::thread::sleep(Duration::from_millis(*delay));
    }
    if scenario.hangs.iter().any(|hang| hang == call) {
        let started = Instant::now();
        while !folder.join("release").exists() && started.elapsed() < LONGEST_HANG {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Where this library was loaded from: the mapping that holds this function.
fn own_folder() -> Option<PathBuf> {
    let here: fn() -> Option<PathBuf> = own_folder;
    let here = u64::try_from((here as *const ()).addr()).ok()?;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let end = u64::from_str_radix(end, 16).ok()?;
        let path = rest.find('/').and_then(|at| rest.get(at..))?;
        (start..end)
            .contains(&here)
            .then(|| Path::new(path).parent().map(Path::to_owned))?
    })
}
