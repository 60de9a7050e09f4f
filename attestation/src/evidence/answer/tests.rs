use super::*;
use crate::evidence::tests::{evidence, gpu_evidence};
use crate::statement::tests::statement;
use proptest::prelude::*;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

const BOTH: Omission = Omission {
    endorsements: true,
    gpu: true,
};

/// Evidence whose statement names its GPUs.
fn named() -> Evidence {
    let gpu = gpu_evidence().gpu.unwrap();
    let statement = EpochStatement {
        gpu_digest: Some(sha256(&[&gpu.evidence])),
        ..statement()
    };
    Evidence {
        statement: statement.encode().as_bytes().to_vec(),
        gpu: Some(gpu),
        ..evidence()
    }
}

fn partial(bytes: &[u8]) -> PartialEvidence {
    match AttestAnswer::decode(bytes).unwrap() {
        AttestAnswer::Evidence(evidence) => *evidence,
        AttestAnswer::Session(_) => panic!("not evidence"),
    }
}

#[test]
fn what_a_client_has_is_left_out_and_filled_in_again() {
    for whole in [evidence(), named()] {
        let full = partial(&whole.encode());
        assert_eq!(full.complete(None).unwrap().as_unverified(), &whole);
        let short = whole.encode_without(BOTH);
        assert!(short.len() < 2400, "{}", short.len());
        assert_eq!(
            partial(&short).complete(Some(&whole)).unwrap().as_unverified(),
            &whole
        );
        assert_eq!(
            partial(&short).complete(None),
            Err(EvidenceError::Missing { part: "vek" })
        );
        assert_eq!(
            Evidence::decode(&short),
            Err(EvidenceError::Missing { part: "vek" })
        );
    }
}

#[test]
fn gpu_evidence_that_the_statement_does_not_name_is_not_filled_in() {
    let with = |evidence: Evidence| partial(&evidence.encode_without(BOTH));
    let known = named();
    // The statement names none.
    let completed = with(evidence()).complete(Some(&known)).unwrap();
    assert_eq!(completed.as_unverified().gpu, None);
    // The statement names other evidence.
    let mut other = known.clone();
    other.gpu.as_mut().unwrap().evidence.push(0);
    let completed = with(known).complete(Some(&other)).unwrap();
    assert_eq!(completed.as_unverified().gpu, None);
}

#[test]
fn endorsements_come_whole_or_not_at_all() {
    let with = |labels: &[&str]| {
        let whole = evidence();
        let mut map = MapBuilder::new()
            .text("__cmwc_t", COLLECTION_TYPE)
            .record("statement", STATEMENT_TYPE, &whole.statement, EVIDENCE)
            .record("proof", PROOF_TYPE, &whole.proof.encode(), EVIDENCE)
            .record("snp", SNP_REPORT_TYPE, &[0; crate::snp::REPORT_BYTES], EVIDENCE);
        for label in labels {
            let kind = if *label == "crl" {
                super::super::CRL_TYPE
            } else {
                super::super::CERTIFICATE_TYPE
            };
            map = map.record(*label, kind, &[1], super::super::ENDORSEMENTS);
        }
        AttestAnswer::decode(&map.encode())
    };
    assert!(with(&[]).is_ok());
    assert!(with(&["vek"]).is_ok());
    for labels in [&["ask"][..], &["crl"], &["ask", "ark"]] {
        assert_eq!(with(labels), Err(EvidenceError::Missing { part: "vek" }));
    }
    assert_eq!(with(&["vek", "ark"]), Err(EvidenceError::Missing { part: "ask" }));
}

#[test]
fn a_session_signature_is_of_one_key_one_session_and_one_statement() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let key: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
    let (binder, statement) = (Binder::new([1; 32]), StatementDigest::new([2; 32]));
    let signature = pair.sign(&session_message(&binder, &statement));
    let signature = SessionSignature::new(signature.as_ref().try_into().unwrap());
    let bytes = AttestAnswer::encode_session(&signature);
    assert!(bytes.len() < 180, "{}", bytes.len());
    assert_eq!(AttestAnswer::decode(&bytes), Ok(AttestAnswer::Session(signature)));
    assert!(signature.verifies(&key, &binder, &statement));
    assert!(!signature.verifies(&key, &Binder::new([3; 32]), &statement));
    assert!(!signature.verifies(&key, &binder, &StatementDigest::new([3; 32])));
    assert!(!signature.verifies(&[9; 32], &binder, &statement));
    assert!(Evidence::decode(&bytes).is_err());
}

#[test]
fn a_signature_of_another_length_or_beside_evidence_is_refused() {
    let with = |length: usize| {
        MapBuilder::new().text("__cmwc_t", COLLECTION_TYPE).record(
            SESSION,
            SESSION_TYPE,
            &vec![1; length],
            EVIDENCE,
        )
    };
    for got in [0, 63, 65] {
        assert_eq!(
            AttestAnswer::decode(&with(got).encode()),
            Err(EvidenceError::SessionSignatureLength { got })
        );
    }
    let beside = with(64)
        .record("statement", STATEMENT_TYPE, &[1], EVIDENCE)
        .encode();
    assert!(matches!(
        AttestAnswer::decode(&beside),
        Err(EvidenceError::Codec(_))
    ));
}

proptest! {
    #[test]
    fn truncated_or_flipped_answers_never_panic_nor_equal(endorsements: bool, gpu: bool, at: prop::sample::Index, bit in 0_u8..8) {
        let bytes = named().encode_without(Omission { endorsements, gpu });
        let good = AttestAnswer::decode(&bytes).unwrap();
        prop_assert!(AttestAnswer::decode(&bytes[..at.index(bytes.len())]).is_err());
        let mut flipped = bytes.clone();
        flipped[at.index(bytes.len())] ^= 1 << bit;
        prop_assert!(AttestAnswer::decode(&flipped) != Ok(good));
    }
}
