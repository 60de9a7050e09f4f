//! A pipeline as its owner sets it up: keys, a signed plan, a process for each
//! stage, here on the simulator and on free loopback ports.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::binaries::Binaries;
use crate::node::{START_LIMIT, model_folder};
use crate::process::Process;
use crate::workspace_root;

/// Layers of the committed model.
const LAYERS: usize = 6;

/// The committed draft model.
#[must_use]
pub fn draft_folder() -> PathBuf {
    workspace_root().join("enclave/engine/models/bastide-5m-draft")
}

/// A signed plan and what it was made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The signed plan.
    pub file: PathBuf,
    /// The owner's public key.
    pub owner: PathBuf,
    /// Stages.
    pub stages: usize,
    /// Whether it names the draft.
    pub drafts: bool,
}

/// Runs a command that must succeed, and returns its stdout.
///
/// # Errors
/// What it printed.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("can't start {command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "{command:?} ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// Ranges of layers that share the committed model evenly.
fn ranges(stages: usize) -> Vec<(usize, usize)> {
    (0..stages)
        .map(|stage| (stage * LAYERS / stages, (stage + 1) * LAYERS / stages))
        .collect()
}

impl Plan {
    /// Makes an owner's key and signs a plan for `stages` stages of the committed
    /// model, each held to `policy`, on simulated machines.
    ///
    /// # Errors
    /// What a command printed.
    pub fn sign(folder: &Path, stages: usize, drafts: bool, policy: &str) -> Result<Self, String> {
        Self::sign_edited(folder, stages, drafts, policy, |plan| plan)
    }

    /// The same where `edit` changes the plan, which is TOML, before it is signed.
    ///
    /// # Errors
    /// As [`sign`](Self::sign).
    pub fn sign_edited(
        folder: &Path,
        stages: usize,
        drafts: bool,
        policy: &str,
        edit: impl FnOnce(String) -> String,
    ) -> Result<Self, String> {
        let binaries = Binaries::build();
        let key = folder.join("owner.key");
        run(Command::new(&binaries.cli).args(["key", "new", "-o"]).arg(&key))?;
        let described = manifest(stages, drafts)?;
        let chip = simulated_chip(folder, &[])?;
        let text = |member: &str| described[member].as_str().unwrap_or_default().to_owned();
        let mut plan = format!(
            "schema = \"bastide.pipeline-plan/v1\"\npipeline = \"{}\"\nmodel = \"{}\"\nlayers = {LAYERS}\n",
            "5a".repeat(16),
            text("manifest"),
        );
        if drafts {
            writeln!(plan, "draft = \"{}\"", text("draft")).map_err(|error| error.to_string())?;
        }
        for range in described["ranges"].as_array().into_iter().flatten() {
            write!(
                plan,
                "\n[[stage]]\nlayers = [{}, {}]\nweights = {}\npolicy = \"{policy}\"\n",
                range["first"], range["end"], range["weights"],
            )
            .map_err(|error| error.to_string())?;
        }
        write!(plan, "\n[admit]\nchips = [\"{chip}\"]\n").map_err(|error| error.to_string())?;
        let (source, file) = (folder.join("plan.toml"), folder.join("plan.cose"));
        fs::write(&source, edit(plan)).map_err(|error| format!("no plan: {error}"))?;
        let mut sign = Command::new(&binaries.cli);
        sign.args(["pipeline", "sign"])
            .arg(&source)
            .arg("--key")
            .arg(&key);
        run(sign.arg("-o").arg(&file))?;
        Ok(Self {
            file,
            owner: folder.join("owner.key.pub"),
            stages,
            drafts,
        })
    }
}

/// What the enclave says of the committed model in so many stages.
fn manifest(stages: usize, drafts: bool) -> Result<Value, String> {
    let ranges: Vec<String> = ranges(stages)
        .iter()
        .map(|(first, end)| format!("{first}-{end}"))
        .collect();
    let mut command = Command::new(&Binaries::build().enclave);
    command.args(["manifest", "--ranges", &ranges.join(","), "--model"]);
    command.arg(model_folder());
    if drafts {
        command.arg("--draft").arg(draft_folder());
    }
    serde_json::from_str(&run(&mut command)?).map_err(|error| format!("no manifest: {error}"))
}

