//! Links between enclaves, as both ends must know them
//! (`docs/spec/attested-link.md`): frames, HELLO, the context that evidence is
//! bound to, and who is admitted to a pipeline. Formats and rules; no order of
//! events, which is the state machine's, and no I/O.

mod context;
mod frame;
mod hello;
mod peer_rules;

pub use context::{LINK_ALPN, LinkContext};
pub use frame::{
    CloseCode, FRAME_HEADER_BYTES, FrameError, FrameHeader, FrameType, MAX_DATA_BYTES, encode_frame,
};
pub use hello::{Hello, HelloError, MAX_CAPABILITIES, MAX_CAPABILITY_BYTES};
pub use peer_rules::{
    Admission, HardwareRules, NoCredential, NotAdmitted, PeerRules, PeerRulesError, Required,
};
