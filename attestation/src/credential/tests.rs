//! What is issued verifies, for its own peer and nobody else.

use super::*;
use proptest::prelude::*;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

const NOW: UnixTime = UnixTime::from_secs(1_764_100_000);

pub(crate) fn context() -> LinkContext {
    LinkContext {
        pipeline: PipelineId::new([3; 16]),
        stage: 5,
        model: ManifestDigest::new([4; 32]),
    }
}

pub(crate) fn claims() -> CredentialClaims {
    CredentialClaims {
        not_before: UnixTime::from_secs(1_764_000_000),
        expires: UnixTime::from_secs(1_764_600_000),
        spki: SpkiDigest::new([1; 32]),
        report_id: ReportId::new([2; 32]),
        pipeline: context().pipeline,
        stages: [5, 6],
        model: context().model,
    }
}

pub(crate) fn issuer(seed: u8) -> (Ed25519KeyPair, [u8; 32]) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    (pair, public)
}

pub(crate) fn issued(claims: &CredentialClaims, seed: u8) -> Credential {
    let (pair, public) = issuer(seed);
    Credential::issue(claims, &public, |bytes| pair.sign(bytes).as_ref().try_into().ok()).unwrap()
}

#[test]
fn a_credential_verifies_under_its_issuer_and_no_other() {
    let credential = issued(&claims(), 1);
    let (ours, other) = (issuer(1).1, issuer(2).1);
    let read = Credential::verify(credential.as_bytes(), &[other, ours]).unwrap();
    assert_eq!(read.claims(), &claims());
    assert_eq!(*read.issuer(), ed25519_thumbprint(&ours));
    assert_eq!(
        Credential::verify(credential.as_bytes(), &[other]),
        Err(CredentialError::Issuer {
            got: ed25519_thumbprint(&ours),
            known: 1
        })
    );
    assert!(
        credential.as_bytes().len() <= 400,
        "{}",
        credential.as_bytes().len()
    );
}

#[test]
fn a_signature_by_another_key_is_not_issued_nor_is_a_claim_out_of_range() {
    let (stranger, _) = issuer(2);
    let signed = |claims: &CredentialClaims| {
        Credential::issue(claims, &issuer(1).1, |bytes| {
            stranger.sign(bytes).as_ref().try_into().ok()
        })
    };
    assert_eq!(signed(&claims()), Err(CredentialError::Signing));
    for bad in [
        CredentialClaims {
            report_id: ReportId::new([0; 32]),
            ..claims()
        },
        CredentialClaims {
            stages: [6, 5],
            ..claims()
        },
        CredentialClaims {
            expires: claims().not_before,
            ..claims()
        },
        CredentialClaims {
            expires: UnixTime::from_secs(claims().not_before.as_secs() + MAX_VALIDITY_S + 1),
            ..claims()
        },
    ] {
        assert!(matches!(signed(&bad), Err(CredentialError::Claims(_))), "{bad:?}");
        assert!(CredentialClaims::decode(&bad.encode()).is_err());
    }
}

/// T6, T22: a credential is for exactly one key, guest, pipeline and model,
/// for its stages, and for its time.
#[test]
fn a_credential_admits_its_own_peer_and_nobody_else() {
    let own = claims();
    assert_eq!(own.admits(&context(), &own.spki, &own.report_id, NOW), Ok(()));
    let contexts = [
        LinkContext {
            stage: 4,
            ..context()
        },
        LinkContext {
            stage: 7,
            ..context()
        },
        LinkContext {
            pipeline: PipelineId::new([9; 16]),
            ..context()
        },
        LinkContext {
            model: ManifestDigest::new([9; 32]),
            ..context()
        },
    ];
    for other in &contexts {
        let fault = own.admits(other, &own.spki, &own.report_id, NOW).unwrap_err();
        assert!(matches!(fault, CredentialFault::Other { .. }), "{fault}");
    }
    assert!(
        own.admits(&context(), &SpkiDigest::new([9; 32]), &own.report_id, NOW)
            .is_err()
    );
    assert!(
        own.admits(&context(), &own.spki, &ReportId::new([9; 32]), NOW)
            .is_err()
    );
    let at = |seconds| {
        own.admits(
            &context(),
            &own.spki,
            &own.report_id,
            UnixTime::from_secs(seconds),
        )
    };
    assert!(matches!(
        at(own.not_before.as_secs() - 1),
        Err(CredentialFault::NotYet { .. })
    ));
    assert_eq!(at(own.not_before.as_secs()), Ok(()));
    assert_eq!(at(own.expires.as_secs() - 1), Ok(()));
    assert!(matches!(
        at(own.expires.as_secs()),
        Err(CredentialFault::Expired { .. })
    ));
}

proptest! {
    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused(at: prop::sample::Index, bit in 0_u8..8) {
        let bytes = issued(&claims(), 1).as_bytes().to_vec();
        let issuers = [issuer(1).1];
        let at = at.index(bytes.len());
        prop_assert!(Credential::verify(&bytes[..at], &issuers).is_err());
        let mut flipped = bytes;
        flipped[at] ^= 1 << bit;
        prop_assert!(Credential::verify(&flipped, &issuers).is_err());
    }

    #[test]
    fn reading_never_panics(bytes: Vec<u8>) {
        let _ = Credential::inspect(&bytes);
    }
}
