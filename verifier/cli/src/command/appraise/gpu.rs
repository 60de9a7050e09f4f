//! Recorded evidence of NVIDIA GPUs and NVSwitches: raw reports and chains as
//! NVML gives them, our own bundle, or the JSON that NVIDIA's services take.
//! Reads with limits; what the parts hold is for the verifier to judge.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bastide_attestation::GpuNonce;
use bastide_attestation::nvidia::{
    DeviceEvidence, GpuEndorsements, GpuEvidence, MAX_DEVICES, MAX_GPU_CRL_BYTES, MAX_GPU_EVIDENCE_BYTES,
    MAX_OCSP_BYTES, MAX_RIM_BYTES,
};
use bastide_verifier::{RecordedGpu, RecordedGpus};
use clap::Args;
use serde::Deserialize;

use crate::fault::{Fault, with_causes};
use crate::file;

/// Enough to say that a report or a chain is too long.
const MAX_PART_BYTES: usize = 64 * 1024;
/// Base64 of the largest bundle, and some more.
const MAX_JSON_BYTES: usize = 2 * MAX_GPU_EVIDENCE_BYTES;

/// Evidence of GPUs and NVSwitches.
#[derive(Debug, Args)]
pub(super) struct GpuArgs {
    /// Raw SPDM report of a GPU or NVSwitch; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "evidence")]
    gpu_report: Vec<PathBuf>,
    /// Its attestation certificate chain, PEM, leaf first: one for each report, in their order
    #[arg(long, value_name = "FILE", conflicts_with = "evidence")]
    gpu_chain: Vec<PathBuf>,
    /// All devices in one file: a bundle of ours, or JSON with `evidence` and `certificate` in base64 as NVIDIA's services take it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["evidence", "gpu_report", "gpu_chain"])]
    gpu_evidence: Option<PathBuf>,
    /// Reference manifest (RIM) of a driver, VBIOS or switch, XML; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "evidence")]
    rim: Vec<PathBuf>,
    /// OCSP answer about a certificate of a device or a manifest, DER; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "evidence")]
    ocsp: Vec<PathBuf>,
    /// Revocation list of NVIDIA's, DER or PEM; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "evidence")]
    gpu_crl: Vec<PathBuf>,
    /// Nonce that every device must have answered, 32 bytes in hex
    #[arg(long, value_name = "HEX", conflicts_with = "evidence")]
    gpu_nonce: Option<GpuNonce>,
}

/// What the files hold.
pub(super) struct RecordedFiles {
    devices: Vec<DeviceEvidence>,
    endorsements: GpuEndorsements,
    nonce: Option<GpuNonce>,
}

impl RecordedFiles {
    /// The devices, as the verifier takes them.
    pub(super) fn devices(&self) -> Vec<RecordedGpu<'_>> {
        self.devices
            .iter()
            .map(|device| RecordedGpu {
                report: &device.report,
                chain: &device.chain,
            })
            .collect()
    }

    /// All of it, with `devices` from [`Self::devices`].
    pub(super) fn recorded<'a>(&'a self, devices: &'a [RecordedGpu<'a>]) -> RecordedGpus<'a> {
        RecordedGpus {
            devices,
            endorsements: &self.endorsements,
            nonce: self.nonce,
        }
    }

    /// What a signed result names: every device's report and chain, in one encoding.
    pub(super) fn bytes(&self) -> Vec<u8> {
        GpuEvidence::new(self.devices.clone()).map_or_else(|_| Vec::new(), |evidence| evidence.encode())
    }
}

impl GpuArgs {
    /// Whether there is evidence of GPUs.
    pub(super) const fn is_given(&self) -> bool {
        self.gpu_evidence.is_some() || !self.gpu_report.is_empty()
    }

