//! The lane against an attester that is slow, fails, hangs or dies: T23, and
//! that no session is ever answered with an older epoch.

mod gpus;
mod scripted;
mod stated;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bastide_attestation::{AttesterError, StatementDigest};
use bastide_attested_tls::{LaneError, LaneHealth, LaneLimits};

use crate::doubles::is_bound;

use self::scripted::{Act, Scripted, binder, epoch_of, in_background, until};

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
