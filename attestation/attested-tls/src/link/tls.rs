//! The TLS of links: a key of this boot, one configuration for each end, and
//! what both ends take from a finished handshake, once. Certificates are issued
//! by the keys themselves and required both ways; that the peer holds its key is
//! verified, and who it is is for its evidence to say.

use std::fmt;
use std::sync::Arc;

use bastide_attestation::SpkiDigest;
use bastide_attestation::binding::{ExporterSecret, Role};
use bastide_attestation::link::LINK_ALPN;
use rustls::client::Resumption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, ConnectionCommon, DigitallySignedStruct, DistinguishedName, Error,
    HandshakeKind, PeerIncompatible, ProtocolVersion, SignatureScheme,
};
use zeroize::Zeroizing;

use crate::identity::{IdentityError, self_issued};
use crate::peer_certificate::{self, EvidenceDecides};
use crate::provider::provider;
use crate::session::{SessionFault, require_full};
use crate::signing_key::TlsKey;

/// Name in SNI. It is the same for every link and is compared with nothing.
const SERVER_NAME: &str = "enclave.bastide.internal";

/// Who an enclave is on links: a key made at boot and never written anywhere.
/// Clones share the key.
#[derive(Clone)]
pub struct LinkIdentity {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    spki: SpkiDigest,
}

impl fmt::Debug for LinkIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkIdentity")
            .field("spki", &self.spki)
            .finish_non_exhaustive()
    }
}

impl LinkIdentity {
    /// Makes a new key and its certificate.
    ///
    /// # Errors
    /// [`IdentityError`] names the step that failed.
    pub fn generate() -> Result<Self, IdentityError> {
        let key = TlsKey::generate().map_err(|_| IdentityError::Key)?;
        let certificate = self_issued(&key)?;
        let spki = peer_certificate::spki(&certificate).ok_or_else(|| IdentityError::Certificate {
            reason: "its key is not readable".to_owned(),
        })?;
        let certified = Arc::new(SingleCertAndKey::from(CertifiedKey::new(
            vec![certificate],
            Arc::new(key),
        )));
        let configuration = |error: Error| IdentityError::Configuration {
            reason: error.to_string(),
        };
        Ok(Self {
            server: Arc::new(server_config(Arc::clone(&certified)).map_err(configuration)?),
            client: Arc::new(client_config(certified).map_err(configuration)?),
            spki,
        })
    }

    /// SHA-256 of the certificate's SubjectPublicKeyInfo: what a membership
    /// credential names.
    #[must_use]
    pub const fn spki(&self) -> SpkiDigest {
        self.spki
    }

    pub(super) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        Arc::clone(&self.server).into()
    }

    pub(super) fn connector(&self) -> tokio_rustls::TlsConnector {
        Arc::clone(&self.client).into()
    }
}

/// The server name that every link is opened with.
pub(super) fn server_name() -> Result<ServerName<'static>, SessionFault> {
    ServerName::try_from(SERVER_NAME).map_err(|_| SessionFault::NoCertificate)
}

fn server_config(key: Arc<SingleCertAndKey>) -> Result<ServerConfig, Error> {
    let provider = provider();
    let verifier = AnyKeyProved(provider.signature_verification_algorithms);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(key);
    config.alpn_protocols = vec![LINK_ALPN.as_bytes().to_vec()];
    // INVARIANT: a resumed session skips the certificates and their keys (T4).
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    // INVARIANT: never a `KeyLogFile`: it would write the exporter secrets (T16).
    config.key_log = Arc::new(rustls::NoKeyLog {});
    Ok(config)
}

