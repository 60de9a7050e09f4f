//! What a client asks of TLS before it asks for evidence: how keys are
//! exchanged, and whether the certificate must name the node. Whatever is asked
//! here comes on top of the evidence and replaces nothing of it.

use std::fmt;
use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, NamedGroup, RootCertStore};

use crate::client::error::ConnectError;
use crate::peer_certificate::EvidenceDecides;
use crate::provider::{ALPN, ALPN_HTTP1, post_quantum_provider, provider};
use crate::session::SessionFault;

/// How the keys of a session may be exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyExchange {
    /// X25519MLKEM768, or X25519 with a node that has no other.
    #[default]
    PostQuantumPreferred,
    /// X25519MLKEM768 and nothing else.
    PostQuantumOnly,
}

/// What the certificate of a node must be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ServerNames {
    /// Any whose key signed the handshake: who the node is, the evidence says.
    #[default]
    EvidenceDecides,
    /// Issued for the node's name under one of these roots, on top of evidence.
    WebPki(TrustRoots),
}

/// Rules for TLS that hold on every connection of a connector.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionRules {
    /// How keys may be exchanged.
    pub key_exchange: KeyExchange,
    /// What certificates must be.
    pub names: ServerNames,
}

impl SessionRules {
    /// Whether certificates are looked at beyond their key.
    pub(crate) const fn asks_for_names(&self) -> bool {
        matches!(self.names, ServerNames::WebPki(_))
    }
}

/// HTTP versions that a client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersions {
    /// HTTP/2, or HTTP/1.1 with a node that has no other.
    #[default]
    Any,
    /// HTTP/1.1 alone.
    Http1,
}

/// Certificate authorities.
#[derive(Clone)]
pub struct TrustRoots(Arc<RootCertStore>);

/// A certificate that can't be a root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("certificate {number} of the roots is no X.509 certificate that can be one")]
pub struct RootError {
    /// Which of those given, from 0.
    pub number: usize,
}

impl TrustRoots {
    /// Those that Mozilla's programme trusts for web servers.
    #[must_use]
    pub fn web() -> Self {
        Self(Arc::new(RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        }))
    }

    /// These certificates, DER, and no others.
    ///
    /// # Errors
    /// [`RootError`] names the first that can't be read.
    pub fn of(certificates: &[Vec<u8>]) -> Result<Self, RootError> {
        let mut store = RootCertStore::empty();
        for (number, certificate) in certificates.iter().enumerate() {
            store
                .add(CertificateDer::from(certificate.as_slice()))
                .map_err(|_| RootError { number })?;
        }
        Ok(Self(Arc::new(store)))
    }
}

impl fmt::Debug for TrustRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustRoots({})", self.0.len())
    }
}

impl PartialEq for TrustRoots {
    fn eq(&self, other: &Self) -> bool {
        self.0.roots == other.0.roots
    }
}

impl Eq for TrustRoots {}

impl KeyExchange {
    /// Holds that a finished handshake exchanged its keys in an allowed way.
    pub(crate) fn require(self, group: Option<NamedGroup>) -> Result<(), SessionFault> {
        match (self, group) {
            (_, Some(NamedGroup::X25519MLKEM768))
            | (Self::PostQuantumPreferred, Some(NamedGroup::X25519)) => Ok(()),
            _ => Err(SessionFault::KeyExchange),
        }
    }
}

/// Made anew for every connection: nothing of an earlier one can be in it.
pub(crate) fn client_config(rules: &SessionRules, http: HttpVersions) -> Result<ClientConfig, ConnectError> {
    let internal = |reason: String| ConnectError::Internal { reason };
    let provider = match rules.key_exchange {
        KeyExchange::PostQuantumPreferred => provider(),
        KeyExchange::PostQuantumOnly => post_quantum_provider(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| internal(error.to_string()))?;
    let mut config = match &rules.names {
        ServerNames::EvidenceDecides => {
            let verifier = EvidenceDecides::new(provider.signature_verification_algorithms);
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        }
        ServerNames::WebPki(roots) => {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots.0), provider)
                .build()
                .map_err(|error| internal(error.to_string()))?;
            builder.with_webpki_verifier(verifier)
        }
    }
    .with_no_client_auth();
    config.alpn_protocols = match http {
        HttpVersions::Any => ALPN.map(<[u8]>::to_vec).to_vec(),
        HttpVersions::Http1 => vec![ALPN_HTTP1.to_vec()],
    };
    // INVARIANT: a resumed session skips the certificate and its key (T4).
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    // INVARIANT: never a `KeyLogFile`: it would write the exporter secret (T16).
    config.key_log = Arc::new(rustls::NoKeyLog {});
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t4_t16_no_configuration_resumes_or_logs_keys() {
        for names in [
            ServerNames::EvidenceDecides,
            ServerNames::WebPki(TrustRoots::web()),
        ] {
            for key_exchange in [KeyExchange::PostQuantumOnly, KeyExchange::PostQuantumPreferred] {
                let rules = SessionRules {
                    key_exchange,
                    names: names.clone(),
                };
                let config = client_config(&rules, HttpVersions::Any).unwrap();
                assert!(!config.enable_early_data);
                assert_eq!(format!("{:?}", config.key_log), "NoKeyLog");
                assert_eq!(config.alpn_protocols, ALPN);
                assert!(
                    format!("{:?}", config.resumption).contains("NoClientSessionStorage"),
                    "{:?}",
                    config.resumption
                );
            }
        }
        let one = client_config(&SessionRules::default(), HttpVersions::Http1).unwrap();
        assert_eq!(one.alpn_protocols, [ALPN_HTTP1]);
    }

    #[test]
    fn only_the_groups_that_a_rule_names_pass_it() {
        let (hybrid, classic) = (Some(NamedGroup::X25519MLKEM768), Some(NamedGroup::X25519));
        assert_eq!(KeyExchange::PostQuantumOnly.require(hybrid), Ok(()));
        assert_eq!(KeyExchange::PostQuantumPreferred.require(hybrid), Ok(()));
        assert_eq!(KeyExchange::PostQuantumPreferred.require(classic), Ok(()));
        for (rule, group) in [
            (KeyExchange::PostQuantumOnly, classic),
            (KeyExchange::PostQuantumOnly, None),
            (KeyExchange::PostQuantumPreferred, None),
            (KeyExchange::PostQuantumPreferred, Some(NamedGroup::secp256r1)),
        ] {
            assert_eq!(rule.require(group), Err(SessionFault::KeyExchange));
        }
    }

    #[test]
    fn roots_that_are_none_are_refused_by_number() {
        assert_eq!(TrustRoots::of(&[vec![0x30; 9]]), Err(RootError { number: 0 }));
        assert_eq!(TrustRoots::of(&[]).map(|roots| roots.0.len()), Ok(0));
    }
}
