//! Links between enclaves (`docs/spec/attested-link.md`): mutual TLS 1.3 with
//! ALPN `bastide-link/1`, evidence both ways bound to the session, and only
//! then messages.
//!
//! | part | what it owns |
//! |---|---|
//! | `machine` | the order of events: bytes, evidence, verdicts and time in, effects out; no I/O |
//! | `frames` | frames out of bytes as they come |
//! | `tls` | the link's key, both TLS configurations, exporters and keys of a session |
//! | `endpoint` | what an enclave is; connects and accepts |
//! | `peers` | whom it links with: for each stage, by which policy |
//! | `credential` | where its membership credential comes from |
//! | `driver`, `writer` | the machine on a socket: two tasks a link, bounded queues |
//! | `attested` | the only thing a message can be sent on |
//!
//! No byte of the application is written to, or taken from, a peer whose
//! evidence was not accepted, which is not admitted to the pipeline, or whose
//! lease is over.

mod attested;
mod credential;
mod driver;
mod end;
mod endpoint;
mod frames;
mod machine;
mod peers;
mod times;
mod tls;
mod writer;

pub use attested::{AttestedLink, LinkPeer, LinkSendError, LinkSender};
pub use credential::LinkCredential;
pub use end::{LinkEnd, LinkState};
pub use endpoint::{LinkEndpoint, LinkError, LinkTerms};
pub use peers::{LinkPeers, LinkPolicy};
pub use times::LinkTimes;
pub use tls::LinkIdentity;
