//! What one report and chain need, made and real.

use super::*;
use crate::nvidia::{made, vectors};

#[test]
fn an_h100_needs_two_manifests_three_answers_and_a_list() {
    let sources = Sources::of(&made::evidence()).unwrap();
    let ids: Vec<String> = sources.rims().map(|wanted| wanted.name().describe()).collect();
    assert_eq!(ids, made::RIM_IDS.map(|id| format!("manifest {id}")));
    let others = sources.others([]);
    let expected: Vec<Wanted> = made::device_questions()
        .into_iter()
        .map(Wanted::Ocsp)
        .chain([Wanted::Crl(
            CrlPath::of_url("http://crl.ndis.nvidia.com/crl/l1-root.crl").unwrap(),
        )])
        .collect();
    assert_eq!(others, expected);
}

#[test]
fn a_manifests_chain_adds_answers_about_all_but_its_root() {
    let rims = made::RIM_IDS.map(|id| {
        let name = Name::Rim(id.parse().unwrap());
        Endorsement::read(name, &made::rim(1, made::ISSUED)).unwrap()
    });
    let others = Sources::default().others(&rims);
    let mut expected: Vec<Wanted> = made::rim_questions(made::ISSUED)
        .into_iter()
        .map(Wanted::Ocsp)
        .collect();
    expected.push(Wanted::Crl(
        CrlPath::of_url("http://crl.ndis.nvidia.com/crl-corim/l1-corim").unwrap(),
    ));
    assert_eq!(
        others, expected,
        "both have the same signers, which are asked about once"
    );
}

#[test]
fn what_is_no_report_no_chain_and_no_pair_is_said() {
    let (report, chain) = (made::report(), made::device_chain());
    let mut sources = Sources::default();
    let mut refused = |report: &[u8], chain: &[u8]| sources.add_device(report, chain).unwrap_err();
    let pem = made::pem(&chain);
    assert!(matches!(refused(&report[1..], &pem), SourceError::Report { .. }));
    assert!(matches!(refused(&report, b"x"), SourceError::Encoding { .. }));
    let four = made::pem(&chain[..4]);
    assert!(matches!(
        refused(&report, &four),
        SourceError::ChainLength { got: 4, .. }
    ));
    let mut swapped = chain.clone();
    swapped.swap(2, 3);
    assert!(matches!(
        refused(&report, &made::pem(&swapped)),
        SourceError::Chain { .. }
    ));
    let mut switch = chain.clone();
    switch[0] = made::certificate(
        "LS_10 A01 FSP FMC LF",
        "GH100 A01 GSP BROM",
        1,
        made::ISSUED,
        None,
    );
    let fault = refused(&report, &made::pem(&switch));
    assert!(fault.to_string().contains("LS_10 A01 FSP FMC LF"), "{fault}");
    let mut spaced = report.clone();
    let at = spaced
        .windows(9)
        .position(|window| window == b"550.90.07")
        .unwrap();
    spaced[at] = b'/';
    assert!(matches!(
        refused(&spaced, &pem),
        SourceError::Rim { .. } | SourceError::Opaque { .. }
    ));
    assert!(sources.is_empty(), "something of a refused device was added");
}

#[test]
fn families_are_read_from_the_leaf() {
    for (name, family) in [
        ("GH100 A01 GSP FMC LF", Some(Family::Hopper)),
        ("GB100 A01 GSP FMC LF", Some(Family::Blackwell)),
        ("GB102 A01 GSP FMC LF", Some(Family::Blackwell)),
        ("LS_10 A01 FSP FMC LF", Some(Family::Ls10)),
        ("GR100 A01 GSP FMC LF", None),
        ("GB1000 A01", None),
        ("GH100X", None),
        ("", None),
    ] {
        assert_eq!(family_of(name), family, "{name}");
    }
}

#[test]
fn real_devices_of_each_family_need_these_manifests() {
    let Some(folder) = vectors::h100() else { return };
    let h100 = [
        "NV_GPU_DRIVER_GH100_550.90.07",
        "NV_GPU_VBIOS_1010_0200_882_96009F0001",
    ];
    for (device, expected) in [
        ("h100-550.90.07", &h100[..]),
        ("switch-ls10", &["NV_SWITCH_BIOS_5612_0002_890_96106D0001"]),
    ] {
        let device = folder.with_file_name(device);
        let mut sources = Sources::default();
        let read = |name| vectors::read(&device, name);
        sources
            .add_device(&read("report.bin"), &read("chain.pem"))
            .unwrap();
        let ids: Vec<String> = sources.rims.iter().map(RimId::to_string).collect();
        assert_eq!(ids, expected);
        // BROM, provisioner and identity, and the lists of root and family.
        let others = sources.others([]);
        let lists = others.iter().filter(|wanted| matches!(wanted, Wanted::Crl(_)));
        assert_eq!((others.len(), lists.count()), (5, 2));
    }
    let device = folder.with_file_name("b200-575.32");
    let mut sources = Sources::default();
    let read = |name| vectors::read(&device, name);
    sources
        .add_device(&read("report.bin"), &read("chain.pem"))
        .unwrap();
    assert!(sources.rims[0].as_str().starts_with("NV_GPU_CC_DRIVER_GB100_575"));
}
