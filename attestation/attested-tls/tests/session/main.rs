//! Sessions over real sockets on loopback: the threats of the protocol
//! document that this crate holds off, each by its number. The attester signs
//! nothing and the appraiser checks the binding only: what hardware and
//! verifier add is tested where they are.

mod binding;
mod doubles;
mod epochs;
mod gate;
mod goaway;
mod handshake;
mod lane;
mod lane_k;
mod node;
mod pipelines;
mod pool;
mod recorder;
mod requests;
mod rules;
