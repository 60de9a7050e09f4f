//! The ledger as processes meet it: real evidence of the simulator, judged by
//! the real verifier, in real files; processes that die, files that are cut.

mod keeping;
mod processes;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::changes::{Said, Topic, between};
use super::record::{Entry, EvidenceKey};
use super::store::{Bounds, Store, View, WAIT};
use super::*;
use crate::receipt_check::link;
use bastide_attestation::{
    Attester as _, Binder, BootId, Commitment, Decision, EpochStatement, Evidence, FinishReason, GpuPart,
    GpuSeedKind, ManifestDigest, Nonce, PlatformEvidence, PolicyDigest, ReceiptClaims, StatementDigest,
    Status, TimeSource, Tree, UnixTime, binding, ed25519_thumbprint, sha256,
};
use bastide_attester::simulator::nvidia::{GpuOptions, SimulatedGpus};
use bastide_attester::simulator::{Generation, Simulator, SimulatorOptions};
use bastide_verifier::{Policy, Verifier, shipped};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

const AT: u64 = 1_772_323_200;
const NODE: &str = "https://node.example";

fn simulator() -> &'static Simulator {
    static SIMULATOR: OnceLock<Simulator> = OnceLock::new();
    SIMULATOR.get_or_init(|| {
        let mut options = SimulatorOptions::new(Generation::Genoa, UnixTime::from_secs(AT));
        options.latency = Duration::ZERO;
        Simulator::new(options).unwrap()
    })
}

fn gpus() -> &'static GpuPart {
    static GPUS: OnceLock<GpuPart> = OnceLock::new();
    GPUS.get_or_init(|| {
        let now = UnixTime::from_secs(AT);
        let gpus = SimulatedGpus::new(GpuOptions::new(now)).unwrap();
        let nonce = binding::gpu_nonce(&BootId::new([1; 16]), 1, &[0x33; 32]);
        GpuPart {
            evidence: gpus.evidence(&nonce).unwrap().encode(),
            seed: [0x33; 32],
            endorsements: gpus.endorsements(now).unwrap(),
        }
    })
}

fn receipt_key() -> (Ed25519KeyPair, [u8; 32]) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    (pair, public)
}

/// What an enclave sends to one session of an epoch.
fn evidence(epoch: u64, model: u8) -> Evidence {
    let salt = Salt::new([0x77; 32]);
    let leaf = binding::leaf(binding::LeafType::ServerTls, &salt, &Binder::new([0x5a; 32]));
    let tree = Tree::new(&[leaf]).unwrap();
    let statement = EpochStatement {
        boot_id: BootId::new([1; 16]),
        epoch,
        previous: StatementDigest::new([0; 32]),
        depth: tree.depth(),
        root: tree.root(),
        gpu_epoch: 1,
        gpu_digest: Some(sha256(&[&gpus().evidence])),
        gpu_seed: GpuSeedKind::PreviousStatement,
        session_key: [4; 32],
        receipt_key: ed25519_thumbprint(&receipt_key().1),
        sealed_key: None,
        model: ManifestDigest::new([model; 32]),
        configuration: PolicyDigest::new([7; 32]),
        time_ms: AT * 1000,
        time_source: TimeSource::Host,
        debug: false,
        pipeline: false,
    }
    .encode();
    let attestation = simulator().attest(&statement).unwrap();
    Evidence {
        statement: statement.as_bytes().to_vec(),
        proof: tree.prove(0, salt).unwrap(),
        platform: attestation.platform,
        endorsements: attestation.endorsements,
        gpu: Some(gpus().clone()),
    }
}

fn judge(envelope: &[u8]) -> Verdict {
    let verifier = Verifier::new(Policy::parse(shipped::DEVELOPMENT.as_bytes()).unwrap());
    let evidence = Evidence::decode(envelope).unwrap();
    match verifier.appraise_receipt_evidence(&evidence, UnixTime::from_secs(AT)) {
        Ok(kept) => kept.into_verdict(),
        Err(verdict) => *verdict,
    }
}

fn accepted(envelope: &[u8]) -> Verdict {
    let verdict = judge(envelope);
    assert_eq!(verdict.decision, Decision::Accepted, "{:?}", verdict.reason);
    verdict
}

