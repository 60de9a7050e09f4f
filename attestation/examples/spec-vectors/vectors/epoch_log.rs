//! Pages of the epoch log: a chain with what changed in it, and pages that are none.

use bastide_attestation::binding::{LeafType, leaf, log_head_binder};
use bastide_attestation::{
    BootId, EpochLogEntry, EpochLogPage, EpochStatement, LogHead, Nonce, Salt, StatementDigest,
};
use serde_json::{Value, json};

use super::{pattern, statement};

pub(super) fn file() -> Value {
    super::with_head(
        "pages of the epoch log: entries of statement and report's digest, one chain; `refused` are no chain",
        json!({
            "pages": [page_of(0, &chain(0, 4)), page_of(41, &chain(41, 3))],
            "refused": refused(),
            "heads": [head_of(0), head_of(1), head_of(4)],
        }),
    )
}

/// Statements from `first` on, each naming the one before; every third changes the model.
fn chain(first: u64, count: u64) -> Vec<EpochStatement> {
    let mut before = (first > 0).then(|| StatementDigest::new(pattern(0x12)));
    (first..first + count)
        .map(|epoch| {
            let statement = EpochStatement {
                epoch,
                previous: before.unwrap_or(StatementDigest::new([0; 32])),
                model: bastide_attestation::ManifestDigest::new(pattern(if epoch % 3 == 2 {
                    0x1a
                } else {
                    0x18
                })),
                ..statement::full()
            };
            before = Some(statement.encode().digest());
            statement
        })
        .collect()
}

fn page(statements: &[EpochStatement]) -> EpochLogPage {
    let entry = |(at, statement): (u8, &EpochStatement)| EpochLogEntry {
        statement: statement.encode().as_bytes().to_vec(),
        // No report came of the second.
        report: (at != 1).then(|| pattern(0x90 + at)),
    };
    EpochLogPage {
        entries: (0..).zip(statements).map(entry).collect(),
    }
}

fn page_of(first: u64, statements: &[EpochStatement]) -> Value {
    let page = page(statements);
    let verified = page.verify(None).expect("a chain").expect("it has entries");
    assert_eq!(verified.first(), first);
    let changed: Vec<u64> = verified.changes().iter().map(|change| change.epoch).collect();
    json!({
        "first": first,
        "last": verified.last().epoch,
        "head": verified.head().map(ToString::to_string),
        "model_changed": changed,
        "unreported": verified.unreported(),
        "reports": page.entries.iter().map(|entry| entry.report.map(hex::encode)).collect::<Vec<_>>(),
        "cbor": hex::encode(page.encode()),
    })
}

/// The head after so many epochs of a log, and what evidence of it is bound to.
fn head_of(epochs: u64) -> Value {
    let page = page(&chain(0, epochs));
    let head = LogHead::EMPTY.after(&page).expect("a chain from epoch 0");
    let (nonce, salt) = (Nonce::new(pattern(0x71)), Salt::new(pattern(0x72)));
    let binder = log_head_binder(&head.to_bytes(), &nonce);
    json!({
        "page": hex::encode(page.encode()),
        "epochs": head.epochs(),
        "digest": hex::encode(head.digest()),
        "record": hex::encode(head.to_bytes()),
        "nonce": nonce.to_string(),
        "binder": binder.to_string(),
        "salt": salt.to_string(),
        "leaf": leaf(LeafType::LogHead, &salt, &binder).to_string(),
    })
}

fn refused() -> Vec<Value> {
    let good = chain(7, 3);
    let changed = |change: &dyn Fn(&mut Vec<EpochStatement>)| {
        let mut statements = good.clone();
        change(&mut statements);
        page(&statements).encode()
    };
    let whole = page(&good).encode();
    let mut digest_of_31 = page(&good);
    digest_of_31.entries[0].report = None;
    let short = {
        // The empty digest of the first entry, in place of which 31 bytes stand.
        let bytes = digest_of_31.encode();
        let head = digest_of_31.entries[0].statement.len() + 3 + 2;
        [&bytes[..head], &[0x58, 31], &[1; 31], &bytes[head + 1..]].concat()
    };
    [
        ("no bytes", vec![]),
        ("a byte after the end", [&whole[..], &[0]].concat()),
        ("a digest of 31 bytes", short),
        (
            "a number is left out",
            changed(&|statements| {
                statements.remove(1);
            }),
        ),
        (
            "a number comes twice",
            changed(&|statements| statements.insert(1, statements[0].clone())),
        ),
        ("the order is turned", changed(&|statements| statements.reverse())),
        (
            "another boot",
            changed(&|statements| statements[2].boot_id = BootId::new([9; 16])),
        ),
        (
            "a statement names another before it",
            changed(&|statements| statements[2].previous = StatementDigest::new([9; 32])),
        ),
        (
            "a statement in the middle was changed",
            changed(&|statements| statements[1].time_ms += 1),
        ),
        (
            "epoch 0 names one before it",
            page(&[EpochStatement {
                epoch: 0,
                ..statement::full()
            }])
            .encode(),
        ),
    ]
    .map(|(why, bytes)| {
        let error = EpochLogPage::decode(&bytes)
            .and_then(|page| page.verify(None).map(|_| ()))
            .expect_err(why);
        json!({"why": why, "cbor": hex::encode(&bytes), "error": error.to_string()})
    })
    .to_vec()
}
