//! What comes on a link before anything is believed: a frame's header, and a
//! HELLO that is exactly its own encoding.
#![no_main]

use bastide_attestation::link::{CloseCode, FRAME_HEADER_BYTES, FrameHeader, Hello, encode_frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(header) = bytes.first_chunk::<FRAME_HEADER_BYTES>()
        && let Ok(decoded) = FrameHeader::decode(header)
    {
        let frame = encode_frame(decoded.kind(), &vec![0; decoded.length()]).expect("within its bounds");
        assert_eq!(frame.first_chunk(), Some(header));
    }
    if let Some(code) = bytes.first_chunk() {
        assert_eq!(CloseCode::decode(*code).encode(), *code);
    }
    if let Ok(hello) = Hello::decode(bytes) {
        assert_eq!(hello.encode().as_deref(), Ok(bytes));
    }
});
