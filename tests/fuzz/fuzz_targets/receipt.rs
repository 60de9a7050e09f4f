//! A receipt: never a panic, and no bytes that verify.
#![no_main]

use bastide_attestation::Receipt;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(receipt) = Receipt::verify(bytes) {
        assert_eq!(receipt.as_bytes(), bytes);
    }
});
