//! What a policy says about the TLS session itself. It is for who connects: no
//! evidence says how a session was set up.

/// Which key exchanges a session may be set up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyExchange {
    /// X25519MLKEM768 alone: recorded traffic stays closed to a later quantum computer.
    PostQuantum,
    /// X25519MLKEM768 if the node offers it, else X25519.
    Any,
}

/// What a node's certificate must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerCertificate {
    /// One for a key that the node holds. Who it is, the evidence says.
    Any,
    /// Besides, one that a public authority issued for the node's name.
    WebPki,
}

/// Rules for the session that evidence is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRules {
    /// Key exchanges.
    pub key_exchange: KeyExchange,
    /// The node's certificate.
    pub certificate: ServerCertificate,
}
