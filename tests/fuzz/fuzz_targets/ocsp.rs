//! An OCSP response: never a panic, and nothing borrowed from elsewhere.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| bastide_verifier::fuzzing::ocsp(bytes));
