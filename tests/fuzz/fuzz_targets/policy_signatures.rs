//! A signature file: never a panic, and one form for each set of signatures.
#![no_main]

use bastide_verifier::{PolicySignatures, PolicySigners};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signatures) = PolicySignatures::parse(bytes) {
        assert_eq!(signatures.encode().as_bytes(), bytes);
        if let Ok(signers) = PolicySigners::new(signatures.signers().copied(), None) {
            let _ = signers.verify(b"policy", &signatures);
        }
    }
});
