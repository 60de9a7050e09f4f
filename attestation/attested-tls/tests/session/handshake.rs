//! Full TLS 1.3 handshakes only, from either end: T4 and T16. The other end is
//! rustls as it comes, or bytes written by hand where rustls would not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bastide_attestation::Nonce;
use bastide_attestation::binding::{Ends, ExporterSecret, Role, binder};
use bastide_attested_tls::{
    AcceptError, ConnectError, Connector, NodeAddress, ServerIdentity, SessionBinding, SessionFault, State,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::crypto::{aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, HandshakeKind, NamedGroup, ServerConfig, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use zeroize::Zeroizing;

use crate::doubles::BindingAppraiser;
use crate::node::{accept, honest, listen, read_challenge};

/// Takes any certificate whose key signed the handshake.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// A rustls client as it comes, resumption and all, that speaks `http/1.1`.
pub(crate) fn plain_client() -> Arc<ClientConfig> {
    Arc::new(client_with(|_| {}))
}

fn client_with(change: impl FnOnce(&mut ClientConfig)) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    change(&mut config);
    config
}

pub(crate) async fn tls_connect(config: &Arc<ClientConfig>, node: &NodeAddress) -> TlsStream<TcpStream> {
    try_tls_connect(config, node).await.unwrap()
}

async fn try_tls_connect(
    config: &Arc<ClientConfig>,
    node: &NodeAddress,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect((node.host(), node.port())).await?;
    let name = ServerName::try_from(node.host().to_owned()).unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, tcp).await
}

/// rustls' store, and a count of the tickets put into it.
#[derive(Debug)]
struct Tickets {
    store: ClientSessionMemoryCache,
    count: Mutex<usize>,
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.store.set_kx_hint(server, group);
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.store.kx_hint(server)
    }

    fn set_tls12_session(&self, _server: ServerName<'static>, _session: Tls12ClientSessionValue) {
        *self.count.lock().unwrap() += 1;
    }

    fn tls12_session(&self, _server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _server: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        *self.count.lock().unwrap() += 1;
        self.store.insert_tls13_ticket(server, ticket);
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.store.take_tls13_ticket(server)
    }
}

/// T4: a client that would resume gets nothing to resume with.
#[tokio::test]
async fn t4_our_server_gives_no_ticket_and_resumes_nothing() {
    let node = honest(ServerIdentity::generate().unwrap()).await;
    let tickets = Arc::new(Tickets {
        store: ClientSessionMemoryCache::new(8),
        count: Mutex::new(0),
    });
    let store: Arc<dyn ClientSessionStore> = Arc::clone(&tickets) as _;
    let config = Arc::new(client_with(|config| {
        config.resumption = Resumption::store(store);
        config.enable_early_data = true;
    }));
    for _ in 0..3 {
        let mut stream = tls_connect(&config, &node).await;
        // Tickets come with the first bytes after the handshake.
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        assert!(answer.starts_with(b"HTTP/1.1 403"), "{}", answer.escape_ascii());
        let (_, connection) = stream.get_ref();
        assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full));
        assert!(!connection.is_early_data_accepted());
        assert_eq!(
            connection
                .negotiated_key_exchange_group()
                .map(|group| group.name()),
            Some(NamedGroup::X25519MLKEM768)
        );
    }
    assert_eq!(*tickets.count.lock().unwrap(), 0);
}

/// A rustls server as it comes: it sends tickets and would resume.
fn default_server(alpn: &[&[u8]]) -> TlsAcceptor {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let private = PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    assert!(config.send_tls13_tickets > 0);
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// A certificate is worth nothing without its key: the client verifies the
/// signature over the handshake, though not who issued the certificate.
#[tokio::test]
async fn a_certificate_shown_without_its_key_is_refused() {
    let own = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
    let stolen = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let private = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let key = provider.key_provider.load_private_key(private).unwrap();
    for (certificate, fits) in [(&own.cert, true), (&stolen.cert, false)] {
        let certified = CertifiedKey::new(vec![certificate.der().clone()], Arc::clone(&key));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (listener, node) = listen().await;
        tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            drop(acceptor.accept(tcp).await);
        });
        let connector = Connector::new(BindingAppraiser::shared());
        let error = connector.connect(&node).await.unwrap_err();
        if fits {
            assert!(
                matches!(error, ConnectError::Closed { state: State::Attest }),
                "{error:?}"
            );
        } else {
            assert!(matches!(error, ConnectError::Tls(_)), "{error:?}");
        }
    }
}

