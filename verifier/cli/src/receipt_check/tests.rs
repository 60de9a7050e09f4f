//! A receipt counts only for the statement, model, key, challenge and bodies
//! that it was made for.

use super::*;
use bastide_attestation::{
    BootId, Decision, EpochStatement, FinishReason, GpuSeedKind, ManifestDigest, PolicyDigest, ReceiptClaims,
    StatementDigest, TimeSource, TreeHash, UnixTime, ed25519_thumbprint,
};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

const NONCE: Nonce = Nonce::new([2; 32]);
const SALT: Salt = Salt::new([1; 32]);
const BODIES: Bodies<'_> = Bodies {
    salt: &SALT,
    request: b"question",
    response: b"answer",
};

fn key(seed: u8) -> (Ed25519KeyPair, [u8; 32]) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    (pair, public)
}

fn receipt(seed: u8) -> Receipt {
    let mut response = Commitment::response(&SALT);
    response.update(BODIES.response);
    let claims = ReceiptClaims {
        issued_at: 1_764_000_000,
        nonce: NONCE,
        request: Commitment::request(&SALT, BODIES.request),
        response: response.finish(),
        model: ManifestDigest::new([3; 32]),
        statement: StatementDigest::new([4; 32]),
        sequence: 5,
        finish: FinishReason::Stop,
        sampling: [6; 32],
        usage: [7, 8],
        previous: [0; 32],
        pipeline: None,
    };
    let (pair, public) = key(seed);
    Receipt::sign(claims, &public, |bytes| pair.sign(bytes).as_ref().try_into().ok()).unwrap()
}

fn result() -> AttestationResult {
    let verdict =
        crate::gate::without_evidence(Decision::Accepted, "", String::new(), UnixTime::from_secs(0));
    AttestationResult {
        verdict: verdict.into(),
        statement: EpochStatement {
            boot_id: BootId::new([0; 16]),
            epoch: 0,
            previous: StatementDigest::new([0; 32]),
            depth: 0,
            root: TreeHash::new([0; 32]),
            gpu_epoch: 0,
            gpu_digest: None,
            gpu_seed: GpuSeedKind::PreviousStatement,
            session_key: [0; 32],
            receipt_key: ed25519_thumbprint(&key(9).1),
            sealed_key: None,
            model: ManifestDigest::new([3; 32]),
            configuration: PolicyDigest::new([0; 32]),
            time_ms: 0,
            time_source: TimeSource::Host,
            debug: false,
            pipeline: false,
        },
        statement_digest: StatementDigest::new([4; 32]),
    }
}

#[test]
fn the_receipt_of_this_exchange_holds_and_no_other() {
    assert_eq!(require(&receipt(9), &result(), &NONCE, &BODIES), Ok(()));
    let code = |receipt: &Receipt, result: &AttestationResult, nonce: &Nonce, bodies: &Bodies<'_>| {
        require(receipt, result, nonce, bodies).unwrap_err().code()
    };
    let right = receipt(9);
    assert_eq!(code(&receipt(8), &result(), &NONCE, &BODIES), "receipt.key");
    assert_eq!(
        code(&right, &result(), &Nonce::new([7; 32]), &BODIES),
        "receipt.nonce"
    );
    let other = AttestationResult {
        statement_digest: StatementDigest::new([5; 32]),
        ..result()
    };
    assert_eq!(code(&right, &other, &NONCE, &BODIES), "receipt.statement");
    let mut other = result();
    other.statement.model = ManifestDigest::new([5; 32]);
    assert_eq!(code(&right, &other, &NONCE, &BODIES), "receipt.model");
    let asked = Bodies {
        request: b"Question",
        ..BODIES
    };
    assert_eq!(code(&right, &result(), &NONCE, &asked), "receipt.request");
    let answered = Bodies {
        response: b"answer ",
        ..BODIES
    };
    assert_eq!(code(&right, &result(), &NONCE, &answered), "receipt.response");
    let salt = Salt::new([9; 32]);
    let salted = Bodies {
        salt: &salt,
        ..BODIES
    };
    assert_eq!(code(&right, &result(), &NONCE, &salted), "receipt.request");
}

#[test]
fn what_is_not_given_is_skipped_and_never_passed() {
    let checks = checks(&receipt(9), (&result()).into(), None, None);
    let of = |id: &str| checks.iter().find(|check| check.id == id).unwrap().status;
    for id in ["receipt.nonce", "receipt.request", "receipt.response"] {
        assert_eq!(of(id), Status::Skip, "{id}");
    }
    for id in [
        "receipt.signature",
        "receipt.key",
        "receipt.statement",
        "receipt.model",
    ] {
        assert_eq!(of(id), Status::Pass, "{id}");
    }
}

#[test]
fn headers_that_are_no_receipt_are_named() {
    let salt = "01".repeat(32);
    let encoded = URL_SAFE_NO_PAD.encode(receipt(9).as_bytes());
    assert!(decode(&encoded, &salt).is_ok());
    assert_eq!(decode("%%%", &salt).unwrap_err().code(), "receipt.malformed");
    assert_eq!(decode(&encoded, "01").unwrap_err().code(), "receipt.malformed");
    assert_eq!(decode("AAAA", &salt).unwrap_err().code(), "receipt.malformed");
}
