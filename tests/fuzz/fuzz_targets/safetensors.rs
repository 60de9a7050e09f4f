//! The header of a safetensors file: never a panic, never an allocation beyond the limits.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = bastide_engine::parse_safetensors_header(bytes);
});
