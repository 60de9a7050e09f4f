//! An endorser and its courier against a key server over real HTTP.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::path::Path;

use base64::Engine as _;
use bastide_attestation::snp::SnpReport;
use bastide_attestation::{
    Attestation, Attester, AttesterError, EpochStatement, GpuSeedKind, PlatformEvidence, StatementBytes,
    StatementDigest, TimeSource, TreeHash, UnixTime,
};
use bastide_attester::simulator::{Generation as Simulated, Simulator, SimulatorOptions};
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;
use crate::args::ListenAddress;
use crate::server::Limits;
use crate::startup::{Enclave, Settings};

const DAY: u64 = 86_400;

/// Statuses to answer first, then what it has.
#[derive(Default)]
struct Shelf {
    script: Mutex<VecDeque<u16>>,
    has: Mutex<HashMap<String, Vec<u8>>>,
    asked: Mutex<Vec<String>>,
}

struct Server {
    address: KdsAddress,
    shelf: Arc<Shelf>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shelf = Arc::<Shelf>::default();
        let serving = Arc::clone(&shelf);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shelf = Arc::clone(&serving);
                let service = service_fn(move |request: Request<_>| {
                    let answer = answer(&shelf, request.uri().to_string());
                    async move { Ok::<_, Infallible>(answer) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self {
            address: address.parse().unwrap(),
            shelf,
        }
    }

    fn has(&self, guest: &Guest) {
        let mut has = self.shelf.has.lock().unwrap();
        for (name, bytes) in &guest.files {
            has.insert(name.kds_path(), bytes.clone());
        }
    }

    fn has_not(&self, name: &Name) {
        self.shelf.has.lock().unwrap().remove(&name.kds_path());
    }

    fn asked_for(&self, name: &Name) -> usize {
        let asked = self.shelf.asked.lock().unwrap();
        asked.iter().filter(|path| **path == name.kds_path()).count()
    }
}

fn answer(shelf: &Shelf, path: String) -> Response<Full<Bytes>> {
    let found = shelf.has.lock().unwrap().get(&path).cloned();
    let certificate = path.contains('?');
    shelf.asked.lock().unwrap().push(path);
    // The script is about certificates, whatever else is asked for meanwhile.
    let scripted = certificate
        .then(|| shelf.script.lock().unwrap().pop_front())
        .flatten();
    let mut response = Response::new(Full::default());
    match (scripted, found) {
        (Some(status), _) => {
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response.headers_mut().insert("retry-after", 1.into());
        }
        (None, Some(bytes)) => *response.body_mut() = Full::new(bytes.into()),
        (None, None) => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    response
}

/// A simulated guest's endorsements by name: certificate, chain, list.
struct Guest {
    id: VekId,
    files: Vec<(Name, Vec<u8>)>,
}

fn guest_at(chip: u8, now: UnixTime) -> Guest {
    let simulator = Simulator::new(SimulatorOptions {
        chip,
        latency: Duration::ZERO,
        ..SimulatorOptions::new(Simulated::Genoa, now)
    });
    endorsed(&simulator.unwrap().attest(&statement()).unwrap())
}

fn guest(chip: u8) -> Guest {
    guest_at(chip, clock::now())
}

fn endorsed(attestation: &Attestation) -> Guest {
    let PlatformEvidence::Snp(report) = &attestation.platform else {
        panic!("not SNP evidence");
    };
    let id = VekId::of(&SnpReport::parse(report.as_slice()).unwrap()).unwrap();
    let endorsements = attestation.endorsements.clone();
    let chain: String = endorsements.chain.iter().map(|der| pem(der)).collect();
    let bytes = [endorsements.vek, chain.into_bytes(), endorsements.crl.unwrap()];
    Guest {
        id,
        files: Name::all_for(&id).into_iter().zip(bytes).collect(),
    }
}

/// One line of base64: PEM is read so, too.
fn pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<String> = text
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

fn statement() -> StatementBytes {
    EpochStatement {
        boot_id: bastide_attestation::BootId::new([1; 16]),
        epoch: 0,
        previous: StatementDigest::new([2; 32]),
        depth: 4,
        root: TreeHash::new([3; 32]),
        gpu_epoch: 0,
        gpu_digest: None,
        gpu_seed: GpuSeedKind::PreviousStatement,
        session_key: [4; 32],
        receipt_key: bastide_attestation::KeyThumbprint::new([5; 32]),
        sealed_key: None,
        model: bastide_attestation::ManifestDigest::new([6; 32]),
        configuration: bastide_attestation::PolicyDigest::new([7; 32]),
        time_ms: 0,
        time_source: TimeSource::Host,
        debug: false,
        pipeline: false,
    }
    .encode()
}

/// Gives up after one attempt, looks often.
fn quick(server: &Server, store: Option<Store>, rhythm: Rhythm) -> Arc<Endorser> {
    let limits = KdsLimits {
        attempts: 1,
        ..KdsLimits::default()
    };
    let (endorser, courier) = Endorser::with_rhythm(store, server.address.clone(), limits, rhythm);
    tokio::spawn(courier.run());
    endorser
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..400 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("not within 10 s: {what}");
}

fn store_in(folder: &Path, guest: &Guest) -> Store {
    let store = Store::create(folder).unwrap();
    for (name, bytes) in &guest.files {
        let endorsement = Endorsement::read(*name, bytes).unwrap();
        store.put(&endorsement, clock::now()).unwrap();
    }
    store
}

#[tokio::test]
async fn a_directory_alone_gives_what_it_has_and_asks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (guest(0), guest(1));
    let endorser = Endorser::offline(store_in(folder.path(), &ours));
    let held = endorser.at_hand(&ours.id);
    assert_eq!(held.vek.as_ref(), Some(&ours.files[0].1));
    assert_eq!((held.chain.len(), held.crl.as_ref()), (2, Some(&ours.files[2].1)));
    assert_eq!(endorser.at_hand(&other.id).vek, None);
    assert_eq!(endorser.missing(&other.id), None);
    assert!(!endorser.arrival().await);

    // A file that goes bad is no reason to stop, and one put right is seen.
    let path = folder.path().join(ours.files[0].0.to_string());
    std::fs::write(&path, b"damaged").unwrap();
    assert_eq!(endorser.at_hand(&ours.id).vek, None);
    std::fs::write(&path, &ours.files[0].1).unwrap();
    assert!(endorser.at_hand(&ours.id).vek.is_some());
}

#[tokio::test]
async fn a_certificate_for_a_new_tcb_version_or_chip_is_fetched_beside_the_reports() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (guest(0), guest(1));
    let store = store_in(folder.path(), &old);
    let server = Server::start().await;
    server.has(&new);
    let endorser = quick(&server, Some(store.clone()), Rhythm::default());
    assert!(endorser.at_hand(&new.id).vek.is_none());
    let said = endorser.missing(&new.id).unwrap();
    assert!(
        said.starts_with("it is being fetched from http://127.0.0.1:"),
        "{said}"
    );
    assert_eq!(endorser.missing(&new.id).unwrap(), said);
    assert!(endorser.arrival().await);
    assert_eq!(endorser.at_hand(&new.id).vek.as_ref(), Some(&new.files[0].1));
    assert_eq!(server.asked_for(&new.files[0].0), 1);
    assert!(
        store.get(&new.files[0].0).unwrap().is_some(),
        "kept for the next boot"
    );
    assert_eq!(endorser.at_hand(&old.id).vek.as_ref(), Some(&old.files[0].1));
}

#[tokio::test]
async fn without_a_directory_what_was_fetched_is_kept_in_memory_up_to_a_limit() {
    let server = Server::start().await;
    let endorser = quick(&server, None, Rhythm::default());
    let mut last = None;
    for chip in 0..20 {
        let guest = guest(chip);
        server.has(&guest);
        endorser.missing(&guest.id).unwrap();
        assert!(endorser.arrival().await);
        assert!(endorser.at_hand(&guest.id).vek.is_some(), "{chip}");
        last = Some(guest);
    }
    assert!(endorser.state().fetched.len() <= MOST_FETCHED);
    assert!(endorser.at_hand(&last.unwrap().id).vek.is_some());
}

#[tokio::test]
async fn an_outage_is_said_not_hammered_and_takes_nothing_away() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (guest(0), guest(1));
    let server = Server::start().await;
    let rhythm = Rhythm {
        look: Duration::from_millis(20),
        renew: Duration::ZERO,
        cooldown: Duration::from_millis(300),
    };
    let endorser = quick(&server, Some(store_in(folder.path(), &ours)), rhythm);
    server.shelf.script.lock().unwrap().extend([500; 1]);
    endorser.missing(&other.id).unwrap();
    assert!(endorser.arrival().await);
    let said = endorser.missing(&other.id).unwrap();
    assert!(said.contains("did not give it: KDS says 500"), "{said}");
    assert_eq!(server.asked_for(&other.files[0].0), 1);

