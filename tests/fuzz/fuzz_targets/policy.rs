//! A policy file: never a panic.
#![no_main]

use bastide_verifier::Policy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Policy::parse(bytes);
});
