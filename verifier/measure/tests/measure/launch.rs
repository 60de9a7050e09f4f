//! What changes a digest and what doesn't, and digests that others published.

use bastide_attestation::{LaunchMeasurement, sha256};
use bastide_measure::{
    Firmware, GuestFeatures, KernelHashes, MAX_VCPUS, SectionKind, VcpuSignature, VcpuType,
};

use crate::ovmf::{Image, SEV_ES_RESET_BLOCK, SEV_HASH_TABLE};

fn features(word: u64) -> GuestFeatures {
    GuestFeatures::new(word).unwrap()
}

fn signature(name: &str) -> VcpuSignature {
    name.parse::<VcpuType>().unwrap().signature()
}

fn digest(image: &Image, kernel: Option<&KernelHashes>, vcpus: u32) -> LaunchMeasurement {
    let bytes = image.build();
    let firmware = Firmware::parse(&bytes).unwrap();
    let launch = firmware.launch(kernel).unwrap();
    launch.digest(vcpus, signature("EPYC-v4"), features(1)).unwrap()
}

/// Digests that sev-snp-measure 0.0.13 gave for the same images, so that they
/// are held to it even where it isn't installed.
#[test]
fn digests_are_those_that_sev_snp_measure_gives() {
    let (amd_sev, ovmf_x64) = (Image::amd_sev(), Image::ovmf_x64());
    assert_eq!(
        digest(&amd_sev, None, 1).to_string(),
        "781f56ae64b9ae8bee8f76883e717c27b776649c59cefb94e1f8a5245fa474ab648090d2712ca6a602dcb288e0eea690"
    );
    let (kernel, initrd) = (sha256(&[b"kernel"]), sha256(&[b"initrd"]));
    let hashes = KernelHashes::new(kernel, Some(initrd), b"quiet").unwrap();
    assert_eq!(
        digest(&amd_sev, Some(&hashes), 4).to_string(),
        "5a28392e48892c58943a528b9f55daf96e6b29893dc7bf8ef4a6777275c0dabb2894a561c324f29d9520705c325f7c37"
    );
    let bytes = ovmf_x64.build();
    let launch = Firmware::parse(&bytes).unwrap().launch(None).unwrap();
    assert_eq!(
        launch
            .digest(3, signature("EPYC-Genoa"), features(0x21))
            .unwrap()
            .to_string(),
        "a75e272352f645c0b9618b9cb8ee424e683c0227c02d2742b3053df2614b6329501a14ca60960031c229b5fa91b831f3"
    );
    let bytes = amd_sev.build();
    assert_eq!(
        Firmware::parse(&bytes).unwrap().digest().to_string(),
        "76089783d5ceaf966d19decc8c4355b2c834cc89d42ebb8155388a8ddb9d29643bd51521c2cbd56c9b59cd574cf4fa09"
    );
}

#[test]
fn an_image_is_read_as_it_was_built() {
    let bytes = Image::amd_sev().build();
    let firmware = Firmware::parse(&bytes).unwrap();
    assert_eq!(firmware.gpa(), 0x1_0000_0000 - 8 * 4096);
    assert_eq!(firmware.ap_reset_vector(), 0x80_b004);
    let table = firmware.hash_table().unwrap();
    assert_eq!((table.base, table.size), (0x81_0c00, 0x400));
    let kinds: Vec<_> = firmware.sections().iter().map(|section| section.kind).collect();
    let memory = SectionKind::Memory;
    assert_eq!(
        kinds,
        [
            memory,
            memory,
            SectionKind::Secrets,
            SectionKind::Cpuid,
            SectionKind::SvsmCallingArea,
            SectionKind::KernelHashes,
            memory
        ]
    );
}

#[test]
fn digests_for_each_number_of_vcpus_differ_and_asking_for_one_gives_the_same() {
    let bytes = Image::amd_sev().build();
    let launch = Firmware::parse(&bytes).unwrap().launch(None).unwrap();
    let all: Vec<_> = launch
        .digests(signature("EPYC-Milan"), features(1))
        .take(64)
        .collect();
    let distinct: std::collections::BTreeSet<_> = all.iter().map(|(_, digest)| *digest).collect();
    assert_eq!(distinct.len(), 64);
    for (at, (vcpus, digest)) in all.iter().enumerate() {
        assert_eq!(usize::try_from(*vcpus).unwrap(), at + 1);
        assert_eq!(
            launch.digest(*vcpus, signature("EPYC-Milan"), features(1)),
            Some(*digest)
        );
    }
}

