//! Who the enclave is on TLS: a key made at boot and the certificate it issues for
//! itself, or what an authority issued; and the only server configuration there
//! is. No key is ever written anywhere.

mod issued;

use std::sync::Arc;
use std::time::Duration;

use bastide_attestation::{SpkiDigest, UnixTime};
use rcgen::{CertificateParams, DnType};
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use crate::peer_certificate;
use crate::provider::{ALPN, provider};
use crate::server::{AcceptError, ServerSession};
use crate::signing_key::TlsKey;

const COMMON_NAME: &str = "bastide enclave";

/// Why no identity could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// No key could be generated: the operating system gave no random bytes.
    #[error("no TLS key could be generated")]
    Key,
    /// The self-issued certificate could not be made.
    #[error("the self-issued certificate could not be made: {reason}")]
    Certificate {
        /// What the certificate library said.
        reason: String,
    },
    /// The certificate that was given can't be used.
    #[error("the certificate can't be used: {reason}")]
    Issued {
        /// What was expected, and what came.
        reason: String,
    },
    /// The private key that was given can't be used.
    #[error("the private key can't be used: {reason}")]
    PrivateKey {
        /// What was expected, and what came. Nothing of the key.
        reason: &'static str,
    },
    /// The private key is of another certificate.
    #[error("the private key is not that of the first certificate")]
    Mismatch,
    /// The TLS library does not take the configuration.
    #[error("the TLS configuration is not accepted: {reason}")]
    Configuration {
        /// What the TLS library said.
        reason: String,
    },
}

/// The TLS identity of an enclave. Clones share the key.
#[derive(Clone)]
pub struct ServerIdentity {
    config: Arc<ServerConfig>,
    spki: SpkiDigest,
}

impl std::fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerIdentity")
            .field("spki", &self.spki)
            .finish_non_exhaustive()
    }
}

impl ServerIdentity {
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
        let certified = CertifiedKey::new(vec![certificate], Arc::new(key));
        Ok(Self {
            config: Arc::new(server_config(certified)?),
            spki,
        })
    }

    /// The identity of a certificate that an authority issued and of its key, both
    /// PEM: the node's certificate first, then those that lead to a root; one
    /// private key (PKCS#8, PKCS#1 or SEC 1) without a password. What is decoded of
    /// the key is wiped; its bytes are the caller's to wipe.
    ///
    /// Evidence is bound to this key as to a generated one, and rests on its
    /// secrecy as little: whoever holds it elsewhere has another session.
    ///
    /// # Errors
    /// [`IdentityError`] if a file holds something else, the certificate is not
    /// valid `now` or not for servers, or the key is not the certificate's.
    pub fn from_pem(certificates: &[u8], key: &[u8], now: UnixTime) -> Result<Self, IdentityError> {
        let certified = issued::certified(certificates, key, now)?;
        let leaf = certified.cert.first().and_then(peer_certificate::spki);
        let spki = leaf.ok_or(IdentityError::Mismatch)?;
        Ok(Self {
            config: Arc::new(server_config(certified)?),
            spki,
        })
    }

    /// SHA-256 of the certificate's SubjectPublicKeyInfo.
    #[must_use]
    pub const fn spki(&self) -> SpkiDigest {
        self.spki
    }

    /// Does the server's side of a handshake on `io`, for at most `timeout`,
    /// and takes the session's binding before anyone else has the stream.
    ///
    /// # Errors
    /// [`AcceptError`]; `io` is closed then.
    pub async fn accept<IO>(&self, io: IO, timeout: Duration) -> Result<ServerSession<IO>, AcceptError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let handshake = TlsAcceptor::from(Arc::clone(&self.config)).accept(io);
        let stream = tokio::time::timeout(timeout, handshake)
            .await
            .map_err(|_| AcceptError::TimedOut { timeout })?
            .map_err(AcceptError::of_handshake)?;
        ServerSession::new(stream, self.spki)
    }
}

pub(crate) fn self_issued(key: &TlsKey) -> Result<rustls::pki_types::CertificateDer<'static>, IdentityError> {
    // No subject name and no validity period is relied on: nobody checks them.
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, COMMON_NAME);
    let certificate = params
        .self_signed(key)
        .map_err(|error| IdentityError::Certificate {
            reason: error.to_string(),
        })?;
    Ok(certificate.der().clone())
}

fn server_config(certified: CertifiedKey) -> Result<ServerConfig, IdentityError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| IdentityError::Configuration {
            reason: error.to_string(),
        })?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    // INVARIANT: a resumed session skips what evidence is bound to (T4).
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    // INVARIANT: never a `KeyLogFile`: it would write the exporter secret (T16).
    config.key_log = Arc::new(rustls::NoKeyLog {});
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_identity_has_its_own_key() {
        let (one, other) = (
            ServerIdentity::generate().unwrap(),
            ServerIdentity::generate().unwrap(),
        );
        assert_ne!(one.spki(), other.spki());
        assert_eq!(one.clone().spki(), one.spki());
    }

    #[test]
    fn the_configuration_neither_resumes_nor_logs_keys() {
        let config = ServerIdentity::generate().unwrap().config;
        assert_eq!(config.send_tls13_tickets, 0);
        assert!(!config.session_storage.can_cache());
        assert!(!config.ticketer.enabled());
        assert_eq!(config.max_early_data_size, 0);
        assert_eq!(format!("{:?}", config.key_log), "NoKeyLog");
        assert_eq!(config.alpn_protocols, ALPN);
    }

    #[test]
    fn only_two_groups_are_offered_and_the_hybrid_is_first() {
        let groups: Vec<_> = provider().kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(
            groups,
            [rustls::NamedGroup::X25519MLKEM768, rustls::NamedGroup::X25519]
        );
    }
}