fn shown_to(envelope: &[u8], at: u64) -> Event {
    Event::Appraisal {
        at,
        node: NODE.to_owned(),
        verdict: Box::new(judge(envelope)),
        evidence: Some(envelope.to_vec()),
    }
}

fn receipt(statement: &[u8], sequence: u64, previous: [u8; 32], body: &[u8]) -> Receipt {
    let salt = Salt::new([1; 32]);
    let decoded = EpochStatement::decode(statement).unwrap();
    let mut response = Commitment::response(&salt);
    response.update(body);
    let claims = ReceiptClaims {
        issued_at: AT,
        nonce: Nonce::new([2; 32]),
        request: Commitment::request(&salt, body),
        response: response.finish(),
        model: decoded.model,
        statement: binding::statement_digest(statement),
        sequence,
        finish: FinishReason::Stop,
        sampling: [6; 32],
        usage: [7, 8],
        previous,
        pipeline: None,
    };
    let (pair, public) = receipt_key();
    Receipt::sign(claims, &public, |bytes| pair.sign(bytes).as_ref().try_into().ok()).unwrap()
}

struct Ledger {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Ledger {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("ledger.redb");
        Self {
            _folder: folder,
            path,
        }
    }

    fn write(&self, events: &[Event]) {
        self.bounded(events, Bounds::default());
    }

    fn bounded(&self, events: &[Event], bounds: Bounds) {
        Store::open(&self.path, WAIT, true)
            .unwrap()
            .append(&self.path, events, bounds)
            .unwrap();
    }

    fn view(&self) -> View {
        Store::open_checked(&self.path, WAIT)
            .unwrap()
            .view(&self.path)
            .unwrap()
    }

    fn entries(&self) -> Vec<(u64, Entry)> {
        self.view().entries().unwrap()
    }
}

/// An event without evidence: small.
fn unreachable_node(at: u64) -> Event {
    Event::Appraisal {
        at,
        node: NODE.to_owned(),
        verdict: Box::new(crate::gate::without_evidence(
            Decision::Undecided,
            "session.tcp",
            "refused".to_owned(),
            UnixTime::from_secs(at),
        )),
        evidence: None,
    }
}

