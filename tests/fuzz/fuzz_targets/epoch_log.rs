//! A page of the epoch log: what decodes encodes to the same bytes, and a page
//! that is one chain goes on from its own beginning and from nowhere else. The same
//! bytes as evidence of a log's head.
#![no_main]

use bastide_attestation::{EpochLogPage, EpochStatement, LogHead, LogHeadAnswer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((evidence, head)) = LogHeadAnswer::decode(bytes) {
        let evidence = evidence.as_unverified().clone();
        let again = LogHeadAnswer { evidence, head }.encode();
        assert!(matches!(LogHeadAnswer::decode(&again), Ok((_, same)) if same == head));
    }
    let Ok(page) = EpochLogPage::decode(bytes) else { return };
    assert_eq!(page.encode(), bytes);
    let Ok(Some(verified)) = page.verify(None) else { return };
    let entries = page.entries.len() as u64;
    let head = LogHead::EMPTY.after(&page);
    assert_eq!(head.ok().map(|head| head.epochs()), (verified.first() == 0).then_some(entries));
    assert_eq!(verified.last().epoch - verified.first(), entries - 1);
    assert!(verified.changes().len() < page.entries.len());
    let first = EpochStatement::decode(&page.entries[0].statement).unwrap();
    let rest = EpochLogPage { entries: page.entries[1..].to_vec() };
    let again = rest.verify(Some(&first)).unwrap();
    assert_eq!(again.map_or(1, |again| again.last().epoch - first.epoch + 1), entries);
    assert!(page.verify(Some(verified.last())).is_err());
});
