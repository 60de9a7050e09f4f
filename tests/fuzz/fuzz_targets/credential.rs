//! A membership credential: never a panic, nothing that verifies under a key
//! that signed nothing, and claims within their ranges.
#![no_main]

use bastide_attestation::{Credential, CredentialError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((claims, issuer)) = Credential::inspect(bytes) {
        let [first, last] = claims.stages;
        assert!(first <= last && !claims.report_id.is_zero() && claims.not_before < claims.expires);
        // Nobody has the secret of this one.
        match Credential::verify(bytes, &[[9; 32]]) {
            Err(CredentialError::Issuer { got, .. }) => assert_eq!(got, issuer),
            Err(CredentialError::Signature) => {}
            other => panic!("{other:?}"),
        }
    }
});
