//! An attester that plays a script, and sessions that wait for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bastide_attestation::{Attestation, Attester, AttesterError, Binder, EpochStatement, StatementBytes};
use bastide_attested_tls::{Attested, LaneError, LaneLimits, LaneM};
use tokio::task::JoinHandle;

use crate::doubles::blank_report;
use crate::node::lane_with;

/// What the attester does with the next statement.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Report,
    Transient,
    Unusable,
    Unattestable,
    Panic,
}

/// Plays a script, then reports; each time after 8 ms, or when the test lets it go.
pub(super) struct Scripted {
    script: Mutex<VecDeque<Act>>,
    held: AtomicBool,
    busy: AtomicBool,
    pub(super) statements: Mutex<Vec<StatementBytes>>,
}

impl Scripted {
    pub(super) fn new(script: &[Act]) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(script.iter().copied().collect()),
            held: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            statements: Mutex::default(),
        })
    }

    /// One that holds every report back until it is let go.
    pub(super) fn held(script: &[Act]) -> Arc<Self> {
        let attester = Self::new(script);
        attester.held.store(true, Ordering::SeqCst);
        attester
    }

    pub(super) fn let_go(&self) {
        self.held.store(false, Ordering::SeqCst);
    }

    /// Waits until `count` reports have been asked for.
    pub(super) async fn asked(&self, count: usize) {
        until(|| self.statements.lock().unwrap().len() >= count).await;
    }

    pub(super) fn lane(self: &Arc<Self>, limits: LaneLimits) -> LaneM {
        lane_with(Arc::clone(self) as _, limits)
    }

    pub(super) fn stated(&self) -> Vec<EpochStatement> {
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

pub(super) fn binder(number: u64) -> Binder {
    let mut bytes = [3; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Binder::new(bytes)
}

pub(super) fn epoch_of(attested: &Attested) -> EpochStatement {
    EpochStatement::decode(attested.statement()).unwrap()
}

/// Waits for what another thread will make true.
pub(super) async fn until(holds: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < patience, "it never came true");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(super) type Waiting = JoinHandle<Result<Attested, LaneError>>;

/// A session that waits in a task of its own, from before this returns.
pub(super) async fn in_background(lane: &LaneM, number: u64) -> Waiting {
    let (asking, waiting) = (lane.clone(), lane.counters().waiting);
    let task = tokio::spawn(async move { asking.attest(binder(number)).await });
    until(|| task.is_finished() || lane.counters().waiting > waiting).await;
    task
}
