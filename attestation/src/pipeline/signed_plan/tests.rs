//! Nobody but the owner can have said what a signed plan says.

use super::*;
use crate::credential::tests::issuer;
use crate::pipeline::plan::tests::contents;
use coset::{CoseSign1, HeaderBuilder, TaggedCborSerializable as _, iana};
use proptest::prelude::*;

pub(crate) fn signed(seed: u8) -> SignedPlan {
    let (pair, public) = issuer(seed);
    let plan = Plan::new(contents()).unwrap();
    SignedPlan::sign(&plan, &public, |bytes| pair.sign(bytes).as_ref().try_into().ok()).unwrap()
}

#[test]
fn a_signed_plan_is_read_back_with_its_owner() {
    let plan = signed(1);
    let again = SignedPlan::verify(plan.as_bytes()).unwrap();
    assert_eq!(again, plan);
    assert_eq!(again.plan(), &Plan::new(contents()).unwrap());
    assert_eq!(again.owner(), &issuer(1).1);
    assert_eq!(again.owned_by(&[issuer(2).1, issuer(1).1]), Ok(()));
    assert_eq!(
        again.owned_by(&[issuer(2).1]),
        Err(SignedPlanError::Owner {
            got: ed25519_thumbprint(&issuer(1).1),
            known: 1
        })
    );
    assert_ne!(plan.digest(), signed(2).digest());
}

#[test]
fn a_signature_by_another_key_is_not_given() {
    let (stranger, _) = issuer(2);
    let plan = Plan::new(contents()).unwrap();
    let sign = |bytes: &[u8]| stranger.sign(bytes).as_ref().try_into().ok();
    assert_eq!(
        SignedPlan::sign(&plan, &issuer(1).1, sign),
        Err(SignedPlanError::Signing)
    );
}

#[test]
fn a_plan_of_more_than_its_bytes_is_not_signed() {
    let (pair, public) = issuer(1);
    let mut contents = contents();
    contents.policies = vec![vec![b' '; 65_536]; 4];
    contents.stages = (0..4)
        .map(|n: u8| super::super::plan::tests::stage(u16::from(n), u16::from(n) + 1, n))
        .collect();
    let plan = Plan::new(contents).unwrap();
    let sign = |bytes: &[u8]| pair.sign(bytes).as_ref().try_into().ok();
    assert_eq!(
        SignedPlan::sign(&plan, &public, sign),
        Err(SignedPlanError::Signing)
    );
}

/// The signed plan with something changed and not signed again.
fn changed(change: impl FnOnce(&mut CoseSign1)) -> Result<SignedPlan, SignedPlanError> {
    let mut sign1 = CoseSign1::from_tagged_slice(signed(1).as_bytes()).unwrap();
    change(&mut sign1);
    SignedPlan::verify(&sign1.to_tagged_vec().unwrap())
}

#[test]
fn a_swapped_payload_signature_or_header_is_refused() {
    let other = CoseSign1::from_tagged_slice(signed(2).as_bytes()).unwrap();
    // The other owner's payload names the other owner, the header still this one.
    let payload = other.payload.clone();
    assert_eq!(
        changed(|sign1| sign1.payload = payload),
        Err(SignedPlanError::Header)
    );
    let signature = other.signature.clone();
    assert_eq!(
        changed(|sign1| sign1.signature = signature),
        Err(SignedPlanError::Signature)
    );
    assert_eq!(
        changed(|sign1| sign1.protected = other.protected),
        Err(SignedPlanError::Header)
    );
    assert_eq!(
        changed(|sign1| sign1.unprotected = HeaderBuilder::new().key_id(vec![1]).build()),
        Err(SignedPlanError::Header)
    );
    let without = HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).build();
    assert_eq!(
        changed(|sign1| {
            sign1.protected.header = without;
            sign1.protected.original_data = None;
        }),
        Err(SignedPlanError::Header)
    );
    assert_eq!(
        changed(|sign1| sign1.payload = None),
        Err(SignedPlanError::Format)
    );
}

#[test]
fn no_other_signature_of_the_owner_serves_as_a_plans() {
    let (pair, public) = issuer(1);
    let kid = ed25519_thumbprint(&public);
    let payload = Plan::new(contents()).unwrap().encode_payload(&public);
    for aad in [&b"bastide-credential-v1"[..], b"bastide-pipeline-part-v1", b""] {
        let bytes = cose::sign(payload.clone(), Some(&kid), aad, |bytes| {
            pair.sign(bytes).as_ref().try_into().ok()
        });
        assert_eq!(
            SignedPlan::verify(&bytes.unwrap()),
            Err(SignedPlanError::Signature)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused(at: prop::sample::Index, bit in 0_u8..8) {
        let bytes = signed(1).as_bytes().to_vec();
        let at = at.index(bytes.len());
        prop_assert!(SignedPlan::verify(&bytes[..at]).is_err());
        let mut flipped = bytes;
        flipped[at] ^= 1 << bit;
        prop_assert!(SignedPlan::verify(&flipped).is_err());
    }

    #[test]
    fn verifying_never_panics(bytes: Vec<u8>) {
        let _ = SignedPlan::verify(&bytes);
    }
}
