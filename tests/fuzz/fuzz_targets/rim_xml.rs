//! A manifest of NVIDIA's: never a panic, one canonical form, and never authentic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| bastide_verifier::fuzzing::rim_xml(bytes));
