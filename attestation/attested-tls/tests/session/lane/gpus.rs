//! The lane beside GPUs: which evidence goes with which statement, strict trees,
//! and what an event ends.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bastide_attestation::{
    GpuAttester, GpuAttesterError, GpuEpoch, GpuPart, GpuSeedKind, GpuSnapshot, Lane, Omission,
    StatementBytes, StatementDigest, TreeHash, nvidia::GpuEndorsements, sha256,
};
use bastide_attested_tls::{LaneLimits, LaneM};

use crate::doubles::{facts, is_bound};

use super::scripted::{Scripted, binder, epoch_of, in_background, until};
use super::stated::knowing;

/// Holds whatever a test puts there.
#[derive(Default)]
pub(super) struct Gpus {
    pub(super) snapshot: Mutex<GpuSnapshot>,
    stated: Mutex<Vec<StatementDigest>>,
    /// Every root that it was asked over.
    roots: Mutex<Vec<TreeHash>>,
    /// If there, an answer over a root waits for a word from here.
    held: Mutex<Option<Receiver<()>>>,
}

impl GpuAttester for Gpus {
    fn current(&self) -> GpuSnapshot {
        self.snapshot.lock().unwrap().clone()
    }

    fn stated(&self, statement: &StatementDigest) {
        self.stated.lock().unwrap().push(*statement);
    }

    fn strict(&self, root: &TreeHash) -> Result<Arc<GpuEpoch>, GpuAttesterError> {
        if let Some(held) = &*self.held.lock().unwrap() {
            held.recv().unwrap();
        }
        self.roots.lock().unwrap().push(*root);
        let number = self.snapshot.lock().unwrap().number + 1;
        let part = GpuPart {
            evidence: b"strict".to_vec(),
            seed: *root.as_bytes(),
            endorsements: GpuEndorsements::default(),
        };
        Ok(Arc::new(GpuEpoch::strict(number, part)))
    }
}

fn gpu_epoch(number: u64) -> GpuSnapshot {
    let part = GpuPart {
        evidence: number.to_be_bytes().to_vec(),
        seed: [9; 32],
        endorsements: GpuEndorsements::default(),
    };
    GpuSnapshot {
        number,
        epoch: Some(Arc::new(GpuEpoch::new(number, part))),
    }
}

pub(super) fn with_gpus(attester: &Arc<Scripted>, gpus: &Arc<Gpus>, limits: LaneLimits) -> LaneM {
    LaneM::start_with_gpus(
        Arc::clone(attester) as _,
        Some(Arc::clone(gpus) as _),
        facts(),
        limits,
    )
    .unwrap()
}

/// The snapshot of a session is its statement's: not the one that was current
/// when it asked, nor the one that came while the report was made.
#[tokio::test]
async fn a_session_gets_the_gpu_evidence_that_its_statement_names() {
    let attester = Scripted::held(&[]);
    let gpus = Arc::new(Gpus::default());
    let lane = LaneM::start_with_gpus(
        Arc::clone(&attester) as _,
        Some(Arc::clone(&gpus) as _),
        facts(),
        LaneLimits::default(),
    )
    .unwrap();
    *gpus.snapshot.lock().unwrap() = gpu_epoch(1);
    let first = in_background(&lane, 1).await;
    attester.asked(1).await;
    *gpus.snapshot.lock().unwrap() = gpu_epoch(2);
    let second = in_background(&lane, 2).await;
    attester.let_go();
    for (waiting, number) in [(first, 1_u64), (second, 2)] {
        let attested = waiting.await.unwrap().unwrap();
        let (stated, part) = (epoch_of(&attested), attested.evidence().gpu.unwrap());
        assert_eq!(
            (stated.gpu_epoch, part.evidence.as_slice()),
            (number, &number.to_be_bytes()[..])
        );
        assert_eq!(stated.gpu_digest, Some(sha256(&[&part.evidence])));
    }
    // After an event there is none to name, though the number has risen.
    *gpus.snapshot.lock().unwrap() = GpuSnapshot {
        number: 3,
        epoch: None,
    };
    let none = lane.attest(binder(3)).await.unwrap();
    let stated = epoch_of(&none);
    assert_eq!(
        (stated.gpu_epoch, stated.gpu_digest, none.evidence().gpu),
        (3, None, None)
    );
    // Each statement is a seed to come.
    let statements = attester.statements.lock().unwrap();
    let digests: Vec<_> = statements.iter().map(StatementBytes::digest).collect();
    assert_eq!(*gpus.stated.lock().unwrap(), digests);
}

