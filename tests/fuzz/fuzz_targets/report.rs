//! An SNP report: never a panic in parsing or in any accessor.
#![no_main]

use bastide_attestation::snp::{Generation, Product, SnpReport};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(report) = SnpReport::parse(bytes) else { return };
    assert_eq!(report.as_bytes().as_slice(), bytes);
    let generation = report.cpuid().and_then(Product::of).map_or(Generation::Milan, Product::generation);
    let _ = (report.reported_tcb(generation), report.signature(), report.key_info().signing_key());
});