/// CHIP_ID of the simulated machine that an enclave with these arguments has, from
/// evidence of a node that ends again.
///
/// # Errors
/// What a command printed.
pub fn simulated_chip(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let binaries = Binaries::build();
    let mut command = Command::new(&binaries.enclave);
    command.args(["serve", "--attester", "simulator", "--model"]);
    command.arg(model_folder()).args(arguments);
    let node = Process::start(command, "probe", folder, START_LIMIT)?;
    let evidence = folder.join("probe.cmw");
    let url = format!("https://{}", node.ready("listen"));
    let mut verify = Command::new(&binaries.cli);
    verify.args(["verify", &url, "--policy", "development", "--allow-simulated"]);
    run(verify.arg("--save-evidence").arg(&evidence))?;
    let mut inspect = Command::new(&binaries.cli);
    let shown = run(inspect.args(["inspect", "--output", "json"]).arg(&evidence))?;
    let shown: Value = serde_json::from_str(&shown).map_err(|error| format!("no evidence: {error}"))?;
    let chip = find(&shown, "chip_id").ok_or_else(|| format!("no chip_id in {shown}"))?;
    Ok(chip.to_owned())
}

/// A text member of this name, wherever it is.
fn find<'a>(json: &'a Value, name: &str) -> Option<&'a str> {
    match json {
        Value::Object(members) => members.get(name).and_then(Value::as_str).or_else(|| {
            let mut values = members.values();
            values.find_map(|value| find(value, name))
        }),
        Value::Array(values) => values.iter().find_map(|value| find(value, name)),
        _ => None,
    }
}

/// A running pipeline.
#[derive(Debug)]
pub struct Pipeline {
    /// The head.
    pub head: Process,
    /// The stages behind it, from 1 on; spares after all of them.
    pub stages: Vec<Process>,
}

/// How a pipeline is started.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Spares for the last stage.
    pub spares: usize,
    /// Further arguments of the head.
    pub head: &'a [&'a str],
    /// Further arguments of every enclave.
    pub all: &'a [&'a str],
}

impl Pipeline {
    /// Starts the stages, and the head that links to them. `logs` receives their stderr.
    ///
    /// # Errors
    /// What the process that didn't start printed.
    pub fn start(plan: &Plan, logs: &Path, options: Options<'_>) -> Result<Self, String> {
        Self::start_behind(plan, logs, options, |_, address| address)
    }

    /// The same where the head, and each stage, reaches a stage at the address that
    /// `way` makes of its own: of a relay in front of it, for example.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_behind(
        plan: &Plan,
        logs: &Path,
        options: Options<'_>,
        mut way: impl FnMut(usize, String) -> String,
    ) -> Result<Self, String> {
        let mut stages = Vec::new();
        let mut addresses = Vec::new();
        let spares = std::iter::repeat_n(plan.stages.saturating_sub(1), options.spares);
        for stage in (1..plan.stages).chain(spares) {
            let name = format!("stage-{}", stages.len() + 1);
            let started = start_stage(plan, stage, &name, logs, options.all)?;
            let address = way(stage, started.ready("links").to_owned());
            addresses.push(format!("{stage}={address}"));
            stages.push(started);
        }
        let mut arguments = options.all.to_vec();
        for address in &addresses {
            arguments.extend(["--stage-address", address]);
        }
        arguments.extend(options.head);
        let head = Self::start_head(plan, logs, &arguments)?;
        Ok(Self { head, stages })
    }

    /// Starts a head alone.
    ///
    /// # Errors
    /// What it printed.
    pub fn start_head(plan: &Plan, logs: &Path, arguments: &[&str]) -> Result<Process, String> {
        let mut command = enclave(plan, 0, arguments);
        if plan.drafts {
            command.arg("--draft").arg(draft_folder());
        }
        Process::start(command, "head", logs, START_LIMIT)
    }

    /// The address that a client is given.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.head.ready("listen"))
    }

    /// Ends all of them in order.
    ///
    /// # Errors
    /// Who didn't end.
    pub fn terminate(self) -> Result<(), String> {
        self.head.terminate(Duration::from_secs(15))?;
        for stage in self.stages {
            stage.terminate(Duration::from_secs(15))?;
        }
        Ok(())
    }
}

/// Starts one stage behind the head.
///
/// # Errors
/// What it printed.
pub fn start_stage(
    plan: &Plan,
    stage: usize,
    name: &str,
    logs: &Path,
    arguments: &[&str],
) -> Result<Process, String> {
    Process::start(enclave(plan, stage, arguments), name, logs, START_LIMIT)
}

fn enclave(plan: &Plan, stage: usize, arguments: &[&str]) -> Command {
    let mut command = Command::new(&Binaries::build().enclave);
    command.args(["serve", "--attester", "simulator", "--listen", "tcp:127.0.0.1:0"]);
    command.args(["--metrics-listen", "127.0.0.1:0", "--model"]);
    command.arg(model_folder());
    command
        .args(["--stage", &stage.to_string(), "--pipeline"])
        .arg(&plan.file);
    command.args(arguments);
    command
}
