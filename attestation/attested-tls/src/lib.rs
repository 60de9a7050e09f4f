//! TLS 1.3 sessions bound to fresh hardware evidence
//! (`docs/spec/attested-tls.md`): the enclave's end, the client's end, and the
//! lane that lets waiting sessions share one hardware report.
//!
//! | module | what it owns |
//! |---|---|
//! | [`ServerIdentity`] | the per-boot TLS key, its certificate, the server's handshake |
//! | [`SessionBinding`] | what evidence for one session must be bound to |
//! | [`LaneM`] | one report for all sessions that wait while another is made; signatures while nothing changes |
//! | [`Connector`] | the client's gate: connect, challenge, appraise |
//! | [`AttestedConnection`] | the only thing a user's bytes can be written to |
//! | [`AttestedPool`] | such connections to several nodes, shared, renewed, replaced |
//! | [`EpochCache`] | epochs appraised a moment ago, so that only a proof is new |
//! | [`LinkEndpoint`], [`AttestedLink`] | links between enclaves, attested both ways |
//! | [`SealedConnector`], [`SealedKeys`] | both ends of sealed mode, where no exporter can be reached |
//!
//! Invariants of this crate:
//! - it is the only one that names `rustls` types, and none is in its interface;
//! - TLS 1.3 only, full handshakes only: no tickets, no early data, no session
//!   storage, no key log whatever `SSLKEYLOGFILE` says, and both ends check it;
//! - the exporter is read once, before HTTP takes the stream; an error or an
//!   all-zero value ends the session;
//! - no byte of a user is written before an [`AttestedConnection`] exists, and
//!   one exists only for evidence that was appraised, fresh and bound to it;
//! - evidence of an older epoch is never served as fresh.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::panic,
        clippy::unreachable,
        clippy::as_conversions
    )
)]

mod address;
mod client;
mod identity;
mod lane_m;
mod link;
mod peer_certificate;
mod provider;
mod sealed;
mod server;
mod session;
mod signing_key;

pub use address::{AddressError, NodeAddress};
pub use client::{
    AppraisePipeline, AttestedConnection, AttestedPool, ConnectError, Connector, EPOCH_LIFE, EpochCache,
    HttpVersions, KeyExchange, LEASE, NodeFailure, PipelineRefused, PoolError, PoolLimits, PoolObserver,
    PooledConnection, RENEW_AFTER, RootError, SendError, ServerNames, SessionAttestation, SessionLane,
    SessionRules, State, Timeouts, TrustRoots,
};
pub use identity::{IdentityError, ServerIdentity};
pub use lane_m::{
    Attested, EnclaveFacts, LaneCounters, LaneError, LaneHealth, LaneLimits, LaneM, LaneSignal, NoSessionKey,
    SessionKey, SignedSession, Standing,
};
pub use link::{
    AttestedLink, LinkCredential, LinkEnd, LinkEndpoint, LinkError, LinkIdentity, LinkPeer, LinkPeers,
    LinkPolicy, LinkSendError, LinkSender, LinkState, LinkTerms, LinkTimes,
};
pub use sealed::{
    AnswerSealer, Carrier, CarrierError, NoKey, OpenError, Opened, SealedBody, SealedConnector, SealedError,
    SealedKey, SealedKeys, SealedResponse,
};
pub use server::{AcceptError, ServerSession, ServerStream};
pub use session::{Protocol, SessionBinding, SessionFault};
