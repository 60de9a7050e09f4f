//! What a handshake must have been, and what evidence for its session must be
//! bound to. The exporter is read here, once, and leaves only as a [`Binder`].

use bastide_attestation::binding::{Ends, ExporterSecret, Role, binder};
use bastide_attestation::{Binder, Nonce, SpkiDigest};
use rustls::{ConnectionCommon, HandshakeKind, ProtocolVersion};
use zeroize::Zeroizing;

use crate::provider::{ALPN_HTTP1, ALPN_HTTP2};

/// What is spoken on a session after its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1: one request after the other.
    Http1,
    /// HTTP/2: several requests at once.
    Http2,
}

/// Why a finished handshake gives no session that evidence could be bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionFault {
    /// Another protocol than `h2` and `http/1.1`, or none, was negotiated.
    #[error("the peer did not agree on ALPN `h2` or `http/1.1`")]
    Alpn,
    /// Application data came before the handshake ended.
    #[error("early data was accepted; only full handshakes can be attested")]
    EarlyData,
    /// The TLS exporter failed or gave an all-zero value.
    #[error("the TLS exporter gave nothing to bind evidence to")]
    Exporter,
    /// Keys were exchanged in another way than this side allows.
    #[error("the peer did not agree on a key exchange that is allowed here")]
    KeyExchange,
    /// The peer showed no certificate, or one without a readable key.
    #[error("the peer showed no certificate with a readable key")]
    NoCertificate,
    /// Another version than TLS 1.3.
    #[error("the peer did not agree on TLS 1.3")]
    NotTls13,
    /// The session was resumed: its certificate was not looked at again.
    #[error("the session was resumed; only full handshakes can be attested")]
    Resumed,
}

/// What evidence of the server on one session must be bound to: the exporter's
/// value for that role, and the server's key. Both ends of a session hold equal
/// ones; nobody else does.
#[derive(Debug, Clone)]
pub struct SessionBinding {
    exporter: ExporterSecret,
    spki_server: SpkiDigest,
    protocol: Protocol,
}

impl SessionBinding {
    /// What is spoken on this session.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The binder for a challenge on this session: role server, no client
    /// certificate, no link context.
    #[must_use]
    pub fn binder(&self, nonce: &Nonce) -> Binder {
        let ends = Ends {
            role: Role::Server,
            spki_attester: self.spki_server,
            spki_peer: None,
            context: None,
        };
        binder(&self.exporter, nonce, &ends)
    }

    /// Checks the finished handshake and reads the exporter, the only time.
    pub(crate) fn take<Data>(
        connection: &ConnectionCommon<Data>,
        early_data: bool,
        spki_server: SpkiDigest,
    ) -> Result<Self, SessionFault> {
        let protocol = check(
            connection.protocol_version(),
            connection.handshake_kind(),
            connection.alpn_protocol(),
            early_data,
        )?;
        let exporter =
            export(|output, label| connection.export_keying_material(output, label, None).map(drop))?;
        Ok(Self {
            exporter,
            spki_server,
            protocol,
        })
    }
}

fn check(
    version: Option<ProtocolVersion>,
    kind: Option<HandshakeKind>,
    alpn: Option<&[u8]>,
    early_data: bool,
) -> Result<Protocol, SessionFault> {
    require_full(version, kind, early_data)?;
    match alpn {
        Some(ALPN_HTTP2) => Ok(Protocol::Http2),
        Some(ALPN_HTTP1) => Ok(Protocol::Http1),
        _ => Err(SessionFault::Alpn),
    }
}

/// Requires a full TLS 1.3 handshake without early data.
pub(crate) fn require_full(
    version: Option<ProtocolVersion>,
    kind: Option<HandshakeKind>,
    early_data: bool,
) -> Result<(), SessionFault> {
    if version != Some(ProtocolVersion::TLSv1_3) {
        return Err(SessionFault::NotTls13);
    }
    // What is allowed is listed: an unknown kind is no full handshake.
    if !matches!(
        kind,
        Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
    ) {
        return Err(SessionFault::Resumed);
    }
    if early_data {
        return Err(SessionFault::EarlyData);
    }
    Ok(())
}

fn export(
    exporter: impl FnOnce(&mut [u8], &[u8]) -> Result<(), rustls::Error>,
) -> Result<ExporterSecret, SessionFault> {
    let mut value = Zeroizing::new([0; 32]);
    exporter(value.as_mut_slice(), Role::Server.exporter_label()).map_err(|_| SessionFault::Exporter)?;
    ExporterSecret::new(value).map_err(|_| SessionFault::Exporter)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: (
        Option<ProtocolVersion>,
        Option<HandshakeKind>,
        Option<&[u8]>,
        bool,
    ) = (
        Some(ProtocolVersion::TLSv1_3),
        Some(HandshakeKind::Full),
        Some(ALPN_HTTP1),
        false,
    );

    #[test]
    fn t4_only_a_full_tls_13_handshake_with_our_alpn_passes() {
        let (version, kind, alpn, early) = GOOD;
        assert_eq!(check(version, kind, alpn, early), Ok(Protocol::Http1));
        let two = Some(ALPN_HTTP2);
        assert_eq!(check(version, kind, two, early), Ok(Protocol::Http2));
        let retried = Some(HandshakeKind::FullWithHelloRetryRequest);
        assert_eq!(check(version, retried, alpn, early), Ok(Protocol::Http1));
        for other in [None, Some(ProtocolVersion::TLSv1_2)] {
            assert_eq!(check(other, kind, alpn, early), Err(SessionFault::NotTls13));
        }
        for other in [None, Some(HandshakeKind::Resumed)] {
            assert_eq!(check(version, other, alpn, early), Err(SessionFault::Resumed));
        }
        for other in [None, Some(b"h3".as_slice()), Some(b"bastide-link/1")] {
            assert_eq!(check(version, kind, other, early), Err(SessionFault::Alpn));
        }
        assert_eq!(check(version, kind, alpn, true), Err(SessionFault::EarlyData));
    }

    /// T15: an exporter that fails, or gives zeros, ends the session.
    #[test]
    fn t15_an_exporter_that_fails_or_gives_zeros_is_refused() {
        let failed = export(|_, _| Err(rustls::Error::HandshakeNotComplete));
        assert_eq!(failed.unwrap_err(), SessionFault::Exporter);
        assert_eq!(export(|_, _| Ok(())).unwrap_err(), SessionFault::Exporter);
        let fine = export(|output, label| {
            assert_eq!(label, b"EXPORTER-bastide-attest-server-v1");
            output.fill(1);
            Ok(())
        });
        assert!(fine.is_ok());
    }

    #[test]
    fn a_binding_shows_nothing_of_its_exporter() {
        let binding = SessionBinding {
            exporter: ExporterSecret::new(Zeroizing::new([0xa7; 32])).unwrap(),
            spki_server: SpkiDigest::new([1; 32]),
            protocol: Protocol::Http1,
        };
        let shown = format!("{binding:?}");
        assert!(!shown.contains("a7") && !shown.contains("167"), "{shown}");
    }
}
