use super::super::library::RawSettings;
use super::super::played::{PRODUCTION, Played, REPORT, SET_READY, Script, status};
use super::super::worker::Limits;
use super::*;

const NONCE: GpuNonce = GpuNonce::new([7; 32]);

fn worker(change: impl FnOnce(&mut Script)) -> (Played, Worker) {
    let played = Played::new(change);
    let of_thread = played.clone();
    let worker = Worker::start(move || Ok(of_thread), Limits::default()).unwrap();
    (played, worker)
}

fn accepts(_: &CollectedGpus) -> Result<(), &'static str> {
    Ok(())
}

#[test]
fn gpus_open_only_after_an_appraisal() {
    let (played, worker) = worker(|script| script.ready = 1);
    let collected = open_gate(&worker, &NONCE, |collected| {
        assert_eq!(played.ready(), 0, "open before the appraisal");
        accepts(collected)
    });
    assert_eq!(collected.unwrap().devices.len(), 2);
    assert_eq!(played.ready(), 1);
    let calls = played.calls();
    let at = |call: &str| calls.iter().position(|made| made == call).unwrap();
    assert!(at(&format!("{SET_READY} 0")) < at(&format!("{REPORT} 0")));
    assert!(at(&format!("{REPORT} 1")) < at(&format!("{SET_READY} 1")));
}

#[test]
fn gpus_that_the_appraisal_refuses_stay_closed() {
    let (played, worker) = worker(|_| ());
    let error = open_gate(&worker, &NONCE, |_| Err("an old driver")).unwrap_err();
    assert_eq!(error.fault, GateFault::Refused("an old driver"));
    assert_eq!(error.closing, Closing::Closed);
    assert_eq!(
        error.to_string(),
        "the appraisal refuses the GPUs: an old driver; GPUs are closed (ready state 0)"
    );
    assert_eq!(played.count(&format!("{SET_READY} 1")), 0);
}

#[test]
fn gpus_that_were_open_are_closed_without_production() {
    let (played, worker) = worker(|script| {
        script.ready = 1;
        script.settings[0].developer_tools = 1;
    });
    let error = open_gate(&worker, &NONCE, accepts).unwrap_err();
    assert!(matches!(
        error.fault,
        GateFault::Gpu(GpuError::NotProduction { .. })
    ));
    assert_eq!((error.closing, played.ready()), (Closing::Closed, 0));
    assert_eq!(played.count(REPORT), 0);
}

#[test]
fn settings_that_change_during_the_appraisal_keep_gpus_closed() {
    let tools = RawSettings {
        developer_tools: 1,
        ..PRODUCTION
    };
    // Read at the gate, before and after the reports, and after the appraisal.
    let settings = [PRODUCTION, PRODUCTION, PRODUCTION, PRODUCTION, tools];
    let (played, worker) = worker(|script| script.settings = settings.into());
    let mut appraised = false;
    let error = open_gate(&worker, &NONCE, |collected| {
        appraised = true;
        accepts(collected)
    })
    .unwrap_err();
    assert!(appraised);
    assert!(
        matches!(error.fault, GateFault::Gpu(GpuError::Changed { .. })),
        "{error}"
    );
    assert_eq!(played.count(&format!("{SET_READY} 1")), 0);
}

#[test]
fn no_gpu_fails_closed() {
    let (played, worker) = worker(|script| script.counts = [0].into());
    let error = open_gate(&worker, &NONCE, accepts).unwrap_err();
    assert_eq!(error.fault, GateFault::Gpu(GpuError::NoGpus));
    assert_eq!(played.ready(), 0);
}

#[test]
fn a_ready_state_that_nvml_does_not_keep_is_refused() {
    let (_, worker) = worker(|script| script.forgets_ready = true);
    let error = open_gate(&worker, &NONCE, accepts).unwrap_err();
    let (expected, got) = (1, 0);
    assert_eq!(
        error.fault,
        GateFault::Gpu(GpuError::ReadyState { expected, got })
    );
}

#[test]
fn an_error_says_when_gpus_could_not_be_closed() {
    let (played, worker) = worker(|script| script.failing = Some(SET_READY));
    let error = open_gate(&worker, &NONCE, accepts).unwrap_err();
    let failed = Box::new(GpuError::Call(status(SET_READY, 999)));
    assert_eq!(error.closing, Closing::Failed(failed));
    assert!(error.to_string().contains("could not be closed"), "{error}");
    assert_eq!(played.count(REPORT), 0, "reports of GPUs that may be open");
}
