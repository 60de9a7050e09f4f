use proptest::prelude::*;

use super::*;

fn driver(text: &str) -> DriverVersion {
    text.parse().unwrap()
}

fn vbios(text: &str) -> VbiosVersion {
    text.parse().unwrap()
}

#[test]
fn drivers_compare_by_number_and_keep_their_text() {
    let sorted = [
        "535.86.09",
        "550.54.15",
        "550.90.07",
        "550.90.12",
        "550.144.03",
        "575.32",
        "580.159.03",
        "1000.1",
    ];
    for pair in sorted.windows(2) {
        assert!(driver(pair[0]) < driver(pair[1]), "{pair:?}");
    }
    for text in sorted {
        assert_eq!(driver(text).to_string(), text);
        assert_eq!(driver(text).as_str(), text);
    }
    assert_eq!(driver("550.90.07").branch(), 550);
    // Neither zeros at the start nor at the end make another version.
    assert_eq!(driver("550.90.07"), driver("550.90.7"));
    assert_eq!(driver("575.32"), driver("575.32.00"));
    assert!(driver("575.32") < driver("575.32.01"));
}

#[test]
fn what_is_no_driver_version_is_refused() {
    for text in [
        "",
        "550",
        "550.",
        ".90",
        "550..07",
        "550.90.07.",
        "550.90.07.01.02",
        "+550.90",
        "-1.0",
        "550.90 ",
        "550.9a",
        "0x226.90",
        "550.123456",
        "550,90",
        "٥٥٠.90",
    ] {
        assert_eq!(
            text.parse::<DriverVersion>().unwrap_err(),
            VersionError::Driver,
            "{text}"
        );
    }
    assert!("1.".repeat(100_000).parse::<DriverVersion>().is_err());
}

#[test]
fn vbioses_compare_by_hexadecimal_bytes() {
    let sorted = [
        "96.00.5E.00.01",
        "96.00.74.00.1C",
        "96.00.74.00.20",
        "96.00.9F.00.01",
        "96.00.CF.00.02",
        "96.00.D9.00.0F",
        "96.10.55.00.01",
        "97.00.88.00.0F",
    ];
    for pair in sorted.windows(2) {
        assert!(vbios(pair[0]) < vbios(pair[1]), "{pair:?}");
    }
    assert_eq!(vbios("96.00.9f.00.01").to_string(), "96.00.9F.00.01");
    assert_eq!(vbios("97.00.88.00.0F").generation(), 0x97);
}

#[test]
fn what_is_no_vbios_version_is_refused() {
    for text in [
        "",
        "96",
        "96.00.9F.00",
        "96.00.9F.00.01.00",
        "96.00.9F.00.01.",
        "9600.9F.00.01",
        "96.0.9F.00.01",
        "96.00.9G.00.01",
        "96.00.+F.00.01",
        " 96.00.9F.00.01",
    ] {
        assert_eq!(
            text.parse::<VbiosVersion>().unwrap_err(),
            VersionError::Vbios,
            "{text}"
        );
    }
}

#[test]
fn a_driver_below_its_branch_s_minimum_is_refused() {
    let rules = DriverRules {
        minimum: vec![driver("550.90.07"), driver("580.95.05"), driver("550.54.15")],
        deny: vec![driver("580.159.3")],
    };
    for good in ["550.90.07", "550.144.03", "580.95.05", "580.105.08"] {
        assert_eq!(rules.judge(&driver(good)), Ok(()), "{good}");
    }
    // The higher of two minima counts.
    for old in ["550.54.15", "550.90.06", "550.90"] {
        let fault = DriverFault::BelowMinimum {
            got: driver(old),
            minimum: driver("550.90.07"),
        };
        assert_eq!(rules.judge(&driver(old)), Err(fault), "{old}");
    }
    let fault = rules.judge(&driver("580.95.04")).unwrap_err();
    assert_eq!(fault.to_string(), "driver 580.95.04 is older than 580.95.05");
}

#[test]
fn a_driver_of_a_branch_without_minimum_is_refused_however_new() {
    let rules = DriverRules {
        minimum: vec![driver("550.90.07")],
        deny: vec![],
    };
    for other in ["535.999.99", "575.32", "9999.0"] {
        let got = driver(other);
        assert_eq!(
            rules.judge(&got),
            Err(DriverFault::BranchUnknown { got: driver(other) })
        );
    }
    let none = DriverRules::default().judge(&driver("550.90.07"));
    assert!(matches!(none, Err(DriverFault::BranchUnknown { .. })));
}

