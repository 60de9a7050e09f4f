//! Pipelines on real sockets with attested links, in one process: simulated
//! machines, the real verifier, the committed models. What comes out is what
//! one node says, whatever the split, the speculation and the losses.

mod answers;
mod enclave;
mod layers;

mod links;
mod losses;
mod relay;
mod ring;
