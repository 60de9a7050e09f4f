//! The proxy in front of a node that proves itself: a real lane over the
//! simulator, over real sockets. It answers the list of models, which needs no
//! receipt; completions go through a whole enclave in the end-to-end tests.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bastide_attestation::{
    ATTEST_PATH, AttestRequest, BootId, ENVELOPE_MEDIA_TYPE, KeyThumbprint, ManifestDigest, PolicyDigest,
    UnixTime,
};
use bastide_attested_tls::{EnclaveFacts, LaneLimits, LaneM, Protocol, ServerIdentity, SessionKey};
use bastide_attester::simulator::{Generation, Simulator, SimulatorOptions};
use bastide_verifier::shipped;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use crate::proxy::Proxy;

const MODELS: &[u8] = br#"{"object":"list","data":[{"id":"m","object":"model"}]}"#;

#[derive(Default)]
struct Seen {
    sessions: AtomicUsize,
    attested: AtomicUsize,
    requests: AtomicUsize,
    too_early: AtomicUsize,
}

/// A node in this process; it lives as long as the runtime.
struct Node {
    address: String,
    seen: Arc<Seen>,
    _runtime: tokio::runtime::Runtime,
}

impl Node {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let seen = Arc::new(Seen::default());
        let address = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = format!("https://{}", listener.local_addr().unwrap());
            tokio::spawn(accept(listener, Arc::clone(&seen)));
            address
        });
        Self {
            address,
            seen,
            _runtime: runtime,
        }
    }
}

async fn accept(listener: TcpListener, seen: Arc<Seen>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let options = SimulatorOptions::new(Generation::Genoa, UnixTime::from_secs(now));
    let facts = EnclaveFacts {
        boot_id: BootId::new([1; 16]),
        session_key: SessionKey::generate().unwrap(),
        receipt_key: KeyThumbprint::new([3; 32]),
        sealed_key: None,
        model: ManifestDigest::new([4; 32]),
        configuration: PolicyDigest::new([5; 32]),
        debug: false,
        pipeline: false,
    };
    let lane = LaneM::start(
        Arc::new(Simulator::new(options).unwrap()),
        facts,
        LaneLimits::default(),
    )
    .unwrap();
    let identity = ServerIdentity::generate().unwrap();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let (lane, identity, seen) = (lane.clone(), identity.clone(), Arc::clone(&seen));
        tokio::spawn(async move {
            let session = identity.accept(tcp, Duration::from_secs(10)).await.unwrap();
            let (stream, binding) = session.into_parts();
            assert_eq!(binding.protocol(), Protocol::Http2);
            seen.sessions.fetch_add(1, Ordering::SeqCst);
            let attested = Arc::new(AtomicBool::new(false));
            let service = service_fn(|request: Request<Incoming>| {
                let (lane, binding) = (lane.clone(), binding.clone());
                let (seen, attested) = (Arc::clone(&seen), Arc::clone(&attested));
                async move {
                    let path = request.uri().path().to_owned();
                    let body = request.into_body().collect().await?.to_bytes();
                    if path == ATTEST_PATH {
                        let nonce = AttestRequest::decode(&body).unwrap().nonce;
                        let evidence = lane.attest(binding.binder(&nonce)).await.unwrap().evidence();
                        attested.store(true, Ordering::SeqCst);
                        seen.attested.fetch_add(1, Ordering::SeqCst);
                        let answer = Response::builder().header(CONTENT_TYPE, ENVELOPE_MEDIA_TYPE);
                        return Ok::<_, hyper::Error>(answer.body(Full::from(evidence.encode())).unwrap());
                    }
                    seen.requests.fetch_add(1, Ordering::SeqCst);
                    let mut answer = Response::new(Full::new(Bytes::from_static(MODELS)));
                    if !attested.load(Ordering::SeqCst) {
                        seen.too_early.fetch_add(1, Ordering::SeqCst);
                        *answer.status_mut() = StatusCode::FORBIDDEN;
                    }
                    let json = hyper::header::HeaderValue::from_static("application/json");
                    answer.headers_mut().insert(CONTENT_TYPE, json);
                    Ok(answer)
                }
            });
            let connection =
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
            drop(connection.await);
        });
    }
}

/// One request on a kept connection, as the OpenAI clients make them.
fn ask(socket: &mut TcpStream, host: &str) -> String {
    let request = format!("GET /v1/models HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer unused\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let mut buffer = [0; 4096];
        let read = socket.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(answer).unwrap()
}

/// The shipped development policy, for machines without GPUs.
fn without_gpus(folder: &Path) -> String {
    let mut policy: toml::Table = shipped::DEVELOPMENT.parse().unwrap();
    assert!(policy.remove("gpu").is_some(), "the policy has a [gpu] section");
    let roots = policy["roots"].as_table_mut().unwrap();
    roots.remove("gpu_extra");
    let ignored = policy["ignore"].as_array_mut().unwrap();
    ignored.retain(|check| !check.as_str().unwrap().starts_with("gpu."));
    let path = folder.join("without-gpus.toml");
    fs::write(&path, toml::to_string(&policy).unwrap()).unwrap();
    path.display().to_string()
}

#[test]
fn requests_of_several_clients_share_one_attested_connection() {
    const CLIENTS: usize = 8;
    const EACH: usize = 5;
    let node = Node::start();
    let folder = tempfile::tempdir().unwrap();
    let policy = without_gpus(folder.path());
    let proxy = Proxy::start_with(&[&node.address], &["--allow-simulated", "--policy", &policy]);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut socket = TcpStream::connect(proxy.listen()).unwrap();
                for _ in 0..EACH {
                    let answer = ask(&mut socket, proxy.listen());
                    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
                    assert!(
                        answer.contains("x-bastide-verdict: accepted-simulated; policy=development"),
                        "{answer}"
                    );
                    assert!(answer.ends_with(std::str::from_utf8(MODELS).unwrap()), "{answer}");
                }
            });
        }
    });
    let seen = &node.seen;
    assert_eq!(seen.requests.load(Ordering::SeqCst), CLIENTS * EACH);
    assert_eq!(seen.too_early.load(Ordering::SeqCst), 0);
    assert_eq!(seen.sessions.load(Ordering::SeqCst), 1);
    assert_eq!(seen.attested.load(Ordering::SeqCst), 1);
    let stderr = proxy.stderr();
    assert_eq!(stderr.matches("admitted").count(), 1, "said once: {stderr}");
}

/// The person's permission is a condition of there being a connection at all.
#[test]
fn simulated_hardware_without_permission_gets_no_request() {
    let node = Node::start();
    let folder = tempfile::tempdir().unwrap();
    let policy = without_gpus(folder.path());
    let proxy = Proxy::start_with(&[&node.address], &["--policy", &policy]);
    for _ in 0..3 {
        let answer = ask(&mut TcpStream::connect(proxy.listen()).unwrap(), proxy.listen());
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("simulated.not_allowed"), "{answer}");
    }
    assert!(node.seen.attested.load(Ordering::SeqCst) >= 1);
    assert_eq!(node.seen.requests.load(Ordering::SeqCst), 0);
    assert!(proxy.stderr().contains("BLOCKED"), "{}", proxy.stderr());
}
