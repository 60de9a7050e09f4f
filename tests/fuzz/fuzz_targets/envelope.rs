//! An evidence envelope, another answer and an attest request: never a panic, and what decodes re-encodes to itself.
#![no_main]

use bastide_attestation::{AttestAnswer, AttestRequest, Evidence};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = AttestRequest::decode(bytes) {
        assert!(request.encode() == bytes);
    }
    if let Ok(AttestAnswer::Session(signature)) = AttestAnswer::decode(bytes) {
        assert!(AttestAnswer::encode_session(&signature) == bytes);
    }
    if let Ok(evidence) = Evidence::decode(bytes) {
        let again = evidence.as_unverified().encode();
        let decoded = Evidence::decode(&again).expect("what was encoded decodes");
        assert!(decoded.as_unverified() == evidence.as_unverified());
    }
});
