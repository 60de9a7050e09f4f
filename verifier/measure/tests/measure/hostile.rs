//! Images that lie about themselves: each lie has its own code, and nothing
//! panics.

use bastide_measure::{Firmware, GuestFeatures, KernelHashes, MAX_OVMF_BYTES, MAX_SECTIONS, VcpuSignature};
use proptest::prelude::*;

use crate::ovmf::{Image, METADATA_OFFSET, SEV_ES_RESET_BLOCK, SEV_HASH_TABLE, SEV_METADATA};

/// The code an image is refused by; `None` if it is read.
fn refused(bytes: &[u8]) -> Option<&'static str> {
    Firmware::parse(bytes).err().map(|error| {
        assert!(error.code().starts_with("measure.ovmf."), "{error}");
        error.code()
    })
}

/// Reads an image and does with it all that can be done.
fn exercise(bytes: &[u8]) {
    let Ok(firmware) = Firmware::parse(bytes) else {
        return;
    };
    let kernel = KernelHashes::new([1; 32], None, b"").unwrap();
    let features = GuestFeatures::new(1).unwrap();
    for kernel in [None, Some(&kernel)] {
        if let Ok(launch) = firmware.launch(kernel) {
            assert!(launch.digest(2, VcpuSignature::new(0), features).is_some());
        }
    }
}

type Change = fn(&mut Image);

