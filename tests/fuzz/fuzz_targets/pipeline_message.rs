//! What comes over a pipeline's link: whole, and as the body of a message whose
//! head and padding are as they should be.
#![no_main]

use bastide_pipeline::message::{Bounds, Envelope, MESSAGE_BUCKETS};
use libfuzzer_sys::fuzz_target;

const BOUNDS: Bounds = Bounds {
    width: 16,
    vocab: 2_048,
};

fn check(bytes: &[u8]) {
    if let Ok(envelope) = Envelope::decode(bytes, &BOUNDS) {
        let again = envelope.encode().expect("what was read can be written");
        assert_eq!(*again, bytes);
    }
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let Some((kind, body)) = bytes.split_first() else {
        return;
    };
    let length = u32::try_from(body.len()).expect("inputs are short");
    let mut whole = vec![*kind, 1, 0, 0, 0];
    whole.extend(length.to_le_bytes());
    whole.extend(body);
    if let Some(size) = MESSAGE_BUCKETS.iter().find(|size| **size >= whole.len()) {
        whole.resize(*size, 0);
        check(&whole);
    }
});
