//! A signed result: never a panic, no bytes that verify but those, and no
//! status that its own claims don't bear out.
#![no_main]

use bastide_attestation::Ear;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(result) = Ear::verify(bytes) {
        assert_eq!(result.as_bytes(), bytes);
        let claims = result.claims();
        assert_eq!(claims.status(), claims.vector().status(claims.decision()));
    }
});
