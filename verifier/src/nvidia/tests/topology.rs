//! The real machine in protected PCIe mode, whole and in parts, and single GPUs.

use bastide_attestation::nvidia::{Family, Mode};

use super::Bench;
use super::vectors::{Vector, machine, single};
use crate::nvidia::authenticate_device;
use crate::nvidia::topology::{Machine, TopologyFault, TopologyRules, machine as machine_of};

/// Eight GPUs, then four NVSwitches.
fn devices() -> Option<Vec<Vector>> {
    let (gpus, switches) = machine()?;
    Some([gpus, switches].concat())
}

fn judge(devices: &[Vector], gpus: u8, modes: &[Mode]) -> Result<Machine, Vec<TopologyFault>> {
    let bench = Bench::nvidia();
    let authentic: Vec<_> = devices
        .iter()
        .map(|device| authenticate_device(&device.report, &device.chain, None, &bench.trust()).unwrap())
        .collect();
    let rules = TopologyRules {
        gpus,
        modes: modes.to_vec(),
        families: vec![Family::Hopper],
    };
    machine_of(&authentic, &rules)
}

fn ppcie(devices: &[Vector]) -> Result<Machine, Vec<TopologyFault>> {
    judge(devices, 8, &[Mode::Ppcie])
}

fn mode_gpu_count(mode: Mode, expected: usize, got: usize) -> TopologyFault {
    TopologyFault::ModeGpuCount { mode, expected, got }
}

#[test]
fn eight_gpus_and_four_switches_are_a_machine_in_any_order() {
    let Some(mut devices) = devices() else {
        return;
    };
    let machine = Machine {
        mode: Mode::Ppcie,
        gpus: 8,
        switches: 4,
        nvlink_plaintext: true,
    };
    assert_eq!(ppcie(&devices), Ok(machine));
    devices.reverse();
    assert_eq!(ppcie(&devices), Ok(machine));
    let allowed = [Mode::Mpt, Mode::Ppcie];
    assert_eq!(judge(&devices, 8, &allowed), Ok(machine));
}

#[test]
fn a_machine_without_one_gpu_is_refused() {
    let Some(devices) = devices() else {
        return;
    };
    for gone in 0..8 {
        let mut devices = devices.clone();
        devices.remove(gone);
        let faults = ppcie(&devices).unwrap_err();
        let (expected, got) = (8, 7);
        assert_eq!(faults[0], TopologyFault::GpuCountMismatch { expected, got });
        assert_eq!(faults[1], mode_gpu_count(Mode::Ppcie, 8, 7));
        assert!(
            matches!(faults[2], TopologyFault::GpuUnknown { .. }),
            "{faults:?}"
        );
        assert_eq!(faults.len(), 3);
        // A policy of seven does not help.
        assert_eq!(judge(&devices, 7, &[Mode::Ppcie]).unwrap_err(), faults[1..]);
    }
}

#[test]
fn a_machine_with_missing_switches_is_refused() {
    let Some(devices) = devices() else {
        return;
    };
    for kept in 0..4 {
        let faults = ppcie(&devices[..8 + kept]).unwrap_err();
        assert_eq!(faults[0], TopologyFault::SwitchEvidenceMissing { got: kept });
        let unknown = |fault: &&TopologyFault| matches!(fault, TopologyFault::SwitchUnknown { .. });
        assert_eq!(faults.iter().filter(unknown).count(), 4 - kept);
        // Without any switch, no one names the GPUs.
        let unnamed = if kept == 0 { 8 } else { 0 };
        assert_eq!(faults.len(), 1 + 4 - kept + unnamed, "{faults:?}");
    }
    let faults = ppcie(&devices[8..]).unwrap_err();
    assert_eq!(faults, [TopologyFault::NoGpu]);
}

