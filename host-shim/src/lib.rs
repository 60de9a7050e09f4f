//! `bastide-shim`: the untrusted host's part. It moves bytes between a network
//! and a guest, and that is all it can do.
//!
//! | module | what it owns |
//! |---|---|
//! | [`args`] | the command line, checked once |
//! | [`endpoint`] | `tcp:…` and `vsock:…`: parse, bind, connect |
//! | [`limits`] | who is let in: connections in all and per address; the time-outs |
//! | [`relay`] | accept, connect to the guest, drain |
//! | `pump` | one connection's two directions: bounded buffers, half-close, time-outs |
//! | [`ohttp`] | `relay-ohttp`: becomes the command beside this one that does it |
//! | [`shutdown`] | SIGTERM and SIGINT: first drains, second ends |
//! | [`ready`] | the one line on stdout, and the ready file |
//! | [`log`] | the closed list of what may be written to stderr |
//!
//! Invariants of this crate:
//! - it depends on no other crate of this workspace and on no TLS: it can't name
//!   a plaintext type (`tests/tests/architecture.rs` holds that);
//! - bytes of a connection live in two buffers of [`relay::BUFFER`] bytes and go
//!   nowhere else; nothing queues, so a slow reader slows its own writer only;
//! - what a peer can make it hold is bounded: connections, per-address
//!   connections, bytes, time;
//! - no log line has a field for payload, and a client's address is written at
//!   level `debug` only.
#![forbid(unsafe_code)]

pub mod args;
pub mod endpoint;
pub mod limits;
pub mod log;
pub mod ohttp;
pub mod ready;
pub mod relay;
pub mod shutdown;

mod counters;
mod pump;

pub use counters::Snapshot;