    /// The file that is judged.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        self.gpu_evidence.as_ref().or_else(|| self.gpu_report.first())
    }

    /// Reads all files; `None` if there is no evidence of GPUs.
    ///
    /// # Errors
    /// [`Fault`] if a file can't be read, or reports and chains don't pair.
    pub(super) fn read(&self) -> Result<Option<RecordedFiles>, Fault> {
        if !self.is_given() {
            let orphan = !self.gpu_chain.is_empty()
                || !self.rim.is_empty()
                || !self.ocsp.is_empty()
                || !self.gpu_crl.is_empty()
                || self.gpu_nonce.is_some();
            return if orphan {
                Err(Fault::usage(
                    "usage",
                    "--gpu-chain, --rim, --ocsp, --gpu-crl and --gpu-nonce go with --gpu-report or --gpu-evidence",
                ))
            } else {
                Ok(None)
            };
        }
        let mut crls = Vec::new();
        for path in &self.gpu_crl {
            crls.extend(crate::recorded::all(path)?);
        }
        if let Some(large) = crls.iter().find(|crl| crl.len() > MAX_GPU_CRL_BYTES) {
            let message = format!(
                "a revocation list of at most {MAX_GPU_CRL_BYTES} bytes was expected, got {}",
                large.len()
            );
            return Err(Fault::malformed("input.too_large", message));
        }
        Ok(Some(RecordedFiles {
            devices: self.devices()?,
            endorsements: GpuEndorsements {
                rims: files(&self.rim, MAX_RIM_BYTES)?,
                ocsp: files(&self.ocsp, MAX_OCSP_BYTES)?,
                crls,
            },
            nonce: self.gpu_nonce,
        }))
    }

    fn devices(&self) -> Result<Vec<DeviceEvidence>, Fault> {
        if let Some(path) = &self.gpu_evidence {
            return of_one_file(path);
        }
        let (reports, chains) = (self.gpu_report.len(), self.gpu_chain.len());
        if reports != chains {
            return Err(Fault::usage(
                "usage",
                format!(
                    "expected a --gpu-chain for each --gpu-report, got {reports} report(s) and {chains} chain(s)"
                ),
            ));
        }
        let pairs = self.gpu_report.iter().zip(&self.gpu_chain);
        pairs
            .map(|(report, chain)| {
                Ok(DeviceEvidence {
                    report: file::read(report, MAX_PART_BYTES)?,
                    chain: file::read(chain, MAX_PART_BYTES)?,
                })
            })
            .collect()
    }
}

fn files(paths: &[PathBuf], limit: usize) -> Result<Vec<Vec<u8>>, Fault> {
    paths.iter().map(|path| file::read(path, limit)).collect()
}

/// A device in the JSON that NVIDIA's services take.
#[derive(Deserialize)]
struct Listed {
    evidence: String,
    certificate: String,
}

/// The list alone, or with what is around it in a request.
#[derive(Deserialize)]
#[serde(untagged)]
enum Json {
    List(Vec<Listed>),
    Request { evidence_list: Vec<Listed> },
}

fn of_one_file(path: &Path) -> Result<Vec<DeviceEvidence>, Fault> {
    let bytes = file::read(path, MAX_JSON_BYTES)?;
    let named = path.display();
    if !matches!(bytes.first(), Some(b'[' | b'{')) {
        return GpuEvidence::decode(&bytes)
            .map(|evidence| evidence.devices().to_vec())
            .map_err(|error| {
                Fault::malformed(
                    "evidence.malformed",
                    format!("`{named}`: {}", with_causes(&error)),
                )
                .with_remedy(
                    "give a bundle of GPU evidence, or JSON with `evidence` and `certificate` of each device",
                )
            });
    }
    let json: Json = serde_json::from_slice(&bytes).map_err(|_| {
        Fault::malformed(
            "evidence.malformed",
            format!("`{named}`: expected a JSON list of devices, each with `evidence` and `certificate`"),
        )
    })?;
    let (Json::List(listed)
    | Json::Request {
        evidence_list: listed,
    }) = json;
    if listed.len() > MAX_DEVICES {
        let message = format!(
            "`{named}`: at most {MAX_DEVICES} devices were expected, got {}",
            listed.len()
        );
        return Err(Fault::malformed("input.too_large", message));
    }
    let decode = |index: usize, what: &str, text: &str| {
        STANDARD.decode(text).map_err(|_| {
            let message = format!("`{named}`: device {index}: `{what}` is not base64");
            Fault::malformed("evidence.malformed", message)
        })
    };
    listed
        .iter()
        .enumerate()
        .map(|(index, device)| {
            Ok(DeviceEvidence {
                report: decode(index, "evidence", &device.evidence)?,
                chain: decode(index, "certificate", &device.certificate)?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_and_both_forms_of_json_are_the_same_devices() {
        let device = DeviceEvidence {
            report: vec![1, 2],
            chain: vec![3],
        };
        let folder = tempfile::tempdir().unwrap();
        let list = format!(
            r#"[{{"evidence":"{}","certificate":"{}","arch":"HOPPER"}}]"#,
            STANDARD.encode(&device.report),
            STANDARD.encode(&device.chain)
        );
        let bundle = GpuEvidence::new(vec![device.clone()]).unwrap().encode();
        for (name, bytes) in [
            ("bundle", bundle),
            ("list", list.clone().into_bytes()),
            (
                "request",
                format!(r#"{{"nonce":"00","evidence_list":{list}}}"#).into_bytes(),
            ),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(of_one_file(&path).unwrap(), [device.clone()], "{name}");
        }
        for (name, text) in [
            ("no-base64", r#"[{"evidence":"%","certificate":""}]"#),
            ("no-list", "{}"),
            ("none", ""),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            assert!(of_one_file(&path).is_err(), "{name}");
        }
    }
}
