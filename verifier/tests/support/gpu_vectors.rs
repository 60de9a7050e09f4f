//! Real evidence of GPUs and NVSwitches, where this machine has it.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bastide_attestation::UnixTime;
use bastide_attestation::nvidia::GpuEndorsements;
use bastide_verifier::{Policy, RecordedGpu, RecordedGpus, Verifier};
use serde_json::Value;

use super::vectors::of_kind;

/// Recorded devices with what endorses them.
#[derive(Clone, Default)]
pub(crate) struct GpuSet {
    pub(crate) devices: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) endorsements: GpuEndorsements,
}

impl GpuSet {
    /// A folder with one device, its manifests and its OCSP answers.
    pub(crate) fn folder(name: &str) -> Option<Self> {
        let folder = of_kind("nvidia")?.join(name);
        let files = |folder: &Path, extension: &str| {
            let mut paths: Vec<_> = std::fs::read_dir(folder)
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|found| found == extension))
                .collect();
            paths.sort();
            paths.iter().map(|path| read(path)).collect::<Vec<_>>()
        };
        Some(Self {
            devices: vec![(read(&folder.join("report.bin")), read(&folder.join("chain.pem")))],
            endorsements: GpuEndorsements {
                rims: files(&folder, "xml"),
                ocsp: files(&folder.join("ocsp"), "der"),
                crls: Vec::new(),
            },
        })
    }

    /// The eight GPUs and four NVSwitches of one machine in protected PCIe mode.
    pub(crate) fn machine() -> Option<Self> {
        let path = of_kind("nvidia")?.join("ppcie-8xh100-570.124.06/evidence.json");
        let json: Value = serde_json::from_slice(&read(&path)).expect("the set is JSON");
        let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
        let devices = |kind: &str, report: &str, chain: &dyn Fn(&Value) -> Value| {
            let list = json[kind].as_array().unwrap().clone();
            list.into_iter()
                .map(|device| {
                    let chain = chain(&device);
                    let blocks = chain.as_array().unwrap().iter();
                    let pem = blocks.map(|block| [bytes(&block["pem"]), b"\n".to_vec()].concat());
                    (bytes(&device[report]["py/b64"]), pem.collect::<Vec<_>>().concat())
                })
                .collect::<Vec<_>>()
        };
        let mut all = devices("gpus", "AttestationReport", &|device| {
            device["CertificateChains"]["GpuAttestationCertificateChain"].clone()
        });
        all.extend(devices("nvswitches", "attestation_report", &|device| {
            device["attestation_cert_chain"].clone()
        }));
        Some(Self {
            devices: all,
            endorsements: GpuEndorsements::default(),
        })
    }

    /// One manifest more.
    pub(crate) fn with_rim(mut self, name: &str) -> Self {
        let folder = of_kind("nvidia").expect("the set itself is there");
        self.endorsements.rims.push(read(&folder.join(name)));
        self
    }

    /// What a verifier says of it.
    pub(crate) fn verdict(&self, policy: &Policy, now: UnixTime) -> bastide_attestation::Verdict {
        let devices: Vec<_> = self
            .devices
            .iter()
            .map(|(report, chain)| RecordedGpu { report, chain })
            .collect();
        let gpus = RecordedGpus {
            devices: &devices,
            endorsements: &self.endorsements,
            nonce: None,
        };
        Verifier::new(policy.clone()).appraise_recorded_gpus(&gpus, now)
    }
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
