//! The whole attester over a source that the test plays, and the choice of
//! endorsements, with synthetic and with real reports.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use bastide_attestation::snp::{VekId, VekIdError};
use bastide_attestation::{
    BootId, EpochStatement, GpuSeedKind, KeyThumbprint, ManifestDigest, PolicyDigest, StatementDigest,
    TimeSource, TreeHash,
};
use proptest::prelude::*;

use super::endorsements::select;
use super::*;

const VCEK: &str = "8d75da6364e66445adc5f4b93be8accd";
const VLEK: &str = "c24b07a85aa23e48aae639c045a0b8a1";
const ASK: &str = "79b3b74aacbbe44fa02f05aef327c782";
const ARK: &str = "a406b4c003a8524997433fb6014cd0ae";

fn statement() -> StatementBytes {
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

/// A Turin report of the right form, signed by nobody.
fn report_bytes(report_data: &ReportData) -> Vec<u8> {
    let mut bytes = vec![0; REPORT_BYTES];
    bytes[0] = 5;
    bytes[0x34] = 1;
    bytes[0x50..0x90].copy_from_slice(report_data.as_bytes());
    bytes[0x180..0x188].copy_from_slice(&[1, 2, 3, 0xdb, 0, 0, 0, 5]);
    bytes[0x188..0x18b].copy_from_slice(&[0x1a, 2, 1]);
    bytes[0x1a0..0x1a8].copy_from_slice(&[9; 8]);
    bytes
}

/// A certificate of nothing but the extensions of one for that report, its
/// microcode level being `microcode`.
fn vek(microcode: u8) -> Vec<u8> {
    vek_of([9; 8], microcode)
}

fn vek_of(chip: [u8; 8], microcode: u8) -> Vec<u8> {
    let extension = |arc: &[u8], value: &[u8]| {
        let oid = [&[0x2b, 6, 1, 4, 1, 0x9c, 0x78, 1], arc].concat();
        sequence(&[tlv(6, &oid), tlv(4, value)].concat())
    };
    let mut extensions = Vec::new();
    for (arc, integer) in [
        (9, vec![2, 1, 1]),
        (1, vec![2, 1, 2]),
        (2, vec![2, 1, 3]),
        (3, vec![2, 2, 0, 0xdb]),
        (8, vec![2, 1, microcode]),
    ] {
        extensions.extend(extension(&[3, arc], &integer));
    }
    extensions.extend(extension(&[4], &chip));
    sequence(&sequence(&tlv(0xa3, &sequence(&extensions))))
}

/// DER SEQUENCE of fewer than 256 bytes.
fn sequence(content: &[u8]) -> Vec<u8> {
    tlv(0x30, content)
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    let head: &[u8] = if length < 0x80 {
        &[tag, length]
    } else {
        &[tag, 0x81, length]
    };
    [head, content].concat()
}

fn guid(hex_text: &str) -> [u8; 16] {
    hex::decode(hex_text).unwrap().try_into().unwrap()
}

fn table(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut offset = (entries.len() + 1) * 24;
    let (mut head, mut body) = (Vec::new(), Vec::new());
    for (name, blob) in entries {
        head.extend_from_slice(&guid(name));
        head.extend_from_slice(&u32::try_from(offset).unwrap().to_le_bytes());
        head.extend_from_slice(&u32::try_from(blob.len()).unwrap().to_le_bytes());
        body.extend_from_slice(blob);
        offset += blob.len();
    }
    head.extend_from_slice(&[0; 24]);
    [head, body].concat()
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    let text = der::pem::encode_string(label, der::pem::LineEnding::CRLF, der);
    [text.unwrap().as_bytes(), b"\0\0\r\n"].concat()
}

/// Gives the same answer every time.
struct Recorded(Mutex<Answer>);

impl ReportSource for Recorded {
    fn request(&self, _: &ReportData) -> Result<Answer, AttesterError> {
        Ok(self.0.lock().unwrap().clone())
    }

    fn name(&self) -> &'static str {
        "recorded"
    }
}

