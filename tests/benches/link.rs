//! What a link costs at work: a message there and back between two tasks over
//! loopback TCP, bare, over TLS 1.3 as everybody does it, and over an attested
//! link, in turns in the same run.
//!
//! ```text
//! cargo bench -p bastide-tests --bench link
//! ```
//!
//! Without `--bench`, which cargo adds, a few messages. Both peers send a length
//! of four bytes and the message, in one write. TLS has the link's suite and
//! library. Owns no claim: it prints what this machine does.

#[path = "../tests/links/enclave.rs"]
#[expect(dead_code, reason = "the tests ask more of an enclave")]
mod enclave;

use std::sync::Arc;
use std::time::Instant;

use bastide_attested_tls::AttestedLink;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use enclave::{Machine, chips};

/// Bytes of a message: those that a pipeline's are padded to.
const SIZES: [usize; 4] = [256, 4_096, 16_384, 65_536];
/// Round trips of which the median counts.
const TRIPS: usize = 4_001;
const HOST: &str = "stage.example";

/// One end of what is compared.
enum Channel {
    Tcp(Framed<TcpStream>),
    Tls(Box<Framed<TlsStream<TcpStream>>>),
    Link(Box<AttestedLink>),
}

/// Messages with their length before them, over any stream.
struct Framed<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
}

impl<S: AsyncRead + AsyncWrite> Framed<S> {
    fn new(stream: S) -> Self {
        let (reader, writer) = split(stream);
        Self { reader, writer }
    }

    async fn send(&mut self, message: &[u8]) {
        let length = u32::try_from(message.len()).expect("a short message");
        let framed = [&length.to_le_bytes(), message].concat();
        self.writer.write_all(&framed).await.expect("it holds");
        self.writer.flush().await.expect("it holds");
    }

    async fn recv(&mut self) -> Option<Vec<u8>> {
        let length = self.reader.read_u32_le().await.ok()?;
        let mut message = vec![0; length as usize];
        self.reader.read_exact(&mut message).await.expect("it holds");
        Some(message)
    }
}

impl Channel {
    async fn send(&mut self, message: Vec<u8>) {
        match self {
            Self::Tcp(framed) => framed.send(&message).await,
            Self::Tls(framed) => framed.send(&message).await,
            Self::Link(link) => link.send(message).await.expect("the link holds"),
        }
    }

    /// `None` where the other end has gone.
    async fn recv(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Tcp(framed) => framed.recv().await,
            Self::Tls(framed) => framed.recv().await,
            Self::Link(link) => link.recv().await.ok().flatten(),
        }
    }
}

async fn streams() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (near, (far, _)) = (near.expect("it listens"), far.expect("it was called"));
    near.set_nodelay(true).expect("an open socket");
    far.set_nodelay(true).expect("an open socket");
    (near, far)
}

async fn tls() -> (Channel, Channel) {
    let key = rcgen::KeyPair::generate().expect("there is randomness");
    let issued = rcgen::CertificateParams::new([HOST.to_owned()]).expect("the name is well-formed");
    let issued = issued.self_signed(&key).expect("the key is at hand");
    let mut roots = RootCertStore::empty();
    let root = roots.add(issued.der().clone());
    root.expect("the certificate is well-formed");
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![issued.der().clone()], private);
    let server = TlsAcceptor::from(Arc::new(server.expect("key and certificate fit")));
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = TlsConnector::from(Arc::new(client));
    let name = ServerName::try_from(HOST).expect("the name is well-formed");
    let (near, far) = streams().await;
    let (near, far) = tokio::join!(client.connect(name, near), server.accept(far));
    let (near, far) = (near.expect("handshake"), far.expect("handshake"));
    let boxed = |stream| Channel::Tls(Box::new(Framed::new(stream)));
    (boxed(near.into()), boxed(far.into()))
}

async fn link() -> (Channel, Channel) {
    let (one, two) = (Machine::on_chip(1).await, Machine::on_chip(2).await);
    let connecting = one.endpoint(0, 1, chips(&[two.chip]));
    let accepting = two.endpoint(1, 0, chips(&[one.chip]));
    let (near, far) = streams().await;
    let (near, far) = tokio::join!(connecting.connect_over(1, near), accepting.accept_over(far));
    let boxed = |link| Channel::Link(Box::new(link));
    (
        boxed(near.expect("a genuine peer")),
        boxed(far.expect("a genuine peer")),
    )
}

/// One message there and back: microseconds.
async fn trip(channel: &mut Channel, size: usize) -> f64 {
    let message = vec![1; size];
    let began = Instant::now();
    channel.send(message).await;
    let back = channel.recv().await.expect("it comes back");
    assert_eq!(back.len(), size, "the same message comes back");
    began.elapsed().as_secs_f64() * 1e6
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}

fn main() {
    let whole = std::env::args().any(|argument| argument == "--bench");
    let trips = if whole { TRIPS } else { 3 };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        // In a task of the runtime, as a pipeline's are.
        tokio::spawn(compare(trips)).await.expect("it doesn't panic");
    });
}

async fn compare(trips: usize) {
    let (near, far) = streams().await;
    let bare = (Channel::Tcp(Framed::new(near)), Channel::Tcp(Framed::new(far)));
    let mut channels = Vec::new();
    for (near, mut far) in [bare, tls().await, link().await] {
        tokio::spawn(async move {
            while let Some(message) = far.recv().await {
                far.send(message).await;
            }
        });
        channels.push(near);
    }
    println!("| message there and back | bare TCP | TLS 1.3 | attested link | to TLS | beyond bare |");
    println!("|---|---|---|---|---|---|");
    for size in SIZES {
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..trips {
            for (channel, times) in channels.iter_mut().zip(&mut times) {
                times.push(trip(channel, size).await);
            }
        }
        let [tcp, tls, link] = times.map(median);
        println!(
            "| {size} bytes | {tcp:.0} µs | {tls:.0} µs | {link:.0} µs | {:.2} × | +{:.0} µs |",
            link / tls,
            link - tcp
        );
    }
}
