//! Machines that no vector has, put together from what counts of a device. The
//! real ones are in `nvidia::tests::topology`.

use proptest::prelude::*;

use super::*;

const SERIALS: [[u8; 1]; 13] = [[0], [1], [2], [3], [4], [5], [6], [7], [8], [9], [10], [11], [12]];

fn pdi(number: u8) -> Pdi {
    Pdi::new([number + 1; 8])
}

fn gpu(number: u8, mode: Option<Mode>) -> Gpu<'static> {
    Gpu {
        device: usize::from(number),
        serial: &SERIALS[usize::from(number)],
        family: Family::Hopper,
        mode,
        driver: "580.159.03",
        pdi: Some(pdi(number)),
        switches: BTreeSet::new(),
    }
}

fn gpus(count: u8, mode: Mode) -> Vec<Gpu<'static>> {
    (0..count).map(|number| gpu(number, Some(mode))).collect()
}

/// Eight GPUs and four NVSwitches, numbers 8 to 11.
fn ppcie() -> (Vec<Gpu<'static>>, Vec<Switch<'static>>) {
    let mut gpus = gpus(8, Mode::Ppcie);
    for gpu in &mut gpus {
        gpu.switches = (8..12).map(pdi).collect();
    }
    let switches = (8..12).map(|number| Switch {
        device: usize::from(number),
        serial: &SERIALS[usize::from(number)],
        pdi: pdi(number),
        certified: Some(pdi(number)),
        gpus: (0..8).map(pdi).collect(),
    });
    (gpus, switches.collect())
}

fn rules(gpus: u8, modes: &[Mode]) -> TopologyRules {
    TopologyRules {
        gpus,
        modes: modes.to_vec(),
        families: vec![Family::Hopper],
    }
}

/// The faults of eight GPUs and four switches after a change.
fn faults(change: impl FnOnce(&mut Vec<Gpu<'static>>, &mut Vec<Switch<'static>>)) -> Vec<TopologyFault> {
    let (mut gpus, mut switches) = ppcie();
    change(&mut gpus, &mut switches);
    judge(&gpus, &switches, &rules(8, &[Mode::Ppcie])).unwrap_err()
}

#[test]
fn one_mode_makes_one_machine() {
    let (gpus_of_ppcie, switches) = ppcie();
    let machine = judge(&gpus_of_ppcie, &switches, &rules(8, &[Mode::Ppcie])).unwrap();
    assert_eq!((machine.gpus, machine.switches), (8, 4));
    assert!(machine.nvlink_plaintext);
    for (count, mode) in [(1, Mode::Spt), (8, Mode::Mpt)] {
        let machine = judge(&gpus(count, mode), &[], &rules(count, &[mode])).unwrap();
        assert_eq!((machine.mode, machine.gpus), (mode, usize::from(count)));
        assert!(!machine.nvlink_plaintext);
    }
}

#[test]
fn in_mpt_alone_there_may_be_fewer_gpus_than_expected() {
    for got in 1..=8 {
        judge(&gpus(got, Mode::Mpt), &[], &rules(8, &[Mode::Mpt])).unwrap();
    }
    let mismatch = |expected, got| TopologyFault::GpuCountMismatch { expected, got };
    let more = judge(&gpus(9, Mode::Mpt), &[], &rules(8, &[Mode::Mpt]));
    assert_eq!(more.unwrap_err(), [mismatch(8, 9)]);
    let spt = judge(&gpus(1, Mode::Spt), &[], &rules(8, &[Mode::Spt]));
    assert_eq!(spt.unwrap_err(), [mismatch(8, 1)]);
    let mut mixed = gpus(2, Mode::Mpt);
    mixed[1].mode = None;
    let fault = judge(&mixed, &[], &rules(8, &[Mode::Mpt])).unwrap_err();
    assert!(fault.contains(&mismatch(8, 2)), "{fault:?}");
}

#[test]
fn no_gpu_is_no_machine() {
    let (_, switches) = ppcie();
    for switches in [&switches[..], &[]] {
        let fault = judge(&[], switches, &rules(0, &[Mode::Spt, Mode::Mpt]));
        assert_eq!(fault.unwrap_err(), [TopologyFault::NoGpu]);
    }
}

