//! The lane against an attester that is slow, fails, hangs or dies: T23, and
//! that no session is ever answered with an older epoch.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bastide_attestation::{
    AttestRequest, Attestation, Attester, AttesterError, Binder, EpochStatement, GpuAttester,
    GpuAttesterError, GpuEpoch, GpuFreshness, GpuPart, GpuSeedKind, GpuSnapshot, Lane, ManifestDigest, Nonce,
    Omission, StatementBytes, StatementDigest, TreeHash, nvidia::GpuEndorsements, sha256,
};
use bastide_attested_tls::{Attested, LaneError, LaneHealth, LaneLimits, LaneM, SessionKey};
use tokio::task::JoinHandle;

use crate::doubles::{blank_report, facts, is_bound};
use crate::node::lane_with;

/// What the attester does with the next statement.
#[derive(Debug, Clone, Copy)]
enum Act {
    Report,
    Transient,
    Unusable,
    Unattestable,
    Panic,
}

/// Plays a script, then reports; each time after 8 ms, or when the test lets it go.
struct Scripted {
    script: Mutex<VecDeque<Act>>,
    held: AtomicBool,
    busy: AtomicBool,
    statements: Mutex<Vec<StatementBytes>>,
}

impl Scripted {
    fn new(script: &[Act]) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(script.iter().copied().collect()),
            held: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            statements: Mutex::default(),
        })
    }

    /// One that holds every report back until it is let go.
    fn held(script: &[Act]) -> Arc<Self> {
        let attester = Self::new(script);
        attester.held.store(true, Ordering::SeqCst);
        attester
    }

    fn let_go(&self) {
        self.held.store(false, Ordering::SeqCst);
    }

    /// Waits until `count` reports have been asked for.
    async fn asked(&self, count: usize) {
        until(|| self.statements.lock().unwrap().len() >= count).await;
    }

    fn lane(self: &Arc<Self>, limits: LaneLimits) -> LaneM {
        lane_with(Arc::clone(self) as _, limits)
    }

    fn stated(&self) -> Vec<EpochStatement> {
        let statements = self.statements.lock().unwrap();
        statements
            .iter()
            .map(|bytes| EpochStatement::decode(bytes.as_bytes()).unwrap())
            .collect()
    }
}

impl Attester for Scripted {
    fn attest(&self, statement: &StatementBytes) -> Result<Attestation, AttesterError> {
        assert!(!self.busy.swap(true, Ordering::SeqCst), "two reports at once");
        self.statements.lock().unwrap().push(statement.clone());
        std::thread::sleep(Duration::from_millis(8));
        while self.held.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let act = self.script.lock().unwrap().pop_front().unwrap_or(Act::Report);
        let reason = format!("{act:?}");
        self.busy.store(false, Ordering::SeqCst);
        match act {
            Act::Report => Ok(blank_report(statement)),
            Act::Transient => Err(AttesterError::Transient { reason }),
            Act::Unusable => Err(AttesterError::Unusable { reason }),
            Act::Unattestable => Err(AttesterError::Unattestable { reason }),
            Act::Panic => panic!("a test's attester panics"),
        }
    }

    fn name(&self) -> &'static str {
        "scripted"
    }
}

