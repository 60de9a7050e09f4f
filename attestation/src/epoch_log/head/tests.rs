//! Heads that evidence vouches for, and every way in which it doesn't.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::tests::chain;
use super::*;
use crate::digest::{Salt, StatementDigest};
use crate::evidence::tests::evidence;
use crate::result::{Decision, VERDICT_SCHEMA};
use crate::statement::EpochStatement;
use crate::{binding, merkle::Tree};

const NONCE: Nonce = Nonce::new([0x31; 32]);

/// Checks that the leaf is in the statement's tree, and nothing of the hardware.
struct InTree;

impl Appraiser for InTree {
    fn appraise(
        &self,
        evidence: &Untrusted<Evidence>,
        session: &SessionExpectation,
        now: UnixTime,
    ) -> Result<AttestationResult, Box<Verdict>> {
        let evidence = evidence.as_unverified();
        let statement = EpochStatement::decode(&evidence.statement).unwrap();
        let leaf = binding::leaf(session.leaf, &evidence.proof.salt, &session.binder);
        let included = evidence.proof.verify(&leaf, statement.depth, &statement.root);
        let verdict = Verdict {
            schema: VERDICT_SCHEMA,
            decision: if included.is_ok() {
                Decision::Accepted
            } else {
                Decision::Rejected
            },
            code: included.is_err().then_some("binding.inclusion"),
            reason: None,
            checks: Vec::new(),
            roots: Vec::new(),
            simulated: true,
            snp: None,
            platform: None,
            azure: None,
            gpus: Vec::new(),
            uncovered: Vec::new(),
            session: Some(BTreeMap::new()),
            policy: "in-tree".to_owned(),
            policy_digest: String::new(),
            ignored: Vec::new(),
            at: now.to_string(),
        };
        if included.is_err() {
            return Err(Box::new(verdict));
        }
        Ok(AttestationResult {
            statement_digest: statement_digest(&evidence.statement),
            statement,
            verdict: verdict.into(),
        })
    }
}

/// The answer of an enclave whose log is this page, from epoch 0.
fn answer(page: &EpochLogPage, kind: LeafType) -> LogHeadAnswer {
    let head = LogHead::EMPTY.after(page).unwrap();
    let last = page.entries.last().unwrap();
    let before = EpochStatement::decode(&last.statement).unwrap();
    let salt = Salt::new([0x32; 32]);
    let leaf = binding::leaf(kind, &salt, &log_head_binder(&head.to_bytes(), &NONCE));
    let tree = Tree::new(&[leaf]).unwrap();
    let statement = EpochStatement {
        epoch: before.epoch + 1,
        previous: StatementDigest::new(crate::sha256(&[&last.statement])),
        depth: 0,
        root: tree.root(),
        ..before
    };
    let mut evidence = evidence();
    evidence.proof = tree.prove(0, salt).unwrap();
    evidence.statement = statement.encode().as_bytes().to_vec();
    LogHeadAnswer { evidence, head }
}

fn appraised(answer: &LogHeadAnswer, nonce: &Nonce) -> Result<AttestedLogHead, LogHeadError> {
    let (evidence, head) = LogHeadAnswer::decode(&answer.encode()).unwrap();
    AttestedLogHead::appraise(&evidence, head, nonce, &InTree, UnixTime::from_secs(0))
}

fn split(page: &EpochLogPage, at: usize) -> [EpochLogPage; 2] {
    let (one, two) = page.entries.split_at(at);
    [one, two].map(|entries| EpochLogPage {
        entries: entries.to_vec(),
    })
}

#[test]
fn a_head_vouches_for_all_pages_before_it() {
    let page = chain(6, |_| ());
    let attested = appraised(&answer(&page, LeafType::LogHead), &NONCE).unwrap();
    assert_eq!(attested.head().epochs(), 6);
    assert_eq!(attested.result().statement.epoch, 6);
    let pages = split(&page, 4);
    assert_eq!(attested.vouches_for(LogHead::EMPTY, &pages), Ok(()));
    // Whoever was there earlier needs only what came since.
    let known = LogHead::EMPTY.after(&pages[0]).unwrap();
    assert_eq!(attested.vouches_for(known, &pages[1..]), Ok(()));
    assert_eq!(attested.vouches_for(*attested.head(), &[]), Ok(()));
}

