//! An NVIDIA device's report, and opaque data in both encodings: never a panic,
//! every part lies in the input, and whatever names a manifest is safe in a path.
#![no_main]

use bastide_attestation::nvidia::{DeviceFacts, DeviceKind, Family, SpdmReport};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The opaque data's parser sees what can't be reached through a whole report, too.
    for kind in [DeviceKind::Gpu, DeviceKind::NvSwitch] {
        read(kind, bytes);
        read(kind, &[&b"NVDAOD\0\0\x02\0\0\0"[..], bytes].concat());
    }
    let Ok(report) = SpdmReport::parse(bytes) else { return };
    assert_eq!(report.as_bytes(), bytes);
    assert_eq!([report.signed_bytes(), report.signature()].concat(), bytes);
    let whole = bytes.as_ptr_range();
    for part in report.measurements().chain([report.opaque_unverified()]) {
        let part = part.as_ptr_range();
        assert!(whole.start <= part.start && part.end <= whole.end);
    }
    assert!(report.measurements().all(|digest| digest.len() == 48));
    assert!(report.measurement(0).is_none() && report.measurement(1).is_some());
    read(report.kind(), report.opaque_unverified());
});

fn read(kind: DeviceKind, opaque: &[u8]) {
    let Ok(facts) = DeviceFacts::parse_opaque(kind, opaque) else { return };
    let mut names = Vec::new();
    if let Some(gpu) = facts.gpu() {
        names.extend([Family::Hopper, Family::Blackwell].map(|family| gpu.driver_rim_id(family).expect("a GPU's")));
        names.push(gpu.vbios_rim_id());
        assert!(gpu.other.iter().map(|field| field.value.len()).sum::<usize>() <= opaque.len());
    }
    names.extend(facts.switch().map(|switch| switch.bios_rim_id()));
    assert!(!names.is_empty());
    for name in names {
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)));
    }
}