    // The list is asked for in vain again and again; the kept one stays.
    let list = ours.files[2].0;
    endorser.at_hand(&ours.id);
    until("the list is asked for", || server.asked_for(&list) >= 2).await;
    let held = endorser.at_hand(&ours.id);
    assert_eq!(
        (held.vek.as_ref(), held.crl.as_ref()),
        (Some(&ours.files[0].1), Some(&ours.files[2].1))
    );

    // After a while the server gets another chance.
    server.has(&other);
    tokio::time::sleep(rhythm.cooldown).await;
    endorser.missing(&other.id).unwrap();
    assert!(endorser.arrival().await);
    assert!(endorser.at_hand(&other.id).vek.is_some());
}

#[tokio::test]
async fn chain_and_list_of_a_seen_family_come_by_themselves_and_the_list_is_renewed() {
    let yesterday = UnixTime::from_secs(clock::now().as_secs() - DAY);
    let (old, new) = (guest_at(0, yesterday), guest(0));
    let server = Server::start().await;
    server.has(&old);
    let rhythm = Rhythm {
        look: Duration::from_millis(20),
        renew: Duration::from_millis(200),
        ..Rhythm::default()
    };
    let endorser = quick(&server, None, rhythm);
    endorser.at_hand(&old.id);
    until("the list is there", || endorser.at_hand(&old.id).crl.is_some()).await;
    assert_eq!(endorser.at_hand(&old.id).chain.len(), 2);
    server.has(&new);
    let renewed = || endorser.at_hand(&old.id).crl.as_ref() == Some(&new.files[2].1);
    until("the list is renewed", renewed).await;
    assert_eq!(server.asked_for(&old.files[1].0), 1, "the chain is fetched once");

    server.has_not(&old.files[2].0);
    tokio::time::sleep(rhythm.renew * 2).await;
    assert!(renewed(), "an outage took the list away");
}

