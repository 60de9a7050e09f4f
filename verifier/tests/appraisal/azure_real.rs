//! Real evidence of Azure VMs, recorded by others: Genoa is accepted where the
//! policy allows its firmware and pins what it shows, Milan only where its chip
//! is named, and nothing altered is accepted.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use bastide_attestation::azure::QuoteSignature;
use bastide_attestation::{Decision, Status, UnixTime, Verdict};
use bastide_verifier::{Policy, RecordedAzure, RecordedQuote, Verifier, crypto, pem_certificates, shipped};
use serde_json::Value;

use crate::support::policies;
use crate::support::vectors::{azure_folder, pem};

/// 2025-06-01T00:00:00Z: inside every leaf's window.
const JUNE_2025: UnixTime = UnixTime::from_secs(1_748_736_000);
const GENOA_MEASUREMENT: &str =
    "f57dc09a507c6ecd82369bffb600f0003792f4d99bc26e985ec0c266fc34faf3706faf814c9e61065768a6ff917c89ae";
const MILAN_CHIP: &str = "66a5a7b4403a3006ca734aa36a76dd3061d56f398e1e73b0be683ecd2eede9e70811c677abf8d9c9251b52baafbdc97b8121ec0c75661ffba636073b09fa563a";
const OLD_MILAN_CHIP: &str = "19752a447db501a32ade46428a46e92639bd3515dbb45e2e67bbcb0934ffcf1f3e3c004ccb4a99c9fa7e4ffb09da6b324ac58acedaf679f24ba7db5f838c6cca";
/// Of the ID key that Microsoft launches its paravisor with.
const ID_KEY: &str =
    "0356215882a825279a85b300b0b742931d113bf7e32dde2e50ffde7ec743ca491ecdd7f336dc28a6e0b2bb57af7a44a3";
const ID_KEY_2: &str =
    "942fd93ebde6ea7a96efadeafc60f1c6b3d10e703b1dafd7555b92f7f3d32d0e006767648cba5b102af3d65756af4177";

const WINDOW: &str = "not_before = 2025-01-01\nnot_after = 2025-12-31\nreason = \"recorded\"";

/// One real VM's evidence.
struct Vector {
    hcl_report: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
    pcrs: Vec<[u8; 32]>,
    nonce: Vec<u8>,
    vek: Vec<u8>,
    chain: Vec<Vec<u8>>,
}

impl Vector {
    fn recorded(&self) -> RecordedAzure<'_> {
        RecordedAzure {
            hcl_report: &self.hcl_report,
            quote: Some(RecordedQuote {
                message: &self.message,
                signature: &self.signature,
                pcrs: &self.pcrs,
                nonce: Some(&self.nonce),
            }),
            vek: &self.vek,
            chain: &self.chain,
            crl: None,
        }
    }
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn chain(folder: &Path, name: &str) -> Vec<Vec<u8>> {
    pem(&folder.join("../snp/endorsements").join(name))
}

/// A byte string of the recorded JSON: numbers, hex or base64url.
fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Array(numbers) => numbers
            .iter()
            .map(|number| u8::try_from(number.as_u64().unwrap()).unwrap())
            .collect(),
        Value::String(text) => hex::decode(text).unwrap_or_else(|_| BASE64_URL_SAFE.decode(text).unwrap()),
        _ => panic!("neither numbers nor text"),
    }
}

fn pcrs(value: &Value) -> Vec<[u8; 32]> {
    let values = value.as_array().unwrap().iter();
    values.map(|pcr| bytes(pcr).try_into().unwrap()).collect()
}

fn genoa(folder: &Path) -> Vector {
    let json: Value = serde_json::from_slice(&read(&folder.join("evidence-genoa.json"))).unwrap();
    let quote = &json["quote"];
    Vector {
        hcl_report: bytes(&json["report"]),
        message: bytes(&quote["message"]),
        signature: QuoteSignature::encode(&bytes(&quote["signature"])).unwrap(),
        pcrs: pcrs(&quote["pcrs"]),
        nonce: hex::decode(
            "0218488bae25d2509232bf676f1a66a30d7372add909109b36016ef136f2938ca05475f8b46094de6b64270ea35d950f",
        )
        .unwrap(),
        vek: pem_certificates(json["vcek"].as_str().unwrap().as_bytes())
            .unwrap()
            .remove(0),
        chain: chain(folder, "ask-ark-genoa.pem"),
    }
}

fn milan(folder: &Path) -> Vector {
    let json: Value = serde_json::from_slice(&read(&folder.join("evidence-milan.json"))).unwrap();
    let quote = &json["tpm_quote"];
    Vector {
        hcl_report: bytes(&json["hcl_report"]),
        message: bytes(&quote["message"]),
        signature: QuoteSignature::encode(&bytes(&quote["signature"])).unwrap(),
        pcrs: pcrs(&quote["pcrs"]),
        nonce: b"challenge".to_vec(),
        vek: bytes(&json["vcek"]),
        chain: chain(folder, "ask-ark-milan.pem"),
    }
}

