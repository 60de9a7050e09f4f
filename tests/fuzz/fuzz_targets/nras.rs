//! What NVIDIA's attestation service said: never a panic, none that passes is of
//! another number of devices or another time, and faults repeat no control character.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| bastide_verifier::fuzzing::nras(bytes));
