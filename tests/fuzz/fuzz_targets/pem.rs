//! Certificates in PEM: never a panic, never more bytes than came.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| bastide_verifier::fuzzing::pem(bytes));
