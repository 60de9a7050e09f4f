//! The cryptography both ends use, and the only place that chooses it: TLS 1.3
//! cipher suites and two key exchange groups of aws-lc-rs. It installs no
//! process-wide provider and reads none.

use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};

/// ALPN protocol of HTTP/1.1.
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";
/// ALPN protocol of HTTP/2.
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";
/// ALPN protocols of an attested session, best first. Both ends refuse a session
/// without one, so that bytes can't be taken for those of another protocol (ALPACA).
pub(crate) const ALPN: [&[u8]; 2] = [ALPN_HTTP2, ALPN_HTTP1];

/// aws-lc-rs with the hybrid post-quantum group first, X25519 second, and no
/// other group; what was recorded today stays closed to a later quantum computer.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519],
        ..default_provider()
    })
}

/// The same without X25519 alone: post-quantum or nothing.
pub(crate) fn post_quantum_provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![kx_group::X25519MLKEM768],
        ..CryptoProvider::clone(&provider())
    })
}

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRandomness;

/// Fills `bytes` from the operating system.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    SystemRandom::new().fill(bytes).map_err(|_| NoRandomness)
}