const LIES: &[(&str, Change)] = &[
    ("measure.ovmf.no_table", |image| {
        image.footer = "96b582de-1fb2-45f7-baea-a366c55a082e";
    }),
    ("measure.ovmf.table_length", |image| image.table_length = Some(17)),
    ("measure.ovmf.table_length", |image| image.table_length = Some(0)),
    ("measure.ovmf.table_length", |image| {
        image.table_length = Some(u16::MAX);
    }),
    ("measure.ovmf.entry_length", |image| {
        image.entry_length = Some((3, 17));
    }),
    ("measure.ovmf.entry_length", |image| {
        image.entry_length = Some((3, 0));
    }),
    ("measure.ovmf.entry_length", |image| {
        image.entry_length = Some((3, u16::MAX));
    }),
    ("measure.ovmf.entry_length", |image| {
        image.entry_length = Some((0, 23));
    }),
    ("measure.ovmf.table_remainder", |image| image.remainder = 17),
    ("measure.ovmf.entry_length", |image| image.remainder = 18),
    ("measure.ovmf.table_length", |image| {
        image.table_length = Some(8 * 4096);
    }),
    ("measure.ovmf.entry_size", |image| {
        image.set(SEV_METADATA, vec![0; 3]);
    }),
    ("measure.ovmf.entry_size", |image| image.set(SEV_METADATA, vec![])),
    ("measure.ovmf.entry_size", |image| {
        image.set(SEV_HASH_TABLE, vec![0; 9]);
    }),
    ("measure.ovmf.entry_size", |image| {
        image.set(SEV_ES_RESET_BLOCK, vec![1; 5]);
    }),
    ("measure.ovmf.duplicate", |image| {
        image.entries.push(image.entries[0].clone());
    }),
    ("measure.ovmf.duplicate", |image| {
        image.entries.push(image.entries[1].clone());
    }),
    ("measure.ovmf.duplicate", |image| {
        image.entries.push((SEV_ES_RESET_BLOCK, vec![9; 4]));
    }),
    ("measure.ovmf.svsm", |image| {
        image
            .entries
            .push(("a789a612-0597-4c4b-a49f-cbb1fe9d1ddd", vec![0; 4]));
    }),
    ("measure.ovmf.no_metadata", |image| image.remove(SEV_METADATA)),
    ("measure.ovmf.no_reset_block", |image| {
        image.remove(SEV_ES_RESET_BLOCK);
    }),
    ("measure.ovmf.reset_vector", |image| {
        image.set(SEV_ES_RESET_BLOCK, vec![0; 4]);
    }),
    ("measure.ovmf.metadata_offset", |image| {
        image.set(SEV_METADATA, vec![0xff; 4]);
    }),
    ("measure.ovmf.metadata_offset", |image| {
        image.set(SEV_METADATA, vec![0; 4]);
    }),
    ("measure.ovmf.metadata_offset", |image| {
        image.set(SEV_METADATA, vec![15, 0, 0, 0]);
    }),
    ("measure.ovmf.metadata_offset", |image| {
        image.set(SEV_METADATA, vec![1, 0x80, 0, 0]);
    }),
    ("measure.ovmf.metadata_offset", |image| {
        image.set(SEV_METADATA, vec![0, 0, 0, 0x80]);
    }),
    ("measure.ovmf.metadata_signature", |image| {
        image.set(SEV_METADATA, vec![0, 0x80, 0, 0]);
    }),
    ("measure.ovmf.metadata_signature", |image| {
        image.signature = *b"aSEV";
    }),
    ("measure.ovmf.metadata_version", |image| image.version = 2),
    ("measure.ovmf.metadata_version", |image| image.version = 0),
    ("measure.ovmf.metadata_length", |image| {
        image.metadata_length = Some(0);
    }),
    ("measure.ovmf.metadata_length", |image| {
        image.metadata_length = Some(u32::MAX);
    }),
    ("measure.ovmf.metadata_length", |image| {
        image.metadata_length = Some(16 + 12 * 7 + 1);
    }),
    ("measure.ovmf.metadata_length", |image| {
        image.metadata_length = Some(16 + 12 * 7 - 12);
    }),
    ("measure.ovmf.metadata_length", |image| image.count = Some(6)),
    ("measure.ovmf.sections", |image| image.count = Some(0)),
    ("measure.ovmf.sections", |image| image.count = Some(65)),
    // Twelve times it wraps to a small number in 32 bits.
    ("measure.ovmf.sections", |image| image.count = Some(0x5555_5556)),
    ("measure.ovmf.sections", |image| image.count = Some(u32::MAX)),
    ("measure.ovmf.section_type", |image| image.sections[0].2 = 0),
    ("measure.ovmf.section_type", |image| image.sections[0].2 = 5),
    // A reader of one byte would take this for a known type.
    ("measure.ovmf.section_type", |image| image.sections[0].2 = 0x101),
    ("measure.ovmf.section_pages", |image| image.sections[0].1 = 0),
    ("measure.ovmf.section_pages", |image| image.sections[0].1 += 1),
    ("measure.ovmf.section_pages", |image| image.sections[0].0 += 0x800),
    ("measure.ovmf.section_pages", |image| image.sections[2].1 = 0x2000),
    ("measure.ovmf.section_pages", |image| image.sections[3].1 = 0x2000),
    ("measure.ovmf.section_pages", |image| image.sections[5].1 = 0x2000),
    ("measure.ovmf.section_range", |image| {
        image.sections[0].0 = 0xffff_f000;
    }),
    ("measure.ovmf.section_range", |image| {
        image.sections[0].0 = 0xffff_0000;
    }),
    ("measure.ovmf.section_range", |image| {
        image.sections[0] = (0xffff_f000, 0xffff_f000, 1);
    }),
    ("measure.ovmf.section_memory", |image| {
        image.sections[0] = (0x1000_0000, 0x0400_1000, 1);
    }),
    ("measure.ovmf.section_memory", |image| {
        image.sections = (0..16)
            .map(|at| (0x1000_0000 * (at % 15), 0x0fff_f000, 1))
            .collect();
    }),
    ("measure.ovmf.section_overlap", |image| {
        image.sections[0] = image.sections[1];
    }),
    ("measure.ovmf.section_overlap", |image| {
        image.sections[6].0 = 0x80_0000;
    }),
    ("measure.ovmf.section_twice", |image| {
        image.sections.push((0x90_0000, 0x1000, 2));
    }),
    ("measure.ovmf.section_twice", |image| {
        image.sections.push((0x90_0000, 0x1000, 3));
    }),
    ("measure.ovmf.section_twice", |image| {
        image.sections.push((0x90_0000, 0x1000, 0x10));
    }),
];

#[test]
fn every_lie_is_refused_by_its_own_code() {
    for (at, (code, lie)) in LIES.iter().enumerate() {
        let mut image = Image::amd_sev();
        assert_eq!(refused(&image.build()), None);
        lie(&mut image);
        assert_eq!(refused(&image.build()), Some(*code), "lie {at}");
    }
}

#[test]
fn metadata_that_the_image_cuts_off_is_refused() {
    let mut image = Image::amd_sev();
    // Its header fits behind the table's place, its sections don't.
    image.set(SEV_METADATA, 28_u32.to_le_bytes().to_vec());
    let mut bytes = image.build();
    let end = bytes.len();
    let header = bytes[end - METADATA_OFFSET as usize..][..16].to_vec();
    bytes[end - 28..end - 12].copy_from_slice(&header);
    assert_eq!(refused(&bytes), Some("measure.ovmf.metadata_length"));
}

#[test]
fn as_many_sections_as_are_allowed_are_read() {
    let mut image = Image::ovmf_x64();
    assert_eq!(MAX_SECTIONS, 64);
    image.sections = (0..64).map(|at| (at * 0x1000, 0x1000, 1)).collect();
    assert_eq!(refused(&image.build()), None);
    image.sections.push((0x10_0000, 0x1000, 1));
    assert_eq!(refused(&image.build()), Some("measure.ovmf.sections"));
}

