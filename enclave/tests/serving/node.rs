//! One enclave in this process, a client's connection to it, and an appraiser
//! that checks the binding and nothing of the hardware's chain.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bastide_attestation::snp::REPORT_BYTES;
use bastide_attestation::{
    Appraiser, AttestationResult, Commitment, Decision, EpochStatement, Evidence, PlatformEvidence, Receipt,
    Salt, SessionExpectation, UnixTime, Untrusted, VERDICT_SCHEMA, Verdict, binding,
};
use bastide_attested_tls::{
    AttestedConnection, AttestedPool, ConnectError, Connector, HttpVersions, LaneM, NodeAddress, PoolLimits,
    SendError, ServerIdentity,
};
use bastide_attester::simulator::{Generation, Simulator, SimulatorOptions};
use bastide_enclave::Limits;
use bastide_enclave::args::ListenAddress;
use bastide_enclave::drain::Lifecycle;
use bastide_enclave::error::StartError;
use bastide_enclave::gpus::Gpus;
use bastide_enclave::startup::{Enclave, Ended, Settings};
use bastide_enclave::telemetry::AllowList;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tracing_subscriber::layer::SubscriberExt as _;

/// The committed model's name.
pub(crate) const MODEL: &str = "bastide-5m";

/// Everything that this process logged, filtered as the command filters it.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn of_process() -> Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self(Arc::default());
            let layer = AllowList::new(log.clone());
            tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
            log
        })
        .clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

pub(crate) fn model_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("engine/models")
        .join(MODEL)
}

pub(crate) fn now() -> UnixTime {
    UnixTime::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

/// A simulated processor that answers at once.
fn genoa() -> Arc<Simulator> {
    let mut options = SimulatorOptions::new(Generation::Genoa, now());
    options.latency = Duration::from_millis(1);
    Arc::new(Simulator::new(options).unwrap())
}

/// A running enclave.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) life: Arc<Lifecycle>,
    pub(crate) lane: LaneM,
    pub(crate) running: JoinHandle<Ended>,
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        Self::attested_by(limits, genoa()).await
    }

    pub(crate) async fn attested_by(
        limits: Limits,
        attester: Arc<dyn bastide_attestation::Attester>,
    ) -> Self {
        Self::try_start(limits, attester, None, None).await.unwrap()
    }

    /// A simulated Genoa with these GPUs.
    pub(crate) async fn with_gpus(gpus: Gpus) -> Result<Self, StartError> {
        Self::try_start(Limits::default(), genoa(), Some(gpus), None).await
    }

    /// One that an authority gave a certificate.
    pub(crate) async fn named(identity: ServerIdentity) -> Self {
        Self::try_start(Limits::default(), genoa(), None, Some(identity))
            .await
            .unwrap()
    }

    async fn try_start(
        limits: Limits,
        attester: Arc<dyn bastide_attestation::Attester>,
        gpus: Option<Gpus>,
        identity: Option<ServerIdentity>,
    ) -> Result<Self, StartError> {
        Log::of_process();
        let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let settings = Settings {
            model: model_dir(),
            listen: ListenAddress::Tcp(free),
            metrics_listen: free,
            engine_threads: std::num::NonZeroUsize::new(1),
            identity,
            pipeline: None,
            limits,
        };
        let enclave = Enclave::start_with(settings, attester, gpus, None).await?;
        let ready = enclave.ready().clone();
        assert!(ready.simulated);
        assert_eq!(ready.model, MODEL);
        Ok(Self {
            address: ready.listen.parse().unwrap(),
            metrics: ready.metrics.parse().unwrap(),
            life: enclave.life(),
            lane: enclave.lane(),
            running: tokio::spawn(enclave.run()),
        })
    }

    pub(crate) async fn try_connect(&self) -> Result<Client, ConnectError> {
        self.judged_by(Arc::new(Bound)).await
    }

    /// Connects as a client who judges evidence so.
    pub(crate) async fn judged_by(&self, appraiser: Arc<dyn Appraiser>) -> Result<Client, ConnectError> {
        let node: NodeAddress = format!("https://{}", self.address).parse().unwrap();
        let connection = Connector::new(appraiser).connect(&node).await?;
        Ok(Client { connection })
    }

    /// Connections to this node, as many as are needed.
    pub(crate) fn pool(&self, http: HttpVersions) -> AttestedPool {
        let node: NodeAddress = format!("https://{}", self.address).parse().unwrap();
        let connector = Connector::new(Arc::new(Bound)).with_http(http);
        AttestedPool::new(connector, vec![node], PoolLimits::default())
    }

    /// Connects as a client that speaks so.
    pub(crate) async fn connect_by(&self, http: HttpVersions) -> Client {
        let node: NodeAddress = format!("https://{}", self.address).parse().unwrap();
        let connector = Connector::new(Arc::new(Bound)).with_http(http);
        let connection = connector.connect(&node).await.unwrap();
        Client { connection }
    }

    /// Connects from this address of the machine: a client of its own, where addresses count.
    pub(crate) async fn connect_from(&self, address: [u8; 4]) -> Client {
        let stream = self.dial_from(address).await.unwrap();
        let node: NodeAddress = format!("https://{}", self.address).parse().unwrap();
        let connection = Connector::new(Arc::new(Bound)).connect_over(stream, &node).await;
        Client {
            connection: connection.unwrap(),
        }
    }

    /// A TCP connection from this address, and nothing more.
    pub(crate) async fn dial_from(&self, address: [u8; 4]) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((address, 0).into())?;
        socket.connect(self.address).await
    }

    pub(crate) async fn connect(&self) -> Client {
        self.try_connect().await.unwrap()
    }

    /// One plain request to the metrics port: status line and body.
    pub(crate) async fn monitor(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.metrics).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }
}

