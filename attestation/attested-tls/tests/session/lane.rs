//! The lane against an attester that is slow, fails, hangs or dies: T23, and
//! that no session is ever answered with an older epoch.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bastide_attestation::{
    Attestation, Attester, AttesterError, Binder, EpochStatement, GpuAttester, GpuEpoch, GpuPart,
    GpuSnapshot, StatementBytes, StatementDigest, nvidia::GpuEndorsements, sha256,
};
use bastide_attested_tls::{Attested, LaneError, LaneHealth, LaneLimits, LaneM};
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
    EpochStatement::decode(&attested.evidence.statement).unwrap()
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
        assert!(is_bound(&attested.evidence, &binder(number)));
        assert!(!is_bound(&attested.evidence, &binder(number + 1)));
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
    assert_ne!(again.evidence.proof.salt, second.evidence.proof.salt);
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
    assert!(is_bound(&attested.evidence, &binder(3)));
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
    assert!(is_bound(&attested.evidence, &binder(1)));
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
    // Those in the queue are told at once, the one in flight when it comes back.
    let error = queued.await.unwrap().unwrap_err();
    assert_eq!(error.code(), "lane.unattestable");
    attester.let_go();
    let error = late.await.unwrap().unwrap_err();
    assert_eq!(error.code(), "lane.unattestable");
    assert_eq!((lane.counters().epochs, lane.counters().failures), (0, 1));
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
}

impl GpuAttester for Gpus {
    fn current(&self) -> GpuSnapshot {
        self.snapshot.lock().unwrap().clone()
    }

    fn stated(&self, statement: &StatementDigest) {
        self.stated.lock().unwrap().push(*statement);
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
        let (stated, part) = (epoch_of(&attested), attested.evidence.gpu.unwrap());
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
        (stated.gpu_epoch, stated.gpu_digest, none.evidence.gpu),
        (3, None, None)
    );
    // Each statement is a seed to come.
    let statements = attester.statements.lock().unwrap();
    let digests: Vec<_> = statements.iter().map(StatementBytes::digest).collect();
    assert_eq!(*gpus.stated.lock().unwrap(), digests);
}