/// The HCL report with a report of version 2. Its quote is kept as three
/// byte strings, each after its length in 8 bytes, little-endian.
fn old_milan(folder: &Path) -> Vector {
    let file = read(&folder.join("tpm-quote.bin"));
    let (signature, file) = file[8..].split_at(256);
    let (message, file) = file[8..].split_at(122);
    let mut certificates = pem(&folder.join("hcl-vcek.pem"));
    Vector {
        hcl_report: read(&folder.join("hcl-report.bin")),
        message: message.to_vec(),
        signature: QuoteSignature::encode(signature).unwrap(),
        pcrs: file[8..].as_chunks().0.to_vec(),
        nonce: b"challenge".to_vec(),
        vek: certificates.remove(0),
        chain: certificates,
    }
}

/// The shipped policy with what a relying party has to add.
fn azure_policy(vector: &Vector) -> Policy {
    let pcr = |index: usize| {
        let value = hex::encode(vector.pcrs[index]);
        format!(
            "{{ index = {index}, sha256 = [\"{value}\"], {} }}",
            WINDOW.replace('\n', ", ")
        )
    };
    let text = shipped::AZURE
        .replace(
            "launch = []",
            &format!(
                "launch = [{{ measurement = \"{GENOA_MEASUREMENT}\", {} }}]",
                WINDOW.replace('\n', ", ")
            ),
        )
        .replace(
            "pcrs = []",
            &format!("pcrs = [{}, {}, {}]", pcr(4), pcr(7), pcr(11)),
        );
    policies::parse(&text)
}

/// The same for one Milan chip, whatever it launched.
fn milan_policy(chip: &str, id_key: &str) -> Policy {
    let inline = WINDOW.replace('\n', ", ");
    let text = shipped::AZURE
        .replace("amd = [\"genoa\"]", "amd = [\"milan\"]")
        .replace("products = [\"genoa\"]", "products = [\"milan\"]\nv2_product = \"milan\"")
        .replace("[3, 5]", "[2, 3]")
        .replace(
            "ignore = [\"snp.id_block\", \"snp.chip_id\", \"snp.host_data\"]",
            "ignore = [\"snp.launch_measurement\", \"snp.tcb_floor\", \"snp.host_data\", \"azure.pcrs\"]",
        )
        .replace("tcb_profile = \"amd-2025-02\"", "id_block = \"pinned\"")
        .replace(
            "launch = []",
            &format!(
                "chips = [{{ chip_id = \"{chip}\", {inline} }}]\nid_keys = [{{ digest = \"{id_key}\", {inline} }}]"
            ),
        )
        .replace("pcrs = []", "")
        .replace("alias_check_complete = \"set\"", "alias_check_complete = \"any\"");
    policies::parse(&text)
}

fn verdict(vector: &Vector, policy: &Policy) -> Verdict {
    Verifier::new(policy.clone()).appraise_recorded_azure(&vector.recorded(), JUNE_2025)
}

#[test]
fn genoa_is_accepted_by_the_shipped_policy_once_its_launch_and_pcrs_are_pinned() {
    let Some(folder) = azure_folder() else { return };
    let vector = genoa(&folder);
    let accepted = verdict(&vector, &azure_policy(&vector));
    assert_eq!(accepted.decision, Decision::Accepted, "{accepted:#?}");
    assert!(!accepted.simulated);
    for check in accepted
        .checks
        .iter()
        .filter(|check| check.id.starts_with("azure."))
    {
        assert_eq!(check.status, Status::Pass, "{check:?}");
    }
    let facts = accepted.azure.unwrap();
    assert_eq!(facts["vtpm_firmware"], "0x2020031200120003");
    assert_eq!(facts["hcl_version"], "2");
    assert_eq!(
        facts["attestation_key"],
        "sha256:470adc365b667e2de8e933a77d9badd733ceb15955c77a5298102a88f63ed49a"
    );
    assert_eq!(facts["pcr_07"], hex::encode(vector.pcrs[7]));
}

