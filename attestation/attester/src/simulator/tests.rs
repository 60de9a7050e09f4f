//! Simulated evidence against other people's readers: `aws-lc-rs` for the
//! signatures, `x509-cert` for the certificates, `sev` for the report.

use std::time::Instant;

use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED, RSA_PSS_2048_8192_SHA384, UnparsedPublicKey, VerificationAlgorithm,
};
use bastide_attestation::snp::{Product, SigningKey, SnpReport};
use bastide_attestation::{
    BootId, EpochStatement, GpuSeedKind, KeyThumbprint, ManifestDigest, PolicyDigest, StatementDigest,
    TimeSource, TreeHash, sha256, sha384,
};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

fn statement(epoch: u64) -> StatementBytes {
    EpochStatement {
        boot_id: BootId::new([1; 16]),
        epoch,
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

fn options(generation: Generation) -> SimulatorOptions {
    SimulatorOptions {
        latency: Duration::ZERO,
        ..SimulatorOptions::new(generation, NOW)
    }
}

fn attest(options: SimulatorOptions) -> (SnpReport, Endorsements) {
    let attestation = Simulator::new(options).unwrap().attest(&statement(0)).unwrap();
    let PlatformEvidence::Snp(report) = &attestation.platform else {
        panic!("not SNP evidence");
    };
    (
        SnpReport::parse(report.as_slice()).unwrap(),
        attestation.endorsements,
    )
}

/// A certificate or a list: what is signed, and the signature.
fn split(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    use x509_cert::der::asn1::{Any, BitString};
    let parts = Vec::<Any>::from_der(der).unwrap();
    let signature = BitString::from_der(&parts[2].to_der().unwrap()).unwrap();
    (parts[0].to_der().unwrap(), signature.raw_bytes().to_vec())
}

fn public_key(der: &[u8]) -> Vec<u8> {
    let certificate = Certificate::from_der(der).unwrap();
    let info = certificate.tbs_certificate().subject_public_key_info();
    info.subject_public_key.raw_bytes().to_vec()
}

fn verifies(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    UnparsedPublicKey::new(algorithm, key)
        .verify(message, signature)
        .is_ok()
}

#[test]
fn the_fixed_measurement_is_the_hash_of_its_label() {
    let label = b"bastide-simulated-launch-measurement-v1";
    assert_eq!(SIMULATED_MEASUREMENT.as_bytes(), &sha384(&[label]));
}

#[test]
fn every_signature_verifies_from_the_root_to_the_report() {
    for generation in Generation::ALL {
        let (report, endorsements) = attest(options(generation));
        let [ask, ark] = endorsements.chain.as_slice() else {
            panic!("a chain of two");
        };
        let crl = endorsements.crl.unwrap();
        for (signed, issuer) in [(ark, ark), (ask, ark), (&endorsements.vek, ask), (&crl, ark)] {
            let (tbs, signature) = split(signed);
            let key = public_key(issuer);
            assert!(verifies(&RSA_PSS_2048_8192_SHA384, &key, &tbs, &signature));
        }
        let key = public_key(&endorsements.vek);
        let (message, signature) = (report.signed_bytes(), report.signature());
        assert!(verifies(&ECDSA_P384_SHA384_FIXED, &key, message, &signature));
        let mut flipped = message.to_vec();
        flipped[0x90] ^= 1;
        assert!(!verifies(&ECDSA_P384_SHA384_FIXED, &key, &flipped, &signature));
    }
}

#[test]
fn a_report_says_what_a_good_node_of_the_generation_says() {
    for (generation, product, platform) in [
        (Generation::Genoa, Product::Genoa, 0x25),
        (Generation::Turin, Product::Turin, 0x65),
    ] {
        let (report, _) = attest(options(generation));
        let layout = snp_generation(generation);
        assert_eq!((report.version(), report.vmpl(), report.guest_svn()), (5, 0, 0));
        assert_eq!(report.cpuid().and_then(Product::of), Some(product));
        assert_eq!(report.policy().bits(), 0x3_0000);
        assert_eq!(report.platform_info().bits(), platform);
        assert!(report.platform_info().alias_check_complete());
        assert_eq!(report.key_info().bits(), 0);
        assert_eq!(report.key_info().signing_key(), Some(SigningKey::Vcek));
        assert_eq!(report.measurement(), SIMULATED_MEASUREMENT);
        assert_eq!(report.report_data(), statement(0).report_data());
        for tcb in [
            report.current_tcb(layout),
            report.reported_tcb(layout),
            report.committed_tcb(layout),
            report.launch_tcb(layout),
        ] {
            assert_eq!(tcb, Some(generation.tcb()));
        }
        let significant = layout.hwid_len();
        let id = report.chip_id();
        assert!(id.as_bytes()[..significant].iter().any(|byte| *byte != 0));
        assert!(id.as_bytes()[significant..].iter().all(|byte| *byte == 0));
    }
}

fn snp_generation(generation: Generation) -> bastide_attestation::snp::Generation {
    generation.into()
}

#[test]
fn statements_and_boots_differ_and_chips_stay() {
    let simulator = Simulator::new(options(Generation::Genoa)).unwrap();
    let read = |attestation: Attestation| {
        let PlatformEvidence::Snp(report) = &attestation.platform else {
            panic!("not SNP evidence");
        };
        SnpReport::parse(report.as_slice()).unwrap()
    };
    let first = read(simulator.attest(&statement(0)).unwrap());
    let second = read(simulator.attest(&statement(1)).unwrap());
    assert_ne!(first.report_data(), second.report_data());
    assert_eq!(first.report_id(), second.report_id());

    let (rebooted, _) = attest(options(Generation::Genoa));
    assert_ne!(first.report_id(), rebooted.report_id());
    assert_eq!(first.chip_id(), rebooted.chip_id());
    let (other, _) = attest(SimulatorOptions {
        chip: 1,
        ..options(Generation::Genoa)
    });
    assert_ne!(first.chip_id(), other.chip_id());
}

#[test]
fn bad_nodes_can_be_made_in_the_real_format() {
    let good = options(Generation::Genoa);
    let (report, _) = attest(SimulatorOptions { debug: true, ..good });
    assert!(report.policy().debug());
    let (report, _) = attest(SimulatorOptions { vmpl: 2, ..good });
    assert_eq!(report.vmpl(), 2);
    let measurement = LaunchMeasurement::new([9; 48]);
    let (report, _) = attest(SimulatorOptions { measurement, ..good });
    assert_eq!(report.measurement(), measurement);

    let old = TcbVersion {
        fmc: None,
        boot_loader: 3,
        tee: 0,
        snp: 8,
        microcode: 0xdb,
    };
    let (report, endorsements) = attest(SimulatorOptions {
        tcb: Some(old),
        ..good
    });
    assert_eq!(report.reported_tcb(snp_generation(Generation::Genoa)), Some(old));
    // A level of 128 or more takes two bytes of an INTEGER.
    assert_eq!(
        extension(&endorsements.vek, "1.3.6.1.4.1.3704.1.3.8"),
        [2, 2, 0, 0xdb]
    );
}

#[test]
fn contradictory_options_are_refused() {
    let turin = options(Generation::Turin).generation.tcb();
    for bad in [
        SimulatorOptions {
            tcb: Some(turin),
            ..options(Generation::Genoa)
        },
        SimulatorOptions {
            vmpl: 4,
            ..options(Generation::Genoa)
        },
    ] {
        assert!(matches!(
            Simulator::new(bad),
            Err(AttesterError::Unavailable { .. })
        ));
    }
}

#[test]
fn reports_take_their_time_one_after_the_other() {
    let latency = Duration::from_millis(20);
    let simulator = Simulator::new(SimulatorOptions {
        latency,
        ..options(Generation::Genoa)
    })
    .unwrap();
    let began = Instant::now();
    thread::scope(|scope| {
        for epoch in 0..3 {
            let simulator = &simulator;
            scope.spawn(move || simulator.attest(&statement(epoch)).unwrap());
        }
    });
    assert!(began.elapsed() >= 3 * latency);
}

fn extension(certificate: &[u8], oid: &str) -> Vec<u8> {
    let certificate = Certificate::from_der(certificate).unwrap();
    let extensions = certificate.tbs_certificate().extensions().unwrap();
    let found = extensions
        .iter()
        .find(|extension| extension.extn_id.to_string() == oid);
    found
        .unwrap_or_else(|| panic!("no {oid}"))
        .extn_value
        .as_bytes()
        .to_vec()
}

#[test]
fn a_vcek_has_amds_names_and_extensions() {
    for generation in Generation::ALL {
        let (report, endorsements) = attest(options(generation));
        let der = &endorsements.vek;
        let certificate = Certificate::from_der(der).unwrap();
        let tbs = certificate.tbs_certificate();
        assert!(tbs.subject().to_string().contains("CN=SEV-VCEK"));
        assert!(
            tbs.issuer()
                .to_string()
                .contains(&format!("CN=SEV-{}", generation.name()))
        );
        assert_eq!(tbs.serial_number().as_bytes(), [0]);
        let validity = tbs.validity();
        let (from, to) = (
            validity.not_before.to_unix_duration(),
            validity.not_after.to_unix_duration(),
        );
        assert_eq!(from.as_secs(), NOW.as_secs() - 86_400);
        assert_eq!((to - from).as_secs(), 2_557 * 86_400);

        let tcb = generation.tcb();
        let level = |suffix: &str| extension(der, &format!("1.3.6.1.4.1.3704.1.{suffix}"));
        assert_eq!(level("3.1"), [2, 1, tcb.boot_loader]);
        assert_eq!(level("3.2"), [2, 1, tcb.tee]);
        assert_eq!(level("3.3"), [2, 1, tcb.snp]);
        assert_eq!(level("3.8"), [2, 1, tcb.microcode]);
        assert_eq!(level("1"), [2, 1, u8::from(generation == Generation::Turin)]);
        assert_eq!(level("2")[2..], *generation.name().as_bytes());
        assert_eq!(level("4"), generation.hwid(0));
        assert!(report.chip_id().as_bytes().starts_with(&level("4")));
        if let Some(fmc) = tcb.fmc {
            assert_eq!(level("3.9"), [2, 1, fmc]);
        }
    }
}

/// Every byte of a real VCEK but key, dates, levels, chip and signature is as
/// in a simulated one; its size says so without naming them all.
#[test]
fn a_vcek_is_as_long_as_amds() {
    for (generation, length) in [(Generation::Genoa, 1347), (Generation::Turin, 1289)] {
        assert_eq!(attest(options(generation)).1.vek.len(), length);
    }
}

#[test]
fn committed_certificates_are_what_the_builder_builds() {
    for generation in Generation::ALL {
        let (committed, minted) = (roots::certificates(generation), roots::mint(generation).unwrap());
        for (committed, minted) in [(&committed.ark, &minted.ark), (&committed.ask, &minted.ask)] {
            assert_eq!(split(committed).0, split(minted).0);
            assert_eq!(committed.len(), minted.len());
            Certificate::from_der(committed).unwrap();
        }
    }
}

#[test]
fn the_readme_lists_the_keys_digests() {
    let readme = include_str!("keys/README.md");
    for generation in Generation::ALL {
        let certificates = roots::certificates(generation);
        for der in [&certificates.ark, &certificates.ask] {
            let certificate = Certificate::from_der(der).unwrap();
            let spki = certificate.tbs_certificate().subject_public_key_info().to_der();
            assert!(readme.contains(&hex::encode(sha256(&[&spki.unwrap()]))));
        }
    }
}

#[test]
fn sev_reads_the_same_report() {
    use sev::firmware::guest::AttestationReport;
    use sev::parser::ByteParser;
    for generation in Generation::ALL {
        let (report, _) = attest(options(generation));
        let other = AttestationReport::from_bytes(report.as_bytes()).unwrap();
        assert_eq!(other.version, report.version());
        assert_eq!(other.vmpl, report.vmpl());
        assert_eq!(u64::from(other.policy), report.policy().bits());
        assert_eq!(other.report_data[..], report.report_data().as_bytes()[..]);
        assert_eq!(other.measurement[..], report.measurement().as_bytes()[..]);
        assert_eq!(other.report_id[..], report.report_id().as_bytes()[..]);
        assert_eq!(other.chip_id[..], report.chip_id().as_bytes()[..]);
        let cpuid = report.cpuid().unwrap();
        assert_eq!(other.cpuid_fam_id, Some(cpuid.family));
        assert_eq!(other.cpuid_mod_id, Some(cpuid.model));
        let tcb = generation.tcb();
        for theirs in [
            other.current_tcb,
            other.reported_tcb,
            other.committed_tcb,
            other.launch_tcb,
        ] {
            assert_eq!(
                (
                    theirs.fmc,
                    theirs.bootloader,
                    theirs.tee,
                    theirs.snp,
                    theirs.microcode
                ),
                (tcb.fmc, tcb.boot_loader, tcb.tee, tcb.snp, tcb.microcode)
            );
        }
    }
}

mod azure {
    //! The simulated Azure VM against the vocabulary's readers and `aws-lc-rs`.

    use aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256;
    use bastide_attestation::azure::{HclReport, PcrValues, Quote, QuoteSignature, RuntimeData};
    use bastide_attestation::{ReportData, TpmQuote};

    use super::*;

    fn attest_azure(epoch: u64) -> (Vec<u8>, TpmQuote, Endorsements) {
        let simulator = AzureSimulator::new(options(Generation::Genoa)).unwrap();
        let attestation = simulator.attest(&statement(epoch)).unwrap();
        let PlatformEvidence::AzureVtpm { hcl_report, quote } = attestation.platform else {
            panic!("not Azure evidence");
        };
        (hcl_report, quote, attestation.endorsements)
    }

    #[test]
    fn the_vcek_vouches_for_the_runtime_data_and_that_for_the_quotes_key() {
        let (hcl_report, quote, endorsements) = attest_azure(3);
        assert_eq!(hcl_report.len(), 2600);
        let hcl = HclReport::parse(&hcl_report).unwrap();
        let report = SnpReport::parse(hcl.snp_report()).unwrap();
        assert!(verifies(
            &ECDSA_P384_SHA384_FIXED,
            &public_key(&endorsements.vek),
            report.signed_bytes(),
            &report.signature()
        ));
        let mut report_data = [0; 64];
        report_data[..32].copy_from_slice(&sha256(&[hcl.runtime_data()]));
        assert_eq!(report.report_data(), ReportData::new(report_data));
        assert_eq!(report.policy().bits(), 0x3_001f);
        assert_eq!(
            report.id_key_digest().as_bytes(),
            &AzureSimulator::id_key_digest()
        );

        let runtime = RuntimeData::parse(hcl.runtime_data()).unwrap();
        assert_eq!(
            (runtime.secure_boot, runtime.console_enabled),
            (Some(true), Some(true))
        );
        let key = runtime.attestation_key.to_der();
        let signature = QuoteSignature::parse(&quote.signature).unwrap();
        let algorithm = &RSA_PKCS1_2048_8192_SHA256;
        assert!(verifies(algorithm, &key, &quote.message, signature.as_bytes()));
        assert!(!verifies(algorithm, &key, b"another", signature.as_bytes()));
        let read = Quote::parse(&quote.message).unwrap();
        assert_eq!(read.extra_data, statement(3).quote_nonce().as_bytes());
        assert_eq!(read.firmware_version, 0x2020_0312_0012_0003);
        let pcrs = PcrValues::new(read.selection, &quote.pcrs).unwrap();
        assert_eq!(&pcrs.digest(), read.pcr_digest);
    }

    #[test]
    fn statements_give_quotes_of_their_own_under_one_report() {
        let simulator = AzureSimulator::new(options(Generation::Turin)).unwrap();
        let [first, second] =
            [0, 1].map(
                |epoch| match simulator.attest(&statement(epoch)).unwrap().platform {
                    PlatformEvidence::AzureVtpm { hcl_report, quote } => (hcl_report, quote.message),
                    _ => panic!("not Azure evidence"),
                },
            );
        assert_eq!(first.0, second.0);
        assert_ne!(first.1, second.1);
    }

    #[test]
    fn the_readme_lists_the_attestation_keys_digest() {
        let (hcl_report, ..) = attest_azure(0);
        let hcl = HclReport::parse(&hcl_report).unwrap();
        let runtime = RuntimeData::parse(hcl.runtime_data()).unwrap();
        let fingerprint = runtime.attestation_key.fingerprint().to_string();
        assert!(include_str!("keys/README.md").contains(&fingerprint));
    }
}

#[test]
fn a_stalling_processor_is_slow_on_every_nth_report_and_on_no_other() {
    let lasting = Duration::from_millis(200);
    let every = std::num::NonZeroU32::new(3).unwrap();
    let inner = Simulator::new(options(Generation::Genoa)).unwrap();
    let stalling = Stalling::new(inner, every, lasting);
    let slow: Vec<bool> = (0..6)
        .map(|epoch| {
            let before = Instant::now();
            stalling.attest(&statement(epoch)).unwrap();
            before.elapsed() >= lasting
        })
        .collect();
    assert!(slow[2] && slow[5], "{slow:?}");
    assert_eq!(stalling.name(), "simulator");
}
