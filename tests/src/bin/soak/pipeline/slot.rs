//! A place where a stage runs: killed without a word, and started again where
//! the head finds it at the address that it knows.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bastide_tests::delay::Delay;
use bastide_tests::pipeline::{Plan, start_stage};
use bastide_tests::process::Process;

/// One place.
#[derive(Debug)]
pub(crate) struct Slot {
    /// For people.
    pub(crate) name: String,
    stage: usize,
    process: Mutex<Option<Process>>,
    /// Has the address that the head was given.
    relay: Delay,
    logs: PathBuf,
}

impl Slot {
    pub(crate) fn new(stage: usize, name: String, process: Process, relay: Delay, logs: &Path) -> Self {
        Self {
            name,
            stage,
            process: Mutex::new(Some(process)),
            relay,
            logs: logs.to_path_buf(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its process, if it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.lock().as_ref().map(Process::id)
    }

    /// Kills what runs here, and cuts its connections.
    pub(crate) fn kill(&self) {
        drop(self.lock().take());
        self.relay.cut();
    }

    /// Starts another enclave here.
    ///
    /// # Errors
    /// What it printed.
    pub(crate) fn start(&self, plan: &Plan, arguments: &[&str]) -> Result<(), String> {
        let started = start_stage(plan, self.stage, &self.name, &self.logs, arguments)?;
        self.relay.redirect(started.ready("links"));
        *self.lock() = Some(started);
        Ok(())
    }
}
