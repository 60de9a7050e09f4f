use std::time::Instant;

use super::super::played::{Played, REPORT, SET_READY, Script, status};
use super::*;

const NONCE: GpuNonce = GpuNonce::new([7; 32]);
const CALL: Duration = Duration::from_millis(200);
/// More than any of these takes, and less than a hang.
const SOON: Duration = Duration::from_secs(20);

fn start(limits: Limits, change: impl FnOnce(&mut Script)) -> (Played, Worker) {
    let played = Played::new(change);
    let of_thread = played.clone();
    let worker = Worker::start(move || Ok(of_thread), limits).unwrap();
    (played, worker)
}

fn hasty() -> Limits {
    Limits {
        call: CALL,
        ..Limits::default()
    }
}

/// Waits until a thread has done something.
fn until(mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < SOON, "it never happens");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_worker_collects_and_is_healthy() {
    let (_, worker) = start(Limits::default(), |_| ());
    assert_eq!(worker.collect(&NONCE).unwrap().devices.len(), 2);
    assert!(worker.settings().unwrap().require_production().is_ok());
    assert_eq!(worker.health(), Health::Healthy);
}

#[test]
fn a_call_that_hangs_trips_the_breaker_and_nothing_is_called_afterwards() {
    let (played, worker) = start(hasty(), |script| script.hanging = Some(REPORT));
    let error = worker.collect(&NONCE).unwrap_err();
    let (call, limit) = (REPORT, CALL);
    assert_eq!(error, GpuError::TimedOut { call, limit });
    assert_eq!(worker.health(), Health::Unattestable { call });

    let (calls, started) = (played.count("nvml"), Instant::now());
    assert_eq!(worker.collect(&NONCE), Err(GpuError::Unattestable { call }));
    assert_eq!(worker.close(), Err(GpuError::Unattestable { call }));
    assert!(started.elapsed() < CALL, "refused at once");
    assert_eq!(played.count("nvml"), calls);
}

#[test]
fn a_call_that_returns_too_late_closes_the_gpus_and_goes_on_with_nothing() {
    let (played, worker) = start(hasty(), |script| {
        script.hanging = Some(SET_READY);
        script.ready = 0;
    });
    let error = worker.set_ready_state(true).unwrap_err();
    assert!(matches!(error, GpuError::TimedOut { .. }), "{error}");
    assert_eq!(played.count(SET_READY), 1);
    played.release();
    until(|| played.count(SET_READY) == 2);
    until(|| played.ready() == 0);
    let set = format!("{SET_READY} ");
    assert_eq!(played.calls(), [format!("{set}1"), format!("{set}0")]);
    assert!(matches!(worker.health(), Health::Unattestable { .. }));
}

#[test]
fn dropping_a_worker_whose_call_hangs_does_not_wait() {
    let limits = Limits {
        shutdown: SOON,
        ..hasty()
    };
    let (_, worker) = start(limits, |script| script.hanging = Some(REPORT));
    worker.collect(&NONCE).unwrap_err();
    let started = Instant::now();
    drop(worker);
    assert!(started.elapsed() < SOON / 2);
}

/// The thread holds the only other copy of what the test holds.
#[test]
fn dropping_a_worker_shuts_the_library_down() {
    let (played, worker) = start(hasty(), |_| ());
    assert_eq!(played.holders(), 2);
    drop(worker);
    assert_eq!(played.holders(), 1);
}

#[test]
fn opening_that_hangs_times_out() {
    let (release, released) = mpsc::sync_channel::<()>(1);
    let open = move || {
        released.recv().ok();
        Ok(Played::new(|_| ()))
    };
    let error = Worker::start(open, hasty()).unwrap_err();
    let (call, limit) = ("nvmlInit_v2", CALL);
    assert_eq!(error, GpuError::TimedOut { call, limit });
    drop(release);
}

#[test]
fn what_opening_says_is_what_starting_says() {
    let open = || Err::<Played, _>(GpuError::Call(status("nvmlInit_v2", 9)));
    let error = Worker::start(open, Limits::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "nvmlInit_v2 answered NVML_ERROR_DRIVER_NOT_LOADED"
    );
}

#[test]
fn more_requests_than_the_queue_holds_are_refused() {
    let limits = Limits {
        call: SOON,
        queue: 1,
        shutdown: SOON,
    };
    let (played, worker) = start(limits, |script| script.hanging = Some(REPORT));
    thread::scope(|scope| {
        let first = scope.spawn(|| worker.collect(&NONCE));
        until(|| played.count(REPORT) == 1);
        let others = [(); 2].map(|()| scope.spawn(|| worker.ready_state()));
        until(|| others.iter().any(thread::ScopedJoinHandle::is_finished));
        played.release();
        assert_eq!(first.join().unwrap().unwrap().devices.len(), 2);
        let mut answers = others.map(|other| other.join().unwrap());
        answers.sort_by_key(Result::is_err);
        assert_eq!(answers, [Ok(0), Err(GpuError::Busy { waiting: 1 })]);
    });
    assert_eq!(worker.health(), Health::Healthy);
}

#[test]
fn an_unhealthy_gpu_is_not_asked_again_and_can_be_closed() {
    let failures = [status(REPORT, 999), status(REPORT, 999)];
    let (played, worker) = start(Limits::default(), |script| {
        script.report_failures = failures.into();
    });
    let error = worker.collect(&NONCE).unwrap_err();
    assert!(matches!(error, GpuError::Unhealthy { device: 0, .. }), "{error}");
    assert_eq!(worker.health(), Health::Unhealthy { error: error.clone() });
    assert_eq!(worker.collect(&NONCE), Err(error));
    assert_eq!(played.count(REPORT), 2);
    assert_eq!(worker.close(), Ok(()));
}

/// The thread ends; that is an error, not a wait.
#[test]
fn a_library_that_panics_ends_the_worker_with_an_error() {
    let (_, worker) = start(Limits::default(), |_| ());
    let panics = worker.request(|library| Ok(library.memory_sizes(0)?));
    assert_eq!(panics, Err(GpuError::WorkerEnded));
    assert_eq!(worker.ready_state(), Err(GpuError::WorkerEnded));
}