/// T4: our client resumes nothing, whatever tickets it is given.
#[tokio::test]
async fn t4_our_client_never_resumes() {
    let acceptor = default_server(&[b"http/1.1"]);
    let (listener, node) = listen().await;
    let server = tokio::spawn(async move {
        let mut kinds = Vec::new();
        for _ in 0..3 {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(tcp).await.unwrap();
            read_challenge(&mut stream).await;
            let not_found = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(not_found).await.unwrap();
            stream.flush().await.unwrap();
            drop(stream.read(&mut [0; 64]).await);
            kinds.push(stream.get_ref().1.handshake_kind());
        }
        kinds
    });
    let connector = Connector::new(BindingAppraiser::shared());
    for _ in 0..3 {
        let error = connector.connect(&node).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::NoEndpoint { status: 404 }),
            "{error:?}"
        );
    }
    assert_eq!(server.await.unwrap(), [Some(HandshakeKind::Full); 3]);
}

/// The control of the test above: rustls as it comes does resume there.
#[tokio::test]
async fn t4_a_default_client_would_have_resumed() {
    let acceptor = default_server(&[]);
    let (listener, node) = listen().await;
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(tcp).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    let client = plain_client();
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let mut stream = tls_connect(&client, &node).await;
        drop(stream.read_to_end(&mut Vec::new()).await);
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected));
    }
}

#[tokio::test]
async fn both_ends_require_alpn() {
    let identity = ServerIdentity::generate().unwrap();
    for (alpn, fault) in [(vec![], true), (vec![b"h3".to_vec()], false)] {
        let (listener, node) = listen().await;
        let identity = identity.clone();
        let server = tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            accept(&identity, tcp).await.map(drop)
        });
        let config = Arc::new(client_with(|config| config.alpn_protocols = alpn));
        drop(try_tls_connect(&config, &node).await);
        let error = server.await.unwrap().unwrap_err();
        if fault {
            assert!(
                matches!(error, AcceptError::Session(SessionFault::Alpn)),
                "{error:?}"
            );
        } else {
            assert!(matches!(error, AcceptError::Tls(_)), "{error:?}");
        }
    }
    for alpn in [&[][..], &[b"h3".as_slice()]] {
        let acceptor = default_server(alpn);
        let (listener, node) = listen().await;
        tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(tcp).await {
                drop(stream.read(&mut [0]).await);
            }
        });
        let error = Connector::new(BindingAppraiser::shared())
            .connect(&node)
            .await
            .unwrap_err();
        assert!(
            matches!(error, ConnectError::Session(SessionFault::Alpn)),
            "{error:?}"
        );
        assert_eq!((error.code(), error.exit_code()), ("session.not_bindable", 10));
    }
}

fn handshake_record(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 3];
    record.extend_from_slice(&(length + 4).to_be_bytes());
    record.extend_from_slice(&[kind, 0]);
    record.extend_from_slice(&length.to_be_bytes());
    record.extend_from_slice(body);
    record
}

