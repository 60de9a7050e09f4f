//! Records evidence of the simulator, for what reads evidence from files:
//! `cargo run -p bastide-attester --features simulator --example record-simulated-evidence -- FOLDER SECONDS [gpus]`.
//! Writes `genoa`, `turin` and `azure` below FOLDER, made at SECONDS since 1970;
//! each run draws new keys. Below each lie the parts, and the envelope with them and
//! with evidence of one simulated GPU, as an enclave on the simulator sends it.
//!
//! With `gpus` also `gpu` (one, alone), `gpu-nvdaod` (the same in the newer
//! encoding), `gpu-ppcie` (eight, and four NVSwitches), and one alone with what
//! its name says: `gpu-mismatch` (a measurement that its driver's manifest has
//! not), `gpu-nvdec-off`, `gpu-expired` (its manifests' signer) and
//! `gpu-revoked` (its own certificate). Below each lie `report-N.bin` and
//! `chain-N.pem` of each device, manifests `rim-N.xml`, answers `ocsp-N.der`,
//! and all of them in CBOR, `evidence.cbor` and `endorsements.cbor`. The nonce
//! is that of the other recordings' boot, its GPU epoch, and a seed of 0x33.

use std::path::{Path, PathBuf};

use bastide_attestation::{
    Attester, Binder, BootId, EpochStatement, Evidence, GpuPart, GpuSeedKind, KeyThumbprint, ManifestDigest,
    PlatformEvidence, PolicyDigest, Salt, StatementDigest, TimeSource, Tree, UnixTime, binding, sha256,
};
use bastide_attester::simulator::nvidia::{Encoding, GpuFaults, GpuOptions, SimulatedGpus};
use bastide_attester::simulator::{AzureSimulator, Generation, Simulator, SimulatorOptions};

const BOOT_ID: BootId = BootId::new([1; 16]);
const GPU_EPOCH: u64 = 1;
const GPU_SEED: [u8; 32] = [0x33; 32];

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("expected a folder to write to")?);
    let seconds = arguments
        .next()
        .and_then(|text| text.to_str()?.parse().ok())
        .ok_or("expected seconds since 1970 after the folder")?;
    for generation in Generation::ALL {
        let options = SimulatorOptions::new(generation, UnixTime::from_secs(seconds));
        let attester = Simulator::new(options)?;
        record(&folder.join(generation.to_string()), &attester, seconds)?;
    }
    let options = SimulatorOptions::new(Generation::Genoa, UnixTime::from_secs(seconds));
    record(&folder.join("azure"), &AzureSimulator::new(options)?, seconds)?;
    match arguments.next() {
        None => Ok(()),
        Some(word) if word == "gpus" => record_gpus(&folder, UnixTime::from_secs(seconds)),
        Some(_) => Err("expected `gpus` or nothing after the seconds".into()),
    }
}

fn record_gpus(folder: &Path, now: UnixTime) -> Result<(), Box<dyn core::error::Error>> {
    let nonce = binding::gpu_nonce(&BOOT_ID, GPU_EPOCH, &GPU_SEED);
    let nvdaod = GpuOptions {
        encoding: Encoding::Nvdaod,
        driver: "620.12".to_owned(),
        ..GpuOptions::new(now)
    };
    let faulty = |faults| GpuOptions {
        faults,
        ..GpuOptions::new(now)
    };
    for (name, options) in [
        ("gpu", GpuOptions::new(now)),
        ("gpu-nvdaod", nvdaod),
        ("gpu-ppcie", GpuOptions::protected_pcie(now)),
        (
            "gpu-mismatch",
            faulty(GpuFaults {
                wrong_measurement: Some(21),
                ..GpuFaults::default()
            }),
        ),
        (
            "gpu-nvdec-off",
            faulty(GpuFaults {
                nvdec_disabled: true,
                ..GpuFaults::default()
            }),
        ),
        (
            "gpu-expired",
            faulty(GpuFaults {
                expired_rim_signer: true,
                ..GpuFaults::default()
            }),
        ),
        (
            "gpu-revoked",
            faulty(GpuFaults {
                revoked: Some(1),
                ..GpuFaults::default()
            }),
        ),
    ] {
        let gpus = SimulatedGpus::new(options)?;
        let (evidence, endorsements) = (gpus.evidence(&nonce)?, gpus.endorsements(now)?);
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder)?;
        for (index, device) in evidence.devices().iter().enumerate() {
            std::fs::write(folder.join(format!("report-{index}.bin")), &device.report)?;
            std::fs::write(folder.join(format!("chain-{index}.pem")), &device.chain)?;
        }
        for (index, rim) in endorsements.rims.iter().enumerate() {
            std::fs::write(folder.join(format!("rim-{index}.xml")), rim)?;
        }
        for (index, answer) in endorsements.ocsp.iter().enumerate() {
            std::fs::write(folder.join(format!("ocsp-{index}.der")), answer)?;
        }
        std::fs::write(folder.join("evidence.cbor"), evidence.encode())?;
        std::fs::write(folder.join("endorsements.cbor"), endorsements.encode())?;
    }
    Ok(())
}