#[test]
fn genoa_is_refused_where_the_policy_asks_for_something_else() {
    let Some(folder) = azure_folder() else { return };
    let mut vector = genoa(&folder);
    let shipped_as_it_is = policies::parse(shipped::AZURE);
    assert_eq!(
        verdict(&vector, &shipped_as_it_is).code,
        Some("snp.launch.not_allowed")
    );
    let production = policies::parse(shipped::PRODUCTION);
    assert_eq!(verdict(&vector, &production).code, Some("azure.not_allowed"));
    let policy = azure_policy(&vector);
    vector.nonce[0] ^= 1;
    assert_eq!(verdict(&vector, &policy).code, Some("azure.quote.nonce"));
    let other = azure_policy(&Vector {
        pcrs: vec![[1; 32]; 24],
        ..genoa(&folder)
    });
    assert_eq!(
        verdict(&genoa(&folder), &other).code,
        Some("azure.pcr.not_allowed")
    );
    let expired = Verifier::new(policy.clone())
        .appraise_recorded_azure(&genoa(&folder).recorded(), UnixTime::from_secs(1_767_225_600));
    assert_eq!(expired.code, Some("policy.pin_not_current"));
    let crossed = Vector {
        message: milan(&folder).message,
        signature: milan(&folder).signature,
        pcrs: milan(&folder).pcrs,
        ..genoa(&folder)
    };
    assert_eq!(verdict(&crossed, &policy).code, Some("azure.quote.signature"));
    let mut alone = genoa(&folder);
    alone.nonce.clear();
    let mut recorded = alone.recorded();
    recorded.quote = None;
    let undecided = Verifier::new(policy).appraise_recorded_azure(&recorded, JUNE_2025);
    assert_eq!(undecided.code, Some("azure.quote.missing"));
    assert_eq!(undecided.decision, Decision::Undecided);
}

#[test]
fn milan_is_accepted_only_where_the_policy_names_its_chip() {
    let Some(folder) = azure_folder() else { return };
    for (vector, chip, id_key, version) in [
        (milan(&folder), MILAN_CHIP, ID_KEY_2, "3"),
        (old_milan(&folder), OLD_MILAN_CHIP, ID_KEY, "2"),
    ] {
        let off = verdict(&vector, &azure_policy(&genoa(&folder)));
        assert_eq!(off.code, Some("snp.root.unknown"), "{off:#?}");
        let accepted = verdict(&vector, &milan_policy(chip, id_key));
        assert_eq!(accepted.decision, Decision::Accepted, "{accepted:#?}");
        assert_eq!(accepted.snp.unwrap()["version"], version);
        let other = milan_policy(&chip.replace('6', "7"), id_key);
        assert_eq!(verdict(&vector, &other).code, Some("snp.chip.not_allowed"));
    }
}

#[test]
fn no_bit_of_a_real_hcl_report_or_quote_can_be_flipped_unnoticed() {
    let Some(folder) = azure_folder() else { return };
    let mut vector = genoa(&folder);
    let verifier = Verifier::new(azure_policy(&vector));
    type Part = (&'static str, fn(&mut Vector) -> &mut [u8]);
    let parts: [Part; 4] = [
        ("HCL report", |vector| &mut vector.hcl_report),
        ("message", |vector| &mut vector.message),
        ("signature", |vector| &mut vector.signature),
        ("PCRs", |vector| vector.pcrs.as_flattened_mut()),
    ];
    let mut unnoticed = Vec::new();
    for (name, part) in parts {
        for at in 0..part(&mut vector).len() {
            for bit in 0..8 {
                part(&mut vector)[at] ^= 1 << bit;
                let verdict = verifier.appraise_recorded_azure(&vector.recorded(), JUNE_2025);
                if verdict.decision == Decision::Accepted {
                    unnoticed.push((name, at, bit));
                }
                part(&mut vector)[at] ^= 1 << bit;
            }
        }
    }
    assert_eq!(unnoticed, []);
}

#[test]
fn no_real_hcl_report_can_be_cut_before_the_zeros_at_its_end() {
    let Some(folder) = azure_folder() else { return };
    let vector = genoa(&folder);
    let verifier = Verifier::new(azure_policy(&vector));
    for length in 0..vector.hcl_report.len() {
        let mut recorded = vector.recorded();
        recorded.hcl_report = &vector.hcl_report[..length];
        let verdict = verifier.appraise_recorded_azure(&recorded, JUNE_2025);
        assert_eq!(verdict.decision == Decision::Accepted, length >= 2436, "{length}");
    }
}

#[test]
fn both_implementations_of_cryptography_agree_on_azure_evidence() {
    let Some(folder) = azure_folder() else { return };
    let mut vector = genoa(&folder);
    let policy = azure_policy(&vector);
    let verifiers =
        [crypto::provider(), &crypto::Ring].map(|crypto| Verifier::with_crypto(policy.clone(), crypto));
    for at in [None].into_iter().chain((0..256).step_by(37).map(Some)) {
        if let Some(at) = at {
            vector.signature[6 + at] ^= 0x10;
        }
        let [native, ring] = verifiers
            .each_ref()
            .map(|verifier| verifier.appraise_recorded_azure(&vector.recorded(), JUNE_2025));
        assert_eq!(native, ring);
        assert_eq!(native.decision == Decision::Accepted, at.is_none());
    }
}
