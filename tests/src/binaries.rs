//! Builds the commands once a run, by cargo itself, and keeps copies, so that
//! a test never runs a binary with other features than it asked for.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::workspace_root;

/// Paths of the commands that a user runs.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// `bastide-enclave`, with the simulator feature.
    pub enclave: PathBuf,
    /// `bastide-shim`.
    pub shim: PathBuf,
    /// `bastide`.
    pub cli: PathBuf,
}

impl Binaries {
    /// Builds them if they aren't up to date.
    ///
    /// # Panics
    /// If cargo can't build them; its messages go to stderr.
    #[must_use]
    pub fn build() -> &'static Self {
        static BUILT: OnceLock<Binaries> = OnceLock::new();
        BUILT.get_or_init(|| {
            let simulator = ["--features", "bastide-enclave/simulator"];
            let commands = [
                "bastide-enclave",
                "bastide-shim",
                "bastide-ohttp-relay",
                "bastide",
            ];
            let folder = build_into("simulator", &[&bins(&commands)[..], &simulator].concat());
            Self {
                enclave: folder.join("bastide-enclave"),
                shim: folder.join("bastide-shim"),
                cli: folder.join("bastide"),
            }
        })
    }

    /// Builds `bastide-enclave` as a release would: without the simulator.
    ///
    /// # Panics
    /// If cargo can't build it.
    #[must_use]
    pub fn enclave_without_simulator() -> PathBuf {
        build_into("hardware", &bins(&["bastide-enclave"])).join("bastide-enclave")
    }

    /// Builds the library that plays NVML from a scenario.
    ///
    /// # Panics
    /// If cargo can't build it.
    #[must_use]
    pub fn fake_nvml() -> PathBuf {
        build_into("fake-nvml", &["-p", "bastide-fake-nvml"]).join("libbastide_fake_nvml.so")
    }
}

/// Commands of the whole workspace, so that what they are made of has the same
/// features whichever of them are built, and is built once.
fn bins<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let each = names.iter().flat_map(|name| ["--bin", *name]);
    ["--workspace"].into_iter().chain(each).collect()
}

/// Builds and copies every executable and shared library that cargo names into a folder under the
/// target directory. A file lock keeps concurrent test processes apart.
fn build_into(name: &str, arguments: &[&str]) -> PathBuf {
    let root = workspace_root();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let folder = target.join("bastide-bin").join(name);
    fs::create_dir_all(&folder).expect("the target directory is writable");
    let lock = File::create(target.join("bastide-bin/lock")).expect("the target directory is writable");
    lock.lock().expect("file locks work in the target directory");

    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What the outer cargo told this process about its own package must not
    // reach the inner one: build scripts that watch it would run again.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
            "CARGO_PRIMARY_",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        {
            command.env_remove(name.as_ref());
        }
    }
    let mut child = command
        .current_dir(&root)
        .args(["build", "--locked", "--message-format=json-render-diagnostics"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cargo can be started");
    let stdout = child.stdout.take().expect("stdout is piped");
    let artifacts: Vec<PathBuf> = BufReader::new(stdout)
        .lines()
        .map_while(Result::ok)
        .flat_map(|line| artifacts_of(&line))
        .collect();
    let status = child.wait().expect("cargo can be waited for");
    assert!(status.success(), "cargo build {} failed", arguments.join(" "));
    for artifact in artifacts {
        if let Some(file) = artifact.file_name() {
            install(&artifact, &folder, file);
        }
    }
    folder
}

/// What a message of cargo's names that can be run or loaded. Shared libraries of
/// dependencies are macros, which lie elsewhere.
fn artifacts_of(line: &str) -> Vec<PathBuf> {
    let message: Value = serde_json::from_str(line).unwrap_or_default();
    let executable = message["executable"].as_str();
    let is_cdylib = |kind: &Value| kind == "cdylib";
    let loaded = message["target"]["crate_types"]
        .as_array()
        .is_some_and(|kinds| kinds.iter().any(is_cdylib));
    let files = message["filenames"].as_array().filter(|_| loaded);
    let libraries = files.into_iter().flatten().filter_map(Value::as_str);
    executable
        .into_iter()
        .chain(libraries.filter(|file| file.ends_with(".so")))
        .map(PathBuf::from)
        .collect()
}

/// Copies beside and renames over, so that a running older copy isn't disturbed.
fn install(from: &Path, folder: &Path, file: &OsStr) {
    let temporary = folder.join(format!(".{}.{}", file.to_string_lossy(), std::process::id()));
    fs::copy(from, &temporary).expect("a built binary can be copied");
    fs::rename(&temporary, folder.join(file)).expect("a copied binary can be renamed");
}