#[test]
fn a_device_in_the_place_of_another_of_its_machine_is_refused() {
    let Some(devices) = devices() else {
        return;
    };
    let mut gpus = devices.clone();
    gpus[3] = gpus[1].clone();
    let faults = ppcie(&gpus).unwrap_err();
    let (device, same_as) = (3, 1);
    assert_eq!(faults[0], TopologyFault::DuplicateDevice { device, same_as });
    assert!(
        matches!(faults[1..], [TopologyFault::GpuUnknown { .. }]),
        "{faults:?}"
    );

    let mut switches = devices.clone();
    switches[10] = switches[8].clone();
    let faults = ppcie(&switches).unwrap_err();
    let (device, same_as) = (10, 8);
    assert_eq!(faults[0], TopologyFault::DuplicateDevice { device, same_as });
    assert!(
        matches!(faults[1..], [TopologyFault::SwitchUnknown { .. }]),
        "{faults:?}"
    );

    let mut nine = devices;
    nine.push(nine[0].clone());
    let faults = ppcie(&nine).unwrap_err();
    let (device, same_as) = (12, 0);
    let (expected, got) = (8, 9);
    assert_eq!(
        faults,
        [
            TopologyFault::GpuCountMismatch { expected, got },
            TopologyFault::DuplicateDevice { device, same_as },
            mode_gpu_count(Mode::Ppcie, 8, 9),
        ]
    );
}

#[test]
fn a_genuine_gpu_of_elsewhere_is_refused_in_a_machine() {
    let (Some(devices), Some(other), Some(newer)) =
        (devices(), single("h100-550.90.07"), single("h100-580.159.03"))
    else {
        return;
    };
    for (foreign, driver) in [(other, "550.90.07"), (newer, "580.159.03")] {
        let mut devices = devices.clone();
        devices[4] = foreign;
        let faults = ppcie(&devices).unwrap_err();
        for expected in [
            TopologyFault::ModeNotAllowed { mode: Mode::Spt },
            TopologyFault::MixedMode {
                device: 4,
                expected: Mode::Ppcie,
                got: Mode::Spt,
            },
            TopologyFault::MixedDriver {
                device: 4,
                expected: "570.124.06".to_owned(),
                got: driver.to_owned(),
            },
            TopologyFault::SwitchesNamed { device: 4, got: 0 },
            TopologyFault::SwitchesDiffer { device: 4, first: 0 },
        ] {
            assert!(faults.contains(&expected), "{expected} in {faults:?}");
        }
        let unnamed = |fault: &TopologyFault| matches!(fault, TopologyFault::GpuUnnamed { device: 4, .. });
        assert!(faults.iter().any(unnamed), "{faults:?}");
    }
}

#[test]
fn a_machine_is_refused_where_one_gpu_is_wanted() {
    let Some(devices) = devices() else {
        return;
    };
    let faults = judge(&devices, 1, &[Mode::Spt]).unwrap_err();
    let (expected, got) = (1, 8);
    assert_eq!(
        faults,
        [
            TopologyFault::GpuCountMismatch { expected, got },
            TopologyFault::ModeNotAllowed { mode: Mode::Ppcie },
        ]
    );
    // One GPU of the machine alone is none that is passed through alone.
    let faults = judge(&devices[..1], 1, &[Mode::Spt, Mode::Ppcie]).unwrap_err();
    assert_eq!(faults[0], mode_gpu_count(Mode::Ppcie, 8, 1));
    assert_eq!(faults[1], TopologyFault::SwitchEvidenceMissing { got: 0 });
}

#[test]
fn single_gpus_are_machines_by_themselves_alone() {
    let sets = ["h100-550.90.07", "h100-580.159.03"].map(single);
    let [Some(one), Some(two)] = sets else {
        return;
    };
    for gpu in [&one, &two] {
        let machine = judge(core::slice::from_ref(gpu), 1, &[Mode::Spt]).unwrap();
        assert_eq!((machine.mode, machine.gpus, machine.switches), (Mode::Spt, 1, 0));
        assert!(!machine.nvlink_plaintext);
    }
    let (_, switches) = machine().unwrap();
    let with_switch = judge(&[one.clone(), switches[0].clone()], 1, &[Mode::Spt]).unwrap_err();
    let (mode, got) = (Mode::Spt, 1);
    assert_eq!(with_switch, [TopologyFault::SwitchUnexpected { mode, got }]);
    let both = judge(&[one, two], 2, &[Mode::Spt]).unwrap_err();
    assert!(both.contains(&mode_gpu_count(Mode::Spt, 1, 2)), "{both:?}");
}

#[test]
fn a_b200_that_states_no_mode_is_refused() {
    let Some(gpu) = single("b200-575.32") else {
        return;
    };
    let got = Family::Blackwell;
    let faults = judge(&[gpu], 1, &[Mode::Spt, Mode::Mpt]).unwrap_err();
    assert_eq!(
        faults,
        [
            TopologyFault::ArchMismatch { device: 0, got },
            TopologyFault::ModeNotStated { device: 0 },
        ]
    );
}
