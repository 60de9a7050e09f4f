//! A part says what its stage's key signed, or is none.

use super::*;
use crate::credential::tests::issuer;
use coset::{CoseSign1, TaggedCborSerializable as _};
use proptest::prelude::*;

pub(crate) fn claims() -> PartClaims {
    PartClaims {
        plan: PlanDigest::new([1; 32]),
        stage: 2,
        layers: LayerRange::new(4, 6).unwrap(),
        weights: [2; 32],
        statement: StatementDigest::new([3; 32]),
        input: [4; 32],
        output: [5; 32],
        rows: 77,
    }
}

pub(crate) fn signed(claims: &PartClaims, seed: u8) -> SignedPart {
    let (pair, public) = issuer(seed);
    SignedPart::sign(claims, &public, |bytes| pair.sign(bytes).as_ref().try_into().ok()).unwrap()
}

#[test]
fn a_part_is_read_back_with_the_key_that_signed_it() {
    let part = signed(&claims(), 1);
    assert_eq!(SignedPart::verify(part.as_bytes()), Ok(part.clone()));
    assert_eq!(part.claims(), &claims());
    assert_eq!(part.key(), &ed25519_thumbprint(&issuer(1).1));
}

#[test]
fn the_largest_part_is_far_below_its_limit() {
    let largest = PartClaims {
        stage: 15,
        layers: LayerRange::new(4_095, 4_096).unwrap(),
        rows: u32::MAX,
        ..claims()
    };
    let length = signed(&largest, 1).as_bytes().len();
    assert!(length <= 330, "{length}");
    const { assert!(MAX_PART_BYTES > 330) };
}

#[test]
fn a_stage_that_there_cant_be_is_not_signed_for() {
    let (pair, public) = issuer(1);
    let beyond = PartClaims {
        stage: 16,
        ..claims()
    };
    let sign = |bytes: &[u8]| pair.sign(bytes).as_ref().try_into().ok();
    assert_eq!(SignedPart::sign(&beyond, &public, sign), Err(PartError::Signing));
    let (stranger, _) = issuer(2);
    let sign = |bytes: &[u8]| stranger.sign(bytes).as_ref().try_into().ok();
    assert_eq!(
        SignedPart::sign(&claims(), &public, sign),
        Err(PartError::Signing)
    );
}

#[test]
fn a_spliced_part_is_refused() {
    let one = CoseSign1::from_tagged_slice(signed(&claims(), 1).as_bytes()).unwrap();
    let other = PartClaims { rows: 78, ..claims() };
    let other = CoseSign1::from_tagged_slice(signed(&other, 1).as_bytes()).unwrap();
    let spliced = CoseSign1 {
        signature: other.signature,
        ..one
    };
    assert_eq!(
        SignedPart::verify(&spliced.to_tagged_vec().unwrap()),
        Err(PartError::Signature)
    );
}

proptest! {
    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused(at: prop::sample::Index, bit in 0_u8..8) {
        let bytes = signed(&claims(), 1).as_bytes().to_vec();
        let at = at.index(bytes.len());
        prop_assert!(SignedPart::verify(&bytes[..at]).is_err());
        let mut flipped = bytes;
        flipped[at] ^= 1 << bit;
        prop_assert!(SignedPart::verify(&flipped).is_err());
    }

    #[test]
    fn verifying_never_panics(bytes: Vec<u8>) {
        let _ = SignedPart::verify(&bytes);
    }
}
