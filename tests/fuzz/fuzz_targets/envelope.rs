//! An evidence envelope and an attest request: never a panic, and what decodes re-encodes to itself.
#![no_main]

use bastide_attestation::{AttestRequest, Evidence};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = AttestRequest::decode(bytes);
    if let Ok(evidence) = Evidence::decode(bytes) {
        let again = evidence.as_unverified().encode();
        let decoded = Evidence::decode(&again).expect("what was encoded decodes");
        assert!(decoded.as_unverified() == evidence.as_unverified());
    }
});