#[test]
fn a_section_may_end_where_the_image_begins() {
    let mut image = Image::ovmf_x64();
    image.sections[0] = (0xffff_7000, 0x1000, 1);
    assert_eq!(refused(&image.build()), None);
    image.pages += 1;
    assert_eq!(refused(&image.build()), Some("measure.ovmf.section_range"));
}

#[test]
fn images_that_are_empty_not_whole_pages_or_too_large_are_refused() {
    let bytes = Image::amd_sev().build();
    assert_eq!(refused(&[]), Some("measure.ovmf.not_pages"));
    assert_eq!(refused(&bytes[1..]), Some("measure.ovmf.not_pages"));
    assert_eq!(refused(&[0; 4096]), Some("measure.ovmf.no_table"));
    let mut image = Image::amd_sev();
    image.pages = MAX_OVMF_BYTES / 4096;
    assert_eq!(refused(&image.build()), None);
    image.pages += 1;
    assert_eq!(refused(&image.build()), Some("measure.ovmf.too_large"));
}

#[test]
fn no_truncation_of_an_image_is_read() {
    let mut image = Image::amd_sev();
    image.pages = 1;
    let bytes = image.build();
    assert_eq!(refused(&bytes), None);
    for length in 0..bytes.len() {
        assert!(refused(&bytes[..length]).is_some(), "{length}");
        assert!(length == 0 || refused(&bytes[length..]).is_some(), "{length}");
    }
    // Cut off in front and filled up behind, so that its length is right: the
    // table then isn't where it has to be.
    for cut in 1..=METADATA_OFFSET as usize {
        let shifted = [&bytes[cut..], &vec![0; cut]].concat();
        assert_eq!(refused(&shifted), Some("measure.ovmf.no_table"), "{cut}");
    }
}

#[test]
fn an_image_that_starts_later_than_its_metadata_is_refused() {
    let mut image = Image::amd_sev();
    image.set(SEV_METADATA, (8 * 4096_u32 + 1).to_le_bytes().to_vec());
    assert_eq!(refused(&image.build()), Some("measure.ovmf.metadata_offset"));
    let whole = Image::amd_sev().build();
    // Only the last page is left; the metadata is in it, so it is another image.
    assert_eq!(refused(&whole[7 * 4096..]), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
        exercise(&bytes);
    }

    #[test]
    fn arbitrary_bytes_before_a_good_footer_never_panic(
        tail in proptest::collection::vec(any::<u8>(), 1..300),
        length in 0_u16..400,
    ) {
        let mut image = Image::amd_sev();
        image.pages = 1;
        image.table_length = Some(length);
        let mut bytes = image.build();
        let end = bytes.len() - 32 - 18;
        bytes[end - tail.len()..end].copy_from_slice(&tail);
        exercise(&bytes);
    }

    #[test]
    fn arbitrary_metadata_and_entries_never_panic(
        at in any::<u32>(),
        length in proptest::option::of(any::<u32>()),
        count in proptest::option::of(any::<u32>()),
        sections in proptest::collection::vec((any::<u32>(), any::<u32>(), 0_u32..20), 0..8),
        hash_table in any::<[u8; 8]>(),
        reset in any::<[u8; 4]>(),
        near in any::<bool>(),
    ) {
        let mut image = Image::amd_sev();
        image.pages = 1;
        image.metadata_length = length;
        image.count = count;
        // Pages, so that more of them get past the first check.
        image.sections = if near {
            sections.iter().map(|(gpa, size, kind)| (gpa & !0xfff, size & 0x1_f000, *kind)).collect()
        } else {
            sections
        };
        image.set(SEV_HASH_TABLE, hash_table.to_vec());
        image.set(SEV_ES_RESET_BLOCK, reset.to_vec());
        if !near {
            image.set(SEV_METADATA, at.to_le_bytes().to_vec());
        }
        exercise(&image.build());
    }

    #[test]
    fn a_flipped_bit_changes_the_digest_or_is_refused(at in 0_usize..4096 * 8) {
        let mut image = Image::amd_sev();
        image.pages = 1;
        let mut bytes = image.build();
        let digest = |bytes: &[u8]| {
            let launch = Firmware::parse(bytes).ok()?.launch(None).ok()?;
            launch.digest(2, VcpuSignature::new(0), GuestFeatures::new(1).ok()?)
        };
        let before = digest(&bytes);
        prop_assert!(before.is_some());
        bytes[at / 8] ^= 1 << (at % 8);
        prop_assert_ne!(digest(&bytes), before);
    }
}