fn attest(
    report: Vec<u8>,
    stored: Option<StoredEndorsements>,
    table: Vec<u8>,
) -> Result<Attestation, AttesterError> {
    let attester = GuestAttester {
        reports: Box::new(Recorded(Mutex::new(Answer { report, table }))),
        stored,
        source: None,
    };
    attester.attest(&statement())
}

fn stored(vek: Vec<u8>) -> StoredEndorsements {
    StoredEndorsements {
        vek,
        chain: vec![sequence(b"file ask"), sequence(b"file ark")],
        crl: None,
    }
}

#[test]
fn raw_bytes_pass_through_with_the_files_endorsements() {
    let report = report_bytes(&statement().report_data());
    let attestation = attest(report.clone(), Some(stored(vek(5))), Vec::new()).unwrap();
    let PlatformEvidence::Snp(raw) = &attestation.platform else {
        panic!("not SNP evidence");
    };
    assert_eq!(raw.as_slice(), report);
    assert_eq!(attestation.endorsements.vek, vek(5));
    assert_eq!(attestation.endorsements.chain.len(), 2);
}

#[test]
fn what_is_no_report_over_the_statement_is_unusable() {
    let unusable = |report| {
        let error = attest(report, Some(stored(vek(5))), Vec::new()).unwrap_err();
        assert!(matches!(error, AttesterError::Unusable { .. }), "{error}");
    };
    let good = report_bytes(&statement().report_data());
    unusable(good[..1183].to_vec());
    unusable(Vec::new());
    unusable(report_bytes(&ReportData::new([8; 64])));
    let mut masked = good.clone();
    masked[0x48] = 2;
    unusable(masked);
    let mut unsigned = good.clone();
    unsigned[0x48] = 7 << 2;
    unusable(unsigned);
}

#[test]
fn the_hosts_table_serves_where_there_is_no_file_or_a_stale_one() {
    let report = report_bytes(&statement().report_data());
    let (ask, ark) = (sequence(b"host ask"), sequence(b"host ark"));
    let table = table(&[
        (VCEK, &pem("CERTIFICATE", &vek(5))),
        (ASK, &ask),
        (ARK, &pem("CERTIFICATE", &ark)),
    ]);
    let without_file = attest(report.clone(), None, table.clone()).unwrap().endorsements;
    assert_eq!(without_file.vek, vek(5));
    assert_eq!(without_file.chain, [ask, ark]);

    let stale = attest(report, Some(stored(vek(4))), table).unwrap().endorsements;
    assert_eq!(stale.vek, vek(5));
    assert_eq!(stale.chain, stored(vek(4)).chain);
}

#[test]
fn missing_endorsements_say_where_to_get_them() {
    let report = report_bytes(&statement().report_data());
    let address = "https://kdsintf.amd.com/vcek/v1/Turin/0909090909090909\
                   ?fmcSPL=01&blSPL=02&teeSPL=03&snpSPL=219&ucodeSPL=05";
    for (stored, table, expected) in [
        (None, Vec::new(), "no file was given"),
        (Some(stored(vek(4))), Vec::new(), "the file's certificate is not"),
        (None, table(&[(VCEK, &vek(4))]), "the host's certificate is not"),
        (None, vec![1; 100], "no entry ends it"),
        (None, table(&[(VCEK, b"junk")]), "expected DER or PEM"),
        (None, table(&[(VLEK, &vek(5))]), "no file was given"),
    ] {
        let error = attest(report.clone(), stored, table).unwrap_err();
        assert!(matches!(error, AttesterError::Unendorsed { .. }));
        let message = error.to_string();
        assert!(
            message.contains(expected) && message.contains(address) && message.contains("--vek"),
            "{message}"
        );
    }
}

#[test]
fn an_ark_alone_is_not_taken_for_an_ask() {
    let report = report_bytes(&statement().report_data());
    let table = table(&[(VCEK, &vek(5)), (ARK, &sequence(b"ark"))]);
    assert!(attest(report, None, table).unwrap().endorsements.chain.is_empty());
}

