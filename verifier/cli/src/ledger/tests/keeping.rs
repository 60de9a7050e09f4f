//! What stays in a ledger's file and for how long, and files that are cut,
//! altered, or of another schema.

use super::*;

#[test]
fn what_is_old_goes_with_its_evidence_and_what_a_receipt_needs_stays() {
    const DAY: u64 = 86_400;
    let (old, needed) = (evidence(0, 6), evidence(1, 6));
    let ledger = Ledger::new();
    let late = receipt(&needed.statement, 0, [0; 32], b"x");
    ledger.write(&[
        shown_to(&old.encode(), AT),
        shown_to(&needed.encode(), AT),
        Event::Receipt {
            at: AT + 20 * DAY,
            node: NODE.to_owned(),
            receipt: Box::new(late.clone()),
            salt: None,
            attested: None,
        },
    ]);
    let bounds = Bounds {
        days: 30,
        ..Bounds::default()
    };
    ledger.bounded(&[unreachable_node(AT + 40 * DAY)], bounds);
    let view = ledger.view();
    let entries = view.entries().unwrap();
    assert_eq!(entries.len(), 2, "the receipt and the latest: {entries:?}");
    let key = view
        .evidence_of(&late.claims().statement.to_string())
        .unwrap()
        .unwrap();
    assert!(view.envelope(&key).unwrap().is_some());
    assert_eq!(view.evidence_keys().unwrap(), [key]);
    drop(view);
    // Once more: a pruned receipt that comes again is kept again.
    ledger.bounded(&[unreachable_node(AT + 80 * DAY)], bounds);
    assert_eq!(ledger.entries().len(), 1);
    assert_eq!(ledger.view().evidence_keys().unwrap(), Vec::<String>::new());
}

#[test]
fn ten_thousand_entries_are_kept_found_and_bounded() {
    let ledger = Ledger::new();
    let envelope = evidence(0, 6).encode();
    let verdict = judge(&envelope);
    let started = Instant::now();
    for batch in 0..40_u64 {
        let events: Vec<_> = (0..250)
            .map(|number| Event::Appraisal {
                at: AT + batch * 250 + number,
                node: format!("https://node-{}.example", number % 7),
                verdict: Box::new(verdict.clone()),
                evidence: Some(envelope.clone()),
            })
            .collect();
        ledger.write(&events);
    }
    let entries = ledger.entries();
    assert_eq!(entries.len(), 10_000);
    assert!(entries.is_sorted_by_key(|(number, _)| *number));
    let size = std::fs::metadata(&ledger.path).unwrap().len();
    assert!(size < 40 * 1024 * 1024, "{size} bytes");
    assert!(
        started.elapsed() < Duration::from_secs(120),
        "{:?}",
        started.elapsed()
    );
    let bounds = Bounds {
        entries: 1_000,
        ..Bounds::default()
    };
    ledger.bounded(&[unreachable_node(AT + 20_000)], bounds);
    let entries = ledger.entries();
    assert_eq!(entries.len(), 1_000);
    assert_eq!(entries.last().unwrap().0, 10_001, "numbers are never given twice");
}

#[test]
fn envelopes_beyond_the_bound_push_out_the_oldest() {
    let ledger = Ledger::new();
    let bounds = Bounds {
        envelopes: 10,
        ..Bounds::default()
    };
    for number in 0..25_u64 {
        // What can't be read is kept, too, by its bytes.
        let event = Event::Appraisal {
            at: AT + number,
            node: NODE.to_owned(),
            verdict: Box::new(crate::gate::without_evidence(
                Decision::Malformed,
                "evidence.malformed",
                String::new(),
                UnixTime::from_secs(AT),
            )),
            evidence: Some(number.to_be_bytes().to_vec()),
        };
        ledger.bounded(&[event], bounds);
        assert!(ledger.view().evidence_keys().unwrap().len() <= 11);
    }
    let newest = hex::encode(EvidenceKey::of(&24_u64.to_be_bytes()).key);
    assert!(ledger.view().envelope(&newest).unwrap().is_some());
}

#[test]
fn a_file_that_is_cut_or_altered_is_refused_or_read_whole_and_never_trusted() {
    let ledger = Ledger::new();
    let envelope = evidence(0, 6).encode();
    let events: Vec<_> = (0..20).map(|number| shown_to(&envelope, AT + number)).collect();
    ledger.write(&events);
    let whole = std::fs::read(&ledger.path).unwrap();
    let expected = ledger.entries();
    let (mut refused, mut read) = (0, 0);
    let mut judge = |bytes: &[u8]| {
        std::fs::write(&ledger.path, bytes).unwrap();
        let opened = Store::open_checked(&ledger.path, WAIT)
            .and_then(|store| store.view(&ledger.path))
            .and_then(|view| view.entries());
        match opened {
            Ok(entries) => {
                read += 1;
                assert!(entries.is_empty() || entries == expected);
            }
            Err(fault) => {
                refused += 1;
                assert_eq!(fault.code, "ledger.corrupt", "{fault}");
                assert!(fault.remedy.is_some());
            }
        }
    };
    for part in 1..24 {
        judge(&whole[..whole.len() * part / 24]);
    }
    judge(b"this is no ledger");
    let mut position = 7;
    while position < whole.len() {
        let mut altered = whole.clone();
        altered[position] ^= 0x55;
        judge(&altered);
        position += whole.len() / 150 + 1;
    }
    assert!(refused > 20, "{refused} refused, {read} read");
}

#[test]
fn another_schema_is_refused_by_name() {
    let ledger = Ledger::new();
    ledger.write(&[unreachable_node(AT)]);
    {
        let database = redb::Database::open(&ledger.path).unwrap();
        let transaction = database.begin_write().unwrap();
        let meta: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");
        transaction.open_table(meta).unwrap().insert("schema", 2).unwrap();
        transaction.commit().unwrap();
    }
    let fault = Store::open(&ledger.path, WAIT, true).unwrap_err();
    assert_eq!((fault.code, fault.exit), ("ledger.schema", 2));
}
