//! An HCL report of Azure's, and the runtime data in it: never a panic, and
//! every part lies in the input.
#![no_main]

use bastide_attestation::azure::{HclReport, RuntimeData};
use bastide_attestation::snp::SnpReport;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The parsers of the parts see what can't be reached through the whole, too.
    let _ = RuntimeData::parse(bytes);
    let Ok(report) = HclReport::parse(bytes) else { return };
    let whole = bytes.as_ptr_range();
    for part in [report.snp_report().as_slice(), report.runtime_data()] {
        let part = part.as_ptr_range();
        assert!(whole.start <= part.start && part.end <= whole.end);
    }
    let _ = SnpReport::parse(report.snp_report());
    if let Ok(runtime) = RuntimeData::parse(report.runtime_data()) {
        assert!(runtime.attestation_key.modulus_len() <= report.runtime_data().len());
    }
});
