//! Pages that are one chain, and every way of not being one.

use super::*;
use crate::digest::ManifestDigest;
use crate::evidence::TpmQuote;
use crate::snp::REPORT_BYTES;
use crate::statement::tests::statement;
use proptest::prelude::*;

/// A chain of so many statements from epoch 0; `change` has the last word on each.
pub(crate) fn chain(length: u64, change: impl Fn(&mut EpochStatement)) -> EpochLogPage {
    let mut previous = StatementDigest::new([0; 32]);
    let entries = (0..length)
        .map(|epoch| {
            let mut statement = EpochStatement {
                epoch,
                previous,
                ..statement()
            };
            change(&mut statement);
            let bytes = statement.encode();
            previous = bytes.digest();
            EpochLogEntry {
                statement: bytes.as_bytes().to_vec(),
                report: Some([7; 32]),
            }
        })
        .collect();
    EpochLogPage { entries }
}

fn code(page: &EpochLogPage) -> &'static str {
    page.verify(None).unwrap_err().code()
}

#[test]
fn a_chain_is_verified_and_says_what_changed_and_where() {
    let mut page = chain(6, |statement| {
        if statement.epoch >= 2 {
            statement.session_key = [9; 32];
        }
        if statement.epoch >= 4 {
            statement.model = ManifestDigest::new([8; 32]);
            statement.gpu_epoch = 3;
        }
    });
    page.entries[3].report = None;
    let verified = page.verify(None).unwrap().unwrap();
    assert_eq!((verified.first(), verified.last().epoch), (0, 5));
    assert_eq!(verified.unreported(), [3]);
    let changes = verified.changes();
    assert_eq!(changes.len(), 2);
    assert!(changes[0].epoch == 2 && changes[0].session_key && !changes[0].model && !changes[0].gpus);
    assert!(changes[1].epoch == 4 && !changes[1].session_key && changes[1].model && changes[1].gpus);
    for entry in &page.entries {
        assert!(verified.contains(&statement_digest(&entry.statement)));
    }
    assert!(!verified.contains(&StatementDigest::new([1; 32])));
    assert_eq!(
        verified.head(),
        Some(&statement_digest(&page.entries[5].statement))
    );
}

#[test]
fn pages_go_on_where_the_page_before_ended_and_nowhere_else() {
    let whole = chain(6, |_| ());
    let (one, two) = whole.entries.split_at(3);
    let (one, two) = (
        EpochLogPage {
            entries: one.to_vec(),
        },
        EpochLogPage {
            entries: two.to_vec(),
        },
    );
    let end = one.verify(None).unwrap().unwrap();
    let verified = two.verify(Some(end.last())).unwrap().unwrap();
    assert_eq!((verified.first(), verified.last().epoch), (3, 5));
    // A page may begin anywhere if nothing is known of what was before.
    assert!(two.verify(None).is_ok());
    assert_eq!(
        one.verify(Some(end.last())),
        Err(EpochLogError::Number { expected: 3, got: 0 })
    );
    let empty = EpochLogPage::default();
    assert_eq!(empty.verify(Some(end.last())), Ok(None));
    assert_eq!(empty.verify(None), Ok(None));
}

#[test]
fn a_chain_with_a_hole_another_boot_or_a_changed_statement_is_refused() {
    let whole = chain(5, |_| ());
    for left_out in 1..4 {
        let mut page = whole.clone();
        page.entries.remove(left_out);
        assert_eq!(code(&page), "epochs.number");
    }
    let mut page = whole.clone();
    page.entries.swap(1, 2);
    assert_eq!(code(&page), "epochs.number");
    let page = chain(5, |statement| {
        if statement.epoch == 3 {
            statement.boot_id = BootId::new([9; 16]);
        }
    });
    assert_eq!(code(&page), "epochs.boot");
    // Rewritten afterwards: the next one names what was there before.
    for rewritten in 0..4 {
        let mut page = whole.clone();
        let mut statement = EpochStatement::decode(&page.entries[rewritten].statement).unwrap();
        statement.time_ms += 1;
        page.entries[rewritten].statement = statement.encode().as_bytes().to_vec();
        assert_eq!(code(&page), "epochs.link");
    }
    let page = chain(2, |statement| {
        if statement.epoch == 0 {
            statement.previous = StatementDigest::new([1; 32]);
        }
    });
    assert_eq!(code(&page), "epochs.link");
    let page = chain(2, |statement| statement.epoch = u64::MAX);
    assert_eq!(code(&page), "epochs.number");
}

/// T18: a log knows a report by what was signed.
#[test]
fn t18_a_report_with_the_other_signature_that_verifies_is_the_same_entry() {
    let mut report = [0; REPORT_BYTES];
    report[0] = 5;
    report[0x34] = 1;
    let digest = |report| EpochLogEntry::report_digest(&PlatformEvidence::Snp(Box::new(report)));
    let one = digest(report);
    // S lies at 0x2E8.
    report[0x2e8] = 1;
    assert_eq!(digest(report), one);
    report[0x50] = 1;
    assert_ne!(digest(report), one);
    let quote = |signature| PlatformEvidence::AzureVtpm {
        hcl_report: Vec::new(),
        quote: TpmQuote {
            message: vec![1, 2],
            signature,
            pcrs: Vec::new(),
        },
    };
    assert_eq!(
        EpochLogEntry::report_digest(&quote(vec![1])),
        EpochLogEntry::report_digest(&quote(vec![2]))
    );
}

#[test]
fn pages_that_are_too_long_or_of_another_shape_are_refused() {
    let page = chain(300, |_| ());
    assert_eq!(
        EpochLogPage::decode(&page.encode()),
        Err(EpochLogError::Entries { got: 300 })
    );
    let entry = |report: &[u8]| encode_pairs([[&[1][..], report]]);
    assert!(EpochLogPage::decode(&entry(&[0; 32])).is_ok());
    assert_eq!(
        EpochLogPage::decode(&entry(&[0; 31])),
        Err(EpochLogError::ReportDigest { entry: 0, got: 31 })
    );
    let no_statement = EpochLogPage::decode(&entry(&[])).unwrap();
    assert_eq!(code(&no_statement), "epochs.statement");
    let large = vec![0; MAX_EPOCH_LOG_PAGE_BYTES + 1];
    assert_eq!(
        EpochLogPage::decode(&large).unwrap_err().code(),
        "epochs.malformed"
    );
}

proptest! {
    #[test]
    fn pages_round_trip(length in 0_u64..8, unreported in any::<u8>()) {
        let mut page = chain(length, |_| ());
        for (at, entry) in page.entries.iter_mut().enumerate() {
            if unreported & (1 << at) != 0 {
                entry.report = None;
            }
        }
        let bytes = page.encode();
        prop_assert!(bytes.len() <= MAX_EPOCH_LOG_PAGE_BYTES);
        prop_assert_eq!(EpochLogPage::decode(&bytes), Ok(page));
    }

    /// Every bit of a statement but those of the last is under a later one.
    #[test]
    fn a_flipped_bit_never_passes(entry in 0_usize..3, position: prop::sample::Index, bit in 0_u8..8) {
        let mut page = chain(4, |_| ());
        let statement = &mut page.entries[entry].statement;
        let at = position.index(statement.len());
        statement[at] ^= 1 << bit;
        prop_assert!(page.verify(None).is_err());
    }

    #[test]
    fn decoding_and_verifying_never_panic(bytes: Vec<u8>) {
        if let Ok(page) = EpochLogPage::decode(&bytes) {
            let _ = page.verify(None);
        }
    }
}
