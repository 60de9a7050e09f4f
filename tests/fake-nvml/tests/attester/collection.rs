//! Collection of evidence: recorded bytes, scripted failures.

use std::time::{Duration, Instant};

use crate::support::{PRODUCTION, Scene, gpu, vectors};
use bastide_attestation::GpuNonce;
use bastide_attester::nvml::{
    CpuCapability, Environment, Failure, GpuError, Health, Library as _, Limits, MultiGpuMode, Settings,
    SettingsFault, Status, collect,
};

const NONCE: GpuNonce = GpuNonce::new([7; 32]);
const REPORT: &str = "nvmlDeviceGetConfComputeGpuAttestationReport";
const CHAIN: &str = "nvmlDeviceGetConfComputeGpuCertificate";
const SET_READY: &str = "nvmlSystemSetConfComputeGpusReadyState";

#[test]
fn recorded_evidence_is_collected_byte_for_byte() {
    let Some(vectors) = vectors() else { return };
    let recorded = ["h100-550.90.07", "h100-580.159.03", "b200-575.32"];
    let mut scenario = PRODUCTION.to_owned();
    for (index, name) in recorded.iter().enumerate() {
        let folder = vectors.join(name);
        scenario += &gpu(index, &folder.join("chain.pem"), &folder.join("report.bin"));
    }
    let collected = Scene::new(&scenario).worker().collect(&NONCE).unwrap();
    assert_eq!(collected.driver, "550.90.07");
    assert_eq!(collected.devices.len(), recorded.len());
    for (index, (device, name)) in collected.devices.iter().zip(recorded).enumerate() {
        let file = |part: &str| std::fs::read(vectors.join(name).join(part)).unwrap();
        assert!(device.report == file("report.bin"), "{name}");
        assert!(device.chain == file("chain.pem"), "{name}");
        assert_eq!(device.uuid, format!("GPU-{index}"));
        assert_eq!(device.vbios, "96.00.9F.00.01");
        assert_eq!(device.architecture, 9);
    }
}

#[test]
fn every_call_gives_what_nvml_says() {
    let scene = Scene::of_one_gpu(
        "driver = 580.95.05\ncapabilities = 4 1\nsettings = 2 1 0 2\nready = 1\nrotation = 62\nmemory = 81559 2\n",
    );
    let library = scene.library().unwrap();
    assert_eq!(library.driver_version().unwrap(), "580.95.05");
    let state = library.state().unwrap();
    assert_eq!(
        (state.environment, state.feature, state.developer_tools),
        (2, 1, 0)
    );
    let settings = Settings::read(&library).unwrap();
    assert_eq!(settings.environment, Environment::Production);
    assert_eq!(settings.multi_gpu, MultiGpuMode::NvLink);
    assert_eq!(settings.cpu, CpuCapability::SnpVtom);
    assert_eq!(library.ready_state(), Ok(1));
    assert_eq!(library.key_rotation_threshold(), Ok(62));
    let sizes = library.memory_sizes(0).unwrap();
    assert_eq!((sizes.protected_kib, sizes.unprotected_kib), (81559, 2));
    assert_eq!(
        library.uuid(1).unwrap_err().to_string(),
        "nvmlDeviceGetHandleByIndex_v2 answered NVML_ERROR_INVALID_ARGUMENT"
    );
    drop(library);
    assert_eq!(scene.calls().last().unwrap(), "nvmlShutdown");
}

#[test]
fn eight_gpus_are_asked_one_after_another() {
    let scene = Scene::of_one_gpu(PRODUCTION);
    let (chain, report) = (scene.path("chain"), scene.path("report"));
    let gpus: String = (0..8).map(|index| gpu(index, &chain, &report)).collect();
    std::fs::write(scene.path("scenario"), format!("{PRODUCTION}{gpus}")).unwrap();
    assert_eq!(scene.worker().collect(&NONCE).unwrap().devices.len(), 8);
    let reports = scene.calls().into_iter().filter(|call| call.starts_with(REPORT));
    let expected: Vec<String> = (0..8).map(|index| format!("{REPORT} {index}")).collect();
    assert_eq!(reports.collect::<Vec<_>>(), expected);
}

