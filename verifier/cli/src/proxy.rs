//! The local API server in front of attested nodes. A request leaves this
//! machine only over a connection that the policy admitted; if there is none,
//! the client gets the reason and nothing is sent.
//!
//! It logs counters and codes, never a body. It listens on loopback only and
//! answers no web page.

mod error;
mod origin;
mod pool;
mod relay;
mod sealed;
mod sealed_gate;
mod server;
mod service;
mod write_limit;

pub(crate) use pool::Pool;
pub(crate) use sealed::SealedService;
pub(crate) use sealed_gate::SealedGate;
pub(crate) use server::{Answers, Server, loopback};
pub(crate) use service::Service;
