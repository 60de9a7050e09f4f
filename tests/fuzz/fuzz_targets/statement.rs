//! An epoch statement: what decodes is exactly its own encoding.
#![no_main]

use bastide_attestation::EpochStatement;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(statement) = EpochStatement::decode(bytes) {
        assert_eq!(statement.encode().as_bytes(), bytes);
    }
});
