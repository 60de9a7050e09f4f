//! A peer that speaks TLS and frames as it likes: the attacker's end of a link.
//! It has a key and a certificate, as anyone can; evidence it has only if a test
//! gives it a lane.

use std::sync::Arc;
use std::time::Duration;

use bastide_attestation::SpkiDigest;
use bastide_attestation::binding::{Ends, ExporterSecret, Role, binder, link_confirm, spki_digest};
use bastide_attestation::link::{
    CloseCode, FRAME_HEADER_BYTES, FrameHeader, FrameType, Hello, LINK_ALPN, LinkContext, encode_frame,
};
use bastide_attestation::{Nonce, sha256};
use bastide_attested_tls::{AttestedLink, LaneM, LinkEndpoint, LinkError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

/// The client's end of a link in the attacker's hands. Its victim is the server.
pub(crate) struct Rogue {
    stream: TlsStream<TcpStream>,
    pub(crate) victim: JoinHandle<Result<AttestedLink, LinkError>>,
    pub(crate) exporter_own: ExporterSecret,
    pub(crate) spki_own: SpkiDigest,
    spki_victim: SpkiDigest,
    sent: Vec<u8>,
    received: Vec<u8>,
}

/// How the rogue's TLS differs from an honest one's.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tls {
    pub(crate) without_certificate: bool,
    pub(crate) alpn: Option<&'static [u8]>,
}

impl Rogue {
    /// Connects to a victim that accepts.
    pub(crate) async fn connect(victim: &LinkEndpoint) -> Self {
        Self::connect_with(victim, Tls::default()).await.0.unwrap()
    }

    pub(crate) async fn connect_with(
        victim: &LinkEndpoint,
        tls: Tls,
    ) -> (
        Result<Self, std::io::Error>,
        Option<Result<AttestedLink, LinkError>>,
    ) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let endpoint = victim.clone();
        let victim = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            endpoint.accept_over(stream).await
        });
        let (config, spki_own) = config(tls);
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("rogue.example").unwrap();
        match connector.connect(name, tcp).await {
            Ok(mut stream) => {
                // With TLS 1.3 the client learns only now whether its certificate was wanted.
                if tls.without_certificate {
                    let mut byte = [0];
                    let read = stream.read(&mut byte).await;
                    let error = read
                        .err()
                        .unwrap_or_else(|| std::io::ErrorKind::UnexpectedEof.into());
                    return (Err(error), Some(victim.await.unwrap()));
                }
                (Ok(Self::over(stream, victim, spki_own)), None)
            }
            Err(error) => (Err(error), Some(victim.await.unwrap())),
        }
    }

    fn over(
        stream: TlsStream<TcpStream>,
        victim: JoinHandle<Result<AttestedLink, LinkError>>,
        spki_own: SpkiDigest,
    ) -> Self {
        let (_, connection) = stream.get_ref();
        let mut secret = Zeroizing::new([0; 32]);
        connection
            .export_keying_material(secret.as_mut_slice(), Role::Client.exporter_label(), None)
            .unwrap();
        let certificate = &connection.peer_certificates().unwrap()[0];
        let spki_victim = spki_of(certificate);
        Self {
            victim,
            exporter_own: ExporterSecret::new(secret).unwrap(),
            spki_own,
            spki_victim,
            sent: Vec::new(),
            received: Vec::new(),
            stream,
        }
    }

    /// What the victim's link came to.
    pub(crate) async fn outcome(self) -> Result<AttestedLink, LinkError> {
        drop(self.stream);
        self.victim.await.unwrap()
    }

    pub(crate) async fn send(&mut self, kind: FrameType, body: &[u8]) {
        let frame = encode_frame(kind, body).unwrap();
        self.sent.extend_from_slice(&frame);
        // The victim may be gone already.
        drop(self.stream.write_all(&frame).await);
        drop(self.stream.flush().await);
    }

    /// The next frame of the victim; `None` if it has closed the connection.
    pub(crate) async fn receive(&mut self) -> Option<(FrameType, Vec<u8>)> {
        let mut header = [0; FRAME_HEADER_BYTES];
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, self.stream.read_exact(&mut header))
            .await
            .expect("the victim says or does something")
            .ok()?;
        let parsed = FrameHeader::decode(&header).unwrap();
        let mut body = vec![0; parsed.length()];
        self.stream.read_exact(&mut body).await.ok()?;
        self.received.extend_from_slice(&header);
        self.received.extend_from_slice(&body);
        Some((parsed.kind(), body))
    }

    pub(crate) async fn expect(&mut self, kind: FrameType) -> Vec<u8> {
        let (got, body) = self.receive().await.expect("a frame");
        assert_eq!(got, kind);
        body
    }

    pub(crate) async fn expect_close(&mut self) -> CloseCode {
        loop {
            let (kind, body) = self.receive().await.expect("a CLOSE frame");
            if kind == FrameType::Close {
                return CloseCode::decode(body.try_into().unwrap());
            }
        }
    }

    /// Exchanges HELLOs: the rogue says it stands here. Returns the victim's.
    pub(crate) async fn greet(&mut self, context: LinkContext, credential: Option<Vec<u8>>) -> Hello {
        self.greet_with(Nonce::new([0x42; 32]), context, credential).await
    }

    /// The same with somebody else's challenge.
    pub(crate) async fn greet_with(
        &mut self,
        nonce: Nonce,
        context: LinkContext,
        credential: Option<Vec<u8>>,
    ) -> Hello {
        let hello = Hello {
            role: Role::Client,
            nonce,
            credential,
            context,
            capabilities: Vec::new(),
        };
        self.send(FrameType::Hello, &hello.encode().unwrap()).await;
        Hello::decode(&self.expect(FrameType::Hello).await).unwrap()
    }

    /// Evidence of a machine for the victim's challenge on this session, as of
    /// this context.
    pub(crate) async fn evidence(&self, lane: &LaneM, nonce: &Nonce, context: LinkContext) -> Vec<u8> {
        let ends = Ends {
            role: Role::Client,
            spki_attester: self.spki_own,
            spki_peer: Some(self.spki_victim),
            context: Some(context.digest()),
        };
        let binder = binder(&self.exporter_own, nonce, &ends);
        let attested = lane.attest_as(Role::Client.leaf_type(), binder).await.unwrap();
        attested.evidence().encode()
    }

    /// CONFIRM over what was sent and received so far.
    pub(crate) fn confirm(&self) -> [u8; 32] {
        link_confirm(&self.exporter_own, &sha256(&[&self.sent, &self.received]))
    }
}

fn config(tls: Tls) -> (ClientConfig, SpkiDigest) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    let spki = spki_of(certificate.der());
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything));
    let mut config = if tls.without_certificate {
        builder.with_no_client_auth()
    } else {
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        builder
            .with_client_auth_cert(vec![certificate.der().clone()], key)
            .unwrap()
    };
    config.alpn_protocols = vec![tls.alpn.unwrap_or(LINK_ALPN.as_bytes()).to_vec()];
    (config, spki)
}

/// SHA-256 of the SubjectPublicKeyInfo.
fn spki_of(certificate: &CertificateDer<'_>) -> SpkiDigest {
    let parsed = rustls::server::ParsedCertificate::try_from(certificate).unwrap();
    spki_digest(parsed.subject_public_key_info().as_ref())
}

/// The attacker believes everyone.
#[derive(Debug)]
struct Anything;

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
