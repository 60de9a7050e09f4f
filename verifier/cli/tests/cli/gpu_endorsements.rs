//! What NVIDIA issued for a simulated machine's GPUs, fetched into a directory
//! from services that speak real HTTP, renewed, and carried over.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bastide_attestation::nvidia::{GpuEndorsements, GpuEvidence};
use bastide_attestation::{
    Attester as _, Evidence, GpuNonce, GpuPart, InclusionProof, Salt, UnixTime, sha256,
};
use bastide_attester::simulator::nvidia::{GpuOptions, SimulatedGpus};
use bastide_attester::simulator::{Generation, Simulator, SimulatorOptions};
use bastide_endorsements::nvidia::{Endorsement, Name, Sources, Wanted};

use crate::endorsements::{Server, outcomes, statement};
use crate::process::{Run, run};

const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";

/// A simulated machine's evidence as files, and services that have what endorses it.
struct Scene {
    folder: tempfile::TempDir,
    server: Server,
    address: String,
    evidence: GpuEvidence,
    endorsements: GpuEndorsements,
    rims: Vec<String>,
}

impl Scene {
    fn new(options: GpuOptions) -> Self {
        let now = options.now;
        let gpus = SimulatedGpus::new(options).unwrap();
        let evidence = gpus.evidence(&GpuNonce::new([7; 32])).unwrap();
        let endorsements = gpus.endorsements(now).unwrap();
        let sources = Sources::of(&evidence).unwrap();
        let rims: Vec<Wanted> = sources.rims().collect();
        let read = |(wanted, bytes): (&Wanted, &Vec<u8>)| Endorsement::read(wanted.name(), bytes).unwrap();
        let manifests: Vec<Endorsement> = rims.iter().zip(&endorsements.rims).map(read).collect();
        let server = Server::default();
        for manifest in &manifests {
            has_manifest(&server, manifest);
        }
        for wanted in sources.others(&manifests) {
            let Wanted::Ocsp(question) = &wanted else {
                panic!("simulated certificates name no list");
            };
            let mut answers = endorsements.ocsp.iter();
            let answer = answers
                .find(|answer| Endorsement::read(wanted.name(), answer).is_ok())
                .unwrap_or_else(|| panic!("the simulator has no {}", wanted.name().describe()));
            let path = format!("/ocsp {}", hex::encode(question.encode()));
            server.has.lock().unwrap().insert(path, answer.clone());
        }
        let folder = tempfile::tempdir().unwrap();
        for (index, device) in evidence.devices().iter().enumerate() {
            std::fs::write(folder.path().join(format!("{index}.bin")), &device.report).unwrap();
            std::fs::write(folder.path().join(format!("{index}.pem")), &device.chain).unwrap();
        }
        let address = server.start();
        Self {
            folder,
            server,
            address,
            evidence,
            endorsements,
            rims: rims.iter().map(|wanted| wanted.name().to_string()).collect(),
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn sync(&self, store: &str, more: &[&str]) -> Run {
        let (store, ocsp) = (self.path(store), format!("{}/ocsp", self.address));
        let fixed = ["endorsements", "sync", "--store", &store, "--output", "json"];
        let services = [
            "--rim-url",
            &self.address,
            "--ocsp-url",
            &ocsp,
            "--kds",
            &self.address,
        ];
        run(&[&fixed, &services, more].concat())
    }

    fn sync_devices(&self, store: &str, more: &[&str]) -> Run {
        let mut devices = Vec::new();
        for index in 0..self.evidence.devices().len() {
            devices.extend([
                "--gpu-report".to_owned(),
                self.path(&format!("{index}.bin")),
                "--gpu-chain".to_owned(),
                self.path(&format!("{index}.pem")),
            ]);
        }
        let devices: Vec<&str> = devices.iter().map(String::as_str).collect();
        self.sync(store, &[&devices, more].concat())
    }

    fn asked(&self) -> usize {
        self.server.asked.lock().unwrap().len()
    }
}

fn now() -> UnixTime {
    UnixTime::from_secs(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

/// Publishes a manifest as the RIM service does.
fn has_manifest(server: &Server, manifest: &Endorsement) {
    use base64::Engine as _;
    let Name::Rim(id) = manifest.name() else {
        panic!("no manifest");
    };
    let answer = serde_json::json!({
        "id": id.to_string(),
        "rim": base64::engine::general_purpose::STANDARD.encode(manifest.bytes()),
        "sha256": hex::encode(manifest.sha256()),
        "last_updated": "2026-06-01T00:00:00.000000",
        "rim_format": "TCG",
        "request_id": "8c7bd0b3-7b9f-4f0f-9b0e-0a1b2c3d4e5f",
    });
    let path = format!("/v1/rim/{id}");
    server
        .has
        .lock()
        .unwrap()
        .insert(path, answer.to_string().into_bytes());
}

fn files(folder: &str) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap())
        .map(|file| {
            let name = file.file_name().into_string().unwrap();
            (name, std::fs::read(file.path()).unwrap())
        })
        .collect()
}

#[test]
fn a_gpu_is_synced_from_three_services_and_its_answers_are_kept_while_they_are_new() {
    let scene = Scene::new(GpuOptions::new(now()));
    let synced = scene.sync_devices("store", &[]);
    assert_eq!((synced.code, synced.stderr.as_str()), (0, ""), "{synced:?}");
    let count = 2 + scene.endorsements.ocsp.len();
    assert_eq!(outcomes(&synced), vec!["fetched"; count]);
    assert_eq!(scene.asked(), count);
    let kept = files(&scene.path("store"));
    for (name, rim) in scene.rims.iter().zip(&scene.endorsements.rims) {
        assert_eq!(&kept[name], rim);
    }
    for answer in &scene.endorsements.ocsp {
        assert!(kept.values().any(|kept| kept == answer));
    }

    let again = scene.sync_devices("store", &[]);
    assert_eq!(outcomes(&again)[..2], ["unchanged"; 2]);
    assert_eq!(outcomes(&again)[2..], vec!["kept"; count - 2]);
    let asked = scene.asked();
    let missing = scene.sync_devices("store", &["--missing-only"]);
    assert_eq!(outcomes(&missing), vec!["kept"; count]);
    assert_eq!(scene.asked(), asked, "what is there was asked for");
    let forced = scene.sync_devices("store", &["--force"]);
    assert_eq!(outcomes(&forced), vec!["unchanged"; count]);
}

#[test]
fn a_whole_machine_with_protected_pcie_is_synced_and_nothing_is_asked_twice() {
    let scene = Scene::new(GpuOptions::protected_pcie(now()));
    let synced = scene.sync_devices("store", &[]);
    assert_eq!(synced.code, 0, "{synced:?}");
    let count = 3 + scene.endorsements.ocsp.len();
    assert_eq!((outcomes(&synced).len(), scene.asked()), (count, count));
}

#[test]
fn an_export_of_gpus_endorsements_is_imported_byte_by_byte_and_a_tampered_one_is_not() {
    let scene = Scene::new(GpuOptions::new(now()));
    assert_eq!(scene.sync_devices("store", &[]).code, 0);
    let (store, carried, other) = (scene.path("store"), scene.path("carried"), scene.path("other"));
    let exported = run(&["endorsements", "export", "--store", &store, &carried]);
    assert_eq!(exported.code, 0, "{exported:?}");
    let import = ["endorsements", "import", "--store", &other, &carried];
    let imported = run(&import);
    assert_eq!(imported.code, 0, "{imported:?}");
    assert_eq!(files(&other), files(&store));

    let list = ["endorsements", "list", "--store", &other, "--output", "json"];
    let listed = run(&list).json()["endorsements"].clone();
    for (name, rim) in scene.rims.iter().zip(&scene.endorsements.rims) {
        let rows = listed.as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name.as_str()).unwrap();
        assert_eq!(row["sha256"], hex::encode(sha256(&[rim])));
    }

    let path = Path::new(&carried).join(&scene.rims[0]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let untouched = scene.path("untouched");
    let refused = run(&["endorsements", "import", "--store", &untouched, &carried]);
    assert!(
        refused.code == 30 && refused.stderr.contains("endorsements.digest"),
        "{refused:?}"
    );
    assert!(files(&untouched).is_empty());
}

#[test]
fn a_manifest_that_is_not_published_is_exit_40_and_the_rest_is_kept() {
    let scene = Scene::new(GpuOptions::new(now()));
    scene
        .server
        .script
        .lock()
        .unwrap()
        .push_back(NOT_FOUND.to_owned());
    let failed = scene.sync_devices("store", &[]);
    assert_eq!(failed.code, 40, "{failed:?}");
    assert_eq!(outcomes(&failed)[..2], ["failed", "fetched"]);
    assert!(
        failed.stderr.contains("nvidia.unknown") && failed.stderr.contains("NVIDIA may publish one"),
        "{failed:?}"
    );
    let mended = scene.sync_devices("store", &["--missing-only"]);
    assert_eq!(
        (mended.code, &outcomes(&mended)[0]),
        (0, &"fetched".into()),
        "{mended:?}"
    );
}

#[test]
fn a_manifest_that_was_signed_anew_is_said_to_be_updated() {
    let at = now();
    let scene = Scene::new(GpuOptions::new(UnixTime::from_secs(at.as_secs() - 3600)));
    let id = ["--rim-id", "NV_GPU_DRIVER_GH100_580.159.03"];
    assert_eq!(outcomes(&scene.sync("store", &id))[0], "fetched");
    let newer = SimulatedGpus::new(GpuOptions::new(at)).unwrap();
    let newer = newer.endorsements(at).unwrap().rims.remove(0);
    let name: Name = scene.rims[0].parse().unwrap();
    has_manifest(&scene.server, &Endorsement::read(name, &newer).unwrap());
    let synced = scene.sync("store", &id);
    assert_eq!(outcomes(&synced)[0], "updated", "{synced:?}");
    assert_eq!(
        synced.json()["endorsements"][0]["sha256"],
        hex::encode(sha256(&[&newer]))
    );
    assert_eq!(files(&scene.path("store"))[&scene.rims[0]], newer);
}

#[test]
fn an_envelope_brings_its_gpus_endorsements_along() {
    let scene = Scene::new(GpuOptions::new(now()));
    let options = SimulatorOptions {
        latency: Duration::ZERO,
        ..SimulatorOptions::new(Generation::Turin, now())
    };
    let statement = statement();
    let attestation = Simulator::new(options).unwrap().attest(&statement).unwrap();
    let evidence = Evidence {
        statement: statement.as_bytes().to_vec(),
        proof: InclusionProof {
            index: 0,
            path: vec![[9; 32]; 4],
            salt: Salt::new([8; 32]),
        },
        platform: attestation.platform,
        endorsements: attestation.endorsements,
        gpu: Some(GpuPart {
            evidence: scene.evidence.encode(),
            seed: [1; 32],
            endorsements: GpuEndorsements::default(),
        }),
    };
    std::fs::write(scene.path("evidence.cmw"), evidence.encode()).unwrap();
    // The server has nothing of AMD's.
    let synced = scene.sync("store", &["--evidence", &scene.path("evidence.cmw")]);
    assert_eq!(synced.code, 40, "{synced:?}");
    assert!(synced.stderr.contains("kds.unknown"), "{synced:?}");
    let count = 2 + scene.endorsements.ocsp.len();
    let outcomes = outcomes(&synced);
    assert_eq!(outcomes[..3], ["failed"; 3]);
    assert_eq!(outcomes[3..], vec!["fetched"; count]);
}

#[test]
fn what_names_no_gpu_is_usage_and_what_is_none_is_malformed() {
    let scene = Scene::new(GpuOptions::new(now()));
    let (report, chain) = (scene.path("0.bin"), scene.path("0.pem"));
    for wrong in [
        &["--gpu-report", &report][..],
        &["--gpu-chain", &chain],
        &[
            "--gpu-report",
            &report,
            "--gpu-report",
            &report,
            "--gpu-chain",
            &chain,
        ],
        &["--gpu-report", &scene.path("none"), "--gpu-chain", &chain],
        &["--rim-id", "../secret"],
        &["--rim-id", "A", "--rim-url", "ftp://mirror"],
    ] {
        let refused = scene.sync("none", wrong);
        assert_eq!(refused.code, 2, "{wrong:?}: {refused:?}");
    }
    for wrong in [
        ["--gpu-report", &chain, "--gpu-chain", &chain],
        ["--gpu-report", &report, "--gpu-chain", &report],
    ] {
        let refused = scene.sync("none", &wrong);
        assert!(
            refused.code == 30 && refused.stderr.contains("evidence.malformed"),
            "{wrong:?}: {refused:?}"
        );
    }
    assert!(!Path::new(&scene.path("none")).exists());
    assert_eq!(scene.asked(), 0);
}
