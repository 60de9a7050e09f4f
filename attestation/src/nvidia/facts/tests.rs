use proptest::prelude::*;

use super::*;
use crate::digest::{Fwid, Pdi};
use crate::nvidia::family::Family;
use crate::nvidia::opaque::OtherField;

/// Fields of a made-up Hopper GPU: number, NVDAOD's value type, value.
fn hopper() -> Vec<(u16, u16, Vec<u8>)> {
    vec![
        (6, 0x86, vec![0, 0x9f, 0, 0x96, 1, 0, 0, 0]),
        (14, 0x82, vec![0xb1, 3, 0, 0]),
        (15, 0x82, b"882\0\0\0\0\0\0".to_vec()),
        (16, 0x82, b"0\0\0\0\0".to_vec()),
        (17, 0x82, b"1010\0".to_vec()),
        (18, 0x82, b"0200\0".to_vec()),
        (19, 0x82, vec![0, 0]),
        (3, 0x86, b"580.159.03\0".to_vec()),
        (12, 0x84, [[7, 0, 0, 0]; 64].concat()),
        (11, 0x82, vec![0x55]),
        (20, 0x01, vec![0xf0; 48]),
        (21, 0x85, vec![0x55]),
        (34, 0x86, vec![1, 0]),
        (36, 0x85, vec![0, 0]),
    ]
}

fn switch() -> Vec<(u16, u16, Vec<u8>)> {
    let mut gpus: Vec<u8> = (1..=7).flat_map(|gpu| [gpu; 8]).collect();
    gpus.extend([0xff; 8]);
    gpus.extend([6; 64]);
    vec![
        (6, 0, b"96.10.6D.00.01".to_vec()),
        (22, 0, vec![1, 2, 3, 4, 5, 6, 7, 8]),
        (12, 0, [[9, 0, 0, 0]; 27].concat()),
        (26, 0, gpus),
        (23, 0, vec![0xec, 0]),
        (24, 0, vec![1, 0]),
        (25, 0, vec![1, 0]),
    ]
}