#[test]
fn a_mode_that_is_not_allowed_or_not_stated_is_refused() {
    for (mode, count) in [(Mode::Spt, 1), (Mode::Mpt, 8)] {
        let fault = judge(&gpus(count, mode), &[], &rules(count, &[Mode::Ppcie]));
        assert_eq!(fault.unwrap_err(), [TopologyFault::ModeNotAllowed { mode }]);
    }
    let all = rules(1, &[Mode::Spt, Mode::Mpt, Mode::Ppcie]);
    let fault = judge(&[gpu(0, None)], &[], &all).unwrap_err();
    assert_eq!(fault, [TopologyFault::ModeNotStated { device: 0 }]);
    let fault = judge(&gpus(1, Mode::Spt), &[], &rules(1, &[])).unwrap_err();
    assert_eq!(fault, [TopologyFault::ModeNotAllowed { mode: Mode::Spt }]);
}

#[test]
fn a_family_that_is_not_allowed_is_refused() {
    let mut gpus = gpus(2, Mode::Mpt);
    for gpu in &mut gpus {
        gpu.family = Family::Blackwell;
    }
    let got = Family::Blackwell;
    let fault = |device| TopologyFault::ArchMismatch { device, got };
    let faults = judge(&gpus, &[], &rules(2, &[Mode::Mpt])).unwrap_err();
    assert_eq!(faults, [fault(0), fault(1)]);
}

#[test]
fn mode_driver_and_family_are_the_same_for_all() {
    let mut mixed = gpus(4, Mode::Mpt);
    mixed[1].mode = Some(Mode::Spt);
    mixed[2].driver = "580.159.3";
    mixed[3].family = Family::Blackwell;
    let mut rules = rules(4, &[Mode::Mpt, Mode::Spt]);
    rules.families.push(Family::Blackwell);
    let faults = judge(&mixed, &[], &rules).unwrap_err();
    assert_eq!(
        faults,
        [
            TopologyFault::MixedMode {
                device: 1,
                expected: Mode::Mpt,
                got: Mode::Spt,
            },
            TopologyFault::MixedDriver {
                device: 2,
                expected: "580.159.03".to_owned(),
                got: "580.159.3".to_owned(),
            },
            TopologyFault::MixedFamily {
                device: 3,
                expected: Family::Hopper,
                got: Family::Blackwell,
            },
            TopologyFault::ModeGpuCount {
                mode: Mode::Spt,
                expected: 1,
                got: 4,
            },
        ]
    );
}

#[test]
fn two_gpus_are_no_machine_in_single_gpu_passthrough() {
    let faults = judge(&gpus(2, Mode::Spt), &[], &rules(2, &[Mode::Spt])).unwrap_err();
    let (mode, expected, got) = (Mode::Spt, 1, 2);
    assert_eq!(faults, [TopologyFault::ModeGpuCount { mode, expected, got }]);
}

#[test]
fn switches_belong_to_protected_pcie_alone() {
    let (_, switches) = ppcie();
    for (mode, count) in [(Mode::Spt, 1), (Mode::Mpt, 8)] {
        let faults = judge(&gpus(count, mode), &switches, &rules(count, &[mode]));
        let fault = TopologyFault::SwitchUnexpected { mode, got: 4 };
        assert_eq!(faults.unwrap_err(), [fault]);
    }
}

#[test]
fn no_serial_and_no_identity_comes_twice() {
    let same_serial = faults(|gpus, _| gpus[5].serial = gpus[2].serial);
    let (device, same_as) = (5, 2);
    assert_eq!(same_serial, [TopologyFault::DuplicateDevice { device, same_as }]);
    let across = faults(|gpus, switches| switches[0].serial = gpus[0].serial);
    let (device, same_as) = (8, 0);
    assert_eq!(across, [TopologyFault::DuplicateDevice { device, same_as }]);

    let same_pdi = faults(|_, switches| {
        switches[1].pdi = switches[0].pdi;
        switches[1].certified = Some(switches[0].pdi);
    });
    let duplicate = TopologyFault::DuplicateIdentity {
        device: 9,
        same_as: 8,
        pdi: pdi(8),
    };
    assert_eq!(
        same_pdi,
        [duplicate, TopologyFault::SwitchUnknown { pdi: pdi(9) }]
    );
    let same_pdi = faults(|gpus, _| gpus[1].pdi = gpus[0].pdi);
    let duplicate = TopologyFault::DuplicateIdentity {
        device: 1,
        same_as: 0,
        pdi: pdi(0),
    };
    assert_eq!(same_pdi, [duplicate, TopologyFault::GpuUnknown { pdi: pdi(1) }]);
}

#[test]
fn a_switch_is_the_one_that_its_certificate_says() {
    let faults = faults(|_, switches| switches[2].certified = Some(pdi(50)));
    let fault = TopologyFault::SwitchIdentity {
        device: 10,
        certified: pdi(50),
        reported: pdi(10),
    };
    assert_eq!(faults, [fault]);
}

