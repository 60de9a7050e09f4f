//! Sealed mode on the wire (`docs/spec/sealed-mode.md`), for clients that can't
//! reach a TLS exporter: key configurations of RFC 9458, chunked encapsulation
//! (draft-ietf-ohai-chunked-ohttp), Binary HTTP (RFC 9292), and the envelope
//! that binds a key configuration to evidence. Formats only: no key is here.
//!
//! | module | what it owns |
//! |---|---|
//! | `answer` | evidence with the key configuration that it is bound to |
//! | `fields` | header fields inside Binary HTTP, and what may be one |
//! | `framing` | lengths and chunks of an encapsulated message |
//! | `key_config` | `application/ohttp-keys`, and the header of a request |
//! | `request` | a request as Binary HTTP, padded |
//! | `response` | a response as Binary HTTP, piece by piece |

mod answer;
mod fields;
mod framing;
mod key_config;
mod request;
mod response;

pub use answer::SealedKeyAnswer;
pub use fields::{Field, MAX_FIELDS, MAX_SECTION_BYTES};
pub use framing::{Framed, MAX_CHUNK_BYTES, TAG_BYTES, Unframer, frame, frame_last};
pub use key_config::{
    Aead, HEADER_BYTES, Kem, KeyConfig, MAX_CONFIG_BYTES, RequestHeader, decode_configs, encode_configs,
};
pub use request::{SealedRequest, padded_request_bytes};
pub use response::{ResponseHead, ResponsePiece, ResponseReader, response_content, response_end};

/// Where evidence of the sealed-mode key is asked for, with an attest request.
pub const SEALED_KEY_PATH: &str = "/.well-known/bastide/sealed-key";
/// Where sealed requests go.
pub const SEALED_PATH: &str = "/.well-known/bastide/sealed";
/// Media type of a sealed request.
pub const SEALED_REQUEST_TYPE: &str = "message/ohttp-chunked-req";
/// Media type of a sealed response. An answer of any other is not from the
/// enclave as far as anybody can tell.
pub const SEALED_RESPONSE_TYPE: &str = "message/ohttp-chunked-res";
/// The field of a sealed request that names, in 64 hex digits, the statement its
/// sender appraised for the key: SHA-256(S).
pub const STATEMENT_FIELD: &str = "bastide-statement";

/// Why bytes are not what sealed mode defines. No content is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealedFormatError {
    /// The message ends before it is complete: nobody may take it for whole.
    #[error("the message was cut: its final chunk did not come")]
    Truncated,
    /// A chunk that is longer than any may be.
    #[error("a chunk has at most {MAX_CHUNK_BYTES} bytes of content, this one has more")]
    ChunkTooLarge,
    /// A key configuration that isn't one.
    #[error("key configuration: expected {expected}")]
    KeyConfig {
        /// What should have come.
        expected: &'static str,
    },
    /// No key configuration in the list can be used.
    #[error("no key configuration with X25519 or X-Wing, HKDF-SHA256 and an AEAD that is known")]
    NoKnownConfig,
    /// The header of a sealed request that isn't one, or names what is not offered.
    #[error("the sealed request's header names no key, KEM, KDF and AEAD that are offered")]
    Header,
    /// Not Binary HTTP as it is used here.
    #[error("binary HTTP message: expected {expected}")]
    Message {
        /// What should have come.
        expected: &'static str,
    },
}

pub(crate) const fn message(expected: &'static str) -> SealedFormatError {
    SealedFormatError::Message { expected }
}
