//! Rules for TLS that come on top of evidence: names, and key exchange. The
//! nodes are rustls as it comes, with the attest exchange on it.

use std::sync::Arc;

use bastide_attestation::Nonce;
use bastide_attestation::binding::{Ends, ExporterSecret, Role, binder, spki_digest};
use bastide_attested_tls::{
    ConnectError, Connector, HttpVersions, KeyExchange, NodeAddress, ServerIdentity, ServerNames,
    SessionRules, TrustRoots,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::doubles::BindingAppraiser;
use crate::node::{answer, honest, lane, listen, read_challenge};

/// An authority and what it issued for `localhost`.
struct Issued {
    root: Vec<u8>,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Issued {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = KeyPair::generate().unwrap();
        let root = params.self_signed(&authority).unwrap().der().to_vec();
        let issuer = Issuer::new(params, authority);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        Self {
            root,
            chain: vec![leaf.der().clone()],
            key: key.serialize_der(),
        }
    }

    fn roots(&self) -> TrustRoots {
        TrustRoots::of(std::slice::from_ref(&self.root)).unwrap()
    }

    /// A node with this certificate that attests, honestly or for another challenge.
    async fn serve(&self, provider: CryptoProvider, is_honest: bool) -> u16 {
        let private = PrivateKeyDer::Pkcs8(self.key.clone().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), private)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let leaf = webpki::EndEntityCert::try_from(&self.chain[0]).unwrap();
        let spki = spki_digest(leaf.subject_public_key_info().as_ref());
        let (listener, node) = listen().await;
        let lane = lane();
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(tcp).await else {
                    continue;
                };
                let exporter = stream
                    .get_ref()
                    .1
                    .export_keying_material([0; 32], b"EXPORTER-bastide-attest-server-v1", None)
                    .unwrap();
                let exporter = ExporterSecret::new(Zeroizing::new(exporter)).unwrap();
                let (_, challenge) = read_challenge(&mut stream).await;
                let ends = Ends {
                    role: Role::Server,
                    spki_attester: spki,
                    spki_peer: None,
                    context: None,
                };
                let nonce = if is_honest {
                    challenge.nonce
                } else {
                    Nonce::new([0; 32])
                };
                let attested = lane.attest(binder(&exporter, &nonce, &ends)).await.unwrap();
                tokio::spawn(async move {
                    use tokio::io::{AsyncReadExt, AsyncWriteExt};
                    drop(stream.write_all(&answer(&attested.evidence())).await);
                    drop(stream.read_to_end(&mut Vec::new()).await);
                });
            }
        });
        node.port()
    }
}

fn connector(rules: SessionRules) -> Connector {
    Connector::new(BindingAppraiser::shared())
        .with_http(HttpVersions::Http1)
        .with_session_rules(rules)
}

fn names(roots: TrustRoots) -> Connector {
    connector(SessionRules {
        names: ServerNames::WebPki(roots),
        ..SessionRules::default()
    })
}

fn at(host: &str, port: u16) -> NodeAddress {
    format!("https://{host}:{port}").parse().unwrap()
}

#[tokio::test]
async fn a_certificate_for_the_name_is_asked_for_on_top_of_evidence() {
    let issued = Issued::new();
    let port = issued.serve(default_provider(), true).await;
    let node = at("localhost", port);
    assert!(names(issued.roots()).connect(&node).await.is_ok());
    // Without the rule, the same node by another name.
    assert!(
        connector(SessionRules::default())
            .connect(&at("127.0.0.1", port))
            .await
            .is_ok()
    );

    let self_issued = honest(ServerIdentity::generate().unwrap()).await;
    for (connector, node) in [
        (names(issued.roots()), at("127.0.0.1", port)),
        (names(Issued::new().roots()), node.clone()),
        (names(TrustRoots::web()), node.clone()),
        (names(issued.roots()), self_issued),
    ] {
        let error = connector.connect(&node).await.unwrap_err();
        assert!(matches!(error, ConnectError::Certificate(_)), "{error:?}");
        assert_eq!((error.code(), error.exit_code()), ("session.certificate", 10));
    }
}

#[tokio::test]
async fn a_certificate_for_the_name_replaces_no_evidence() {
    let issued = Issued::new();
    let node = at("localhost", issued.serve(default_provider(), false).await);
    let error = names(issued.roots()).connect(&node).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn x25519_alone_passes_only_where_the_rule_allows_it() {
    let classic = CryptoProvider {
        kx_groups: vec![kx_group::X25519],
        ..default_provider()
    };
    let issued = Issued::new();
    let node = at("localhost", issued.serve(classic, true).await);
    assert!(connector(SessionRules::default()).connect(&node).await.is_ok());
    let only = connector(SessionRules {
        key_exchange: KeyExchange::PostQuantumOnly,
        ..SessionRules::default()
    });
    let error = only.connect(&node).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls(_)), "{error:?}");
    assert_eq!(error.exit_code(), 10);
    let hybrid = honest(ServerIdentity::generate().unwrap()).await;
    assert!(only.connect(&hybrid).await.is_ok());
}
