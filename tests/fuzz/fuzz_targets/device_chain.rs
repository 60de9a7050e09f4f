//! An NVIDIA device's certificate chain: never a panic, and none that passes
//! has another number of certificates or a leaf that is an authority.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| bastide_verifier::fuzzing::device_chain(bytes));
