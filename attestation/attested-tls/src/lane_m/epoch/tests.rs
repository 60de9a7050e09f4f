//! A batch: every session's proof holds, sizes are padded, places are permuted.

use bastide_attestation::{
    BootId, Endorsements, KeyThumbprint, ManifestDigest, PlatformEvidence, PolicyDigest,
};

use super::*;
use crate::lane_m::SessionKey;
use crate::lane_m::recent::LastSent;

fn sessions(count: usize) -> Vec<Leaf> {
    (0..count)
        .map(|i| {
            let mut bytes = [7; 32];
            bytes[..8].copy_from_slice(&i.to_be_bytes());
            Leaf {
                kind: LeafType::ServerTls,
                binder: Binder::new(bytes),
            }
        })
        .collect()
}

const STANDING: Standing = Standing {
    generation: 1,
    answering: 0,
    gpu_epoch: 0,
};

fn facts() -> EnclaveFacts {
    EnclaveFacts {
        boot_id: BootId::new([1; 16]),
        session_key: SessionKey::generate().unwrap(),
        receipt_key: KeyThumbprint::new([3; 32]),
        sealed_key: Some([8; 32]),
        model: ManifestDigest::new([4; 32]),
        configuration: PolicyDigest::new([5; 32]),
        debug: false,
        pipeline: false,
    }
}

fn attestation() -> Attestation {
    Attestation {
        platform: PlatformEvidence::Snp(Box::new([0; bastide_attestation::snp::REPORT_BYTES])),
        endorsements: Endorsements {
            vek: vec![1],
            chain: Vec::new(),
            crl: None,
        },
    }
}

fn report(statement: StatementBytes) -> Report {
    let attestation = attestation();
    Report {
        digest: statement.digest(),
        statement,
        sent: LastSent::default().digests(&attestation.endorsements, None),
        attestation,
        gpu: None,
        standing: STANDING,
    }
}

#[test]
fn every_session_proves_its_own_binder_in_a_padded_tree() {
    for (count, depth) in [
        (0, 0),
        (1, 0),
        (2, 4),
        (16, 4),
        (17, 8),
        (300, 10),
        (1025, 12),
        (5000, 14),
    ] {
        let leaves = sessions(count);
        let batch = Batch::new(&leaves).unwrap();
        let statement = batch.statement(
            &facts(),
            9,
            StatementDigest::new([6; 32]),
            &GpuSnapshot::default(),
        );
        let stated = EpochStatement::decode(statement.as_bytes()).unwrap();
        assert_eq!(
            (stated.depth, stated.epoch, stated.previous),
            (depth, 9, StatementDigest::new([6; 32]))
        );
        assert_eq!(stated.sealed_key, Some([8; 32]));
        let granted: Vec<_> = batch.signed(report(statement.clone())).collect();
        assert_eq!(granted.len(), count);
        let mut salts = Vec::new();
        for (granted, session) in granted.into_iter().zip(&leaves) {
            let attested = granted.redeem().unwrap();
            let proof = &attested.evidence().proof;
            let own = leaf(session.kind, &proof.salt, &session.binder);
            assert_eq!(proof.verify(&own, stated.depth, &stated.root), Ok(()));
            assert_eq!(attested.statement_digest, statement.digest());
            salts.push(proof.salt);
        }
        salts.sort();
        salts.dedup();
        assert_eq!(salts.len(), count, "every leaf has a salt of its own");
    }
}

/// The plain encoder writes an envelope whole, for one session.
#[test]
fn an_envelope_out_of_an_epoch_s_frame_is_what_the_plain_encoder_writes() {
    for count in [1, 3, 20] {
        let batch = Batch::new(&sessions(count)).unwrap();
        let statement = batch.statement(
            &facts(),
            9,
            StatementDigest::new([6; 32]),
            &GpuSnapshot::default(),
        );
        for granted in batch.signed(report(statement)) {
            let attested = granted.redeem().unwrap();
            let (whole, short) = ([false; 2], [true, false]);
            let length =
                |[endorsements, gpu]: [bool; 2]| attested.envelope(Omission { endorsements, gpu }).len();
            assert!(length(short) < length(whole));
            for (endorsements, gpu) in [(false, false), (true, false), (false, true), (true, true)] {
                let omitted = Omission { endorsements, gpu };
                let plain = attested.evidence().encode_without(omitted);
                assert_eq!(attested.envelope(omitted), plain);
            }
            assert_eq!(attested.evidence().statement, attested.statement());
        }
    }
}

#[test]
fn another_sessions_proof_does_not_hold() {
    let leaves = sessions(2);
    let batch = Batch::new(&leaves).unwrap();
    let root = batch.tree.root();
    let statement = batch.statement(
        &facts(),
        0,
        StatementDigest::new([0; 32]),
        &GpuSnapshot::default(),
    );
    let first = batch.signed(report(statement)).next().unwrap().redeem().unwrap();
    let proof = first.evidence().proof;
    let foreign = leaf(LeafType::ServerTls, &proof.salt, &leaves[1].binder);
    assert!(proof.verify(&foreign, 4, &root).is_err());
}

/// A session's place says nothing about when it came: over many epochs the
/// first of two gets every place of sixteen.
#[test]
fn places_are_permuted() {
    let leaves = sessions(2);
    let mut seen = [0_u32; 16];
    for _ in 0..800 {
        let batch = Batch::new(&leaves).unwrap();
        seen[batch.seats[0].0] += 1;
    }
    // 50 expected each, standard deviation 7: ten of them is no chance.
    assert!(seen.iter().all(|count| (5..=120).contains(count)), "{seen:?}");
}

#[test]
fn the_largest_batch_fits_and_one_more_does_not() {
    assert!(Batch::new(&sessions(MAX_LEAVES)).is_ok());
    assert!(Batch::new(&sessions(MAX_LEAVES + 1)).is_err());
}
