//! Sealed mode (`docs/spec/sealed-mode.md`): requests sealed to a key that the
//! enclave attests, for who can't reach a TLS exporter, or wants a relay between.
//! The connection that carries them proves nothing and need not.
//!
//! | module | what it owns |
//! |---|---|
//! | `hpke` | RFC 9180 in base mode, over aws-lc-rs |
//! | `seal` | chunked encapsulation, both ends, without I/O |
//! | `keys` | the enclave's key pairs |
//! | `carrier` | a connection for sealed bytes alone |
//! | `client` | the client's gate: attested key first, then requests under a lease |
//! | `body` | an answer opened as it comes |
//! | `error` | why there is no key or no answer |

mod body;
mod carrier;
mod client;
mod error;
mod hpke;
mod keys;
mod seal;

pub use body::SealedBody;
pub use carrier::{Carrier, CarrierError};
pub use client::{SealedConnector, SealedKey, SealedResponse};
pub use error::SealedError;
pub use keys::{NoKey, SealedKeys};
pub use seal::{AnswerSealer, OpenError, Opened};
