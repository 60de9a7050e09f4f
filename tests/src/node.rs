//! A node as a provider runs it: the enclave behind the host-shim, here on the
//! simulator, on free loopback ports.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::binaries::Binaries;
use crate::process::Process;
use crate::workspace_root;

/// How long a process may take until it is ready.
pub const START_LIMIT: Duration = Duration::from_secs(60);

/// A running enclave with a shim in front of it.
#[derive(Debug)]
pub struct Node {
    /// The enclave.
    pub enclave: Process,
    /// The shim; clients connect here.
    pub shim: Process,
}

impl Node {
    /// Starts both with the committed model. `logs` receives their stderr.
    ///
    /// # Errors
    /// What the process that didn't start printed.
    pub fn start(logs: &Path, enclave_arguments: &[&str]) -> Result<Self, String> {
        let binaries = Binaries::build();
        let mut command = Command::new(&binaries.enclave);
        command.args(["serve", "--attester", "simulator", "--listen", "tcp:127.0.0.1:0"]);
        command
            .args(["--metrics-listen", "127.0.0.1:0", "--model"])
            .arg(model_folder());
        command.args(enclave_arguments);
        let enclave = Process::start(command, "enclave", logs, START_LIMIT)?;
        let mut command = Command::new(&binaries.shim);
        let upstream = format!("tcp:{}", enclave.ready("listen").trim_start_matches("tcp:"));
        command.args(["relay", "--listen", "tcp:127.0.0.1:0", "--to", &upstream]);
        let shim = Process::start(command, "shim", logs, START_LIMIT)?;
        Ok(Self { enclave, shim })
    }

    /// The address that a client is given.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.shim.ready("listen").trim_start_matches("tcp:"))
    }
}

/// The committed model.
#[must_use]
pub fn model_folder() -> PathBuf {
    workspace_root().join("enclave/engine/models/bastide-5m")
}

/// Starts `bastide proxy` in front of `url`.
///
/// # Errors
/// What it printed, if it didn't start.
pub fn start_proxy(url: &str, logs: &Path, arguments: &[&str]) -> Result<Process, String> {
    let mut command = Command::new(&Binaries::build().cli);
    command
        .args(["proxy", url, "--listen", "127.0.0.1:0"])
        .args(arguments);
    Process::start(command, "proxy", logs, START_LIMIT)
}
