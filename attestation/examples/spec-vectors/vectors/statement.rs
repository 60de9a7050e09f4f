//! Epoch statements: bytes and their members, and bytes that are none.

use bastide_attestation::{
    BootId, EpochStatement, GpuSeedKind, KeyThumbprint, MAX_STATEMENT_BYTES, ManifestDigest,
    PERMITTED_DEPTHS, PolicyDigest, StatementDigest, TimeSource, TreeHash,
};
use serde_json::{Value, json};

use super::pattern;

pub(super) fn file() -> Value {
    super::with_head(
        "epoch statements: deterministic CBOR and its members; `refused` are bytes that no reader may take",
        json!({"accepted": accepted(), "refused": refused()}),
    )
}

/// A statement with everything in it.
pub(super) fn full() -> EpochStatement {
    EpochStatement {
        boot_id: BootId::new(pattern(0x11)),
        epoch: 41,
        previous: StatementDigest::new(pattern(0x12)),
        depth: 10,
        root: TreeHash::new(pattern(0x13)),
        gpu_epoch: 7,
        gpu_digest: Some(pattern(0x14)),
        gpu_seed: GpuSeedKind::PreviousStatement,
        session_key: super::ed25519(pattern(0x15)).1,
        receipt_key: KeyThumbprint::new(pattern(0x16)),
        sealed_key: Some(pattern(0x17)),
        model: ManifestDigest::new(pattern(0x18)),
        configuration: PolicyDigest::new(pattern(0x19)),
        time_ms: 1_772_000_000_123,
        time_source: TimeSource::SecureTsc,
        debug: false,
        pipeline: false,
    }
}

fn first() -> EpochStatement {
    EpochStatement {
        epoch: 0,
        previous: StatementDigest::new([0; 32]),
        depth: 0,
        gpu_epoch: 0,
        gpu_digest: None,
        sealed_key: None,
        time_ms: 0,
        time_source: TimeSource::Host,
        ..full()
    }
}

fn accepted() -> Vec<Value> {
    let mut statements = vec![
        ("everything", full()),
        ("the first of a boot, with nulls", first()),
        (
            "GPUs in strict mode, sealed mode off",
            EpochStatement {
                gpu_seed: GpuSeedKind::Strict,
                sealed_key: None,
                ..full()
            },
        ),
        (
            "the largest numbers",
            EpochStatement {
                epoch: u64::MAX,
                gpu_epoch: u64::MAX,
                time_ms: u64::MAX,
                ..full()
            },
        ),
        (
            "a debug build, which a reader reads and a verifier refuses",
            EpochStatement {
                debug: true,
                ..full()
            },
        ),
        (
            "the head of a pipeline",
            EpochStatement {
                pipeline: true,
                ..full()
            },
        ),
    ];
    for depth in PERMITTED_DEPTHS {
        statements.push(("each permitted depth", EpochStatement { depth, ..full() }));
    }
    statements
        .into_iter()
        .map(|(name, statement)| {
            let bytes = statement.encode();
            assert_eq!(EpochStatement::decode(bytes.as_bytes()).as_ref(), Ok(&statement));
            json!({
                "name": name,
                "cbor": hex::encode(bytes.as_bytes()),
                "members": members(&statement),
                "statement_digest": bytes.digest().to_string(),
                "report_data": bytes.report_data().to_string(),
            })
        })
        .collect()
}

fn members(statement: &EpochStatement) -> Value {
    json!({
        "version": 1,
        "boot_id": statement.boot_id.to_string(),
        "epoch": statement.epoch,
        "previous": statement.previous.to_string(),
        "depth": statement.depth,
        "root": statement.root.to_string(),
        "gpu_epoch": statement.gpu_epoch,
        "gpu_digest": statement.gpu_digest.map(hex::encode),
        "gpu_seed": match statement.gpu_seed {
            GpuSeedKind::PreviousStatement => 0,
            GpuSeedKind::Strict => 1,
        },
        "session_key": hex::encode(statement.session_key),
        "receipt_key": statement.receipt_key.to_string(),
        "sealed_key": statement.sealed_key.map(hex::encode),
        "model": statement.model.to_string(),
        "configuration": statement.configuration.to_string(),
        "time": [statement.time_ms, match statement.time_source {
            TimeSource::Host => 0,
            TimeSource::SecureTsc => 1,
        }],
        "flags": statement.flags(),
    })
}

/// An encoded key and its encoded value.
type Pair = (Vec<u8>, Vec<u8>);

/// The first statement's members, so that one can be exchanged.
fn pairs() -> Vec<Pair> {
    let statement = first();
    let string = |bytes: &[u8]| [&[0x58, 0x20][..], bytes].concat();
    let values = [
        vec![1],
        [&[0x50][..], statement.boot_id.as_bytes()].concat(),
        vec![0],
        string(statement.previous.as_bytes()),
        vec![0],
        string(statement.root.as_bytes()),
        vec![0],
        vec![0xf6],
        vec![0],
        string(&statement.session_key),
        string(statement.receipt_key.as_bytes()),
        vec![0xf6],
        string(statement.model.as_bytes()),
        string(statement.configuration.as_bytes()),
        vec![0x82, 0, 0],
        vec![0],
    ];
    (1..).map(|key| vec![key]).zip(values).collect()
}

fn encoded(pairs: &[Pair]) -> Vec<u8> {
    let count = u8::try_from(pairs.len()).expect("a handful");
    let mut bytes = vec![0xa0 + count];
    for (key, value) in pairs {
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
    }
    bytes
}

/// The first statement with another value for one key.
fn with(key: usize, value: &[u8]) -> Vec<u8> {
    let mut pairs = pairs();
    pairs[key - 1].1 = value.to_vec();
    encoded(&pairs)
}