#[test]
fn a_denied_driver_is_refused_however_it_is_written() {
    let rules = DriverRules {
        minimum: vec![driver("550.90.07")],
        deny: vec![driver("550.127.5"), driver("400.1")],
    };
    for denied in ["550.127.05", "550.127.5.0", "400.01"] {
        let fault = rules.judge(&driver(denied)).unwrap_err();
        assert_eq!(fault, DriverFault::Denied { got: driver(denied) });
    }
}

fn minimum(project: Option<&str>, version: &str) -> VbiosMinimum {
    VbiosMinimum {
        project: project.map(str::to_owned),
        minimum: vbios(version),
    }
}

#[test]
fn a_vbios_below_the_minimum_of_its_board_is_refused() {
    let rules = VbiosRules {
        minimum: vec![
            minimum(None, "96.00.9F.00.01"),
            minimum(Some("G520"), "96.00.CF.00.02"),
            minimum(Some("1010"), "96.00.74.00.20"),
        ],
        deny: vec![vbios("96.00.D0.00.01")],
    };
    let judge = |project, version| rules.judge(project, vbios(version));
    assert_eq!(judge("G520", "96.00.CF.00.02"), Ok(()));
    assert_eq!(judge("1010", "96.00.74.00.20"), Ok(()));
    assert_eq!(judge("other", "96.00.9F.00.01"), Ok(()));
    for (project, version, minimum) in [
        ("G520", "96.00.CF.00.01", "96.00.CF.00.02"),
        ("1010", "96.00.74.00.1C", "96.00.74.00.20"),
        ("other", "96.00.74.00.20", "96.00.9F.00.01"),
        // A project is compared as it is, not in another case.
        ("g520", "96.00.9E.00.01", "96.00.9F.00.01"),
    ] {
        let fault = VbiosFault::BelowMinimum {
            got: vbios(version),
            minimum: vbios(minimum),
        };
        assert_eq!(judge(project, version), Err(fault), "{project}");
    }
    let got = vbios("96.00.D0.00.01");
    assert_eq!(rules.judge("G520", got), Err(VbiosFault::Denied { got }));
}

#[test]
fn a_vbios_of_a_generation_without_minimum_is_refused() {
    let rules = VbiosRules {
        minimum: vec![
            minimum(None, "96.00.9F.00.01"),
            minimum(Some("G525"), "96.00.9F.00.01"),
        ],
        deny: vec![],
    };
    for (project, version) in [("G525", "97.00.88.00.0F"), ("1010", "95.FF.FF.FF.FF")] {
        let got = vbios(version);
        assert_eq!(
            rules.judge(project, got),
            Err(VbiosFault::GenerationUnknown { got })
        );
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parsers_panic(text in "[0-9A-Fa-f.+ ]{0,40}|\\PC{0,40}") {
        if let Ok(version) = text.parse::<DriverVersion>() {
            prop_assert_eq!(version.to_string(), text.clone());
        }
        if let Ok(version) = text.parse::<VbiosVersion>() {
            prop_assert_eq!(version.to_string(), text.to_ascii_uppercase());
        }
    }

    #[test]
    fn numbers_survive_and_order_versions(a: [u16; 3], b: [u16; 3]) {
        let version = |n: [u16; 3]| driver(&format!("{}.{}.{:02}", n[0], n[1], n[2]));
        prop_assert_eq!(version(a).cmp(&version(b)), a.cmp(&b));
        prop_assert_eq!(version(a) == version(b), a == b);
        prop_assert_eq!(version(a).branch(), u32::from(a[0]));
    }

    #[test]
    fn bytes_survive_and_order_vbioses(a: [u8; 5], b: [u8; 5]) {
        let version = |bytes: [u8; 5]| {
            let pairs: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            vbios(&pairs.join("."))
        };
        prop_assert_eq!(version(a).cmp(&version(b)), a.cmp(&b));
        prop_assert_eq!(version(a).generation(), a[0]);
    }

    #[test]
    fn one_more_rule_never_turns_a_refusal_into_a_pass(have: [u8; 3], more: [u8; 3], of: [u8; 3], deny: bool) {
        let version = |n: [u8; 3]| driver(&format!("{}.{}.{}", 550 + u16::from(n[0] % 2), n[1], n[2]));
        let mut rules = DriverRules { minimum: vec![version(have)], deny: vec![] };
        let before = rules.judge(&version(of));
        if deny {
            rules.deny.push(version(more));
        } else if version(more).branch() == version(have).branch() {
            rules.minimum.push(version(more));
        }
        prop_assert!(before.is_ok() || rules.judge(&version(of)).is_err());
    }
}
