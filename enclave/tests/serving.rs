//! The enclave over real TLS sockets, with simulated evidence and the
//! committed model. The clients are `bastide-attested-tls`' own.

mod serving {
    pub(crate) mod admission;
    pub(crate) mod changes;
    pub(crate) mod chat;
    pub(crate) mod gpus;
    pub(crate) mod lifecycle;
    pub(crate) mod node;
    pub(crate) mod nvml;
    pub(crate) mod refusals;
    pub(crate) mod sealed;
    pub(crate) mod secrecy;
    pub(crate) mod web_pki;
}
