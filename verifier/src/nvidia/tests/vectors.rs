//! Real evidence, where this machine has it: the folder named by
//! `BASTIDE_VECTORS`, else `../shared/vectors` next to the workspace.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// One device's evidence.
#[derive(Debug, Clone)]
pub(super) struct Vector {
    pub(super) name: String,
    pub(super) report: Vec<u8>,
    pub(super) chain: Vec<u8>,
}

impl Vector {
    /// The certificates' DER, leaf first.
    pub(super) fn ders(&self) -> Vec<Vec<u8>> {
        crate::pem::pem_certificates(&self.chain).expect("the chain is PEM")
    }
}

/// Certificates as PEM.
pub(super) fn to_pem<'d>(ders: impl IntoIterator<Item = &'d Vec<u8>>) -> Vec<u8> {
    let block = |der| {
        let body = STANDARD.encode(der);
        let lines: Vec<_> = body.as_bytes().chunks(64).map(<[u8]>::to_vec).collect();
        let lines = String::from_utf8(lines.join(&b'\n')).expect("base64 is text");
        format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
    };
    ders.into_iter().map(block).collect::<String>().into_bytes()
}

/// The folder; `None`, and a line on stdout, where there is none.
fn folder() -> Option<PathBuf> {
    let root = std::env::var_os("BASTIDE_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors"),
        PathBuf::from,
    );
    let folder = root.join("nvidia");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("ignored: no vectors");
    None
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A set with one device.
pub(super) fn single(name: &str) -> Option<Vector> {
    let folder = folder()?.join(name);
    Some(Vector {
        name: name.to_owned(),
        report: read(&folder.join("report.bin")),
        chain: read(&folder.join("chain.pem")),
    })
}

/// The GPUs and NVSwitches of one machine in protected PCIe mode.
pub(super) fn machine() -> Option<(Vec<Vector>, Vec<Vector>)> {
    let path = folder()?.join("ppcie-8xh100-570.124.06/evidence.json");
    let json: Value = serde_json::from_slice(&read(&path)).expect("the set is JSON");
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let devices = |kind: &str, report: &str, chain: &dyn Fn(&Value) -> Value| {
        let list = json[kind].as_array().unwrap();
        list.iter()
            .enumerate()
            .map(|(index, device)| Vector {
                name: format!("{kind} {index}"),
                report: bytes(&device[report]["py/b64"]),
                chain: chain(device)
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|certificate| [bytes(&certificate["pem"]), b"\n".to_vec()].concat())
                    .collect::<Vec<_>>()
                    .concat(),
            })
            .collect::<Vec<_>>()
    };
    let gpus = devices("gpus", "AttestationReport", &|device| {
        device["CertificateChains"]["GpuAttestationCertificateChain"].clone()
    });
    let switches = devices("nvswitches", "attestation_report", &|device| {
        device["attestation_cert_chain"].clone()
    });
    Some((gpus, switches))
}