#[test]
fn another_nonce_leaf_type_or_head_is_not_vouched_for() {
    let page = chain(6, |_| ());
    let good = answer(&page, LeafType::LogHead);
    let code = |error: LogHeadError| error.code().to_owned();
    let other = Nonce::new([0x33; 32]);
    assert_eq!(code(appraised(&good, &other).unwrap_err()), "binding.inclusion");
    for kind in [LeafType::ServerTls, LeafType::SealedKey, LeafType::ReceiptKey] {
        let error = appraised(&answer(&page, kind), &NONCE).unwrap_err();
        assert_eq!(code(error), "binding.inclusion", "{kind:?}");
    }
    let older = LogHead::EMPTY.after(&split(&page, 5)[0]).unwrap();
    let swapped = LogHeadAnswer {
        head: older,
        ..good.clone()
    };
    assert_eq!(
        code(appraised(&swapped, &NONCE).unwrap_err()),
        "binding.inclusion"
    );
    // A statement can't vouch for a log that has it already.
    let mut early = answer(&page, LeafType::LogHead);
    let statement = EpochStatement::decode(&early.evidence.statement).unwrap();
    early.evidence.statement = EpochStatement {
        epoch: 5,
        ..statement
    }
    .encode()
    .as_bytes()
    .to_vec();
    let error = appraised(&early, &NONCE).unwrap_err();
    assert!(
        matches!(
            error,
            LogHeadError::Ahead {
                epochs: 6,
                statement: 5
            }
        ),
        "{error:?}"
    );
    assert_eq!(code(error), "epochs.head");
}

#[test]
fn pages_that_lead_elsewhere_are_refused() {
    let page = chain(6, |_| ());
    let attested = appraised(&answer(&page, LeafType::LogHead), &NONCE).unwrap();
    let refused = |known, pages: &[EpochLogPage]| attested.vouches_for(known, pages).unwrap_err();
    // The end withheld, the beginning, the middle.
    let [begin, end] = split(&page, 4);
    assert_eq!(
        refused(LogHead::EMPTY, std::slice::from_ref(&begin)),
        EpochLogError::Head { expected: 6, got: 4 }
    );
    assert_eq!(
        refused(LogHead::EMPTY, std::slice::from_ref(&end)).code(),
        "epochs.number"
    );
    let [_, middle] = split(&begin, 3);
    assert_eq!(refused(LogHead::EMPTY, &[middle, end]).code(), "epochs.number");
    // A report that came, and is said not to have come: the chain of statements alone
    // doesn't show it.
    for at in 0..6 {
        for report in [None, Some([0; 32]), Some([8; 32])] {
            let mut other = page.clone();
            other.entries[at].report = report;
            assert!(other.verify(None).is_ok());
            assert_eq!(refused(LogHead::EMPTY, &[other]).code(), "epochs.head");
        }
    }
    // The same entries of another boot are another log.
    let foreign = chain(6, |statement| statement.boot_id = BootId::new([9; 16]));
    assert_eq!(refused(LogHead::EMPTY, &[foreign]).code(), "epochs.boot");
}

#[test]
fn an_answer_round_trips_and_is_no_evidence_of_a_session() {
    let good = answer(&chain(2, |_| ()), LeafType::LogHead);
    let bytes = good.encode();
    let (evidence, head) = LogHeadAnswer::decode(&bytes).unwrap();
    assert_eq!((evidence.as_unverified(), head), (&good.evidence, good.head));
    assert!(Evidence::decode(&bytes).is_err());
    assert_eq!(
        LogHeadAnswer::decode(&good.evidence.encode()).unwrap_err(),
        EvidenceError::Missing { part: LABEL }
    );
    for length in [0, LogHead::BYTES - 1, LogHead::BYTES + 1] {
        let collection = good.evidence.collection(Omission::default());
        let bytes = collection
            .record(LABEL, TYPE, &vec![0; length], EVIDENCE)
            .encode();
        assert!(LogHeadAnswer::decode(&bytes).is_err(), "{length}");
    }
}

proptest! {
    #[test]
    fn heads_round_trip_and_nothing_else_is_one(epochs: u64, digest: [u8; 32], bytes: Vec<u8>) {
        let head = LogHead { epochs, digest };
        prop_assert_eq!(LogHead::from_bytes(&head.to_bytes()), Some(head));
        prop_assert_eq!(LogHead::from_bytes(&bytes).is_some(), bytes.len() == LogHead::BYTES);
    }

    #[test]
    fn decoding_never_panics(bytes: Vec<u8>) {
        let _ = LogHeadAnswer::decode(&bytes);
    }

    #[test]
    fn a_flipped_bit_of_an_answers_head_is_never_vouched_for(bit in 0_usize..LogHead::BYTES * 8) {
        let mut answer = answer(&chain(3, |_| ()), LeafType::LogHead);
        let mut bytes = answer.head.to_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        answer.head = LogHead::from_bytes(&bytes).unwrap();
        prop_assert!(appraised(&answer, &NONCE).is_err());
    }
}