#[test]
fn another_chip_or_level_does_not_match() {
    let report = report_bytes(&ReportData::new([0; 64]));
    let wanted = VekId::of(&SnpReport::parse(&report).unwrap()).unwrap();
    assert!(wanted.check(&vek(5)).is_ok());
    assert!(wanted.check(&vek(6)).is_err());
    assert!(wanted.check(&vek_of([8; 8], 5)).is_err());
    let mut vlek = report;
    vlek[0x48] = 1 << 2;
    let wanted = VekId::of(&SnpReport::parse(&vlek).unwrap()).unwrap();
    assert!(wanted.check(&vek_of([8; 8], 5)).is_ok());
}

/// Has one certificate, and remembers who was missing.
#[derive(Debug)]
struct Shelf {
    held: Held,
    missed: Mutex<Vec<VekId>>,
}

impl EndorsementSource for Shelf {
    fn at_hand(&self, _: &VekId) -> Held {
        self.held.clone()
    }

    fn missing(&self, wanted: &VekId) -> Option<String> {
        self.missed.lock().unwrap().push(*wanted);
        Some("it is on its way".to_owned())
    }
}

#[test]
fn a_source_comes_after_the_files_and_before_the_host_and_hears_what_is_missing() {
    let report = SnpReport::parse(&report_bytes(&ReportData::new([0; 64]))).unwrap();
    let held = |vek: Vec<u8>| Shelf {
        held: Held {
            vek: Some(vek),
            chain: vec![sequence(b"source ask")],
            crl: Some(sequence(b"source crl")),
        },
        missed: Mutex::default(),
    };
    let host = table(&[(VCEK, &vek(5)), (ASK, &sequence(b"host ask"))]);

    let chosen = select(&report, Some(&stored(vek(5))), Some(&held(vek(5))), &host).unwrap();
    assert_eq!(chosen.chain, stored(vek(5)).chain);
    assert_eq!(chosen.crl, Some(sequence(b"source crl")));
    let chosen = select(&report, None, Some(&held(vek(5))), &host).unwrap();
    assert_eq!(chosen.chain, [sequence(b"source ask")]);
    // A source's certificate of another TCB version is passed over like anybody's.
    let stale = held(vek(4));
    let chosen = select(&report, None, Some(&stale), &host).unwrap();
    assert_eq!(chosen.vek, vek(5));
    assert!(stale.missed.lock().unwrap().is_empty());

    let error = select(&report, None, Some(&stale), &[]).unwrap_err().to_string();
    assert!(error.ends_with("none for it; it is on its way"), "{error}");
    assert_eq!(*stale.missed.lock().unwrap(), [VekId::of(&report).unwrap()]);
}

#[test]
fn files_are_read_once_and_faults_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let chain = [
        pem("CERTIFICATE", &sequence(b"a")),
        pem("CERTIFICATE", &sequence(b"b")),
    ]
    .concat();
    let files = EndorsementFiles {
        vek: write("vek.der", &vek(5)),
        chain: Some(write("chain.pem", &chain)),
        crl: Some(write("crl.pem", &pem("X509 CRL", &sequence(b"crl")))),
    };
    let loaded = files.load().unwrap();
    assert_eq!(
        (loaded.vek.as_slice(), loaded.chain.len()),
        (vek(5).as_slice(), 2)
    );
    assert_eq!(loaded.crl, Some(sequence(b"crl")));

    let only_vek = |vek: PathBuf| EndorsementFiles {
        vek,
        chain: None,
        crl: None,
    };
    for (path, expected) in [
        (folder.path().join("missing"), "missing`: "),
        (write("empty", b""), "expected DER or PEM"),
        (write("large", &vec![0x30; 70_000]), "at most 65536 bytes"),
        (write("two", &[vek(5), vek(5)].concat()), "got several"),
        (
            write("key", &pem("PRIVATE KEY", b"k")),
            "block 1 is not `CERTIFICATE`",
        ),
    ] {
        let error = only_vek(path).load().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let long = EndorsementFiles {
        chain: Some(write("long", &chain.repeat(2))),
        ..only_vek(write("vek", &vek(5)))
    };
    assert!(
        long.load()
            .unwrap_err()
            .to_string()
            .contains("got 4 certificates")
    );
}

