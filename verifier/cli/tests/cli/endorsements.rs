//! From a report to an accepted verdict without a file of AMD's in hand: fetch
//! into a directory, carry it over, appraise offline. The key server speaks real
//! HTTP and has a simulated guest's endorsements.

use std::collections::{HashMap, VecDeque};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bastide_attestation::snp::{SnpReport, VekId};
use bastide_attestation::{
    Attester as _, BootId, EpochStatement, Evidence, GpuSeedKind, InclusionProof, KeyThumbprint,
    ManifestDigest, PlatformEvidence, PolicyDigest, Salt, StatementDigest, TimeSource, TreeHash, UnixTime,
};
use bastide_attester::simulator::{Generation, Simulator, SimulatorOptions};
use bastide_endorsements::Name;
use serde_json::Value;

use crate::process::{Run, run};

const DEVELOPMENT: [&str; 3] = ["--policy", "development", "--allow-simulated"];

/// Answers by path, after the replies of a script, as raw HTTP. What is posted is
/// known by its path, a space and the body in hex.
#[derive(Clone, Default)]
pub(crate) struct Server {
    pub(crate) has: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    pub(crate) script: Arc<Mutex<VecDeque<String>>>,
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away is no matter.
                let _ = server.answer(stream);
            }
        });
        address
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("a request is text");
        let mut path = head.split(' ').nth(1).expect("a request has a path").to_owned();
        if head.starts_with("POST ") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .expect("what is posted has a length");
            let mut body = vec![0; length.parse().expect("a length is a number")];
            stream.read_exact(&mut body)?;
            path = format!("{path} {}", hex::encode(body));
        }
        self.asked.lock().unwrap().push(path.clone());
        if let Some(reply) = self.script.lock().unwrap().pop_front() {
            return stream.write_all(reply.as_bytes());
        }
        let found = self.has.lock().unwrap().get(&path).cloned();
        match found {
            None => stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
            Some(body) => {
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                )?;
                stream.write_all(&body)
            }
        }
    }
}

/// A simulated guest's report and envelope as files, and a server with what endorses it.
struct Scene {
    folder: tempfile::TempDir,
    server: Server,
    address: String,
    names: Vec<Name>,
}