/// n − s of a P-384 signature in AMD's little-endian form: it verifies, too.
fn with_other_s(evidence: &Evidence) -> Evidence {
    const ORDER: &str =
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";
    const S: usize = 0x2a0 + 72;
    let PlatformEvidence::Snp(report) = &evidence.platform else {
        panic!("the simulator is a bare guest")
    };
    let mut report = report.clone();
    let order: Vec<u8> = hex::decode(ORDER).unwrap().into_iter().rev().collect();
    let mut borrow = 0;
    for (byte, of_order) in report[S..S + 48].iter_mut().zip(order) {
        let difference = i16::from(of_order) - i16::from(*byte) - borrow;
        borrow = i16::from(difference < 0);
        *byte = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    assert_eq!(borrow, 0, "s is below the order");
    Evidence {
        platform: PlatformEvidence::Snp(report),
        ..evidence.clone()
    }
}

#[test]
fn t18_a_signature_written_otherwise_is_accepted_and_makes_no_second_report() {
    let first = evidence(0, 6);
    let second = with_other_s(&first);
    let (one, other) = (first.encode(), second.encode());
    assert_ne!(one, other);
    // Both verify: no log may tell reports apart by their signatures.
    for envelope in [&one, &other] {
        assert_eq!(accepted(envelope).decision, Decision::Accepted);
    }
    assert_eq!(EvidenceKey::of(&one), EvidenceKey::of(&other));
    let ledger = Ledger::new();
    ledger.write(&[shown_to(&one, AT), shown_to(&other, AT + 1)]);
    let view = ledger.view();
    let keys = view.evidence_keys().unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(view.envelope(&keys[0]).unwrap().unwrap().bytes, one);
    let reports: Vec<_> = ledger_reports(&view);
    assert_eq!(reports.len(), 2);
    assert_eq!(reports[0], reports[1]);
}

fn ledger_reports(view: &View) -> Vec<Option<String>> {
    let entries = view.entries().unwrap();
    let of = |entry: Entry| match entry {
        Entry::Appraisal(one) => one.report,
        Entry::Receipt(_) => None,
    };
    entries.into_iter().map(|(_, entry)| of(entry)).collect()
}

#[test]
fn an_epochs_evidence_is_kept_once_whoever_it_is_shown_to() {
    let one = evidence(0, 6);
    let mut other = one.clone();
    other.proof.salt = Salt::new([0x78; 32]);
    let ledger = Ledger::new();
    ledger.write(&[shown_to(&one.encode(), AT), shown_to(&other.encode(), AT + 1)]);
    ledger.write(&[shown_to(&evidence(1, 6).encode(), AT + 2)]);
    let view = ledger.view();
    assert_eq!(view.entries().unwrap().len(), 3);
    assert_eq!(view.evidence_keys().unwrap().len(), 2);
}

#[test]
fn a_receipt_under_a_renewed_attestation_brings_its_evidence() {
    let (first, renewed) = (evidence(0, 6), evidence(1, 6).encode());
    let statement = EvidenceKey::of(&renewed).statement.unwrap();
    let decoded = Evidence::decode(&renewed).unwrap();
    let receipt = receipt(&decoded.as_unverified().statement, 0, [0; 32], b"x");
    let ledger = Ledger::new();
    let with_evidence = || Event::Receipt {
        at: AT + 1,
        node: NODE.to_owned(),
        receipt: Box::new(receipt.clone()),
        salt: None,
        attested: Some((Box::new(judge(&renewed)), renewed.clone())),
    };
    ledger.write(&[shown_to(&first.encode(), AT), with_evidence(), with_evidence()]);
    let view = ledger.view();
    assert_eq!(view.entries().unwrap().len(), 3, "two appraisals and one receipt");
    let key = view.evidence_of(&hex::encode(statement)).unwrap().unwrap();
    assert_eq!(view.envelope(&key).unwrap().unwrap().bytes, renewed);
}

#[test]
fn a_broken_copy_shown_first_does_not_take_the_place_of_the_evidence() {
    let good = evidence(0, 6);
    let mut broken = good.clone();
    broken.endorsements.vek = vec![0x30, 0];
    let (good, broken) = (good.encode(), broken.encode());
    let ledger = Ledger::new();
    ledger.write(&[shown_to(&broken, AT)]);
    ledger.write(&[shown_to(&good, AT + 5), shown_to(&broken, AT + 6)]);
    let view = ledger.view();
    let key = hex::encode(EvidenceKey::of(&good).key);
    let kept = view.envelope(&key).unwrap().unwrap();
    assert!(kept.accepted && kept.bytes == good);
    assert_eq!(kept.first, AT + 5, "as of then it can be judged again");
}

#[test]
fn a_changed_model_is_named_and_a_new_epoch_is_no_change() {
    let said = |envelope: &[u8]| serde_json::to_value(accepted(envelope)).unwrap();
    let statement = |evidence: &Evidence| EpochStatement::decode(&evidence.statement).unwrap();
    let (one, next, other) = (evidence(0, 6), evidence(1, 6), evidence(2, 8));
    let facts: Vec<_> = [&one, &next, &other]
        .into_iter()
        .map(|evidence| (said(&evidence.encode()), statement(evidence)))
        .collect();
    let side = |at: usize| Said {
        verdict: &facts[at].0,
        statement: Some(&facts[at].1),
    };
    assert_eq!(between(&side(0), &side(1)), []);
    let changes = between(&side(1), &side(2));
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(
        (
            changes[0].topic,
            changes[0].name.as_str(),
            changes[0].after.as_deref()
        ),
        (Topic::Model, "model", Some("08".repeat(32).as_str()))
    );
}

#[test]
fn what_a_node_says_without_proof_is_no_change_of_it() {
    let evidence = evidence(0, 6);
    let verdict = serde_json::to_value(accepted(&evidence.encode())).unwrap();
    let mut unproven = verdict.clone();
    unproven["session"] = serde_json::Value::Null;
    let statement = EpochStatement::decode(&evidence.statement).unwrap();
    let changed = EpochStatement {
        session_key: [0xee; 32],
        ..statement.clone()
    };
    let changes = between(
        &Said {
            verdict: &verdict,
            statement: Some(&statement),
        },
        &Said {
            verdict: &unproven,
            statement: Some(&changed),
        },
    );
    assert!(changes.iter().all(|change| change.after.is_none()), "{changes:?}");
}

#[test]
fn neither_prompt_nor_answer_nor_salt_is_in_the_file_and_others_cannot_read_it() {
    const CANARY: &[u8] = b"CANARY-7c1f-what-was-asked-and-answered";
    let evidence = evidence(0, 6);
    let receipt = receipt(&evidence.statement, 0, [0; 32], CANARY);
    let ledger = Ledger::new();
    let node: NodeAddress = NODE.parse().unwrap();
    let salt = Salt::new([0xa7; 32]);
    for keep_salts in [false, true] {
        let writer = Writer::start(ledger.path.clone(), Bounds::default(), quiet()).unwrap();
        let recorder = Recorder {
            writer: Some(Arc::new(writer)),
            keep_salts,
        };
        let envelope = evidence.encode();
        recorder.evidence(&node, &accepted(&envelope), Some(&envelope));
        recorder.receipt(&node, &receipt, &salt, &accepted(&envelope), &envelope);
        // Only a receipt that is not known yet is kept.
        let other = self::receipt(&evidence.statement, 1, receipt.digest(), CANARY);
        if keep_salts {
            recorder.receipt(&node, &other, &salt, &accepted(&envelope), &envelope);
        }
        recorder.finish();
        let bytes = std::fs::read(&ledger.path).unwrap();
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(
            holds(receipt.claims().statement.to_string().as_bytes()),
            "it was written"
        );
        assert!(!holds(CANARY) && !holds(hex::encode(CANARY).as_bytes()));
        assert_eq!(holds("a7".repeat(32).as_bytes()), keep_salts);
        assert!(!holds(&[0xa7; 32]));
    }
    assert_eq!(ledger.entries().len(), 4);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&ledger.path), 0o600);
        assert_eq!(mode(ledger.path.parent().unwrap()), 0o700);
        std::fs::set_permissions(&ledger.path, std::fs::Permissions::from_mode(0o644)).unwrap();
        ledger.write(&[unreachable_node(AT)]);
        assert_eq!(mode(&ledger.path), 0o600, "it is made private again");
    }
}