fn gpu_part(now: UnixTime) -> Result<GpuPart, Box<dyn core::error::Error>> {
    let gpus = SimulatedGpus::new(GpuOptions::new(now))?;
    let nonce = binding::gpu_nonce(&BOOT_ID, GPU_EPOCH, &GPU_SEED);
    Ok(GpuPart {
        evidence: gpus.evidence(&nonce)?.encode(),
        seed: GPU_SEED,
        endorsements: gpus.endorsements(now)?,
    })
}

fn record(folder: &Path, attester: &dyn Attester, seconds: u64) -> Result<(), Box<dyn core::error::Error>> {
    let salt = Salt::new([0x77; 32]);
    let leaf = binding::leaf(binding::LeafType::ServerTls, &salt, &Binder::new([0x5a; 32]));
    let tree = Tree::new(&[leaf])?;
    let gpus = gpu_part(UnixTime::from_secs(seconds))?;
    let statement = EpochStatement {
        boot_id: BOOT_ID,
        epoch: 0,
        previous: StatementDigest::new([0; 32]),
        depth: tree.depth(),
        root: tree.root(),
        gpu_epoch: GPU_EPOCH,
        gpu_digest: Some(sha256(&[&gpus.evidence])),
        gpu_seed: GpuSeedKind::PreviousStatement,
        session_key: [4; 32],
        receipt_key: KeyThumbprint::new([5; 32]),
        sealed_key: None,
        model: ManifestDigest::new([6; 32]),
        configuration: PolicyDigest::new([7; 32]),
        time_ms: seconds.saturating_mul(1000),
        time_source: TimeSource::Host,
        debug: false,
        pipeline: false,
    }
    .encode();

    let attestation = attester.attest(&statement)?;
    std::fs::create_dir_all(folder)?;
    match &attestation.platform {
        PlatformEvidence::Snp(report) => std::fs::write(folder.join("report.bin"), report.as_slice())?,
        PlatformEvidence::AzureVtpm { hcl_report, quote } => {
            std::fs::write(folder.join("hcl-report.bin"), hcl_report)?;
            std::fs::write(folder.join("quote.msg"), &quote.message)?;
            std::fs::write(folder.join("quote.sig"), &quote.signature)?;
        }
        _ => return Err("the simulator gave evidence of another kind".into()),
    }
    let endorsements = &attestation.endorsements;
    let [ask, ark] = endorsements.chain.as_slice() else {
        return Err("the simulator gave no chain of two".into());
    };
    let crl = endorsements.crl.as_deref().unwrap_or_default();
    for (name, bytes) in [
        ("vcek.der", endorsements.vek.as_slice()),
        ("ask.der", ask),
        ("ark.der", ark),
        ("crl.der", crl),
        ("statement.cbor", statement.as_bytes()),
    ] {
        std::fs::write(folder.join(name), bytes)?;
    }
    let evidence = Evidence {
        statement: statement.as_bytes().to_vec(),
        proof: tree.prove(0, salt).ok_or("a tree of one leaf has it")?,
        platform: attestation.platform,
        endorsements: attestation.endorsements,
        gpu: Some(gpus),
    };
    std::fs::write(folder.join("evidence.cmw"), evidence.encode())?;
    Ok(())
}