/// An attested connection.
pub(crate) struct Client {
    pub(crate) connection: AttestedConnection,
}

/// An answer, whole.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

impl Client {
    /// Asks for long answers, one after the other, until the node closes this
    /// connection. Holds that none was cut. Returns how many there were.
    pub(crate) async fn answers_until_closed(&mut self) -> usize {
        let more = json!({"temperature": 2, "seed": 3, "max_tokens": 600, "stream": true});
        let mut answered = 0;
        while let Ok(answer) = self.try_chat(&ask("Tell me a story", &more)).await {
            let body = String::from_utf8_lossy(&answer.body);
            if answer.status == 200 {
                let whole = body.contains("\"finish_reason\":\"") && !body.contains("\"error\"");
                assert!(whole, "{body}");
                answered += 1;
            } else {
                assert_eq!(
                    (answer.status, answer.code().as_str()),
                    (403, "attestation_required")
                );
            }
        }
        answered
    }

    /// Waits until the node has closed this connection.
    pub(crate) async fn closed(&self) {
        for _ in 0..1000 {
            if !self.connection.is_usable() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the connection stayed open");
    }

    pub(crate) async fn send(&mut self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        self.try_send(method, path, body.into()).await.unwrap()
    }

    async fn try_send(&mut self, method: Method, path: &str, body: Bytes) -> Result<Answer, SendError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .unwrap();
        let response = self.connection.send(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(SendError::Interrupted)?;
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.to_bytes(),
        })
    }

    /// As [`Self::chat`], on a connection that may be closed by now.
    pub(crate) async fn try_chat(&mut self, body: &Value) -> Result<Answer, SendError> {
        self.try_send(Method::POST, "/v1/chat/completions", body.to_string().into())
            .await
    }

    pub(crate) async fn chat(&mut self, body: &Value) -> Answer {
        self.send(Method::POST, "/v1/chat/completions", body.to_string())
            .await
    }

    /// Verifies a receipt over exact bytes and against this connection's evidence.
    pub(crate) fn verify(&self, receipt: &str, salt: &str, request: &[u8], response: &[u8]) -> Receipt {
        let receipt = Receipt::verify(&URL_SAFE_NO_PAD.decode(receipt).unwrap()).unwrap();
        let result = self.connection.result();
        receipt.signed_by(&result.statement.receipt_key).unwrap();
        let salt: Salt = salt.parse().unwrap();
        let claims = receipt.claims();
        assert_eq!(claims.request, Commitment::request(&salt, request));
        let mut commitment = Commitment::response(&salt);
        commitment.update(response);
        assert_eq!(claims.response, commitment.finish());
        assert_eq!(claims.statement, result.statement_digest);
        assert_eq!(claims.model, result.statement.model);
        assert_eq!(&claims.nonce, self.connection.nonce());
        receipt
    }
}

/// A request with one user message, greedy, with a few parameters more.
pub(crate) fn ask(text: &str, more: &Value) -> Value {
    let mut body = json!({
        "model": MODEL,
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "max_tokens": 24,
    });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// Checks what binds evidence to this session, and nothing else.
pub(crate) struct Bound;

impl Appraiser for Bound {
    fn appraise(
        &self,
        evidence: &Untrusted<Evidence>,
        session: &SessionExpectation,
        now: UnixTime,
    ) -> Result<AttestationResult, Box<Verdict>> {
        let evidence = evidence.as_unverified();
        let statement = EpochStatement::decode(&evidence.statement).unwrap();
        let leaf = binding::leaf(session.leaf, &evidence.proof.salt, &session.binder);
        evidence
            .proof
            .verify(&leaf, statement.depth, &statement.root)
            .unwrap();
        let PlatformEvidence::Snp(report) = &evidence.platform else {
            panic!("only SNP evidence is made here");
        };
        let report: &[u8; REPORT_BYTES] = report;
        assert_eq!(
            &report[0x50..0x90],
            binding::report_data(&evidence.statement).as_bytes()
        );
        assert!(!statement.debug);
        Ok(AttestationResult {
            verdict: accepted(now).into(),
            statement_digest: binding::statement_digest(&evidence.statement),
            statement,
        })
    }
}

/// A verdict that accepts.
pub(crate) fn accepted(now: UnixTime) -> Verdict {
    Verdict {
        schema: VERDICT_SCHEMA,
        decision: Decision::Accepted,
        code: None,
        reason: None,
        checks: Vec::new(),
        roots: Vec::new(),
        simulated: true,
        snp: None,
        platform: None,
        azure: None,
        gpus: Vec::new(),
        uncovered: Vec::new(),
        session: Some(BTreeMap::new()),
        policy: "bound".to_owned(),
        policy_digest: String::new(),
        ignored: Vec::new(),
        at: now.to_string(),
    }
}
