//! Runs the built command, and finds recorded evidence.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The built command in a clean environment.
pub(crate) fn bastide() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bastide"));
    command
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR")
        .env("XDG_DATA_HOME", data_folder())
        .env("TERM", "xterm");
    command
}

/// Where these tests' commands keep what a person's would keep in theirs.
pub(crate) fn data_folder() -> &'static Path {
    static FOLDER: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
    FOLDER
        .get_or_init(|| tempfile::tempdir().expect("there is a temporary folder"))
        .path()
}

/// A finished run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs it to its end.
pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Run {
    finish(bastide().args(arguments).output().expect("the command starts"))
}

pub(crate) fn finish(output: Output) -> Run {
    Run {
        code: output.status.code().expect("it ended by itself"),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Recorded SNP evidence: `BASTIDE_VECTORS`, else beside the workspace.
pub(crate) fn snp_vectors() -> Option<PathBuf> {
    vectors("snp")
}

/// Recorded evidence of one kind, likewise.
pub(crate) fn vectors(kind: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = std::env::var_os("BASTIDE_VECTORS")
        .map_or(beside, PathBuf::from)
        .join(kind);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("ignored: no vectors");
    None
}

/// A policy for recorded evidence of one product, as a file.
pub(crate) fn recorded_policy(folder: &Path, floor: &str) -> PathBuf {
    let product = floor
        .split_whitespace()
        .next()
        .expect("a floor names its product");
    let text = format!(
        r#"schema = "bastide.policy/v1"
name = "recorded"
description = "for recorded evidence"
ignore = ["snp.vmpl", "snp.id_block", "snp.launch_measurement", "snp.chip_id", "snp.host_data", "model.manifest"]
allow_simulated = false

[roots]
amd = ["{product}"]

[session]
key_exchange = "any"
certificate = "any"
[snp]
products = ["{product}"]
report_versions = [3, 5]
key = "vcek"
crl = "soft"

[snp.tcb_floor]
{floor}

[snp.guest_policy]
smt = "any"
migrate_ma = "clear"
debug = "clear"
single_socket = "any"
cxl = "clear"
mem_aes_256_xts = "any"
rapl_dis = "any"
ciphertext_hiding = "any"
page_swap_disable = "any"

[snp.platform_info]
smt = "any"
tsme = "any"
ecc = "any"
rapl_dis = "any"
ciphertext_hiding = "any"
alias_check_complete = "any"
iommu_write_safe = "any"
tio = "any"
"#
    );
    let path = folder.join("recorded.toml");
    std::fs::write(&path, text).expect("the temporary folder is writable");
    path
}