/// What an H200 with driver 580.159.04 answers while confidential computing is off.
const OFF: &str = "driver = 580.159.04\ncapabilities = 0 1\nsettings = 0 0 0 0\nready = 0\n\
    rotation = 60\nmemory = 0 146591680\n\
    fail.nvmlDeviceGetConfComputeGpuCertificate = 999 999\n\
    fail.nvmlDeviceGetConfComputeGpuAttestationReport = 999 999\n";

#[test]
fn a_gpu_whose_host_left_confidential_computing_off_is_refused_with_what_to_do() {
    let scene = Scene::of_one_gpu(OFF);
    let library = scene.library().unwrap();
    assert_eq!(library.key_rotation_threshold(), Ok(60));
    for failure in [
        library.attestation_chain(0).unwrap_err(),
        library.attestation_report(0, &NONCE).unwrap_err(),
    ] {
        let status = Status::UNKNOWN;
        let call = failure.call();
        assert_eq!(failure, Failure::Status { call, status });
    }
    let error = collect::collect(&library, &NONCE).unwrap_err().to_string();
    assert!(
        error.contains("the host has to switch the GPU's mode on"),
        "{error}"
    );
}

/// Whatever is not production is refused before any GPU is asked for a report.
#[test]
fn confidential_computing_off_developer_tools_and_simulation_are_refused_by_name() {
    let environment = |environment| SettingsFault::Environment { environment };
    for (settings, faults) in [
        (
            "0 0 0 0",
            vec![
                SettingsFault::ConfidentialComputingOff,
                environment(Environment::Unavailable),
            ],
        ),
        ("2 1 1 0", vec![SettingsFault::DeveloperTools]),
        ("1 1 0 0", vec![environment(Environment::Simulation)]),
    ] {
        let scene = Scene::of_one_gpu(&format!("capabilities = 3 1\nsettings = {settings}\n"));
        let error = scene.worker().collect(&NONCE).unwrap_err();
        assert_eq!(error, GpuError::NotProduction { faults }, "{settings}");
        assert_eq!(scene.count(REPORT), 0, "{settings}");
    }
}

#[test]
fn settings_that_change_between_snapshots_are_refused() {
    let scene = Scene::of_one_gpu(&format!("{PRODUCTION}settings = 2 1 1 0\n"));
    let error = scene.worker().collect(&NONCE).unwrap_err();
    assert!(
        matches!(error, GpuError::Changed { what: "settings", .. }),
        "{error}"
    );
    assert_eq!(scene.count(REPORT), 1);
}

#[test]
fn a_report_that_fails_once_is_asked_for_once_more() {
    let scene = Scene::of_one_gpu(&format!("{PRODUCTION}fail.{REPORT} = 999\n"));
    let collected = scene.worker().collect(&NONCE).unwrap();
    assert_eq!(collected.devices[0].report, b"a report");
    assert_eq!(scene.count(REPORT), 2);
}

#[test]
fn a_report_that_fails_twice_is_never_asked_for_again() {
    let scene = Scene::of_one_gpu(&format!("{PRODUCTION}fail.{REPORT} = 999 999\n"));
    let worker = scene.worker();
    let error = worker.collect(&NONCE).unwrap_err();
    assert!(matches!(error, GpuError::Unhealthy { device: 0, .. }), "{error}");
    assert!(matches!(worker.health(), Health::Unhealthy { .. }));
    // A third attempt would succeed.
    assert_eq!(worker.collect(&NONCE), Err(error));
    assert_eq!(scene.count(REPORT), 2);
}

/// NVML's word alone must not move a bound: its buffers have 8,192 and 5,120 bytes.
#[test]
fn a_size_beyond_its_buffer_is_an_error() {
    for (line, call, limit) in [("size.report", REPORT, 8192), ("size.chain", CHAIN, 5120)] {
        for size in [limit + 1, u32::MAX] {
            let scene = Scene::of_one_gpu(&format!("{PRODUCTION}{line} = {size}\n"));
            let limit = usize::try_from(limit).unwrap();
            let oversize = Failure::Oversize { call, size, limit };
            let error = scene.worker().collect(&NONCE).unwrap_err();
            assert_eq!(error, GpuError::Call(oversize));
        }
    }
}

