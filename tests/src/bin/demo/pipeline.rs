//! `cargo demo -- --pipeline N`: one model over N enclaves with a distance
//! between them, one of which is killed in the middle of an answer.

use std::cell::Cell;
use std::process::Command;
use std::time::{Duration, Instant};

use bastide_tests::binaries::Binaries;
use bastide_tests::delay::Delay;
use bastide_tests::node::start_proxy;
use bastide_tests::pipeline::{Options, Pipeline, Plan, run as run_quietly};

use super::{ask, print, step, succeed, verify_receipt};

/// One way between two enclaves: some thousand kilometres of fibre.
const HOP: Duration = Duration::from_millis(15);
/// Pieces of text after which a stage is killed.
const PIECES: u32 = 12;

/// Runs it with so many stages.
pub(super) fn run(stages: usize, prompt: &str) -> Result<(), String> {
    step(1, "build the three commands, as a user would");
    let started = Instant::now();
    let binaries = Binaries::build();
    print(&format!(
        "   bastide-enclave, bastide-shim, bastide: {:.1} s\n",
        started.elapsed().as_secs_f32()
    ));

    step(2, "the owner plans the pipeline and signs the plan");
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let plan = Plan::sign(folder.path(), stages, true, "development")?;
    print("   $ bastide pipeline sign plan.toml --key owner.key\n\n");
    succeed(
        Command::new(&binaries.cli)
            .args(["pipeline", "show"])
            .arg(&plan.file),
    )?;

    step(
        3,
        &format!("{stages} enclaves start, and a spare; {HOP:?} between any two of them"),
    );
    let mut delays = Vec::new();
    let options = Options {
        spares: usize::from(stages > 1),
        ..Options::default()
    };
    let mut pipeline = Pipeline::start_behind(&plan, folder.path(), options, |stage, address| {
        let delay = Delay::start(&address, HOP);
        let reached = delay.address().to_string();
        print(&format!("   stage {stage}  {address}, reached at {reached}\n"));
        delays.push(delay);
        reached
    })?;
    let url = pipeline.url();
    print(&format!("   head     {url} (SIMULATED hardware)\n"));

    step(4, "a user verifies every stage of it; no prompt is sent");
    let trust = ["--policy", "development", "--allow-simulated"];
    let mut verify = Command::new(&binaries.cli);
    verify
        .args(["verify", &url, "--pipeline", "--owner"])
        .arg(&plan.owner);
    print(&format!(
        "   $ bastide verify {url} --pipeline --owner owner.key.pub\n\n"
    ));
    succeed(verify.args(trust))?;

    step(
        5,
        "the answer is streamed, and a stage is killed in the middle of it",
    );
    let answers = folder.path().join("answers");
    let save = answers.to_str().ok_or("the temporary folder's name is no text")?;
    let arguments = [&trust[..], &["--save", save]].concat();
    let proxy = start_proxy(&url, folder.path(), &arguments)?;
    print(&format!("   {prompt}\n   > "));
    let pieces = Cell::new(0);
    let killed = Cell::new(None);
    // Stages come before spares.
    let victim = (stages > 1).then(|| pipeline.stages.remove(stages - 2));
    let victim = Cell::new(victim);
    let began = Instant::now();
    let answer = ask(proxy.ready("listen"), prompt, || {
        pieces.set(pieces.get() + 1);
        if pieces.get() == PIECES
            && let Some(victim) = victim.take()
        {
            print(" [stage killed] ");
            drop(victim);
            killed.set(Some(Instant::now()));
        } else if let Some(at) = killed.take() {
            print(&format!("[{:.1} s later] ", at.elapsed().as_secs_f32()));
        }
    })?;
    if answer.status != 200 {
        return Err(format!("the proxy answered {}: {}", answer.status, answer.body));
    }
    print(&format!("\n   in {:.1} s\n", began.elapsed().as_secs_f32()));
    if stages > 1 && victim.take().is_some() {
        return Err(format!(
            "the answer had fewer than {PIECES} pieces: ask for a longer one"
        ));
    }

    proxy.terminate(Duration::from_secs(10))?;

    step(
        6,
        "evidence of the stages that answered, and the receipt with every stage's part of it, offline",
    );
    let evidence = folder.path().join("evidence.cmw");
    let mut verify = Command::new(&binaries.cli);
    verify
        .args(["verify", &url, "--pipeline", "--owner"])
        .arg(&plan.owner);
    verify.args(trust).arg("--save-evidence").arg(&evidence);
    run_quietly(&mut verify)?;
    pipeline.terminate()?;
    let mut kept = vec![
        "--plan".into(),
        plan.file.into(),
        "--owner".into(),
        plan.owner.into(),
    ];
    let beside = std::fs::read_dir(folder.path()).map_err(|error| format!("no evidence: {error}"))?;
    for file in beside.filter_map(Result::ok).map(|entry| entry.path()) {
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with("evidence") && name.ends_with(".cmw") && file != evidence {
            kept.extend(["--evidence".into(), file.into_os_string()]);
        }
    }
    verify_receipt(&binaries.cli, &answers, &kept)?;
    print(&format!("\nDone in {:.1} s.\n", started.elapsed().as_secs_f32()));
    Ok(())
}