fn binder(number: u64) -> Binder {
    let mut bytes = [3; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Binder::new(bytes)
}

fn epoch_of(attested: &Attested) -> EpochStatement {
    EpochStatement::decode(attested.statement()).unwrap()
}

/// Waits for what another thread will make true.
async fn until(holds: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < patience, "it never came true");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

type Waiting = JoinHandle<Result<Attested, LaneError>>;

/// A session that waits in a task of its own, from before this returns.
async fn in_background(lane: &LaneM, number: u64) -> Waiting {
    let (asking, waiting) = (lane.clone(), lane.counters().waiting);
    let task = tokio::spawn(async move { asking.attest(binder(number)).await });
    until(|| task.is_finished() || lane.counters().waiting > waiting).await;
    task
}

#[tokio::test]
async fn sessions_that_wait_share_the_next_report() {
    const SESSIONS: u64 = 200;
    let attester = Scripted::new(&[]);
    let lane = attester.lane(LaneLimits::default());
    let mut tasks = Vec::new();
    for number in 0..SESSIONS {
        let lane = lane.clone();
        tasks.push(tokio::spawn(async move { lane.attest(binder(number)).await }));
    }
    for (number, task) in (0..).zip(tasks) {
        let attested = task.await.unwrap().unwrap();
        assert!(is_bound(&attested.evidence(), &binder(number)));
        assert!(!is_bound(&attested.evidence(), &binder(number + 1)));
    }
    let counters = lane.counters();
    assert_eq!(
        (counters.sessions, counters.failures, counters.waiting),
        (SESSIONS, 0, 0)
    );
    // Two where nothing else runs: the first alone, then all the others.
    assert!(counters.epochs <= 20, "{counters:?}");

    // Epochs are numbered from 0 and each names the one before.
    let statements = attester.statements.lock().unwrap().clone();
    let mut previous = StatementDigest::new([0; 32]);
    for ((number, stated), bytes) in (0..).zip(attester.stated()).zip(&statements) {
        assert_eq!((stated.epoch, stated.previous), (number, previous));
        assert!(stated.time_ms > 1_700_000_000_000 && !stated.debug);
        previous = bytes.digest();
    }
}

/// Whoever asks while a report is being made is answered by the next one.
#[tokio::test]
async fn an_epoch_that_has_begun_answers_nobody_new() {
    let attester = Scripted::held(&[]);
    let lane = attester.lane(LaneLimits::default());
    let first = in_background(&lane, 1).await;
    attester.asked(1).await;
    let second = in_background(&lane, 2).await;
    attester.let_go();
    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    assert_eq!((epoch_of(&first).epoch, epoch_of(&second).epoch), (0, 1));
    // Nor is the same question answered twice from one epoch.
    let again = lane.attest(binder(2)).await.unwrap();
    assert_eq!(epoch_of(&again).epoch, 2);
    assert_ne!(again.evidence().proof.salt, second.evidence().proof.salt);
}

/// T23: a session that leaves in mid-wait holds nobody up and keeps no place.
#[tokio::test]
async fn t23_a_session_that_leaves_disturbs_nobody() {
    let attester = Scripted::held(&[]);
    let lane = attester.lane(LaneLimits::default());
    let in_flight = in_background(&lane, 1).await;
    attester.asked(1).await;
    let queued = in_background(&lane, 2).await;
    let stays = in_background(&lane, 3).await;
    assert_eq!(lane.counters().waiting, 3);
    in_flight.abort();
    queued.abort();
    until(|| lane.counters().waiting == 1).await;
    attester.let_go();
    let attested = stays.await.unwrap().unwrap();
    assert!(is_bound(&attested.evidence(), &binder(3)));
    // The one that left before the epoch began is not even in its tree.
    assert_eq!(epoch_of(&attested).depth, 0);
    assert_eq!(lane.counters().sessions, 1);
}

#[tokio::test]
async fn no_more_may_wait_than_the_limit() {
    let attester = Scripted::held(&[]);
    let lane = attester.lane(LaneLimits {
        max_waiting: 3,
        ..LaneLimits::default()
    });
    let mut waiting = Vec::new();
    for number in 0..3 {
        waiting.push(in_background(&lane, number).await);
    }
    assert_eq!(lane.attest(binder(9)).await.unwrap_err(), LaneError::Busy);
    // A place that is given up is free at once.
    waiting.pop().unwrap().abort();
    until(|| lane.counters().waiting == 2).await;
    waiting.push(in_background(&lane, 4).await);
    assert_eq!(lane.attest(binder(9)).await.unwrap_err(), LaneError::Busy);
    attester.let_go();
    for task in waiting {
        assert!(task.await.unwrap().is_ok());
    }
    assert!(lane.attest(binder(9)).await.is_ok());
}

#[tokio::test]
async fn a_transient_failure_costs_one_more_epoch() {
    let attester = Scripted::new(&[Act::Transient]);
    let lane = attester.lane(LaneLimits::default());
    let attested = lane.attest(binder(1)).await.unwrap();
    assert!(is_bound(&attested.evidence(), &binder(1)));
    // The first number is spent: the processor may have signed it.
    let stated = attester.stated();
    assert_eq!(epoch_of(&attested).epoch, 1);
    assert_ne!(stated[0].root, stated[1].root, "a new epoch has new salts");
    assert_eq!((lane.counters().epochs, lane.counters().failures), (1, 1));
    assert_eq!(lane.health(), LaneHealth::Healthy);
}

#[tokio::test]
async fn a_second_failure_is_the_sessions_answer() {
    let attester = Scripted::new(&[Act::Transient, Act::Transient, Act::Report, Act::Unusable]);
    let lane = attester.lane(LaneLimits::default());
    let error = lane.attest(binder(1)).await.unwrap_err();
    assert!(
        matches!(error, LaneError::Attester(AttesterError::Transient { .. })),
        "{error:?}"
    );
    assert!(lane.attest(binder(1)).await.is_ok());
    let error = lane.attest(binder(1)).await.unwrap_err();
    assert!(
        matches!(error, LaneError::Attester(AttesterError::Unusable { .. })),
        "{error:?}"
    );
    assert_eq!(error.code(), "lane.attester");
    assert_eq!(lane.health(), LaneHealth::Healthy);
}

#[tokio::test]
async fn once_unattestable_always_unattestable() {
    let attester = Scripted::held(&[Act::Unattestable]);
    let weak = Arc::downgrade(&attester);
    let lane = attester.lane(LaneLimits::default());
    let in_flight = in_background(&lane, 1).await;
    attester.asked(1).await;
    let queued = in_background(&lane, 2).await;
    attester.let_go();
    drop(attester);
    for task in [in_flight, queued] {
        let error = task.await.unwrap().unwrap_err();
        assert!(matches!(error, LaneError::Unattestable { .. }), "{error:?}");
    }
    assert_eq!(lane.health(), LaneHealth::Unattestable("Unattestable".to_owned()));
    let error = lane.attest(binder(3)).await.unwrap_err();
    assert!(matches!(error, LaneError::Unattestable { .. }), "{error:?}");
    // The thread has ended.
    until(|| weak.strong_count() == 0).await;
}

#[tokio::test]
async fn an_attester_that_panics_makes_the_lane_unattestable() {
    let lane = Scripted::new(&[Act::Panic]).lane(LaneLimits::default());
    let error = lane.attest(binder(1)).await.unwrap_err();
    assert!(matches!(error, LaneError::Unattestable { .. }), "{error:?}");
    until(|| lane.health() != LaneHealth::Healthy).await;
}

#[tokio::test]
async fn a_session_waits_no_longer_than_its_limit() {
    let attester = Scripted::held(&[]);
    let lane = attester.lane(LaneLimits {
        wait: Duration::from_millis(50),
        ..LaneLimits::default()
    });
    for number in 0..2 {
        let error = lane.attest(binder(number)).await.unwrap_err();
        assert!(matches!(error, LaneError::TimedOut { .. }), "{error:?}");
    }
    assert_eq!(lane.counters().waiting, 0);
    attester.let_go();
    until(|| lane.counters().epochs == 1).await;
    // Nobody was answered by the report that came too late, nor asked for another.
    assert_eq!(lane.counters().sessions, 0);
    assert_eq!(attester.stated().len(), 1);
}

#[tokio::test]
async fn the_watchdog_gives_a_stuck_attester_up_for_good() {
    let attester = Scripted::held(&[]);
    let lane = attester.lane(LaneLimits {
        watchdog: Duration::from_millis(100),
        ..LaneLimits::default()
    });
    let late = in_background(&lane, 1).await;
    attester.asked(1).await;
    let queued = in_background(&lane, 2).await;
    until(|| lane.health() != LaneHealth::Healthy).await;
    // All are told at once, the one in flight too: nobody knows when it comes back.
    for waiting in [queued, late] {
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!(error.code(), "lane.unattestable");
    }
    attester.let_go();
    until(|| lane.counters().failures == 1).await;
    assert_eq!(lane.counters().epochs, 0);
    assert_ne!(lane.health(), LaneHealth::Healthy);
}

#[tokio::test]
async fn reports_keep_the_pace() {
    let lane = Scripted::new(&[]).lane(LaneLimits {
        pace: Duration::from_millis(80),
        ..LaneLimits::default()
    });
    let began = Instant::now();
    for number in 0..3 {
        assert!(lane.attest(binder(number)).await.is_ok());
    }
    assert!(
        began.elapsed() >= Duration::from_millis(160),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn the_last_handle_ends_the_thread() {
    let attester = Scripted::new(&[]);
    let weak = Arc::downgrade(&attester);
    let lane = attester.lane(LaneLimits::default());
    drop(attester);
    let other = lane.clone();
    drop(lane);
    assert!(other.attest(binder(1)).await.is_ok());
    drop(other);
    until(|| weak.strong_count() == 0).await;
}

/// Holds whatever a test puts there.
#[derive(Default)]
struct Gpus {
    snapshot: Mutex<GpuSnapshot>,
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

fn with_gpus(attester: &Arc<Scripted>, gpus: &Arc<Gpus>, limits: LaneLimits) -> LaneM {
    LaneM::start_with_gpus(
        Arc::clone(attester) as _,
        Some(Arc::clone(gpus) as _),
        facts(),
        limits,
    )
    .unwrap()
}

/// A client's request that knows this statement.
fn knowing(lane: Lane, known: StatementDigest) -> AttestRequest {
    AttestRequest {
        nonce: Nonce::new([1; 32]),
        lane,
        max_age_s: 300,
        gpu: GpuFreshness::Current,
        known: Some(known),
    }
}

#[tokio::test]
async fn the_session_key_signs_for_a_statement_that_a_report_came_for() {
    let lane = Scripted::new(&[]).lane(LaneLimits::default());
    let attested = lane.attest(binder(1)).await.unwrap();
    let known = attested.statement_digest;
    let signed = lane.sign(&knowing(Lane::K, known), &binder(2)).unwrap();
    let key = epoch_of(&attested).session_key;
    assert!(signed.signature.verifies(&key, &binder(2), &known));
    assert!(!signed.signature.verifies(&key, &binder(1), &known));
    assert_eq!(
        (signed.statement_digest, signed.standing),
        (known, attested.standing)
    );
    assert!(signed.until <= Instant::now() + Duration::from_secs(300));
    assert!(lane.sign(&knowing(Lane::Auto, known), &binder(2)).is_some());
    assert_eq!((lane.counters().signatures, lane.counters().epochs), (2, 1));
}

#[tokio::test]
async fn the_session_key_signs_for_nothing_else() {
    let attester = Scripted::new(&[Act::Report, Act::Unusable]);
    let lane = attester.lane(LaneLimits::default());
    let attested = lane.attest(binder(1)).await.unwrap();
    let known = attested.statement_digest;
    let fine = knowing(Lane::Auto, known);
    let refused = [
        AttestRequest {
            lane: Lane::M,
            ..fine
        },
        AttestRequest {
            gpu: GpuFreshness::Strict,
            ..fine
        },
        AttestRequest { max_age_s: 0, ..fine },
        AttestRequest { known: None, ..fine },
        knowing(Lane::K, StatementDigest::new([9; 32])),
    ];
    for request in refused {
        assert_eq!(lane.sign(&request, &binder(2)), None, "{request:?}");
    }
    // A statement that no report came for.
    assert!(lane.attest(binder(3)).await.is_err());
    let unreported = attester.statements.lock().unwrap()[1].digest();
    assert_eq!(lane.sign(&knowing(Lane::K, unreported), &binder(2)), None);
    // One that a report came for in another boot.
    let other = Scripted::new(&[]).lane(LaneLimits::default());
    assert_eq!(other.sign(&fine, &binder(2)), None);
    // One that is older than the client takes.
    tokio::time::sleep(Duration::from_millis(1010)).await;
    assert_eq!(
        lane.sign(&AttestRequest { max_age_s: 1, ..fine }, &binder(2)),
        None
    );
    assert!(lane.sign(&fine, &binder(2)).is_some());
}

#[tokio::test]
async fn a_change_of_what_is_stated_ends_the_session_key_s_word_for_older_statements() {
    type Change = fn(&mut bastide_attested_tls::EnclaveFacts);
    let changes: [Change; 4] = [
        |facts| facts.session_key = SessionKey::generate().unwrap(),
        |facts| facts.model = ManifestDigest::new([0x66; 32]),
        |facts| facts.configuration = bastide_attestation::PolicyDigest::new([0x66; 32]),
        |facts| facts.sealed_key = Some([0x66; 32]),
    ];
    for change in changes {
        let attester = Scripted::new(&[]);
        let lane = attester.lane(LaneLimits::default());
        let before = lane.attest(binder(1)).await.unwrap();
        let request = knowing(Lane::K, before.statement_digest);
        let changes = lane.changes();
        assert!(lane.sign(&request, &binder(2)).is_some());
        assert_eq!(lane.restate(|_| ()), 0);
        assert!(!changes.has_changed().unwrap());
        assert_eq!(lane.restate(change), 1);
        assert!(changes.has_changed().unwrap());
        assert_eq!(lane.sign(&request, &binder(2)), None);
        // It is stated at once, though nobody waits.
        until(|| lane.counters().epochs == 2).await;
        let stated = attester.stated();
        assert_eq!((stated[1].depth, lane.counters().sessions), (0, 1));
        let after = lane.attest(binder(3)).await.unwrap();
        let key = epoch_of(&after).session_key;
        assert_eq!(key, *lane.facts().session_key.public());
        let signed = lane
            .sign(&knowing(Lane::K, after.statement_digest), &binder(4))
            .unwrap();
        assert!(
            signed
                .signature
                .verifies(&key, &binder(4), &after.statement_digest)
        );
        let keys_alone = epoch_of(&before).model == epoch_of(&after).model
            && epoch_of(&before).configuration == epoch_of(&after).configuration;
        assert_eq!(lane.answers(&before.standing), keys_alone);
        assert!(!lane.holds(&before.standing) && lane.holds(&after.standing));
        let changed = epoch_of(&before);
        let now = epoch_of(&after);
        assert_ne!(
            (
                changed.session_key,
                changed.model,
                changed.configuration,
                changed.sealed_key
            ),
            (now.session_key, now.model, now.configuration, now.sealed_key)
        );
    }
}

#[tokio::test]
async fn no_boot_takes_another_s_identity() {
    let lane = Scripted::new(&[]).lane(LaneLimits::default());
    let boot = lane.facts().boot_id;
    assert_eq!(
        lane.restate(|facts| facts.boot_id = bastide_attestation::BootId::new([0x77; 16])),
        0
    );
    assert_eq!(lane.facts().boot_id, boot);
}

/// T13: who waits while the facts change is given those that hold now.
#[tokio::test]
async fn t13_a_report_over_facts_that_changed_meanwhile_is_nobody_s_evidence() {
    let attester = Scripted::held(&[]);
    let lane = attester.lane(LaneLimits::default());
    let waiting = in_background(&lane, 1).await;
    attester.asked(1).await;
    let model = ManifestDigest::new([0x66; 32]);
    assert_eq!(lane.restate(|facts| facts.model = model), 1);
    attester.let_go();
    let attested = waiting.await.unwrap().unwrap();
    assert_eq!((epoch_of(&attested).epoch, epoch_of(&attested).model), (1, model));
    assert_eq!(attested.standing.generation, 1);
    // Nor does the session key sign for the one that nobody got.
    let first = attester.statements.lock().unwrap()[0].digest();
    assert_eq!(lane.sign(&knowing(Lane::K, first), &binder(2)), None);
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

/// T12: one batch for all who wait, whoever they are: everyone is answered by the
/// next epoch that begins after they asked, or by the one after it.
#[tokio::test]
async fn t12_nobody_waits_longer_than_for_the_next_report() {
    const SESSIONS: u64 = 3000;
    let attester = Scripted::held(&[]);
    let lane = attester.lane(LaneLimits::default());
    let first = in_background(&lane, u64::MAX).await;
    attester.asked(1).await;
    let waiting: Vec<_> = (0..SESSIONS)
        .map(|number| {
            let lane = lane.clone();
            tokio::spawn(async move { lane.attest(binder(number)).await })
        })
        .collect();
    until(|| lane.counters().waiting == SESSIONS + 1).await;
    attester.let_go();
    assert_eq!(epoch_of(&first.await.unwrap().unwrap()).epoch, 0);
    for (number, waiting) in (0..).zip(waiting) {
        let attested = waiting.await.unwrap().unwrap();
        assert_eq!(epoch_of(&attested).epoch, 1);
        assert!(is_bound(&attested.evidence(), &binder(number)));
    }
    assert_eq!(attester.stated().len(), 2);
}

#[tokio::test]
async fn a_probe_is_over_before_anyone_is_served_and_each_of_its_reports_is_an_epoch() {
    let attester = Scripted::new(&[]);
    let lane = attester.lane(LaneLimits {
        probe: 4,
        ..LaneLimits::default()
    });
    let attested = lane.attest(binder(1)).await.unwrap();
    assert_eq!(
        (epoch_of(&attested).epoch, lane.counters().pace),
        (4, Duration::ZERO)
    );
    let failing = Scripted::new(&[Act::Report, Act::Transient]);
    let lane = failing.lane(LaneLimits {
        probe: 4,
        ..LaneLimits::default()
    });
    assert_eq!(epoch_of(&lane.attest(binder(1)).await.unwrap()).epoch, 2);
}

#[tokio::test]
async fn the_log_has_every_statement_in_one_chain_and_says_which_no_report_came_for() {
    let attester = Scripted::new(&[Act::Report, Act::Transient]);
    let lane = attester.lane(LaneLimits::default());
    let first = lane.attest(binder(1)).await.unwrap();
    let second = lane.attest(binder(2)).await.unwrap();
    lane.restate(|facts| facts.model = ManifestDigest::new([0x66; 32]));
    let third = lane.attest(binder(3)).await.unwrap();
    let page = lane.epochs(0, usize::MAX);
    let verified = page.verify(None).unwrap().unwrap();
    for attested in [&first, &second, &third] {
        assert!(verified.contains(&attested.statement_digest));
    }
    assert_eq!((verified.first(), verified.unreported()), (0, &[1_u64][..]));
    assert_eq!(verified.changes().len(), 1);
    assert!(verified.changes()[0].model && !verified.changes()[0].session_key);
    assert_eq!(verified.head(), Some(&third.statement_digest));
    let report = bastide_attestation::EpochLogEntry::report_digest(&first.evidence().platform);
    assert_eq!(page.entries[0].report, Some(report));
    let rest = lane.epochs(1, 2);
    assert_eq!(rest.entries, page.entries[1..3]);
}

/// The lane states a change by itself, however often that fails, and holds nobody
/// up who comes meanwhile.
#[tokio::test]
async fn a_change_whose_report_failed_is_stated_again_though_nobody_asks() {
    let began = Instant::now();
    let attester = Scripted::new(&[Act::Transient, Act::Unusable]);
    let lane = attester.lane(LaneLimits::default());
    let model = ManifestDigest::new([0x66; 32]);
    lane.restate(|facts| facts.model = model);
    until(|| lane.counters().epochs == 1).await;
    // Twice, later each time: half a second, and then a whole one.
    assert!(
        began.elapsed() >= Duration::from_millis(1500),
        "{:?}",
        began.elapsed()
    );
    let stated = attester.stated();
    assert!(stated.iter().all(|statement| statement.model == model));
    assert_eq!((stated.len(), lane.counters().failures), (3, 2));
    assert_eq!(lane.counters().sessions, 0);
    let verified = lane.epochs(0, usize::MAX).verify(None).unwrap().unwrap();
    assert_eq!(verified.unreported(), [0, 1]);
    // Once stated, it is not stated again.
    tokio::time::sleep(Duration::from_millis(2200)).await;
    assert_eq!(attester.stated().len(), 3);
}

#[tokio::test]
async fn a_session_that_comes_while_a_change_waits_to_be_stated_again_states_it() {
    let (attester, gpus) = (Scripted::new(&[Act::Transient]), Arc::new(Gpus::default()));
    let lane = with_gpus(&attester, &gpus, LaneLimits::default());
    lane.signal().interrupted();
    until(|| lane.counters().failures == 1).await;
    let began = Instant::now();
    let attested = lane.attest(binder(1)).await.unwrap();
    assert!(
        began.elapsed() < Duration::from_millis(400),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(attested.standing.generation, 1);
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(attester.stated().len(), 2);
}

/// A newer change is stated at once, whatever became of the one before it.
#[tokio::test]
async fn a_change_does_not_wait_for_the_one_before_it() {
    let attester = Scripted::new(&[Act::Transient, Act::Transient, Act::Transient]);
    let lane = attester.lane(LaneLimits::default());
    lane.restate(|facts| facts.sealed_key = Some([1; 32]));
    // The third would be made a second and a half after the first.
    until(|| lane.counters().failures == 2).await;
    let began = Instant::now();
    lane.restate(|facts| facts.sealed_key = Some([2; 32]));
    until(|| lane.counters().failures == 3).await;
    assert!(
        began.elapsed() < Duration::from_millis(400),
        "{:?}",
        began.elapsed()
    );
    until(|| lane.counters().epochs == 1).await;
    assert_eq!(attester.stated()[3].sealed_key, Some([2; 32]));
}
