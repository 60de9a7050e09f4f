//! A vTPM's quote and its signature: never a panic, what is read lies in the
//! input, and what reads as a signature encodes to the same bytes.
#![no_main]

use bastide_attestation::azure::{Quote, QuoteSignature};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(quote) = Quote::parse(bytes) {
        assert!(quote.extra_data.len() <= bytes.len());
        assert!(!quote.selection.is_empty());
        assert!(quote.selection.indices().all(|index| index < 24));
    }
    if let Ok(signature) = QuoteSignature::parse(bytes) {
        let encoded = QuoteSignature::encode(signature.as_bytes());
        assert_eq!(encoded.as_deref().ok(), Some(bytes));
    }
});
