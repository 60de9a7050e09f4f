//! What k of n signatures promise, and the one form of their file.

use super::*;
use proptest::prelude::*;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

const POLICY: &[u8] = b"schema = \"bastide.policy/v1\"\n";

fn key(seed: u8) -> (Ed25519KeyPair, PolicySigner) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let public = PolicySigner::new(pair.public_key().as_ref().try_into().unwrap());
    (pair, public)
}

fn signature(seed: u8, message: &[u8]) -> [u8; 64] {
    key(seed).0.sign(message).as_ref().try_into().unwrap()
}

fn signed(policy: &[u8], seeds: &[u8]) -> PolicySignatures {
    let mut signatures = PolicySignatures::new();
    for seed in seeds {
        signatures
            .add(key(*seed).1, signature(*seed, &policy_signing_input(policy)))
            .unwrap();
    }
    signatures
}

fn asked(seeds: &[u8], threshold: Option<usize>) -> Result<PolicySigners, PolicySignatureError> {
    PolicySigners::new(seeds.iter().map(|seed| key(*seed).1), threshold)
}

#[test]
fn two_of_three_suffice_and_one_does_not() {
    let signers = asked(&[1, 2, 3], Some(2)).unwrap();
    let check = signers.verify(POLICY, &signed(POLICY, &[1, 3])).unwrap();
    assert_eq!((check.valid.len(), check.missing), (2, vec![key(2).1]));
    let Err(PolicySignatureError::NotEnough { threshold: 2, check }) =
        signers.verify(POLICY, &signed(POLICY, &[3]))
    else {
        panic!("one signature must not suffice");
    };
    assert_eq!(check.valid, [key(3).1]);
}

#[test]
fn every_signer_is_asked_for_unless_a_threshold_is_given() {
    let signers = asked(&[1, 2], None).unwrap();
    assert_eq!(signers.threshold(), 2);
    assert!(signers.verify(POLICY, &signed(POLICY, &[1])).is_err());
    assert!(signers.verify(POLICY, &signed(POLICY, &[1, 2])).is_ok());
}

#[test]
fn a_key_that_is_named_or_signs_twice_counts_once() {
    assert_eq!(
        asked(&[1, 1], Some(2)),
        Err(PolicySignatureError::Threshold { signers: 1, got: 2 })
    );
    let line = signed(POLICY, &[1]).encode();
    let entry = line.lines().nth(1).unwrap();
    let twice = format!("{line}{entry}\n");
    assert!(matches!(
        PolicySignatures::parse(twice.as_bytes()),
        Err(PolicySignatureError::Malformed { line: 3, .. })
    ));
}

#[test]
fn strangers_signatures_and_signatures_of_something_else_do_not_count() {
    let signers = asked(&[1], None).unwrap();
    assert!(signers.verify(POLICY, &signed(POLICY, &[2, 3, 4])).is_err());
    let Err(PolicySignatureError::NotEnough { check, .. }) =
        signers.verify(POLICY, &signed(b"another", &[1]))
    else {
        panic!("a signature over other bytes must not count");
    };
    assert_eq!(check.invalid, [key(1).1]);
    // Without the domain it is a signature of something else.
    let mut bare = PolicySignatures::new();
    bare.add(key(1).1, signature(1, POLICY)).unwrap();
    assert!(signers.verify(POLICY, &bare).is_err());
    assert!(!bare.is_valid(&key(2).1, POLICY));
}

#[test]
fn a_threshold_of_none_or_of_more_than_there_are_is_refused() {
    for got in [0, 3] {
        assert_eq!(
            asked(&[1, 2], Some(got)),
            Err(PolicySignatureError::Threshold { signers: 2, got })
        );
    }
    assert_eq!(asked(&[], None), Err(PolicySignatureError::Signers { got: 0 }));
    let many: Vec<u8> = (0..=32).collect();
    assert_eq!(
        asked(&many, Some(1)),
        Err(PolicySignatureError::Signers { got: 33 })
    );
}

#[test]
fn a_file_has_one_form_and_other_forms_name_the_line() {
    let signatures = signed(POLICY, &[1, 2]);
    let good = signatures.encode();
    assert_eq!(PolicySignatures::parse(good.as_bytes()), Ok(signatures));
    let lines: Vec<_> = good.lines().collect();
    let swapped = format!("{}\n{}\n{}\n", lines[0], lines[2], lines[1]);
    for (text, line) in [
        (String::new(), 1),
        (good.trim_end().to_owned(), 3),
        (good.replace("/v1", "/v2"), 1),
        (good.replace('\n', "\r\n"), 1),
        (good.replace("ed25519 ", "ed448 "), 2),
        (good.replacen("ed25519 ", "ed25519  ", 1), 2),
        (
            good.to_uppercase()
                .replace("BASTIDE.POLICY-SIGNATURES/V1", POLICY_SIGNATURES_HEADER),
            2,
        ),
        (format!("{good}\n"), 4),
        (format!("{good}# a comment\n"), 4),
        (swapped, 3),
        (format!("{POLICY_SIGNATURES_HEADER}\n"), 2),
    ] {
        match PolicySignatures::parse(text.as_bytes()) {
            Err(PolicySignatureError::Malformed { line: got, .. }) => assert_eq!(got, line, "{text}"),
            other => panic!("{other:?} of {text}"),
        }
    }
    assert_eq!(
        PolicySignatures::parse(&[b'x'; MAX_POLICY_SIGNATURES_BYTES + 1]),
        Err(PolicySignatureError::TooLarge)
    );
}

#[test]
fn as_many_signatures_as_can_be_still_fit_the_file() {
    let all: Vec<u8> = (0..32).collect();
    let mut signatures = signed(POLICY, &all);
    let text = signatures.encode();
    assert!(text.len() <= MAX_POLICY_SIGNATURES_BYTES, "{}", text.len());
    assert_eq!(PolicySignatures::parse(text.as_bytes()).unwrap(), signatures);
    assert_eq!(
        signatures.add(key(99).1, [0; 64]),
        Err(PolicySignatureError::TooLarge)
    );
    signatures.add(key(1).1, [0; 64]).unwrap();
    assert_eq!(signatures.signers().count(), 32);
}

proptest! {
    #[test]
    fn no_flipped_bit_of_policy_or_file_is_accepted(at: prop::sample::Index, bit in 0_u8..8) {
        let signers = asked(&[1, 2], None).unwrap();
        let signatures = signed(POLICY, &[1, 2]);
        let mut policy = POLICY.to_vec();
        let place = at.index(policy.len());
        policy[place] ^= 1 << bit;
        prop_assert!(signers.verify(&policy, &signatures).is_err());

        let mut file = signatures.encode().into_bytes();
        let place = at.index(file.len());
        file[place] ^= 1 << bit;
        if let Ok(read) = PolicySignatures::parse(&file) {
            prop_assert!(signers.verify(POLICY, &read).is_err());
        }
    }

    #[test]
    fn what_is_read_is_written_the_same(bytes: Vec<u8>) {
        if let Ok(signatures) = PolicySignatures::parse(&bytes) {
            prop_assert_eq!(signatures.encode().into_bytes(), bytes);
        }
    }

    #[test]
    fn a_signature_over_one_split_of_bytes_is_none_over_another(first: Vec<u8>, more in prop::collection::vec(any::<u8>(), 1..20)) {
        let longer = [first.as_slice(), &more].concat();
        prop_assert_ne!(policy_signing_input(&first), policy_signing_input(&longer));
        prop_assert!(!signed(&first, &[1]).is_valid(&key(1).1, &longer));
    }
}
