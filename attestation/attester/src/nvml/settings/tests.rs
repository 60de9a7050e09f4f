use super::*;
use proptest::prelude::*;

const SNP: RawCapabilities = RawCapabilities { cpu: 3, gpus: 1 };
const PRODUCTION: RawSettings = RawSettings {
    environment: 2,
    feature: 1,
    developer_tools: 0,
    multi_gpu: 0,
};

fn settings(raw: RawSettings) -> Settings {
    Settings::new(SNP, raw).unwrap()
}

#[test]
fn production_on_sev_snp_is_accepted() {
    let settings = settings(PRODUCTION);
    assert_eq!(settings.cpu, CpuCapability::SevSnp);
    assert_eq!(settings.require_production(), Ok(()));
    let vtom = Settings::new(RawCapabilities { cpu: 4, gpus: 1 }, PRODUCTION).unwrap();
    assert_eq!(vtom.cpu, CpuCapability::SnpVtom);
}

#[test]
fn confidential_computing_off_is_refused_by_name() {
    let off = settings(RawSettings {
        feature: 0,
        environment: 0,
        ..PRODUCTION
    });
    let error = off.require_production().unwrap_err();
    assert_eq!(
        error,
        GpuError::NotProduction {
            faults: vec![
                SettingsFault::ConfidentialComputingOff,
                SettingsFault::Environment {
                    environment: Environment::Unavailable
                },
            ]
        }
    );
    let text = error.to_string();
    assert!(text.contains("confidential computing is off"), "{text}");
    assert!(text.contains("unavailable; expected production"), "{text}");
}

#[test]
fn developer_tools_are_refused() {
    let tools = settings(RawSettings {
        developer_tools: 1,
        ..PRODUCTION
    });
    assert_eq!(tools.faults(), [SettingsFault::DeveloperTools]);
}

#[test]
fn a_simulation_is_refused() {
    let simulated = settings(RawSettings {
        environment: 1,
        ..PRODUCTION
    });
    let environment = Environment::Simulation;
    assert_eq!(simulated.faults(), [SettingsFault::Environment { environment }]);
}

#[test]
fn protected_pcie_counts_as_on_without_the_feature() {
    let protected = settings(RawSettings {
        feature: 0,
        multi_gpu: 1,
        ..PRODUCTION
    });
    assert_eq!(protected.multi_gpu, MultiGpuMode::ProtectedPcie);
    assert_eq!(protected.require_production(), Ok(()));
}

/// A driver may refuse to say what the CPU is while confidential computing is off.
#[test]
fn production_is_asked_for_before_capabilities_that_fail() {
    use crate::nvml::played::status;
    let failure = status("nvmlSystemGetConfComputeCapabilities", 3);
    let off = RawSettings {
        feature: 0,
        ..PRODUCTION
    };
    let faults = vec![SettingsFault::ConfidentialComputingOff];
    assert_eq!(
        Settings::new_or_fault(Err(failure.clone()), off),
        Err(GpuError::NotProduction { faults })
    );
    assert_eq!(
        Settings::new_or_fault(Err(failure.clone()), PRODUCTION),
        Err(GpuError::Call(failure))
    );
}

#[test]
fn a_number_outside_the_header_is_refused_by_its_name() {
    for (raw, setting) in [
        (
            RawSettings {
                environment: 3,
                ..PRODUCTION
            },
            "environment",
        ),
        (
            RawSettings {
                feature: 2,
                ..PRODUCTION
            },
            "ccFeature",
        ),
        (
            RawSettings {
                developer_tools: 2,
                ..PRODUCTION
            },
            "devToolsMode",
        ),
        (
            RawSettings {
                multi_gpu: 3,
                ..PRODUCTION
            },
            "multiGpuMode",
        ),
    ] {
        let error = Settings::new(SNP, raw).unwrap_err();
        assert!(
            matches!(error, GpuError::UnknownSetting { setting: got, .. } if got == setting),
            "{error}"
        );
    }
    let gpus = Settings::new(RawCapabilities { cpu: 3, gpus: 2 }, PRODUCTION);
    assert!(matches!(gpus, Err(GpuError::UnknownSetting { .. })));
}

#[test]
fn numbers_are_those_of_the_header() {
    use nvml_wrapper_sys::bindings as header;
    let raw = RawSettings {
        environment: header::NVML_CC_SYSTEM_ENVIRONMENT_PROD,
        feature: header::NVML_CC_SYSTEM_FEATURE_ENABLED,
        developer_tools: header::NVML_CC_SYSTEM_DEVTOOLS_MODE_ON,
        multi_gpu: header::NVML_CC_SYSTEM_MULTIGPU_NVLE,
    };
    let capabilities = RawCapabilities {
        cpu: header::NVML_CC_SYSTEM_CPU_CAPS_AMD_SNP_VTOM,
        gpus: header::NVML_CC_SYSTEM_GPUS_CC_CAPABLE,
    };
    assert_eq!(
        Settings::new(capabilities, raw).unwrap(),
        Settings {
            environment: Environment::Production,
            feature: Switch::On,
            developer_tools: Switch::On,
            multi_gpu: MultiGpuMode::NvLink,
            cpu: CpuCapability::SnpVtom,
            gpus: GpuCapability::Capable,
        }
    );
}

proptest! {
    /// Whatever NVML says, only one state of the settings that decide is accepted.
    #[test]
    fn only_production_is_accepted(
        environment in 0_u32..4, feature in 0_u32..3, developer_tools in 0_u32..3,
        multi_gpu in 0_u32..4, cpu: u32, gpus in 0_u32..3,
    ) {
        let raw = RawSettings { environment, feature, developer_tools, multi_gpu };
        let accepted = Settings::new(RawCapabilities { cpu, gpus }, raw)
            .is_ok_and(|settings| settings.require_production().is_ok());
        let expected = environment == 2
            && developer_tools == 0
            && ((feature == 1 && multi_gpu <= 2) || (feature == 0 && (1..=2).contains(&multi_gpu)))
            && gpus <= 1;
        prop_assert_eq!(accepted, expected);
    }
}