/// Head of a byte string that holds `bytes`.
fn wrapped_head(bytes: &[u8]) -> [u8; 3] {
    let [high, low] = u16::try_from(bytes.len()).expect("short").to_be_bytes();
    [0x59, high, low]
}

fn refused() -> Vec<Value> {
    let good = encoded(&pairs());
    assert_eq!(
        good,
        first().encode().as_bytes(),
        "the pieces make the statement that the code encodes"
    );
    let body = &good[1..];
    let rearranged = |change: &dyn Fn(&mut Vec<Pair>)| {
        let mut pairs = pairs();
        change(&mut pairs);
        encoded(&pairs)
    };
    let mut cases: Vec<(String, Vec<u8>)> = [
        ("no bytes", vec![]),
        ("the last byte is missing", good[..good.len() - 1].to_vec()),
        ("a byte after the end", [&good[..], &[0]].concat()),
        ("two statements", [&good[..], &good].concat()),
        (
            "an unknown key, 17",
            rearranged(&|pairs| pairs.push((vec![17], vec![0]))),
        ),
        (
            "an unknown key, -1",
            rearranged(&|pairs| pairs.push((vec![0x20], vec![0]))),
        ),
        (
            "an unknown key, a text",
            rearranged(&|pairs| pairs.push((vec![0x61, b'x'], vec![0]))),
        ),
        (
            "key 1 twice, with the same value",
            rearranged(&|pairs| pairs.insert(0, pairs[0].clone())),
        ),
        (
            "key 16 twice, with another value",
            rearranged(&|pairs| pairs.push((vec![16], vec![1]))),
        ),
        ("keys out of order", rearranged(&|pairs| pairs.swap(0, 1))),
        ("a map of indefinite length", [&[0xbf], body, &[0xff]].concat()),
        (
            "the map's length in a byte of its own",
            [&[0xb8, 16], body].concat(),
        ),
        (
            "an array with the members' values",
            [
                vec![0x90],
                pairs().into_iter().flat_map(|(_, value)| value).collect(),
            ]
            .concat(),
        ),
        ("a tag before the map", [&[0xd9, 0xd9, 0xf7], &good[..]].concat()),
        (
            "the statement inside a byte string",
            [&wrapped_head(&good)[..], &good].concat(),
        ),
        (
            "key 1 encoded in two bytes",
            rearranged(&|pairs| pairs[0].0 = vec![0x18, 1]),
        ),
        ("version 0", with(1, &[0])),
        ("version 2", with(1, &[2])),
        ("version 1 encoded in two bytes", with(1, &[0x18, 1])),
        ("version 1 as a number with a fraction", with(1, &[0xf9, 0x3c, 0])),
        (
            "a boot_id of 15 bytes",
            with(2, &[&[0x4f][..], &[1; 15]].concat()),
        ),
        (
            "a boot_id of 17 bytes",
            with(2, &[&[0x51][..], &[1; 17]].concat()),
        ),
        (
            "a boot_id in pieces",
            with(2, &[&[0x5f, 0x50][..], &[1; 16], &[0xff]].concat()),
        ),
        (
            "a boot_id that is a text",
            with(2, &[&[0x70][..], &[0x61; 16]].concat()),
        ),
        ("a negative epoch", with(3, &[0x20])),
        (
            "an epoch that is a bignum",
            with(3, &[0xc2, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ),
        ("an epoch that is null", with(3, &[0xf6])),
        ("a previous digest that is null", with(4, &[0xf6])),
        (
            "a root of 31 bytes",
            with(6, &[&[0x58, 31][..], &[1; 31]].concat()),
        ),
        (
            "a GPU digest of 33 bytes",
            with(8, &[&[0x58, 33][..], &[1; 33]].concat()),
        ),
        ("a GPU digest that is undefined", with(8, &[0xf7])),
        ("a GPU digest that is false", with(8, &[0xf4])),
        ("seed kind 2", with(9, &[2])),
        ("a session key that is null", with(10, &[0xf6])),
        ("a sealed-mode digest that is empty", with(12, &[0x40])),
        ("time without a source", with(15, &[0x81, 0])),
        ("time with three numbers", with(15, &[0x83, 0, 0, 0])),
        ("time as one number", with(15, &[0])),
        ("a negative time", with(15, &[0x82, 0x20, 0])),
        ("time source 2", with(15, &[0x82, 0, 2])),
        ("flag 4", with(16, &[4])),
        ("flags debug and 4", with(16, &[5])),
        (
            "more than 1,024 bytes",
            with(13, &[&[0x59, 4, 0][..], &[1; 1024]].concat()),
        ),
        ("arrays within arrays", vec![0x81; MAX_STATEMENT_BYTES]),
        (
            "a length of 2^64 - 1",
            vec![0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
    ]
    .into_iter()
    .map(|(why, bytes)| (why.to_owned(), bytes))
    .collect();
    for depth in [1, 2, 3, 5, 9, 15, 16] {
        cases.push((format!("depth {depth}"), with(5, &[depth])));
    }
    cases.push((
        "depth 4 + 256, which is 4 in one byte".to_owned(),
        with(5, &[0x19, 1, 4]),
    ));
    for key in 1..=16_u8 {
        let bytes = rearranged(&|pairs| pairs.retain(|(have, _)| *have != [key]));
        cases.push((format!("key {key} is missing"), bytes));
    }
    cases
        .into_iter()
        .map(|(why, bytes)| {
            let error = EpochStatement::decode(&bytes).expect_err(&why);
            json!({"why": why, "cbor": hex::encode(&bytes), "error": error.to_string()})
        })
        .collect()
}
