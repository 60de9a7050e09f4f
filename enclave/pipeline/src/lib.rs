//! One model over several attested enclaves.
//!
//! Owns what the enclaves of a pipeline say to one another and what they do
//! about it: the messages, the head that drafts, verifies and re-plans, and
//! the stage that computes a range of layers. The machines do no I/O and read
//! no clock: they are told what came and when, and say what to send. Refuses
//! whatever is not of its own ring, plan and stage. Prompts, tokens and
//! activations are overwritten when they are dropped, and their types have no
//! `Debug`. The protocol is written down in `docs/spec/pipeline.md`.
//!
//! INVARIANT: what the head emits is what one node would have emitted, token
//! for token, whatever was drafted, split, lost or sent again.
//!
//! | module | owns |
//! |---|---|
//! | `message` | what goes over a link |
//! | `stage` | one range of layers: sequences, digests, what a peer may ask |
//! | `head` | sequences, speculation, the ring and its repair |
//! | `compute` | layers and drafts on the engine |
//! | `node` | the machines on attested links and threads |

pub mod compute;
pub mod head;
pub mod message;
#[cfg(feature = "node")]
pub mod node;
pub mod stage;