#[test]
fn every_gpu_names_the_same_four_switches() {
    let one_less = faults(|gpus, _| {
        gpus[3].switches.remove(&pdi(8));
    });
    assert_eq!(
        one_less,
        [
            TopologyFault::SwitchesNamed { device: 3, got: 3 },
            TopologyFault::SwitchesDiffer { device: 3, first: 0 },
        ]
    );
    let another = faults(|gpus, _| {
        gpus[3].switches.remove(&pdi(8));
        gpus[3].switches.insert(pdi(40));
    });
    assert_eq!(
        another,
        [
            TopologyFault::SwitchesDiffer { device: 3, first: 0 },
            TopologyFault::SwitchUnknown { pdi: pdi(40) },
        ]
    );
    let none = faults(|gpus, _| {
        for gpu in gpus {
            gpu.switches.clear();
        }
    });
    assert_eq!(none.len(), 8 + 4, "{none:?}");
}

#[test]
fn every_switch_names_the_same_eight_gpus() {
    let one_less = faults(|_, switches| {
        switches[1].gpus.remove(&pdi(0));
    });
    assert_eq!(
        one_less,
        [
            TopologyFault::GpusNamed { device: 9, got: 7 },
            TopologyFault::GpusDiffer { device: 9, first: 8 },
        ]
    );
    // All agree, on one GPU that is not there.
    let another = faults(|_, switches| {
        for switch in switches {
            switch.gpus.remove(&pdi(0));
            switch.gpus.insert(pdi(60));
        }
    });
    assert_eq!(
        another,
        [
            TopologyFault::GpuUnknown { pdi: pdi(60) },
            TopologyFault::GpuUnnamed {
                device: 0,
                pdi: pdi(0),
            },
        ]
    );
}

#[test]
fn a_gpu_without_identity_stands_for_one_that_is_named_and_no_more() {
    let (mut gpus, switches) = ppcie();
    let rules = rules(8, &[Mode::Ppcie]);
    gpus[6].pdi = None;
    gpus[7].pdi = None;
    judge(&gpus, &switches, &rules).unwrap();
    gpus[0].pdi = Some(pdi(70));
    let faults = judge(&gpus, &switches, &rules).unwrap_err();
    let unknown = |number| TopologyFault::GpuUnknown { pdi: pdi(number) };
    let unnamed = TopologyFault::GpuUnnamed {
        device: 0,
        pdi: pdi(70),
    };
    assert_eq!(faults, [unknown(0), unknown(6), unknown(7), unnamed]);
}

#[test]
fn a_fifth_switch_is_refused() {
    let faults = faults(|_, switches| {
        let mut fifth = switches[0].clone();
        fifth.device = 12;
        fifth.serial = &SERIALS[12];
        fifth.pdi = pdi(12);
        fifth.certified = None;
        switches.push(fifth);
    });
    assert_eq!(
        faults,
        [
            TopologyFault::SwitchCountMismatch { got: 5 },
            TopologyFault::SwitchUnnamed {
                device: 12,
                pdi: pdi(12),
            },
        ]
    );
}

proptest! {
    /// Whatever else is wrong, a machine is what its rules and its mode say.
    #[test]
    fn what_passes_is_what_was_asked_for(
        stated in proptest::collection::vec(0_u8..4, 0..10),
        switches in 0_usize..6,
        expected in 0_u8..10,
        allowed in proptest::collection::vec(0_u8..3, 0..3),
    ) {
        let mode = |number| match number {
            0 => Some(Mode::Spt),
            1 => Some(Mode::Mpt),
            2 => Some(Mode::Ppcie),
            _ => None,
        };
        let gpus: Vec<_> = stated.iter().zip(0..).map(|(m, number)| {
            let mut gpu = gpu(number, mode(*m));
            gpu.switches = (8..12).map(pdi).collect();
            gpu
        }).collect();
        let (_, all) = ppcie();
        let switches: Vec<_> = all.iter().cycle().take(switches).cloned().collect();
        let modes: Vec<_> = allowed.iter().filter_map(|number| mode(*number)).collect();
        if let Ok(machine) = judge(&gpus, &switches, &rules(expected, &modes)) {
            prop_assert!(modes.contains(&machine.mode));
            prop_assert!(gpus.iter().all(|gpu| gpu.mode == Some(machine.mode)));
            prop_assert!(machine.gpus >= 1 && machine.gpus <= usize::from(expected));
            prop_assert_eq!(machine.switches, if machine.mode == Mode::Ppcie { 4 } else { 0 });
        }
    }
}
