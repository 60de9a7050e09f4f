//! The TLS of a link: ALPN to the letter, a certificate from both ends, and no
//! other session than a full one of TLS 1.3.

use crate::enclave::{Machine, chips, code};
use crate::rogue::{Rogue, Tls};

#[tokio::test]
async fn another_alpn_gets_no_session() {
    let ours = Machine::on_chip(1).await;
    let victim = ours.endpoint(1, 0, chips(&[ours.chip]));
    for alpn in [b"http/1.1".as_slice(), b"bastide-link/2", b"h2"] {
        let tls = Tls {
            alpn: Some(alpn),
            ..Tls::default()
        };
        let (rogue, victim) = Rogue::connect_with(&victim, tls).await;
        assert!(rogue.is_err());
        assert_eq!(code(victim.unwrap()), "link.alpn");
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_gets_no_session() {
    let ours = Machine::on_chip(1).await;
    let victim = ours.endpoint(1, 0, chips(&[ours.chip]));
    let tls = Tls {
        without_certificate: true,
        ..Tls::default()
    };
    let (rogue, victim) = Rogue::connect_with(&victim, tls).await;
    assert!(rogue.is_err());
    assert_eq!(code(victim.unwrap()), "link.tls");
}