fn legacy(fields: &[(u16, u16, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (id, _, value) in fields {
        bytes.extend(id.to_le_bytes());
        bytes.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
        bytes.extend(value);
    }
    bytes
}

fn nvdaod(version: [u8; 3], fields: &[(u16, u16, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"NVDAOD\0\0".to_vec();
    bytes.extend(version);
    bytes.push(0);
    for (id, value_type, value) in fields {
        bytes.extend(id.to_le_bytes());
        bytes.extend(value_type.to_le_bytes());
        bytes.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
        bytes.extend(value);
    }
    bytes
}

fn with(mut fields: Vec<(u16, u16, Vec<u8>)>, id: u16, value: &[u8]) -> Vec<(u16, u16, Vec<u8>)> {
    fields.retain(|(field, ..)| *field != id);
    fields.push((id, 0x85, value.to_vec()));
    fields
}

fn gpu(bytes: &[u8]) -> Result<GpuFacts, OpaqueError> {
    DeviceFacts::parse_opaque(DeviceKind::Gpu, bytes).map(|facts| facts.gpu().unwrap().clone())
}

fn field(id: u16) -> impl Fn(&OpaqueError) -> bool {
    move |fault| matches!(fault, OpaqueError::Field { id: of, .. } if *of == id)
}

#[test]
fn both_encodings_say_the_same() {
    let old = gpu(&legacy(&hopper())).unwrap();
    assert_eq!(old.opaque_version, OpaqueVersion::Legacy(1));
    assert_eq!(old.driver_version, "580.159.03");
    assert_eq!(old.vbios_version, "96.00.9F.00.01");
    assert_eq!((old.board_id, old.mode), (Some(0x3b1), Some(Mode::Spt)));
    assert_eq!(old.fwid, Some(Fwid::new([0xf0; 48])));
    assert_eq!(old.measurement_counts.as_ref().unwrap()[63], 7);
    assert_eq!(old.project_sku_modifier.as_deref(), Some(""));
    assert!(old.switch_pdis.is_empty());
    let mut new = gpu(&nvdaod([2, 1, 3], &hopper())).unwrap();
    let version = OpaqueVersion::Nvdaod {
        major: 2,
        minor: 1,
        patch: 3,
    };
    assert_eq!(new.opaque_version, version);
    new.opaque_version = old.opaque_version;
    assert_eq!(new, old);
}

#[test]
fn the_order_of_fields_does_not_matter() {
    let mut fields = hopper();
    fields.reverse();
    assert_eq!(gpu(&legacy(&fields)), gpu(&legacy(&hopper())));
}

#[test]
fn manifests_are_named_by_family_and_version() {
    let facts = gpu(&legacy(&hopper())).unwrap();
    let driver = |family| facts.driver_rim_id(family);
    assert_eq!(driver(Family::Hopper).unwrap(), "NV_GPU_DRIVER_GH100_580.159.03");
    assert_eq!(
        driver(Family::Blackwell).unwrap(),
        "NV_GPU_CC_DRIVER_GB100_580.159.03"
    );
    assert_eq!(driver(Family::Ls10), None);
    assert_eq!(facts.vbios_rim_id(), "NV_GPU_VBIOS_1010_0200_882_96009F0001");
    let named = gpu(&legacy(&with(hopper(), 35, b"GB102\0"))).unwrap();
    let expected = "NV_GPU_CC_DRIVER_GB102_580.159.03";
    assert_eq!(named.driver_rim_id(Family::Blackwell).unwrap(), expected);
}

#[test]
fn a_field_that_comes_twice_is_refused_in_both_encodings() {
    for id in [3, 21] {
        let mut fields = hopper();
        fields.push(fields.iter().find(|(field, ..)| *field == id).unwrap().clone());
        let fault = Err(OpaqueError::Duplicate { id });
        assert_eq!(gpu(&legacy(&fields)), fault);
        assert_eq!(gpu(&nvdaod([2, 0, 0], &fields)), fault);
    }
    let twice = [hopper(), vec![(99, 0x82, vec![]), (99, 0x82, vec![])]].concat();
    let fault = Err(OpaqueError::Duplicate { id: 99 });
    assert_eq!(gpu(&nvdaod([2, 0, 0], &twice)), fault);
}

#[test]
fn an_unknown_field_is_refused_in_the_legacy_encoding_and_kept_in_the_new_one() {
    for id in [1, 26, 37, 38, 99, 0x564e] {
        let fields = [hopper(), vec![(id, 0x82, vec![1, 2])]].concat();
        let kind = DeviceKind::Gpu;
        assert_eq!(gpu(&legacy(&fields)), Err(OpaqueError::UnknownType { id, kind }));
        if id != 37 {
            let kept = OtherField {
                id,
                value_type: 0x82,
                value: vec![1, 2],
            };
            assert_eq!(gpu(&nvdaod([2, 0, 0], &fields)).unwrap().other, [kept]);
        }
    }
    for id in [0, 255] {
        let fields = [hopper(), vec![(id, 0x82, vec![])]].concat();
        let kind = DeviceKind::Gpu;
        let fault = Err(OpaqueError::UnknownType { id, kind });
        assert_eq!(gpu(&nvdaod([2, 0, 0], &fields)), fault);
    }
}

#[test]
fn a_newer_version_or_another_profile_is_refused() {
    let kind = DeviceKind::Gpu;
    for major in [0, 3, 255] {
        let fault = OpaqueError::VersionUnsupported {
            major: u16::from(major),
            kind,
        };
        assert_eq!(gpu(&nvdaod([major, 0, 0], &hopper())), Err(fault));
    }
    let mut bytes = nvdaod([2, 0, 0], &hopper());
    bytes[7] = 1;
    assert_eq!(gpu(&bytes), Err(OpaqueError::Profile { got: 256 }));
    bytes[7] = 0;
    bytes[6] = 1;
    assert_eq!(gpu(&bytes), Err(OpaqueError::Profile { got: 1 }));
    let fault = OpaqueError::VersionUnsupported { major: 2, kind };
    assert_eq!(gpu(&legacy(&with(hopper(), 34, &[2, 0]))), Err(fault));
}

#[test]
fn field_34_says_nothing_about_a_versioned_header() {
    for value in [[0, 0], [1, 0], [9, 9]] {
        let facts = gpu(&nvdaod([2, 0, 0], &with(hopper(), 34, &value))).unwrap();
        assert!(matches!(
            facts.opaque_version,
            OpaqueVersion::Nvdaod { major: 2, .. }
        ));
    }
}

#[test]
fn a_switch_has_no_new_encoding() {
    let kind = DeviceKind::NvSwitch;
    let fault = OpaqueError::VersionUnsupported { major: 2, kind };
    let parsed = DeviceFacts::parse_opaque(kind, &nvdaod([2, 0, 0], &switch()));
    assert_eq!(parsed, Err(fault));
}

#[test]
fn data_cut_inside_an_entry_are_refused_and_between_entries_miss_one() {
    for bytes in [legacy(&hopper()), nvdaod([2, 0, 0], &hopper())] {
        let whole = (0..bytes.len()).filter(|length| match gpu(&bytes[..*length]) {
            Ok(_) => true,
            Err(OpaqueError::Truncated { .. } | OpaqueError::Missing { .. }) => false,
            Err(other) => panic!("{length}: {other}"),
        });
        // The four last fields may be absent.
        assert_eq!(whole.count(), 4);
    }
    let mut bytes = nvdaod([2, 0, 0], &hopper());
    bytes.truncate(bytes.len() - 1);
    let fault = OpaqueError::Truncated { part: "an entry" };
    assert_eq!(gpu(&bytes), Err(fault));
}

#[test]
fn a_missing_field_is_named() {
    for id in [3, 6, 11, 15, 17, 18] {
        let mut fields = hopper();
        fields.retain(|(field, ..)| *field != id);
        assert_eq!(gpu(&legacy(&fields)), Err(OpaqueError::Missing { id }));
    }
}

#[test]
fn the_mode_follows_from_both_fields_and_contradictions_are_refused() {
    let facts = |pcie: Option<u8>, feature: Option<u8>| {
        let mut fields = hopper();
        fields.retain(|(id, ..)| !matches!(id, 21 | 36));
        fields.extend(pcie.map(|value| (21, 0x85, vec![value])));
        fields.extend(feature.map(|value| (36, 0x85, vec![value, 0])));
        gpu(&nvdaod([2, 0, 0], &fields)).map(|facts| facts.mode)
    };
    for (pcie, feature, mode) in [
        (None, None, None),
        (None, Some(0), Some(Mode::Spt)),
        (None, Some(1), Some(Mode::Mpt)),
        (None, Some(2), Some(Mode::Ppcie)),
        (Some(0x55), None, Some(Mode::Spt)),
        (Some(0x55), Some(0), Some(Mode::Spt)),
        (Some(0x55), Some(1), Some(Mode::Mpt)),
        (Some(0xaa), None, Some(Mode::Ppcie)),
        (Some(0xaa), Some(2), Some(Mode::Ppcie)),
    ] {
        assert_eq!(facts(pcie, feature), Ok(mode), "{pcie:?} {feature:?}");
    }
    for (pcie, feature) in [(0xaa, 0), (0xaa, 1), (0x55, 2)] {
        let fault = OpaqueError::ContradictoryMode {
            protected_pcie: pcie == 0xaa,
            feature: u16::from(feature),
        };
        assert_eq!(facts(Some(pcie), Some(feature)), Err(fault));
    }
    assert!(field(21)(&facts(Some(0), None).unwrap_err()));
    assert!(field(36)(&facts(None, Some(3)).unwrap_err()));
}

#[test]
fn values_of_another_size_or_content_are_refused() {
    for (id, values) in [
        (
            3,
            &[
                &b"580"[..],
                b"\0",
                b"58 0\0",
                b"58/0\0",
                b"580\0x",
                &[b'1'; 40],
                b"\xff\0",
            ][..],
        ),
        (
            6,
            &[
                &[0; 7],
                &[0; 9],
                &[0, 0, 0, 0, 0, 1, 0, 0],
                &[0, 0, 0, 0, 0, 0, 0, 1],
            ],
        ),
        (12, &[&[0; 255], &[0; 252], &[0; 260]]),
        (14, &[&[0; 3]]),
        (20, &[&[0; 47], &[]]),
        (21, &[&[], &[0x55, 0]]),
        (22, &[&[0; 8], &[0; 143], &[0; 152]]),
        (34, &[&[0], &[0, 0, 0]]),
        (36, &[&[0], &[0, 1]]),
        (11, &[&[], &[0xaa, 0xaa]]),
    ] {
        for value in values {
            let fault = gpu(&legacy(&with(hopper(), id, value))).unwrap_err();
            assert!(field(id)(&fault), "{id} {value:?}: {fault}");
        }
    }
    let unknown = gpu(&legacy(&with(hopper(), 11, &[0])));
    assert_eq!(unknown, Err(OpaqueError::NvdecUnknown { got: 0 }));
    let on = gpu(&legacy(&with(hopper(), 11, &[0xaa]))).unwrap();
    assert_eq!(on.nvdec0, Nvdec0::Enabled);
}

#[test]
fn security_version_numbers_are_read_by_value_type() {
    let more = vec![(37, 0x87, vec![5, 1]), (70, 0x87, vec![9]), (71, 0x82, vec![9])];
    let facts = gpu(&nvdaod([2, 0, 0], &[hopper(), more].concat())).unwrap();
    assert_eq!(facts.svns, [(37, 0x105), (70, 9)].into());
    assert_eq!(facts.other.len(), 1);
    for (value_type, value) in [(0x82, vec![0, 0]), (0x87, vec![]), (0x87, vec![0; 9])] {
        let fields = [hopper(), vec![(37, value_type, value)]].concat();
        assert!(field(37)(&gpu(&nvdaod([2, 0, 0], &fields)).unwrap_err()));
    }
}

#[test]
fn a_link_names_its_switch_as_the_switch_names_itself() {
    let mut links = [8, 7, 6, 5, 4, 3, 2, 1].repeat(17);
    links.extend([0; 8]);
    let facts = gpu(&legacy(&with(hopper(), 22, &links))).unwrap();
    let parsed = DeviceFacts::parse_opaque(DeviceKind::NvSwitch, &legacy(&switch())).unwrap();
    let of_switch = parsed.switch().unwrap();
    assert_eq!(facts.switch_pdis.len(), LINKS_OF_A_GPU);
    assert_eq!(facts.switch_pdis[..17], [Some(of_switch.pdi); 17]);
    assert_eq!(facts.switch_pdis[17], None);
    assert_eq!(of_switch.gpu_pdis[6], Some(Pdi::new([7; 8])));
    assert_eq!(of_switch.gpu_pdis[7], None);
    assert_eq!(of_switch.port_gpus, [6; 64]);
    assert_eq!(of_switch.position_id, Some(1));
    assert_eq!(of_switch.bios_rim_id(), "NV_SWITCH_BIOS_5612_0002_890_96106D0001");
}

#[test]
fn a_switch_s_fields_are_as_strict() {
    let parse = |fields: &[_]| DeviceFacts::parse_opaque(DeviceKind::NvSwitch, &legacy(fields)).unwrap_err();
    for (id, value) in [
        (6, &b"96.10.6d.00.01"[..]),
        (6, b"96.10.6D.00.0"),
        (6, b"96.10.6D.00.01\0"),
        (6, b"96-10.6D.00.01"),
        (6, &[0; 8]),
        (22, &[0; 8]),
        (22, &[1; 9]),
        (12, &[0; 256]),
        (26, &[1; 127]),
        (24, &[1; 1]),
    ] {
        let fault = parse(&with(switch(), id, value));
        assert!(field(id)(&fault), "{id} {value:?}: {fault}");
    }
    for id in [6, 22, 26] {
        let mut fields = switch();
        fields.retain(|(field, ..)| *field != id);
        assert_eq!(parse(&fields), OpaqueError::Missing { id });
    }
    let kind = DeviceKind::NvSwitch;
    let fault = parse(&with(switch(), 3, b"580\0"));
    assert_eq!(fault, OpaqueError::UnknownType { id: 3, kind });
}

proptest! {
    #[test]
    fn parsing_never_panics(bytes: Vec<u8>, versioned: bool) {
        let bytes = if versioned { [&b"NVDAOD\0\0\x02\0\0\0"[..], &bytes].concat() } else { bytes };
        for kind in [DeviceKind::Gpu, DeviceKind::NvSwitch] {
            let _ = DeviceFacts::parse_opaque(kind, &bytes);
        }
    }

    #[test]
    fn one_changed_byte_never_panics(offset in 0_usize..1000, byte: u8) {
        for mut bytes in [legacy(&hopper()), nvdaod([2, 0, 0], &hopper()), legacy(&switch())] {
            let offset = offset % bytes.len();
            bytes[offset] = byte;
            for kind in [DeviceKind::Gpu, DeviceKind::NvSwitch] {
                let _ = DeviceFacts::parse_opaque(kind, &bytes);
            }
        }
    }
}
