//! A machine's GPU evidence, and its endorsements: never a panic, and what decodes is exactly its own encoding.
#![no_main]

use bastide_attestation::nvidia::{GpuEndorsements, GpuEvidence, MAX_DEVICES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(evidence) = GpuEvidence::decode(bytes) {
        assert!((1..=MAX_DEVICES).contains(&evidence.devices().len()));
        assert_eq!(evidence.encode(), bytes);
        let again = GpuEvidence::new(evidence.devices().to_vec()).expect("what was decoded is valid");
        assert_eq!(again, evidence);
    }
    if let Ok(endorsements) = GpuEndorsements::decode(bytes) {
        // Kinds may come in any order, and are written in one.
        assert_eq!(GpuEndorsements::decode(&endorsements.encode()), Ok(endorsements));
    }
});
