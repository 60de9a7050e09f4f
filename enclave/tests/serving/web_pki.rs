//! A certificate of a public authority: a client that asks for one by name gets
//! it on top of evidence, which is bound to that certificate's key.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bastide_attested_tls::{
    ConnectError, Connector, NodeAddress, ServerIdentity, ServerNames, SessionRules, TrustRoots,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::serving::node::{Bound, Node, now};

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n").into_bytes()
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// An authority's root, and what its intermediate issued for `localhost`.
fn issued() -> (Vec<u8>, ServerIdentity) {
    let (root_key, middle_key, key) = (
        KeyPair::generate().unwrap(),
        KeyPair::generate().unwrap(),
        KeyPair::generate().unwrap(),
    );
    let root = authority("root").self_signed(&root_key).unwrap();
    let issuer = Issuer::new(authority("root"), root_key);
    let middle = authority("intermediate").signed_by(&middle_key, &issuer).unwrap();
    let issuer = Issuer::new(authority("intermediate"), middle_key);
    let leaf = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let chain = [pem("CERTIFICATE", leaf.der()), pem("CERTIFICATE", middle.der())].concat();
    let private = pem("PRIVATE KEY", &key.serialize_der());
    let identity = ServerIdentity::from_pem(&chain, &private, now()).unwrap();
    (root.der().to_vec(), identity)
}

fn asking_for_names(roots: TrustRoots) -> Connector {
    Connector::new(Arc::new(Bound)).with_session_rules(SessionRules {
        names: ServerNames::WebPki(roots),
        ..SessionRules::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_certificate_is_taken_by_its_name_and_by_no_other() {
    let (root, identity) = issued();
    let node = Node::named(identity).await;
    let at =
        |host: &str| -> NodeAddress { format!("https://{host}:{}", node.address.port()).parse().unwrap() };
    let roots = TrustRoots::of(&[root]).unwrap();

    let mut connection = asking_for_names(roots.clone())
        .connect(&at("localhost"))
        .await
        .unwrap();
    let request = hyper::Request::get("/v1/models").body(http_body_util::Full::default());
    let models = connection.send(request.unwrap()).await.unwrap();
    assert_eq!(models.status(), 200);
    // Whom the certificate doesn't matter to gets evidence over the same key.
    node.connect().await;

    for (connector, node) in [
        (asking_for_names(roots.clone()), at("127.0.0.1")),
        (asking_for_names(TrustRoots::web()), at("localhost")),
    ] {
        let error = connector.connect(&node).await.unwrap_err();
        assert!(matches!(error, ConnectError::Certificate(_)), "{error:?}");
        assert_eq!(error.code(), "session.certificate");
    }

    // As before: what a node issues for itself names nobody.
    let without = Node::start().await;
    let address = format!("https://localhost:{}", without.address.port());
    let error = asking_for_names(roots)
        .connect(&address.parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "session.certificate");
}