/// A simulated machine whose host has no certificate for it.
struct Bare {
    simulator: Simulator,
    endorser: Arc<Endorser>,
}

impl Attester for Bare {
    fn attest(&self, statement: &StatementBytes) -> Result<Attestation, AttesterError> {
        let mut attestation = self.simulator.attest(statement)?;
        let id = endorsed(&attestation).id;
        let held = self.endorser.at_hand(&id);
        let Some(vek) = held.vek else {
            let reason = self.endorser.missing(&id).unwrap_or_default();
            return Err(AttesterError::Unendorsed { reason });
        };
        attestation.endorsements.vek = vek;
        attestation.endorsements.chain = held.chain;
        attestation.endorsements.crl = held.crl;
        Ok(attestation)
    }

    fn name(&self) -> &'static str {
        "bare"
    }
}

async fn boot(server: &Server, limits: KdsLimits, known: bool) -> Result<Enclave, String> {
    let (endorser, courier) = Endorser::with_rhythm(None, server.address.clone(), limits, Rhythm::default());
    tokio::spawn(courier.run());
    let mut options = SimulatorOptions::new(Simulated::Genoa, clock::now());
    options.latency = Duration::ZERO;
    let simulator = Simulator::new(options).unwrap();
    if known {
        server.has(&endorsed(&simulator.attest(&statement()).unwrap()));
    }
    let attester = Arc::new(Bare {
        simulator,
        endorser: Arc::clone(&endorser),
    });
    let free = "127.0.0.1:0".parse().unwrap();
    let settings = Settings {
        model: Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/models/bastide-5m"),
        listen: ListenAddress::Tcp(free),
        metrics_listen: free,
        engine_threads: NonZeroUsize::new(1),
        identity: None,
        pipeline: None,
        limits: Limits::default(),
    };
    Enclave::start_with(settings, attester, None, Some(endorser))
        .await
        .map_err(|error| error.report())
}

#[tokio::test]
async fn an_enclave_boots_with_nothing_but_a_throttling_key_server() {
    let server = Server::start().await;
    server.shelf.script.lock().unwrap().extend([429, 503]);
    let limits = KdsLimits::default();
    boot(&server, limits, true).await.unwrap();
    let asked = server.shelf.asked.lock().unwrap().clone();
    assert_eq!(
        asked.iter().filter(|path| path.contains('?')).count(),
        3,
        "{asked:?}"
    );
}

#[tokio::test]
async fn an_enclave_that_nobody_endorses_says_what_the_server_said() {
    let server = Server::start().await;
    let report = boot(&server, KdsLimits::default(), false).await.unwrap_err();
    for wanted in ["lane.attester", "KDS says 404", "--kds"] {
        assert!(report.contains(wanted), "{wanted} in {report}");
    }
}