impl Scene {
    fn new(generation: Generation) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let options = SimulatorOptions {
            latency: Duration::ZERO,
            ..SimulatorOptions::new(generation, UnixTime::from_secs(now))
        };
        let statement = statement();
        let attestation = Simulator::new(options).unwrap().attest(&statement).unwrap();
        let PlatformEvidence::Snp(report) = &attestation.platform else {
            panic!("not SNP evidence");
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("report.bin"), report.as_slice()).unwrap();
        let id = VekId::of(&SnpReport::parse(report.as_slice()).unwrap()).unwrap();
        let names = Name::all_for(&id);
        let endorsements = attestation.endorsements.clone();
        let chain: String = endorsements.chain.iter().map(|der| pem(der)).collect();
        let server = Server::default();
        {
            let mut has = server.has.lock().unwrap();
            has.insert(names[0].kds_path(), endorsements.vek);
            has.insert(names[1].kds_path(), chain.into_bytes());
            has.insert(names[2].kds_path(), endorsements.crl.unwrap());
        }
        let evidence = Evidence {
            statement: statement.as_bytes().to_vec(),
            proof: InclusionProof {
                index: 0,
                path: vec![[9; 32]; 4],
                salt: Salt::new([8; 32]),
            },
            platform: attestation.platform,
            endorsements: attestation.endorsements,
            gpu: None,
        };
        std::fs::write(folder.path().join("evidence.cmw"), evidence.encode()).unwrap();
        let address = server.start();
        Self {
            folder,
            server,
            address,
            names,
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn sync(&self, store: &str, more: &[&str]) -> Run {
        let store = self.path(store);
        let fixed = ["endorsements", "sync", "--store", &store, "--kds", &self.address];
        run(&[&fixed, more].concat())
    }

    fn sync_report(&self, store: &str) -> Run {
        self.sync(store, &["--report", &self.path("report.bin")])
    }

    fn appraise(&self, store: &str) -> Run {
        let (report, store) = (self.path("report.bin"), self.path(store));
        let fixed = ["appraise", "--snp-report", &report, "--endorsements", &store];
        run(&[&fixed, DEVELOPMENT.as_slice(), &["--output", "json"]].concat())
    }
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

pub(crate) fn statement() -> bastide_attestation::StatementBytes {
    EpochStatement {
        boot_id: BootId::new([1; 16]),
        epoch: 0,
        previous: StatementDigest::new([2; 32]),
        depth: 4,
        root: TreeHash::new([3; 32]),
        gpu_epoch: 0,
        gpu_digest: None,
        gpu_seed: GpuSeedKind::PreviousStatement,
        session_key: [4; 32],
        receipt_key: KeyThumbprint::new([5; 32]),
        sealed_key: None,
        model: ManifestDigest::new([6; 32]),
        configuration: PolicyDigest::new([7; 32]),
        time_ms: 0,
        time_source: TimeSource::Host,
        debug: false,
        pipeline: false,
    }
    .encode()
}

pub(crate) fn outcomes(run: &Run) -> Vec<Value> {
    let rows = run.json()["endorsements"].as_array().unwrap().clone();
    rows.iter().map(|row| row["outcome"].clone()).collect()
}

#[test]
fn a_report_is_synced_and_then_accepted_offline_on_both_generations() {
    for generation in Generation::ALL {
        let scene = Scene::new(generation);
        let synced = scene.sync_report("store");
        assert_eq!((synced.code, synced.stderr.as_str()), (0, ""), "{synced:?}");
        assert_eq!(synced.stdout.matches("fetched").count(), 3, "{synced:?}");
        let asked = scene.server.asked.lock().unwrap().len();
        assert_eq!(asked, 3);

        let accepted = scene.appraise("store");
        assert_eq!(accepted.code, 0, "{accepted:?}");
        assert_eq!(accepted.json()["verdict"], "accepted");
        let checks = accepted.json()["checks"].clone();
        let crl = checks
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["id"] == "snp.crl");
        assert_eq!(crl.unwrap()["status"], "pass", "the list of the store is used");
        assert_eq!(
            scene.server.asked.lock().unwrap().len(),
            asked,
            "appraise asked the server"
        );
    }
}

#[test]
fn an_exported_directory_is_imported_elsewhere_and_accepted_there() {
    let scene = Scene::new(Generation::Turin);
    assert_eq!(scene.sync_report("store").code, 0);
    let (store, carried, other) = (scene.path("store"), scene.path("carried"), scene.path("other"));
    let exported = run(&["endorsements", "export", "--store", &store, &carried]);
    assert_eq!(exported.code, 0, "{exported:?}");
    let import = [
        "endorsements",
        "import",
        "--store",
        &other,
        &carried,
        "--output",
        "json",
    ];
    let imported = run(&import);
    assert_eq!(imported.code, 0, "{imported:?}");
    assert_eq!(imported.json()["schema"], "bastide.endorsements/v1");
    assert_eq!(outcomes(&imported), ["stored"; 3]);
    assert_eq!(scene.appraise("other").code, 0);
    assert_eq!(outcomes(&run(&import)), ["unchanged"; 3]);

    // Again into the same folder: nothing is mixed.
    let again = run(&["endorsements", "export", "--store", &store, &carried]);
    assert!(
        again.code == 2 && again.stderr.contains("endorsements.not_empty"),
        "{again:?}"
    );
    // A byte that changed on its way.
    let path = Path::new(&carried).join("vcek-turin-crl.der");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let refused = run(&import);
    assert!(
        refused.code == 30 && refused.stderr.contains("endorsements.digest"),
        "{refused:?}"
    );
    let none = run(&["endorsements", "import", "--store", &other, &store]);
    assert!(
        none.code == 30 && none.stderr.contains("endorsements.manifest"),
        "{none:?}"
    );
}

#[test]
fn what_is_missing_or_damaged_makes_it_undecided_and_says_how_to_get_it() {
    let scene = Scene::new(Generation::Genoa);
    std::fs::create_dir(scene.path("store")).unwrap();
    let missing = scene.appraise("store");
    assert_eq!(
        (missing.code, &missing.json()["code"]),
        (40, &"snp.vek.missing".into()),
        "{missing:?}"
    );
    assert!(
        missing.stderr.contains("`bastide endorsements sync` gets it"),
        "{missing:?}"
    );

    let vcek = PathBuf::from(scene.path("store")).join(scene.names[0].to_string());
    std::fs::write(&vcek, b"damaged").unwrap();
    let damaged = scene.appraise("store");
    assert!(
        damaged.code == 40 && damaged.stderr.contains("is damaged"),
        "{damaged:?}"
    );
    let listed = run(&["endorsements", "list", "--store", &scene.path("store")]);
    assert!(
        listed.code == 30 && listed.stdout.starts_with("damaged"),
        "{listed:?}"
    );

    let synced = scene.sync_report("store");
    assert!(
        synced.code == 0 && synced.stderr.contains("fetched again"),
        "{synced:?}"
    );
    assert_eq!(scene.appraise("store").code, 0);
    let listed = run(&[
        "endorsements",
        "list",
        "--store",
        &scene.path("store"),
        "--output",
        "json",
    ]);
    assert_eq!(outcomes(&listed), ["kept"; 3]);

    let none = scene.appraise("nowhere");
    assert!(
        none.code == 2 && none.stderr.contains("endorsements.io"),
        "{none:?}"
    );
    let neither = run(&["appraise", "--snp-report", &scene.path("report.bin")]);
    assert!(
        neither.code == 2 && neither.stderr.contains("--endorsements DIR"),
        "{neither:?}"
    );
}

#[test]
fn throttling_is_waited_out_aloud_and_an_outage_is_exit_40_without_loss() {
    let scene = Scene::new(Generation::Turin);
    let throttled = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
    scene
        .server
        .script
        .lock()
        .unwrap()
        .push_back(throttled.to_owned());
    let synced = scene.sync("store", &["--evidence", &scene.path("evidence.cmw")]);
    assert_eq!(synced.code, 0, "{synced:?}");
    assert!(
        synced.stderr.contains("KDS says 429") && synced.stderr.contains("attempt 2 of 5"),
        "{synced:?}"
    );

    let page = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>";
    scene.server.script.lock().unwrap().push_back(page.to_owned());
    let failed = scene.sync("store", &["--product", "turin", "--output", "json"]);
    assert_eq!(failed.code, 40, "{failed:?}");
    assert_eq!(outcomes(&failed), ["kept", "failed"]);
    assert!(
        failed.stderr.contains("kds.wrong") && failed.stderr.contains("the older copy stays"),
        "{failed:?}"
    );
    assert_eq!(scene.appraise("store").code, 0, "what was kept still serves");
    let kept = scene.sync(
        "store",
        &["--product", "turin", "--missing-only", "--output", "json"],
    );
    assert_eq!((kept.code, outcomes(&kept)), (0, vec!["kept".into(); 2]));
}

#[test]
fn a_chip_can_be_named_and_what_names_none_is_usage() {
    let scene = Scene::new(Generation::Turin);
    let Name::Vcek(id) = scene.names[0] else {
        panic!("a certificate comes first");
    };
    let hwid = hex::encode(id.hwid());
    let levels = "fmc=1,boot_loader=1,tee=1,snp=4,microcode=81";
    let synced = scene.sync("store", &["--product", "turin", "--hwid", &hwid, "--tcb", levels]);
    assert_eq!(synced.code, 0, "{synced:?}");
    assert_eq!(scene.appraise("store").code, 0);

    for wrong in [
        &[][..],
        &["--product", "venice"],
        &["--product", "turin", "--hwid", &hwid],
        &["--product", "genoa", "--hwid", &hwid, "--tcb", levels],
        &[
            "--product",
            "turin",
            "--hwid",
            "0000000000000000",
            "--tcb",
            levels,
        ],
        &["--product", "turin", "--kds", "ftp://mirror"],
        &["--report", &scene.path("none.bin")],
    ] {
        let refused = scene.sync("none", wrong);
        assert_eq!(refused.code, 2, "{wrong:?}: {refused:?}");
    }
    let malformed = scene.sync("none", &["--report", &scene.path("evidence.cmw")]);
    assert!(
        malformed.code == 30 && malformed.stderr.contains("report.malformed"),
        "{malformed:?}"
    );
    assert!(!Path::new(&scene.path("none")).exists());
}
