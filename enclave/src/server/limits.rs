//! Every limit on what a peer can send, hold or ask for. Owns numbers only:
//! who enforces each is said beside it.

use std::time::Duration;

use crate::admission::AdmissionLimits;

/// The most an answer's tokens can be, whatever the flags say.
pub(crate) const MOST_TOKENS: u32 = 131_072;
/// The longest a connection may live on one attestation (protocol, "States").
pub(crate) const LONGEST_LEASE: Duration = Duration::from_secs(300);
/// Largest attest request body, bytes.
pub(super) const ATTEST_BODY_BYTES: usize = bastide_attestation::AttestRequest::MAX_BYTES;

/// Limits of one enclave. All of them are in the configuration digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest request body, bytes. Read and counted in `server::body`.
    pub body_bytes: usize,
    /// Largest request head, bytes: the read buffer of the HTTP codec.
    pub header_bytes: usize,
    /// Connections at once, counted from accept. One more is closed at once.
    pub connections: usize,
    /// Longest silence between requests on a connection.
    pub idle: Duration,
    /// Longest TLS handshake.
    pub handshake: Duration,
    /// Longest time from handshake to attestation (state PENDING).
    pub attest: Duration,
    /// How long one attestation lets a connection be used.
    pub lease: Duration,
    /// Longest time for one request, from its head to its answer's last byte.
    pub request: Duration,
    /// Generations at once, one thread each.
    pub generations: usize,
    /// Generations that may wait for a thread. One more is answered 503.
    pub queue: usize,
    /// Most tokens that one request may ask for.
    pub tokens: u32,
    /// Longest time to finish running requests when draining.
    pub drain: Duration,
    /// Least time between two reports, whatever the host allows. Kept by lane M.
    pub report_pace: Duration,
    /// How long one session key signs (lane K). Kept by `startup`.
    pub session_key: Duration,
    /// Who may come in, how fast, and how slowly a request may come.
    pub admission: AdmissionLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 256 * 1024,
            header_bytes: 16 * 1024,
            connections: 1024,
            idle: Duration::from_secs(60),
            handshake: Duration::from_secs(10),
            attest: Duration::from_secs(15),
            lease: LONGEST_LEASE,
            request: Duration::from_secs(120),
            generations: 2,
            queue: 32,
            tokens: 4096,
            drain: Duration::from_secs(30),
            report_pace: Duration::ZERO,
            session_key: Duration::from_secs(24 * 3600),
            admission: AdmissionLimits::default(),
        }
    }
}