#[tokio::test]
async fn t4_a_tls_12_server_is_refused() {
    // ServerHello: TLS 1.2, random, no session, ECDHE-RSA-AES128-GCM-SHA256; or
    // the alert `protocol_version`.
    let hello = [&[3, 3][..], &[9; 32], &[0, 0xc0, 0x2f, 0]].concat();
    let alert = vec![21, 3, 3, 0, 2, 2, 70];
    for answer in [handshake_record(2, &hello), alert] {
        let (listener, node) = listen().await;
        tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tcp.read_exact(&mut [0; 64]).await.unwrap();
            tcp.write_all(&answer).await.unwrap();
            drop(tcp.read_to_end(&mut Vec::new()).await);
        });
        let connector = Connector::new(BindingAppraiser::shared());
        let error = connector.connect(&node).await.unwrap_err();
        assert!(matches!(error, ConnectError::NotTls13), "{error:?}");
        assert_eq!((error.code(), error.exit_code()), ("session.not_tls13", 10));
    }
}

#[tokio::test]
async fn t4_a_tls_12_client_is_refused() {
    // ClientHello without supported_versions: at most TLS 1.2.
    let hello = [&[3, 3][..], &[9; 32], &[0, 0, 2, 0xc0, 0x2f, 1, 0]].concat();
    let (listener, node) = listen().await;
    let server = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        accept(&ServerIdentity::generate().unwrap(), tcp).await.map(drop)
    });
    let mut tcp = TcpStream::connect((node.host(), node.port())).await.unwrap();
    tcp.write_all(&handshake_record(1, &hello)).await.unwrap();
    let mut answer = Vec::new();
    drop(tcp.read_to_end(&mut answer).await);
    assert_eq!(answer.first(), Some(&21), "an alert: {answer:?}");
    let error = server.await.unwrap().unwrap_err();
    assert!(matches!(error, AcceptError::Tls(_)), "{error:?}");
}

#[tokio::test]
async fn a_silent_client_is_not_waited_for() {
    let (listener, node) = listen().await;
    let _client = TcpStream::connect((node.host(), node.port())).await.unwrap();
    let (tcp, _) = listener.accept().await.unwrap();
    let timeout = Duration::from_millis(50);
    let identity = ServerIdentity::generate().unwrap();
    let error = identity.accept(tcp, timeout).await.unwrap_err();
    assert!(matches!(error, AcceptError::TimedOut { .. }), "{error:?}");
}

/// T16: with `SSLKEYLOGFILE` set, a whole session leaves no such file.
#[test]
fn t16_no_key_log_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.log");
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "requests::an_attested_connection_carries_requests_over_either_http",
        ])
        .env("SSLKEYLOGFILE", &file)
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(output.contains("1 passed"), "{output}");
    assert!(!file.exists());
}

/// The binding is no artefact of one library: OpenSSL exports the same value.
#[tokio::test]
async fn openssl_exports_the_value_that_evidence_is_bound_to() {
    if std::process::Command::new("openssl")
        .arg("version")
        .output()
        .is_err()
    {
        println!("ignored: no openssl");
        return;
    }
    let identity = ServerIdentity::generate().unwrap();
    let (listener, node) = listen().await;
    let spki = identity.spki();
    let server = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let (mut stream, binding) = accept(&identity, tcp).await.unwrap();
        drop(stream.read(&mut [0]).await);
        binding
    });
    let connect = format!("127.0.0.1:{}", node.port());
    let arguments = [
        "s_client",
        "-connect",
        &connect,
        "-tls1_3",
        "-groups",
        "X25519",
        "-alpn",
        "http/1.1",
        "-keymatexport",
        "EXPORTER-bastide-attest-server-v1",
        "-keymatexportlen",
        "32",
    ];
    let said = tokio::process::Command::new("openssl")
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let exported = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("Keying material: "))
        .unwrap_or_else(|| panic!("no keying material: {said}"));
    let exported: Vec<u8> = (0..32)
        .map(|at| u8::from_str_radix(&exported[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let exported = ExporterSecret::new(Zeroizing::new(exported.try_into().unwrap())).unwrap();
    let binding: SessionBinding = server.await.unwrap();
    let nonce = Nonce::new([0x11; 32]);
    let ends = Ends {
        role: Role::Server,
        spki_attester: spki,
        spki_peer: None,
        context: None,
    };
    assert_eq!(binder(&exported, &nonce, &ends), binding.binder(&nonce));
}
