//! What attestation adds to a session: the binding alone, and an attested
//! connection against a plain TLS 1.3 handshake in the same run. The attester
//! answers at once and the appraiser checks the binding only; report signatures
//! are the verifier's benchmark.

#[path = "../tests/session/doubles.rs"]
mod doubles;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bastide_attestation::binding::{Ends, ExporterSecret, LeafType, Role, binder, leaf};
use bastide_attestation::{
    ATTEST_PATH, AttestRequest, Binder, ENVELOPE_MEDIA_TYPE, LeafHash, Nonce, Omission, Salt, SpkiDigest,
    Tree, sha256,
};
use bastide_attested_tls::{Connector, HttpVersions, LaneLimits, LaneM, NodeAddress, ServerIdentity};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{DuplexStream, duplex};
use tokio::runtime::Runtime;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use zeroize::Zeroizing;

use doubles::{BindingAppraiser, BlankAttester, facts, is_bound};

const PIPE_BYTES: usize = 64 * 1024;
const HOST: &str = "node.example";

/// TLS as everybody does it, with a certificate of a root that the client has;
/// and with what the attested session uses too: X25519MLKEM768, an Ed25519 key,
/// a full handshake each time.
struct Plain {
    server: TlsAcceptor,
    client: TlsConnector,
}

impl Plain {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("there is randomness");
        let issued = rcgen::CertificateParams::new([HOST.to_owned()]).expect("the name is well-formed");
        let issued = issued.self_signed(&key).expect("the key is at hand");
        let mut roots = RootCertStore::empty();
        roots
            .add(issued.der().clone())
            .expect("the certificate is well-formed");
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![issued.der().clone()], private)
            .expect("key and certificate fit");
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.resumption = Resumption::disabled();
        Self {
            server: TlsAcceptor::from(Arc::new(server)),
            client: TlsConnector::from(Arc::new(client)),
        }
    }

    async fn handshake(&self) {
        let (near, far) = duplex(PIPE_BYTES);
        let name = ServerName::try_from(HOST).expect("the name is well-formed");
        let (client, server) = tokio::join!(self.client.connect(name, near), self.server.accept(far));
        black_box((client.expect("handshake"), server.expect("handshake")));
    }
}

/// A node with a lane and a client with the gate.
struct Attested {
    identity: ServerIdentity,
    lane: LaneM,
    connector: Connector,
    node: NodeAddress,
}

impl Attested {
    fn new() -> Self {
        Self {
            identity: ServerIdentity::generate().expect("there is randomness"),
            lane: LaneM::start(Arc::new(BlankAttester), facts(), LaneLimits::default()).expect("a thread"),
            // The same HTTP as in earlier measurements.
            connector: Connector::new(BindingAppraiser::shared()).with_http(HttpVersions::Http1),
            node: format!("https://{HOST}")
                .parse()
                .expect("the address is well-formed"),
        }
    }

    /// One session, to the end: closing it must not fall on whoever is next.
    async fn connect(&self) {
        let (near, far) = duplex(PIPE_BYTES);
        let server = tokio::spawn(serve(self.identity.clone(), self.lane.clone(), far));
        let connection = self.connector.connect_over(near, &self.node).await;
        let connection = black_box(connection).expect("the node is honest");
        assert!(connection.is_usable());
        drop(connection);
        server.await.expect("the node is honest");
    }
}

async fn serve(identity: ServerIdentity, lane: LaneM, io: DuplexStream) {
    let session = identity
        .accept(io, Duration::from_secs(10))
        .await
        .expect("handshake");
    let (stream, binding) = session.into_parts();
    let service = service_fn(move |request: Request<Incoming>| {
        let (lane, binding) = (lane.clone(), binding.clone());
        async move {
            assert_eq!(request.uri().path(), ATTEST_PATH);
            let body = request.into_body().collect().await?.to_bytes();
            let nonce = AttestRequest::decode(&body).expect("the client is honest").nonce;
            let attested = lane
                .attest(binding.binder(&nonce))
                .await
                .expect("the attester is honest");
            let response = Response::builder()
                .header(CONTENT_TYPE, ENVELOPE_MEDIA_TYPE)
                .body(Full::new(Bytes::from(attested.envelope(Omission::default()))));
            Ok::<_, hyper::Error>(response.expect("the head is fixed"))
        }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    drop(connection.await);
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// What both ends compute: binder and leaf; and the client's check of the path.
fn binding(criterion: &mut Criterion) {
    let exporter = ExporterSecret::new(Zeroizing::new([7; 32])).expect("it is not zero");
    let ends = Ends {
        role: Role::Server,
        spki_attester: SpkiDigest::new([2; 32]),
        spki_peer: None,
        context: None,
    };
    let (nonce, salt) = (Nonce::new([1; 32]), Salt::new([3; 32]));
    let own = || {
        leaf(
            LeafType::ServerTls,
            &salt,
            &binder(&exporter, black_box(&nonce), &ends),
        )
    };
    let mut group = criterion.benchmark_group("binder_leaf_proof");
    for depth in [0_u8, 4, 10, 14] {
        let mut leaves: Vec<LeafHash> = (0..1_u32 << depth)
            .map(|number| LeafHash::new(sha256(&[&number.to_be_bytes()])))
            .collect();
        let index = leaves.len() / 3;
        leaves[index] = own();
        let tree = Tree::new(&leaves).expect("the depth is permitted");
        let (root, proof) = (tree.root(), tree.prove(index, salt).expect("the leaf is there"));
        group.bench_function(BenchmarkId::from_parameter(depth), |bencher| {
            bencher.iter(|| proof.verify(&own(), depth, &root).expect("it is under the root"));
        });
    }
    group.finish();
}

fn sessions(criterion: &mut Criterion) {
    let runtime = runtime();
    let (plain, attested) = (Plain::new(), Attested::new());
    // What is measured does distinguish: evidence for one binder is not another's.
    let mine = Binder::new([1; 32]);
    let evidence = runtime
        .block_on(attested.lane.attest(mine))
        .expect("the attester is honest")
        .evidence();
    assert!(is_bound(&evidence, &mine) && !is_bound(&evidence, &Binder::new([2; 32])));
    let mut group = criterion.benchmark_group("session");
    group.bench_function("plain_tls13", |bencher| {
        bencher.iter(|| runtime.block_on(plain.handshake()));
    });
    group.bench_function("attested", |bencher| {
        bencher.iter(|| runtime.block_on(attested.connect()));
    });
    group.finish();
    ratio(&runtime, &plain, &attested);
}

/// The two by turns, so that what else the machine does falls on both alike.
fn ratio(runtime: &Runtime, plain: &Plain, attested: &Attested) {
    // Without `--bench` this is a test: once is enough.
    let rounds = if std::env::args().any(|argument| argument == "--bench") {
        1_000
    } else {
        1
    };
    let (mut plainly, mut attestedly) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let began = Instant::now();
        runtime.block_on(plain.handshake());
        plainly.push(began.elapsed());
        let began = Instant::now();
        runtime.block_on(attested.connect());
        attestedly.push(began.elapsed());
    }
    let (plain, attested) = (median(&mut plainly), median(&mut attestedly));
    println!(
        "session/ratio           median of {rounds}: plain TLS 1.3 {plain:.1?}, attested {attested:.1?}, {:.2}x",
        attested.as_secs_f64() / plain.as_secs_f64()
    );
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

criterion_group!(benches, binding, sessions);
criterion_main!(benches);
