//! The epoch cache: what it answers by itself, and that it never answers what
//! the appraiser behind it would not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bastide_attestation::binding::LeafType;
use bastide_attestation::{
    Appraiser, AttestationResult, Binder, Evidence, PlatformEvidence, Salt, SessionExpectation, UnixTime,
    Untrusted, Verdict,
};
use bastide_attested_tls::{EPOCH_LIFE, EpochCache, LaneM};

use crate::doubles::{BindingAppraiser, INCLUSION};
use crate::node::lane;

#[derive(Default)]
struct Counting(AtomicUsize);

impl Appraiser for Counting {
    fn appraise(
        &self,
        evidence: &Untrusted<Evidence>,
        session: &SessionExpectation,
        now: UnixTime,
    ) -> Result<AttestationResult, Box<Verdict>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        BindingAppraiser.appraise(evidence, session, now)
    }
}

struct Bench {
    cache: EpochCache,
    asked: Arc<Counting>,
}

impl Bench {
    fn new() -> Self {
        let asked = Arc::new(Counting::default());
        Self {
            cache: EpochCache::new(Arc::clone(&asked) as Arc<dyn Appraiser>),
            asked,
        }
    }

    fn appraise_at(&self, evidence: &Evidence, binder: Binder, now: u64) -> Result<AttestationResult, &str> {
        let session = SessionExpectation {
            binder,
            leaf: LeafType::ServerTls,
        };
        let evidence = Untrusted::new(evidence.clone());
        self.cache
            .appraise(&evidence, &session, UnixTime::from_secs(now))
            .map_err(|verdict| verdict.code.unwrap())
    }

    fn appraise(&self, evidence: &Evidence, binder: Binder) -> Result<AttestationResult, &str> {
        self.appraise_at(evidence, binder, 1_000)
    }

    fn asked(&self) -> usize {
        self.asked.0.load(Ordering::SeqCst)
    }
}

fn binder(number: u8) -> Binder {
    Binder::new([number; 32])
}

/// Evidence of sessions that share an epoch: those that waited while the first
/// one's report was made.
async fn shared_epoch(lane: &LaneM) -> Vec<(Binder, Evidence)> {
    loop {
        let tasks: Vec<_> = (1..=12)
            .map(|number| {
                let lane = lane.clone();
                tokio::spawn(async move {
                    (
                        binder(number),
                        lane.attest(binder(number)).await.unwrap().evidence(),
                    )
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.push(task.await.unwrap());
        }
        let last = all.last().unwrap().1.statement.clone();
        all.retain(|(_, evidence)| evidence.statement == last);
        if all.len() >= 3 {
            return all;
        }
    }
}

#[tokio::test]
async fn an_epoch_is_appraised_once_for_all_its_sessions() {
    let sessions = shared_epoch(&lane()).await;
    let bench = Bench::new();
    for (binder, evidence) in &sessions {
        let result = bench.appraise(evidence, *binder).unwrap();
        assert_eq!(result.statement.encode().as_bytes(), evidence.statement);
    }
    assert_eq!(bench.asked(), 1);
    // Another appraiser has another cache.
    let other = Bench::new();
    other.appraise(&sessions[0].1, sessions[0].0).unwrap();
    assert_eq!(other.asked(), 1);
}

#[tokio::test]
async fn t7_a_session_outside_the_cached_epoch_is_refused_by_the_appraiser() {
    let sessions = shared_epoch(&lane()).await;
    let bench = Bench::new();
    let (own, evidence) = &sessions[0];
    bench.appraise(evidence, *own).unwrap();
    let asked = bench.asked();
    // The proof of one, the binder of another; other salts, indices and paths.
    let mut bad: Vec<(Binder, Evidence)> =
        vec![(sessions[1].0, evidence.clone()), (binder(99), evidence.clone())];
    let mut changed = |change: fn(&mut Evidence)| {
        let mut evidence = evidence.clone();
        change(&mut evidence);
        bad.push((*own, evidence));
    };
    changed(|evidence| evidence.proof.salt = Salt::new([9; 32]));
    changed(|evidence| evidence.proof.index ^= 1);
    changed(|evidence| evidence.proof.index += 1 << evidence.proof.path.len());
    changed(|evidence| evidence.proof.path.push([0; 32]));
    changed(|evidence| evidence.proof.path.truncate(1));
    for (number, (binder, evidence)) in bad.iter().enumerate() {
        assert_eq!(
            bench.appraise(evidence, *binder).unwrap_err(),
            INCLUSION,
            "{number}"
        );
        assert_eq!(bench.asked(), asked + number + 1);
    }
    // Nor is a leaf of another type one of a server's session.
    let session = SessionExpectation {
        binder: *own,
        leaf: LeafType::ClientTls,
    };
    let evidence = Untrusted::new(evidence.clone());
    let verdict = bench
        .cache
        .appraise(&evidence, &session, UnixTime::from_secs(1_000))
        .unwrap_err();
    assert_eq!(verdict.code, Some(INCLUSION));
}

#[tokio::test]
async fn whatever_else_differs_is_appraised_in_full() {
    let (own, evidence) = shared_epoch(&lane()).await.remove(0);
    let bench = Bench::new();
    bench.appraise(&evidence, own).unwrap();
    let changes: [fn(&mut Evidence); 5] = [
        |evidence| evidence.endorsements.vek[7] ^= 1,
        |evidence| evidence.endorsements.chain[1][7] ^= 1,
        |evidence| drop(evidence.endorsements.chain.pop()),
        |evidence| evidence.endorsements.crl = Some(Vec::new()),
        // A part of the report that this appraiser does not look at.
        |evidence| match &mut evidence.platform {
            PlatformEvidence::Snp(report) => report[0x1a0] ^= 1,
            _ => panic!("SNP"),
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut other = evidence.clone();
        change(&mut other);
        bench.appraise(&other, own).unwrap();
        assert_eq!(bench.asked(), number + 2);
    }
    bench.appraise(&evidence, own).unwrap();
    assert_eq!(bench.asked(), 6, "the first is still known");
}

#[tokio::test]
async fn an_entry_counts_for_a_minute_and_is_not_prolonged_by_use() {
    let (own, evidence) = shared_epoch(&lane()).await.remove(0);
    let bench = Bench::new();
    let life = EPOCH_LIFE.as_secs();
    for (now, asked) in [
        (1_000, 1),
        (1_000 + life / 2, 1),
        (1_000 + life - 1, 1),
        (1_000 + life, 2),
        (1_000 + life + life / 2, 2),
        // A clock that was set back knows nothing.
        (999, 3),
    ] {
        bench.appraise_at(&evidence, own, now).unwrap();
        assert_eq!(bench.asked(), asked, "at {now}");
    }
}

#[tokio::test]
async fn refused_epochs_are_not_remembered_and_accepted_ones_are_bounded() {
    let lane = lane();
    let bench = Bench::new();
    let evidence = lane.attest(binder(1)).await.unwrap().evidence();
    for asked in 1..=3 {
        bench.appraise(&evidence, binder(2)).unwrap_err();
        assert_eq!(bench.asked(), asked);
    }
    for _ in 0..100 {
        let evidence = lane.attest(binder(1)).await.unwrap().evidence();
        bench.appraise(&evidence, binder(1)).unwrap();
    }
    let shown = format!("{:?}", bench.cache);
    assert!(shown.contains("epochs: 64"), "{shown}");
}
