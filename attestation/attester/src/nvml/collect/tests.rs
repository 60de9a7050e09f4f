use super::super::library::RawSettings;
use super::super::played::{PRODUCTION, Played, REPORT, status};
use super::super::settings::SettingsFault;
use super::*;

const NONCE: GpuNonce = GpuNonce::new([7; 32]);

#[test]
fn every_gpu_gives_its_report_over_the_nonce_and_its_chain() {
    let collected = collect(&Played::new(|_| ()), &NONCE).unwrap();
    assert_eq!(collected.driver, "580.1");
    assert_eq!(collected.devices.len(), 2);
    for (index, device) in collected.devices.iter().enumerate() {
        let report = [&[7; 32][..], format!("report of {index}").as_bytes()].concat();
        assert_eq!(device.report, report);
        assert_eq!(device.chain, format!("chain of {index}").into_bytes());
        assert_eq!(device.uuid, format!("GPU-{index}"));
    }
}

#[test]
fn without_production_nothing_but_settings_is_asked() {
    let played = Played::new(|script| script.settings[0].feature = 0);
    let error = collect(&played, &NONCE).unwrap_err();
    let faults = vec![SettingsFault::ConfidentialComputingOff];
    assert_eq!(error, GpuError::NotProduction { faults });
    assert_eq!(
        played.calls(),
        [
            "nvmlSystemGetConfComputeSettings",
            "nvmlSystemGetConfComputeCapabilities"
        ]
    );
}

#[test]
fn no_gpu_is_an_error_and_so_are_too_many() {
    let none = Played::new(|script| script.counts = [0].into());
    assert_eq!(collect(&none, &NONCE), Err(GpuError::NoGpus));
    let many = Played::new(|script| script.counts = [17].into());
    let (count, limit) = (17, 16);
    assert_eq!(
        collect(&many, &NONCE),
        Err(GpuError::TooManyGpus { count, limit })
    );
    assert_eq!(many.count("nvmlDeviceGetUUID"), 0);
    let full = Played::new(|script| script.counts = [16].into());
    assert_eq!(collect(&full, &NONCE).unwrap().devices.len(), 16);
}

#[test]
fn a_report_that_fails_once_is_asked_for_again() {
    let played = Played::new(|script| script.report_failures = [status(REPORT, 999)].into());
    assert_eq!(collect(&played, &NONCE).unwrap().devices.len(), 2);
    assert_eq!(played.count(REPORT), 3);
}

#[test]
fn a_report_that_fails_twice_makes_its_gpu_unhealthy_and_is_not_asked_for_again() {
    let (first, second) = (status(REPORT, 999), status(REPORT, 15));
    let failures = [first.clone(), second.clone()];
    let played = Played::new(|script| script.report_failures = failures.into());
    let error = collect(&played, &NONCE).unwrap_err();
    let device = 0;
    assert_eq!(
        error,
        GpuError::Unhealthy {
            device,
            first,
            second
        }
    );
    assert_eq!(played.count(REPORT), 2);
    let text = error.to_string();
    assert!(text.contains("NVML_ERROR_UNKNOWN"), "{text}");
    assert!(text.contains("NVML_ERROR_GPU_IS_LOST"), "{text}");
}

#[test]
fn a_report_of_a_wrong_size_is_not_asked_for_again() {
    let oversize = Failure::Oversize {
        call: REPORT,
        size: 9000,
        limit: 8192,
    };
    let played = Played::new(|script| script.report_failures = [oversize.clone()].into());
    assert_eq!(collect(&played, &NONCE), Err(GpuError::Call(oversize)));
    assert_eq!(played.count(REPORT), 1);
}

#[test]
fn settings_that_change_meanwhile_are_refused_with_both() {
    let tools = RawSettings {
        developer_tools: 1,
        ..PRODUCTION
    };
    let played = Played::new(|script| script.settings = [PRODUCTION, tools].into());
    let error = collect(&played, &NONCE).unwrap_err();
    let GpuError::Changed { what, before, after } = error else {
        panic!("{error}");
    };
    assert_eq!(what, "settings");
    assert!(before.contains("developer tools off"), "{before}");
    assert!(after.contains("developer tools on"), "{after}");
}

#[test]
fn a_gpu_that_comes_meanwhile_is_refused() {
    let played = Played::new(|script| script.counts = [1, 2].into());
    assert_eq!(
        collect(&played, &NONCE),
        Err(GpuError::Changed {
            what: "the list of GPUs",
            before: "GPU-0".to_owned(),
            after: "GPU-0 GPU-1".to_owned(),
        })
    );
}

#[test]
fn debugging_shows_sizes_and_no_bytes() {
    let collected = collect(&Played::new(|_| ()), &NONCE).unwrap();
    let shown = format!("{collected:?}");
    assert!(shown.contains("report: 43 bytes"), "{shown}");
    assert!(!shown.contains("7, 7"), "{shown}");
}

#[test]
fn every_call_that_fails_fails_the_collection_by_its_name() {
    for call in [
        "nvmlSystemGetDriverVersion",
        "nvmlSystemGetConfComputeCapabilities",
        "nvmlSystemGetConfComputeSettings",
        "nvmlDeviceGetCount_v2",
        "nvmlDeviceGetArchitecture",
        "nvmlDeviceGetUUID",
        "nvmlDeviceGetVbiosVersion",
        "nvmlDeviceGetConfComputeGpuCertificate",
        REPORT,
    ] {
        let played = Played::new(|script| script.failing = Some(call));
        let error = collect(&played, &NONCE).unwrap_err();
        assert!(error.to_string().contains(call), "{call}: {error}");
    }
}