fn quiet() -> Console {
    use clap::Parser as _;
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        output: crate::console::OutputArgs,
    }
    Console::new(&Line::parse_from(["test", "--quiet"]).output)
}

#[test]
fn the_default_is_in_the_data_folder_and_nowhere_else() {
    let path = |pairs: &[(&str, &str)]| {
        default_path(|name| {
            let pair = pairs.iter().find(|(known, _)| *known == name);
            pair.map(|(_, value)| (*value).into())
        })
    };
    let own = Some(PathBuf::from("/data/bastide/ledger.redb"));
    assert_eq!(path(&[("XDG_DATA_HOME", "/data"), ("HOME", "/home/a")]), own);
    let home = Some(PathBuf::from("/home/a/.local/share/bastide/ledger.redb"));
    assert_eq!(path(&[("HOME", "/home/a")]), home);
    assert_eq!(path(&[("XDG_DATA_HOME", "relative"), ("HOME", "/home/a")]), home);
    assert_eq!(path(&[]), None);
}

#[test]
fn receipts_of_a_boot_are_held_against_each_other() {
    let statement = evidence(0, 6).statement;
    let first = receipt(&statement, 0, [0; 32], b"a");
    let second = receipt(&statement, 1, first.digest(), b"b");
    let fourth = receipt(&statement, 3, [8; 32], b"c");
    let forked = receipt(&statement, 1, [7; 32], b"d");
    let ends = |receipt: &Receipt, before: Option<&Receipt>| link(receipt, before).map(|check| check.status);
    assert_eq!(ends(&first, None), [Status::Skip, Status::Pass]);
    assert_eq!(ends(&second, None), [Status::Skip, Status::Skip]);
    assert_eq!(ends(&second, Some(&first)), [Status::Pass, Status::Pass]);
    assert_eq!(ends(&fourth, Some(&second)), [Status::Pass, Status::Skip]);
    assert_eq!(ends(&forked, Some(&first)), [Status::Pass, Status::Fail]);
    assert_eq!(
        ends(&forked, Some(&second)),
        [Status::Fail, Status::Skip],
        "one number, two receipts"
    );
    assert_eq!(ends(&first, Some(&second)), [Status::Fail, Status::Skip]);
}
