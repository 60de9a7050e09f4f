//! `bastide-ohttp-relay`: passes sealed requests (`docs/spec/sealed-mode.md`) on
//! to one node, so that the node learns no client's address. It holds no key and
//! proves nothing: whoever runs it knows who asks, and not what.
//!
//! | module | what it owns |
//! |---|---|
//! | [`args`] | the command line, checked once |
//! | [`server`] | the listener, limits, time-outs, draining |
//! | [`forward`] | what is passed on, and what is left out |
//! | `paced` | a body that must keep moving |
//!
//! Invariants of this crate:
//! - two paths are passed on, with POST and their media type, to one gateway;
//! - of a request's header nothing is passed on: `content-type` and `accept` are
//!   written anew, since their values are known;
//! - each exchange has a connection to the gateway of its own;
//! - no address, path, header or body is logged, and there is no log level for it;
//! - what a peer can send, open or wait for has a limit.
//!
//! It is a crate beside `bastide-host-shim` and not in it, so that the shim in
//! front of a guest goes on linking neither TLS nor HTTP.
#![forbid(unsafe_code)]

pub mod args;
pub mod forward;
pub mod server;

mod paced;
