//! A node that speaks TLS 1.3 plainly or attests its sessions, and clients of
//! both: with the same groups, cipher suites, key type and HTTP, and one request
//! and its answer on each connection.

use std::sync::Arc;
use std::time::Duration;

use bastide_attestation::{
    ATTEST_PATH, AttestAnswer, AttestRequest, Attestation, Attester, AttesterError, ENVELOPE_MEDIA_TYPE,
    StatementBytes,
};
use bastide_attested_tls::{
    Connector, HttpVersions, LaneLimits, LaneM, NodeAddress, ServerIdentity, SessionBinding,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::doubles::{BindingAppraiser, blank_report, facts};

const HOST: &str = "node.example";
const HTTP1: &[u8] = b"http/1.1";

/// How sessions are attested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not at all.
    Plain,
    /// By a report of their own.
    OneEach,
    /// By a report that those who wait share.
    Batched,
    /// By a signature of the session key, where the client knows a statement.
    Known,
}

/// A security processor that takes its time and signs nothing.
struct Psp(Duration);

impl Attester for Psp {
    fn attest(&self, statement: &StatementBytes) -> Result<Attestation, AttesterError> {
        std::thread::sleep(self.0);
        Ok(blank_report(statement))
    }

    fn name(&self) -> &'static str {
        "bench"
    }
}

/// The node's side.
pub(crate) struct Server {
    kind: Kind,
    identity: ServerIdentity,
    lane: LaneM,
    /// Whose turn it is, where nobody shares a report.
    turn: tokio::sync::Mutex<()>,
    plain: TlsAcceptor,
    certificate: CertificateDer<'static>,
}

fn provider() -> Arc<CryptoProvider> {
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

impl Server {
    pub(crate) fn new(kind: Kind, report: Duration) -> Arc<Self> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("there is randomness");
        let issued = rcgen::CertificateParams::new([HOST.to_owned()]).expect("the name is well-formed");
        let issued = issued.self_signed(&key).expect("the key is at hand");
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let mut plain = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![issued.der().clone()], private)
            .expect("key and certificate fit");
        plain.send_tls13_tickets = 0;
        plain.alpn_protocols = vec![HTTP1.to_vec()];
        Arc::new(Self {
            kind,
            identity: ServerIdentity::generate().expect("there is randomness"),
            lane: LaneM::start(Arc::new(Psp(report)), facts(), LaneLimits::default()).expect("threads"),
            turn: tokio::sync::Mutex::new(()),
            plain: TlsAcceptor::from(Arc::new(plain)),
            certificate: issued.der().clone(),
        })
    }

    /// What a client of the plain node trusts.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Reports so far.
    pub(crate) fn reports(&self) -> u64 {
        self.lane.counters().epochs
    }

    /// Serves the next `sessions` connections to their ends.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, sessions: usize) {
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..sessions {
            let (tcp, _) = listener.accept().await.expect("a socket");
            tcp.set_nodelay(true).expect("a socket");
            running.spawn(Arc::clone(&self).session(tcp));
            while running.try_join_next().is_some() {}
        }
        while running.join_next().await.is_some() {}
    }

    async fn session(self: Arc<Self>, tcp: TcpStream) {
        if self.kind == Kind::Plain {
            let stream = self.plain.accept(tcp).await.expect("handshake");
            return self.answer(stream, None).await;
        }
        let accepted = self.identity.accept(tcp, Duration::from_secs(60)).await;
        let (stream, binding) = accepted.expect("handshake").into_parts();
        self.answer(stream, Some(binding)).await;
    }

    async fn answer<S>(self: Arc<Self>, stream: S, binding: Option<SessionBinding>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, binding) = (Arc::clone(&self), binding.clone());
            async move {
                let body = match (request.uri().path(), binding) {
                    (ATTEST_PATH, Some(binding)) => {
                        let body = request.into_body().collect().await?.to_bytes();
                        let request = AttestRequest::decode(&body).expect("the client is honest");
                        server.attest(&request, &binding).await
                    }
                    _ => b"answer".to_vec(),
                };
                let response = Response::builder()
                    .header(CONTENT_TYPE, ENVELOPE_MEDIA_TYPE)
                    .body(Full::new(Bytes::from(body)));
                Ok::<_, hyper::Error>(response.expect("the head is fixed"))
            }
        });
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        drop(connection.await);
    }

    /// What an enclave does: a signature where that may be, else a report without
    /// what is known.
    async fn attest(&self, request: &AttestRequest, binding: &SessionBinding) -> Vec<u8> {
        let binder = binding.binder(&request.nonce);
        if self.kind == Kind::Known
            && let Some(signed) = self.lane.sign(request, &binder)
        {
            return AttestAnswer::encode_session(&signed.signature);
        }
        let _turn = match self.kind {
            Kind::OneEach => Some(self.turn.lock().await),
            _ => None,
        };
        let attested = self.lane.attest(binder).await.expect("the processor is honest");
        let known = request.known.as_ref().filter(|_| self.kind == Kind::Known);
        let omitted = self.lane.omission(known, &attested);
        attested.envelope(omitted)
    }
}

/// A client of one node.
#[derive(Clone)]
pub(crate) struct Client {
    plain: Option<TlsConnector>,
    connector: Connector,
    /// Whether it forgets every node at once.
    stranger: bool,
    port: u16,
    node: NodeAddress,
}

impl Client {
    pub(crate) fn new(kind: Kind, port: u16, certificate: &CertificateDer<'static>) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(certificate.clone())
            .expect("the certificate is well-formed");
        let mut plain = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        plain.resumption = Resumption::disabled();
        plain.alpn_protocols = vec![HTTP1.to_vec()];
        Self {
            plain: (kind == Kind::Plain).then(|| TlsConnector::from(Arc::new(plain))),
            connector: connector(),
            stranger: kind != Kind::Known,
            port,
            node: format!("https://127.0.0.1:{port}").parse().expect("an address"),
        }
    }

    /// One session: a connection, whatever attests it, one request, its answer.
    pub(crate) async fn session(&self) {
        let request = Request::get("/")
            .header("host", HOST)
            .body(Full::<Bytes>::default());
        let request = request.expect("the request is fixed");
        let body = if let Some(plain) = &self.plain {
            let tcp = TcpStream::connect(("127.0.0.1", self.port))
                .await
                .expect("a socket");
            tcp.set_nodelay(true).expect("a socket");
            let name = ServerName::try_from(HOST).expect("the name is well-formed");
            let stream = plain.connect(name, tcp).await.expect("handshake");
            let http = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
            let (mut sender, connection) = http.expect("HTTP");
            let driver = tokio::spawn(connection);
            let response = sender.send_request(request).await.expect("an answer");
            let body = response
                .into_body()
                .collect()
                .await
                .expect("an answer")
                .to_bytes();
            drop(sender);
            drop(driver.await);
            body
        } else {
            let connector = if self.stranger {
                connector()
            } else {
                self.connector.clone()
            };
            let mut connection = connector.connect(&self.node).await.expect("the node is honest");
            let response = connection.send(request).await.expect("an answer");
            response
                .into_body()
                .collect()
                .await
                .expect("an answer")
                .to_bytes()
        };
        assert_eq!(&body[..], b"answer");
    }
}

fn connector() -> Connector {
    Connector::new(BindingAppraiser::shared()).with_http(HttpVersions::Http1)
}
