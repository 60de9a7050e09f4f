//! The ready state on a library that plays NVML and writes down what was set.

use crate::support::{PRODUCTION, Scene, gpu, vectors};
use bastide_attestation::GpuNonce;
use bastide_attester::nvml::{Closing, CollectedGpus, GateFault, GpuError, Library as _, open_gate};

const NONCE: GpuNonce = GpuNonce::new([7; 32]);
const REPORT: &str = "nvmlDeviceGetConfComputeGpuAttestationReport";
const SET_READY: &str = "nvmlSystemSetConfComputeGpusReadyState";

fn accepts(_: &CollectedGpus) -> Result<(), &'static str> {
    Ok(())
}

/// What was set, in order.
fn set(scene: &Scene) -> Vec<String> {
    let mut calls = scene.calls();
    calls.retain(|call| call.starts_with(SET_READY));
    calls
        .iter()
        .map(|call| call[SET_READY.len()..].trim().to_owned())
        .collect()
}

/// Bytes 4 to 36 of a report are the nonce that was asked for.
#[test]
fn gpus_open_once_recorded_reports_over_the_right_nonce_are_accepted() {
    let Some(vectors) = vectors() else { return };
    let folder = vectors.join("h100-550.90.07");
    let report = std::fs::read(folder.join("report.bin")).unwrap();
    let nonce = GpuNonce::new(report[4..36].try_into().unwrap());
    let gpu = gpu(0, &folder.join("chain.pem"), &folder.join("report.bin"));
    let appraise = |nonce: GpuNonce| {
        move |collected: &CollectedGpus| match collected.devices[0].report[4..36] == nonce.as_bytes()[..] {
            true => Ok(()),
            false => Err("another nonce"),
        }
    };

    let scene = Scene::new(&format!("{PRODUCTION}ready = 1\n{gpu}"));
    let worker = scene.worker();
    let collected = open_gate(&worker, &nonce, appraise(nonce)).unwrap();
    assert_eq!(collected.devices[0].report, report);
    assert_eq!(set(&scene), ["0", "1"]);
    assert!(scene.at(&format!("{REPORT} 0")) < scene.at(&format!("{SET_READY} 1")));
    assert_eq!(worker.ready_state(), Ok(1));

    let error = open_gate(&worker, &NONCE, appraise(NONCE)).unwrap_err();
    assert_eq!(error.fault, GateFault::Refused("another nonce"));
    assert_eq!(set(&scene), ["0", "1", "0", "0"]);
    assert_eq!(worker.ready_state(), Ok(0));
}

#[test]
fn an_appraisal_happens_while_gpus_are_closed() {
    let scene = Scene::of_one_gpu(&format!("{PRODUCTION}ready = 1\n"));
    let worker = scene.worker();
    open_gate(&worker, &NONCE, |collected| {
        assert_eq!(worker.ready_state(), Ok(0));
        accepts(collected)
    })
    .unwrap();
    assert_eq!(worker.ready_state(), Ok(1));
}

#[test]
fn whatever_fails_sets_the_ready_state_to_zero() {
    for (scenario, what) in [
        ("settings = 0 0 0 0", "confidential computing off"),
        ("settings = 2 1 1 0", "developer tools"),
        ("settings = 2 1 0 0\ncount = 0", "no GPU"),
        (
            "settings = 2 1 0 0\nfail.nvmlDeviceGetConfComputeGpuAttestationReport = 999 999",
            "no report",
        ),
        (
            "settings = 2 1 0 0\nsettings = 2 1 0 0\nsettings = 2 1 1 0",
            "a change during collection",
        ),
        (
            "settings = 2 1 0 0\nsettings = 2 1 0 0\nsettings = 2 1 0 0\nsettings = 2 1 0 0\nsettings = 2 1 1 0",
            "a change during the appraisal",
        ),
        (
            "settings = 2 1 0 0\nfail.nvmlSystemSetConfComputeGpusReadyState = 0 4",
            "opening itself",
        ),
    ] {
        let scene = Scene::of_one_gpu(&format!("capabilities = 3 1\nready = 1\n{scenario}\n"));
        let worker = scene.worker();
        let error = open_gate(&worker, &NONCE, accepts).unwrap_err();
        assert!(matches!(error.fault, GateFault::Gpu(_)), "{what}: {error}");
        assert_eq!(error.closing, Closing::Closed, "{what}: {error}");
        assert_eq!(set(&scene).last().map(String::as_str), Some("0"), "{what}");
        assert_eq!(worker.ready_state(), Ok(0), "{what}");
    }
}

#[test]
fn no_gpu_fails_closed_by_its_name() {
    let scene = Scene::new(PRODUCTION);
    let error = open_gate(&scene.worker(), &NONCE, accepts).unwrap_err();
    assert_eq!(error.fault, GateFault::Gpu(GpuError::NoGpus));
    assert!(
        error.to_string().ends_with("GPUs are closed (ready state 0)"),
        "{error}"
    );
}

/// As when this process is not root.
#[test]
fn gpus_that_can_not_be_closed_are_not_asked_for_evidence() {
    let fail = format!("fail.{SET_READY} = 4 4");
    let scene = Scene::of_one_gpu(&format!("{PRODUCTION}{fail}\n"));
    let error = open_gate(&scene.worker(), &NONCE, accepts).unwrap_err();
    assert!(matches!(error.closing, Closing::Failed(_)), "{error}");
    assert!(error.to_string().contains("NVML_ERROR_NO_PERMISSION"), "{error}");
    assert_eq!(scene.count(REPORT), 0);
    // Whoever has the library can see that they were not opened.
    assert_eq!(scene.library().unwrap().ready_state(), Ok(0));
}
