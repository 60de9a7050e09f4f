use super::*;
use crate::digest::PlanDigest;
use crate::pipeline::{Replan, Speculation};
use proptest::prelude::*;
use ring::signature::{Ed25519KeyPair, KeyPair};

fn claims() -> ReceiptClaims {
    let salt = Salt::new([1; 32]);
    let mut response = Commitment::response(&salt);
    response.update(b"answer");
    ReceiptClaims {
        issued_at: 1_764_000_000,
        nonce: Nonce::new([2; 32]),
        request: Commitment::request(&salt, b"question"),
        response: response.finish(),
        model: ManifestDigest::new([3; 32]),
        statement: StatementDigest::new([4; 32]),
        sequence: 5,
        finish: FinishReason::Stop,
        sampling: [6; 32],
        usage: [7, 8],
        previous: [0; 32],
        pipeline: None,
    }
}

fn key(seed: u8) -> (Ed25519KeyPair, [u8; 32]) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    (pair, public)
}

fn receipt() -> Receipt {
    let (pair, public) = key(1);
    Receipt::sign(claims(), &public, |bytes| {
        pair.sign(bytes).as_ref().try_into().ok()
    })
    .unwrap()
}

#[test]
fn a_receipt_verifies_and_states_what_was_signed() {
    let verified = Receipt::verify(receipt().as_bytes()).unwrap();
    assert_eq!(verified.claims(), &claims());
    assert_eq!(verified.signed_by(&ed25519_thumbprint(&key(1).1)), Ok(()));
    assert!(matches!(
        verified.signed_by(&ed25519_thumbprint(&key(2).1)),
        Err(ReceiptError::Key { .. })
    ));
}

#[test]
fn a_response_commitment_does_not_depend_on_the_pieces() {
    let salt = Salt::new([1; 32]);
    let mut pieces = Commitment::response(&salt);
    pieces.update(b"ans");
    pieces.update(b"wer");
    assert_eq!(pieces.finish(), claims().response);
    assert_ne!(Commitment::request(&salt, b"answer"), claims().response);
}

#[test]
fn a_signature_by_another_key_is_not_issued() {
    let (_, public) = key(1);
    let (stranger, _) = key(2);
    assert_eq!(
        Receipt::sign(claims(), &public, |bytes| stranger
            .sign(bytes)
            .as_ref()
            .try_into()
            .ok()),
        Err(ReceiptError::Signing)
    );
}

fn of_a_pipeline() -> ReceiptClaims {
    ReceiptClaims {
        pipeline: Some(PipelineClaims {
            plan: PlanDigest::new([1; 32]),
            parts: vec![vec![9; 1024]; 16],
            draft: Some(ManifestDigest::new([2; 32])),
            speculation: Speculation {
                drafted: u64::MAX,
                accepted: u64::MAX,
                rounds: u64::MAX,
                largest: u64::MAX,
            },
            emitted: [3; 32],
            replans: vec![
                Replan {
                    position: u64::MAX,
                    stage: 15,
                    code: 255,
                };
                16
            ],
        }),
        ..claims()
    }
}

fn signed(claims: ReceiptClaims) -> Result<Receipt, ReceiptError> {
    let (pair, public) = key(1);
    Receipt::sign(claims, &public, |bytes| pair.sign(bytes).as_ref().try_into().ok())
}

#[test]
fn a_pipelines_largest_receipt_is_within_the_limit_and_read_back() {
    let largest = signed(of_a_pipeline()).unwrap();
    assert!(
        largest.as_bytes().len() < MAX_RECEIPT_BYTES,
        "{}",
        largest.as_bytes().len()
    );
    assert_eq!(
        Receipt::verify(largest.as_bytes()).unwrap().claims(),
        &of_a_pipeline()
    );
}

#[test]
fn a_pipelines_claim_has_bounds() {
    let changes: [fn(&mut PipelineClaims); 6] = [
        |claims| claims.parts.clear(),
        |claims| claims.parts.push(vec![1]),
        |claims| claims.parts[3].clear(),
        |claims| claims.parts[3].push(1),
        |claims| claims.replans.push(claims.replans[0]),
        |claims| claims.replans[0].stage = 16,
    ];
    for change in changes {
        let mut claims = of_a_pipeline();
        change(claims.pipeline.as_mut().unwrap());
        assert_eq!(signed(claims), Err(ReceiptError::Signing));
    }
}

/// What one node signed before there were pipelines.
#[test]
fn a_receipt_without_a_pipeline_has_the_bytes_that_it_always_had() {
    assert_eq!(
        hex::encode(receipt().digest()),
        "9e8afb64aa2d7837ac41dd980805e80e071ed08c61ad9ad0afaf1f4d74c3b30c"
    );
}

#[test]
fn the_largest_receipt_of_one_node_fits_a_header() {
    assert!(receipt().as_bytes().len() < 600, "{}", receipt().as_bytes().len());
}

proptest! {
    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused(at: prop::sample::Index, bit in 0_u8..8) {
        let bytes = receipt().as_bytes().to_vec();
        let at = at.index(bytes.len());
        prop_assert!(Receipt::verify(&bytes[..at]).is_err());
        let mut flipped = bytes;
        flipped[at] ^= 1 << bit;
        prop_assert!(Receipt::verify(&flipped).is_err());
    }

    #[test]
    fn verifying_never_panics(bytes: Vec<u8>) {
        let _ = Receipt::verify(&bytes);
    }
}