#[test]
fn a_machine_without_the_device_says_what_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let options = |vmpl| DeviceOptions {
        vmpl,
        paths: DevicePaths {
            configfs_reports: folder.path().join("report"),
            sev_guest: folder.path().join("sev-guest"),
        },
        ..DeviceOptions::default()
    };
    for (source, expected) in [
        (Source::Auto, &["report`", "sev-guest`", "SEV-SNP guest"][..]),
        (Source::ConfigfsTsm, &["report`", "mount configfs"]),
        (Source::SevGuest, &["sev-guest` does not exist"]),
    ] {
        let error = open(source, &options(None)).err().unwrap();
        assert!(matches!(error, AttesterError::Unavailable { .. }));
        for part in expected {
            assert!(error.to_string().contains(part), "{error}");
        }
        assert_eq!(source.to_string().parse(), Ok(source));
    }
    let error = open(Source::Auto, &options(Some(4))).err().unwrap();
    assert!(error.to_string().contains("a VMPL is 0, 1, 2 or 3"));
}

/// Real reports: each one's certificate matches it, nobody else's does.
#[test]
fn real_certificates_match_their_reports_only() {
    let folder = std::env::var_os("BASTIDE_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors"),
        PathBuf::from,
    );
    let read = |path: &str| fs::read(folder.join("snp").join(path));
    if read("genoa-v5/report.bin").is_err() {
        println!("ignored: no vectors");
        return;
    }
    let cases = [
        ("genoa-v3", "vcek.der"),
        ("genoa-v5", "vcek.der"),
        ("turin-v5", "vcek.der"),
        ("milan-vlek-aws-v3", "vlek.der"),
    ];
    for (name, _) in cases {
        let report = SnpReport::parse(&read(&format!("{name}/report.bin")).unwrap()).unwrap();
        let wanted = VekId::of(&report).unwrap();
        for (other, file) in cases {
            let certificate = read(&format!("{other}/{file}")).unwrap();
            assert_eq!(
                wanted.check(&certificate).is_ok(),
                other == name,
                "{name} {other}"
            );
        }
    }
    let milan = SnpReport::parse(&read("milan-v2/report.bin").unwrap()).unwrap();
    assert_eq!(VekId::of(&milan), Err(VekIdError::Product));
}

#[cfg(feature = "simulator")]
#[test]
fn a_simulated_certificate_matches_its_report() {
    use crate::simulator::{Generation, Simulator, SimulatorOptions};
    for generation in Generation::ALL {
        let simulator = Simulator::new(SimulatorOptions::new(
            generation,
            bastide_attestation::UnixTime::from_secs(1_800_000_000),
        ))
        .unwrap();
        let attestation = simulator.attest(&statement()).unwrap();
        let PlatformEvidence::Snp(raw) = &attestation.platform else {
            panic!("not SNP evidence");
        };
        let vek = &attestation.endorsements.vek;
        let table = table(&[(VCEK, vek)]);
        let again = attest(raw.to_vec(), None, table).unwrap();
        assert_eq!(again.endorsements.vek, *vek);
    }
}

proptest! {
    #[test]
    fn hostile_tables_never_panic(bytes: Vec<u8>) {
        let report = SnpReport::parse(&report_bytes(&ReportData::new([0; 64]))).unwrap();
        prop_assert!(select(&report, None, None, &bytes).is_err());
    }

    #[test]
    fn damaged_tables_never_panic(at: prop::sample::Index, byte: u8, encoded: bool) {
        let report = SnpReport::parse(&report_bytes(&ReportData::new([0; 64]))).unwrap();
        let blob = if encoded { pem("CERTIFICATE", &vek(5)) } else { vek(5) };
        let mut bytes = table(&[(VCEK, &blob), (ASK, &blob), (VLEK, &blob)]);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = select(&report, None, None, &bytes);
        let _ = select(&report, None, None, &bytes[..at]);
    }
}