fn client_config(key: Arc<SingleCertAndKey>) -> Result<ClientConfig, Error> {
    let provider = provider();
    let verifier = EvidenceDecides::new(provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(key);
    config.alpn_protocols = vec![LINK_ALPN.as_bytes().to_vec()];
    // INVARIANT: as above, T4 and T16.
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.key_log = Arc::new(rustls::NoKeyLog {});
    Ok(config)
}

/// The server's counterpart of [`EvidenceDecides`]: a client must show a
/// certificate with a readable key and prove in CertificateVerify that it holds
/// it. Path and validity are left out on purpose, for the same reasons.
#[derive(Debug)]
struct AnyKeyProved(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyKeyProved {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match peer_certificate::spki(end_entity) {
            Some(_) => Ok(ClientCertVerified::assertion()),
            None => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// What one end of a link has of its TLS session: both exporters, each for
/// evidence of one role, and the peer's key.
#[derive(Debug)]
pub(super) struct LinkSession {
    pub(super) exporter_server: ExporterSecret,
    pub(super) exporter_client: ExporterSecret,
    pub(super) spki_peer: SpkiDigest,
}

impl LinkSession {
    /// Checks the finished handshake and reads both exporters, the only time.
    pub(super) fn take<Data>(
        connection: &ConnectionCommon<Data>,
        early_data: bool,
    ) -> Result<Self, SessionFault> {
        check(
            connection.protocol_version(),
            connection.handshake_kind(),
            connection.alpn_protocol(),
            early_data,
        )?;
        let export = |role: Role| {
            let mut value = Zeroizing::new([0; 32]);
            connection
                .export_keying_material(value.as_mut_slice(), role.exporter_label(), None)
                .map_err(|_| SessionFault::Exporter)?;
            ExporterSecret::new(value).map_err(|_| SessionFault::Exporter)
        };
        Ok(Self {
            exporter_server: export(Role::Server)?,
            exporter_client: export(Role::Client)?,
            spki_peer: connection
                .peer_certificates()
                .and_then(<[_]>::first)
                .and_then(peer_certificate::spki)
                .ok_or(SessionFault::NoCertificate)?,
        })
    }
}

fn check(
    version: Option<ProtocolVersion>,
    kind: Option<HandshakeKind>,
    alpn: Option<&[u8]>,
    early_data: bool,
) -> Result<(), SessionFault> {
    require_full(version, kind, early_data)?;
    if alpn != Some(LINK_ALPN.as_bytes()) {
        return Err(SessionFault::Alpn);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_configuration_resumes_logs_keys_or_speaks_anything_else() {
        let identity = LinkIdentity::generate().unwrap();
        let server = &identity.server;
        assert_eq!(server.send_tls13_tickets, 0);
        assert!(!server.session_storage.can_cache() && !server.ticketer.enabled());
        assert_eq!(server.max_early_data_size, 0);
        assert_eq!(format!("{:?}", server.key_log), "NoKeyLog");
        assert_eq!(server.alpn_protocols, [LINK_ALPN.as_bytes()]);
        let client = &identity.client;
        assert!(!client.enable_early_data);
        assert_eq!(format!("{:?}", client.key_log), "NoKeyLog");
        assert_eq!(client.alpn_protocols, [LINK_ALPN.as_bytes()]);
        assert!(format!("{:?}", client.resumption).contains("NoClientSessionStorage"));
    }

    #[test]
    fn only_a_full_tls_13_handshake_with_the_links_alpn_passes() {
        let (version, kind) = (Some(ProtocolVersion::TLSv1_3), Some(HandshakeKind::Full));
        let alpn = Some(LINK_ALPN.as_bytes());
        assert_eq!(check(version, kind, alpn, false), Ok(()));
        let older = Some(ProtocolVersion::TLSv1_2);
        assert_eq!(check(older, kind, alpn, false), Err(SessionFault::NotTls13));
        let resumed = Some(HandshakeKind::Resumed);
        assert_eq!(check(version, resumed, alpn, false), Err(SessionFault::Resumed));
        assert_eq!(check(version, None, alpn, false), Err(SessionFault::Resumed));
        for other in [None, Some(b"http/1.1".as_slice()), Some(b"bastide-link/2")] {
            assert_eq!(check(version, kind, other, false), Err(SessionFault::Alpn));
        }
        assert_eq!(check(version, kind, alpn, true), Err(SessionFault::EarlyData));
    }
}
