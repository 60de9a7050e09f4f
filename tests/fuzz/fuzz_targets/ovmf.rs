//! An OVMF image: never a panic, and whatever is read can be measured in little
//! memory and time. The seeds are `cargo run -p bastide-measure --example
//! synthetic-ovmf -- tests/fuzz/seeds/ovmf 1`.
#![no_main]

use bastide_measure::{Firmware, GuestFeatures, KernelHashes, MAX_SECTION_MEMORY_BYTES, VcpuSignature};
use libfuzzer_sys::fuzz_target;

const PAGE: usize = 4096;
/// What the table ends with, 32 bytes before the image does.
const FOOTER: [u8; 16] = [
    0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45, 0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d,
];

fuzz_target!(|bytes: &[u8]| {
    measure(bytes);
    // The same bytes where a table would be, so that bytes put in or left out don't end at the first check.
    let mut page = [0; PAGE];
    let tail = &bytes[bytes.len().saturating_sub(PAGE)..];
    page[PAGE - tail.len()..].copy_from_slice(tail);
    page[PAGE - 48..PAGE - 32].copy_from_slice(&FOOTER);
    measure(&page);
});

fn measure(image: &[u8]) {
    let Ok(firmware) = Firmware::parse(image) else { return };
    let memory: u64 = firmware.sections().iter().map(|section| u64::from(section.size)).sum();
    assert!(memory <= MAX_SECTION_MEMORY_BYTES);
    for section in firmware.sections() {
        assert!(section.gpa % 4096 == 0 && section.size % 4096 == 0 && section.size > 0);
        assert!(u64::from(section.gpa) + u64::from(section.size) <= firmware.gpa());
    }
    let kernel = KernelHashes::new([1; 32], None, b"quiet").expect("no NUL");
    let features = GuestFeatures::new(1).expect("SNP");
    let digest = |kernel| {
        let launch = firmware.launch(kernel).ok()?;
        launch.digest(2, VcpuSignature::new(0x80_0f12), features)
    };
    let without = digest(None).expect("two vCPUs");
    assert_ne!(digest(Some(&kernel)), Some(without));
}