/// T13: the same for GPUs: an interruption ends what was stated, a newer GPU
/// epoch ends the session key's word for an older one.
#[tokio::test]
async fn t13_what_happens_to_gpus_ends_the_session_key_s_word() {
    let (attester, gpus) = (Scripted::new(&[]), Arc::new(Gpus::default()));
    *gpus.snapshot.lock().unwrap() = gpu_epoch(1);
    let lane = with_gpus(&attester, &gpus, LaneLimits::default());
    let first = lane.attest(binder(1)).await.unwrap();
    let request = knowing(Lane::K, first.statement_digest);
    assert!(lane.sign(&request, &binder(2)).is_some());

    // Renewed: what was said stays true, but is of an older epoch.
    *gpus.snapshot.lock().unwrap() = gpu_epoch(2);
    lane.signal().renewed();
    assert_eq!((lane.generation(), lane.sign(&request, &binder(2))), (0, None));
    let second = lane.attest(binder(3)).await.unwrap();
    let request = knowing(Lane::K, second.statement_digest);
    assert!(lane.sign(&request, &binder(2)).is_some());

    // Interrupted: nothing is signed while there is none, and after it nothing old.
    gpus.snapshot.lock().unwrap().epoch = None;
    assert_eq!(lane.sign(&request, &binder(2)), None);
    lane.signal().interrupted();
    assert_eq!(lane.generation(), 1);
    assert!(!lane.answers(&second.standing));
    until(|| lane.counters().epochs == 3).await;
    assert_eq!(attester.stated()[2].gpu_digest, None);
    *gpus.snapshot.lock().unwrap() = gpu_epoch(2);
    assert_eq!(lane.sign(&request, &binder(2)), None);
}

#[tokio::test]
async fn what_a_client_was_sent_with_a_known_statement_need_not_come_again() {
    let (attester, gpus) = (Scripted::new(&[]), Arc::new(Gpus::default()));
    *gpus.snapshot.lock().unwrap() = gpu_epoch(1);
    let lane = with_gpus(&attester, &gpus, LaneLimits::default());
    let first = lane.attest(binder(1)).await.unwrap();
    let second = lane.attest(binder(2)).await.unwrap();
    let omitted = lane.omission(Some(&first.statement_digest), &second);
    assert_eq!(
        omitted,
        Omission {
            endorsements: true,
            gpu: true
        }
    );
    assert!(second.envelope(omitted).len() < 2048);
    *gpus.snapshot.lock().unwrap() = gpu_epoch(2);
    let third = lane.attest(binder(3)).await.unwrap();
    let omitted = lane.omission(Some(&first.statement_digest), &third);
    assert_eq!(
        omitted,
        Omission {
            endorsements: true,
            gpu: false
        }
    );
    let unknown = StatementDigest::new([9; 32]);
    for known in [None, Some(&unknown)] {
        assert_eq!(lane.omission(known, &third), Omission::default());
    }
}

#[tokio::test]
async fn strict_sessions_get_gpus_asked_over_the_root_of_their_own_tree_and_hold_up_nobody() {
    let (attester, gpus) = (Scripted::new(&[]), Arc::new(Gpus::default()));
    *gpus.snapshot.lock().unwrap() = gpu_epoch(1);
    let (go, held) = channel();
    *gpus.held.lock().unwrap() = Some(held);
    let limits = LaneLimits {
        strict_pace: Duration::ZERO,
        ..LaneLimits::default()
    };
    let lane = with_gpus(&attester, &gpus, limits);
    let strict = {
        let lane = lane.clone();
        tokio::spawn(async move { lane.attest_strictly(binder(1)).await })
    };
    until(|| lane.counters().waiting == 1).await;
    // While the GPUs think, others are served, from evidence that is there.
    let other = lane.attest(binder(2)).await.unwrap();
    assert_eq!(epoch_of(&other).gpu_seed, GpuSeedKind::PreviousStatement);
    go.send(()).unwrap();
    let attested = strict.await.unwrap().unwrap();
    assert!(is_bound(&attested.evidence(), &binder(1)));
    let stated = epoch_of(&attested);
    assert_eq!((stated.gpu_seed, stated.gpu_epoch), (GpuSeedKind::Strict, 2));
    assert_eq!(*gpus.roots.lock().unwrap(), [stated.root]);
    let part = attested.evidence().gpu.unwrap();
    assert_eq!(
        (part.seed, stated.gpu_digest),
        (*stated.root.as_bytes(), Some(sha256(&[b"strict"])))
    );
    // It is that epoch's alone.
    let after = lane.attest(binder(3)).await.unwrap();
    assert_eq!(
        (epoch_of(&after).gpu_epoch, epoch_of(&after).gpu_seed),
        (1, GpuSeedKind::PreviousStatement)
    );
}

#[tokio::test]
async fn strict_evidence_from_before_an_event_is_refused_and_so_is_strict_without_gpus() {
    let (attester, gpus) = (Scripted::new(&[]), Arc::new(Gpus::default()));
    *gpus.snapshot.lock().unwrap() = gpu_epoch(1);
    let (go, held) = channel();
    *gpus.held.lock().unwrap() = Some(held);
    let lane = with_gpus(&attester, &gpus, LaneLimits::default());
    let strict = {
        let lane = lane.clone();
        tokio::spawn(async move { lane.attest_strictly(binder(1)).await })
    };
    until(|| lane.counters().waiting == 1).await;
    // The thread has the session before the event, since it then asks the GPUs.
    tokio::time::sleep(Duration::from_millis(20)).await;
    lane.signal().interrupted();
    go.send(()).unwrap();
    let error = strict.await.unwrap().unwrap_err();
    assert_eq!(error.code(), "lane.gpus");
    let without = Scripted::new(&[]).lane(LaneLimits::default());
    assert_eq!(
        without.attest_strictly(binder(1)).await.unwrap_err().code(),
        "lane.gpus"
    );
}
