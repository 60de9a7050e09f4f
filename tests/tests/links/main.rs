//! Links between enclaves over real sockets: the simulator's evidence, the real
//! verifier, and peers that keep to the protocol or don't. Tests are named after
//! the threats of `docs/spec/attested-link.md`.

mod diversion;
mod enclave;
mod evidence;
mod lifetime;
mod open;
mod reflection;
mod rogue;
mod sessions;
mod stages;