/// NVML gives a size, and its buffer has zeros after it.
#[test]
fn a_report_is_cut_to_the_size_that_nvml_gives() {
    let scene = Scene::of_one_gpu(&format!("{PRODUCTION}size.report = 3\n"));
    let collected = scene.worker().collect(&NONCE).unwrap();
    assert_eq!(collected.devices[0].report, b"a r");
    let empty = Scene::of_one_gpu(&format!("{PRODUCTION}size.report = 0\n"));
    let call = REPORT;
    assert_eq!(
        empty.worker().collect(&NONCE),
        Err(GpuError::Call(Failure::Empty { call }))
    );
}

#[test]
fn no_gpu_is_an_error_and_so_are_more_than_sixteen() {
    let none = Scene::new(PRODUCTION);
    assert_eq!(none.worker().collect(&NONCE), Err(GpuError::NoGpus));
    let many = Scene::of_one_gpu(&format!("{PRODUCTION}count = 4294967295\n"));
    let (count, limit) = (u32::MAX, 16);
    assert_eq!(
        many.worker().collect(&NONCE),
        Err(GpuError::TooManyGpus { count, limit })
    );
}

#[test]
fn a_report_that_hangs_times_out_and_everything_after_it_is_refused_at_once() {
    let scene = Scene::of_one_gpu(&format!("{PRODUCTION}hang.{REPORT} = yes\n"));
    let limit = Duration::from_secs(1);
    let limits = Limits {
        call: limit,
        ..Limits::default()
    };
    let worker = scene.worker_within(limits).unwrap();
    let started = Instant::now();
    let call = REPORT;
    assert_eq!(worker.collect(&NONCE), Err(GpuError::TimedOut { call, limit }));
    assert!(started.elapsed() < Duration::from_secs(10));

    let (made, started) = (scene.calls(), Instant::now());
    assert_eq!(worker.collect(&NONCE), Err(GpuError::Unattestable { call }));
    assert_eq!(worker.settings(), Err(GpuError::Unattestable { call }));
    assert_eq!(worker.health(), Health::Unattestable { call });
    drop(worker);
    assert!(started.elapsed() < limit, "refused at once, dropped at once");
    assert_eq!(scene.calls(), made);

    // The call returns after all: GPUs are closed, and NVML is shut down.
    std::fs::write(scene.path("release"), "").unwrap();
    scene.until(|scene| scene.count("nvmlShutdown") == 1);
    let after: Vec<String> = scene.calls().split_off(made.len());
    assert_eq!(after, [format!("{SET_READY} 0"), "nvmlShutdown".to_owned()]);
}

#[test]
fn a_slow_call_within_its_deadline_is_waited_for() {
    let scene = Scene::of_one_gpu(&format!("{PRODUCTION}delay.{REPORT} = 300\n"));
    let started = Instant::now();
    assert!(scene.worker().collect(&NONCE).is_ok());
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[test]
fn without_a_driver_starting_fails_as_nvml_says() {
    let scene = Scene::of_one_gpu(&format!("{PRODUCTION}fail.nvmlInit_v2 = 9\n"));
    let error = scene.worker_within(Limits::default()).unwrap_err();
    let failure = Failure::Status {
        call: "nvmlInit_v2",
        status: Status::new(9),
    };
    assert_eq!(error, GpuError::Call(failure));
    assert!(error.to_string().contains("NVML_ERROR_DRIVER_NOT_LOADED"));
}

#[test]
fn a_number_that_the_header_does_not_list_is_refused() {
    let scene = Scene::of_one_gpu("capabilities = 3 1\nsettings = 2 1 0 3\n");
    let (setting, value) = ("multiGpuMode", 3);
    assert_eq!(
        scene.worker().collect(&NONCE),
        Err(GpuError::UnknownSetting { setting, value })
    );
}

/// Without a worker, as an example or a test may.
#[test]
fn a_library_alone_collects_as_well() {
    let scene = Scene::of_one_gpu(PRODUCTION);
    let collected = collect::collect(&scene.library().unwrap(), &NONCE).unwrap();
    assert_eq!(collected.devices[0].chain, b"a chain");
}
