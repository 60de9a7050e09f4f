//! A revocation list: never a panic, and every serial number that it names is revoked.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| bastide_verifier::fuzzing::revocation_list(bytes));