#[test]
fn no_guest_has_zero_vcpus_or_more_than_qemu_gives() {
    let bytes = Image::amd_sev().build();
    let launch = Firmware::parse(&bytes).unwrap().launch(None).unwrap();
    let with = |vcpus| launch.digest(vcpus, signature("EPYC"), features(1));
    assert_eq!((with(0), with(MAX_VCPUS + 1)), (None, None));
    assert!(with(MAX_VCPUS).is_some());
    let mut digests = launch
        .digests(signature("EPYC"), features(1))
        .skip(MAX_VCPUS as usize);
    assert_eq!((digests.next(), digests.next()), (None, None));
}

#[test]
fn every_input_changes_the_digest() {
    let base = Image::amd_sev();
    let hashes = |kernel: u8, initrd: Option<u8>, cmdline: &[u8]| {
        KernelHashes::new([kernel; 32], initrd.map(|fill| [fill; 32]), cmdline).unwrap()
    };
    let kernel = hashes(1, Some(2), b"quiet");
    let mut seen = vec![
        digest(&base, None, 2),
        digest(&base, Some(&kernel), 2),
        digest(&base, None, 3),
    ];
    for other in [
        hashes(3, Some(2), b"quiet"),
        hashes(1, Some(3), b"quiet"),
        hashes(1, None, b"quiet"),
        hashes(1, Some(2), b"quiet "),
        hashes(1, Some(2), b""),
    ] {
        seen.push(digest(&base, Some(&other), 2));
    }
    let changes: [fn(&mut Image); 7] = [
        |image| image.seed += 2,
        |image| image.pages += 1,
        |image| image.sections.swap(0, 1),
        |image| image.sections[0].1 -= 0x1000,
        |image| image.sections[4].2 = 1,
        |image| image.set(SEV_ES_RESET_BLOCK, 0x80_b008_u32.to_le_bytes().to_vec()),
        |image| {
            image.set(
                SEV_HASH_TABLE,
                [0x81_0800_u32.to_le_bytes(), 0x400_u32.to_le_bytes()].concat(),
            );
        },
    ];
    for change in changes {
        let mut image = base.clone();
        change(&mut image);
        seen.push(digest(&image, Some(&kernel), 2));
    }
    let bytes = base.build();
    let launch = Firmware::parse(&bytes).unwrap().launch(None).unwrap();
    seen.push(launch.digest(2, signature("EPYC-Genoa"), features(1)).unwrap());
    seen.push(launch.digest(2, signature("EPYC-v4"), features(0x21)).unwrap());
    let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len());
}

#[test]
fn a_kernel_that_the_firmware_would_not_check_is_refused_and_the_right_build_is_named() {
    let kernel = KernelHashes::new([1; 32], None, b"").unwrap();
    let refused = |image: &Image| {
        let bytes = image.build();
        let firmware = Firmware::parse(&bytes).unwrap();
        assert!(firmware.launch(None).is_ok());
        firmware.launch(Some(&kernel)).unwrap_err()
    };
    let error = refused(&Image::ovmf_x64());
    assert_eq!(error.code(), "measure.kernel.no_section");
    assert!(error.to_string().contains("AmdSevX64"), "{error}");
    let mut without = Image::amd_sev();
    without.remove(SEV_HASH_TABLE);
    assert_eq!(refused(&without).code(), "measure.kernel.hash_table");
    // Before the section, behind it, over its end, and without room.
    for (base, size) in [
        (0x80_fc00_u32, 0x400_u32),
        (0x81_1000, 0x400),
        (0x81_0f51, 0x400),
        (0, 0x400),
        (u32::MAX, 0x400),
        (0x81_0c00, 0xaf),
        (0x81_0c00, 0),
    ] {
        let mut image = Image::amd_sev();
        image.set(SEV_HASH_TABLE, [base.to_le_bytes(), size.to_le_bytes()].concat());
        assert_eq!(
            refused(&image).code(),
            "measure.kernel.hash_table",
            "{base:#x} {size:#x}"
        );
    }
    // The last place that fits.
    let mut image = Image::amd_sev();
    image.set(
        SEV_HASH_TABLE,
        [0x81_0f50_u32.to_le_bytes(), 0xb0_u32.to_le_bytes()].concat(),
    );
    let bytes = image.build();
    assert!(Firmware::parse(&bytes).unwrap().launch(Some(&kernel)).is_ok());
}
