//! The two lanes of evidence. Lane M: one hardware report for all sessions that
//! wait while another is being made. Each gets its own inclusion proof, so that
//! its own challenge is under the hardware's signature. An epoch answers those
//! who waited before it began and nobody else: older evidence is never served as
//! fresh. Lane K: a signature of the session key, for a client that has had a
//! report lately which names that key, while nothing it says has changed.
//!
//! | part | what it owns |
//! |---|---|
//! | `queue` | who waits, how many may, what is stated, whether the lane is healthy |
//! | `epoch` | one batch: salts, padding, permutation, tree, statement |
//! | `psp` | the thread that alone speaks with the attester |
//! | `pace` | how fast it may, learned from how long reports take |
//! | `watchdog` | the timer that gives a report up |
//! | `strict` | sessions that want GPUs asked over a root that holds their leaf |
//! | `session_key` | lane K's key |
//! | `recent` | statements that reports came for: what lane K may sign for |
//! | `log` | every statement of this boot, the last few thousand kept |

mod epoch;
mod log;
mod pace;
mod psp;
mod queue;
mod recent;
mod session_key;
mod strict;
mod watchdog;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bastide_attestation::binding::{LeafType, log_head_binder};
use bastide_attestation::{
    AttestRequest, Attester, AttesterError, Binder, BootId, EpochLogPage, Evidence, GpuAttester,
    GpuFreshness, InclusionProof, KeyThumbprint, Lane, LogHead, ManifestDigest, Nonce, Omission,
    PolicyDigest, SessionSignature, StatementDigest,
};
use tokio::sync::watch;

use crate::lane_m::epoch::SignedEpoch;
use crate::lane_m::queue::{Queue, Waiting};

pub use session_key::{NoSessionKey, SessionKey};

/// What an enclave states about itself in every epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnclaveFacts {
    /// Random identity of this boot.
    pub boot_id: BootId,
    /// Lane K's key; statements name its public half.
    pub session_key: SessionKey,
    /// COSE thumbprint of the receipt key.
    pub receipt_key: KeyThumbprint,
    /// SHA-256 of the sealed-mode key configuration; `None` if the mode is off.
    pub sealed_key: Option<[u8; 32]>,
    /// Digest of the manifest of the model that answers.
    pub model: ManifestDigest,
    /// Digest of the enclave's configuration.
    pub configuration: PolicyDigest,
    /// Whether this is a debug build. Verifiers refuse it.
    pub debug: bool,
    /// Whether it is the head of a pipeline, so that others see activations of
    /// what it is asked.
    pub pipeline: bool,
}

/// Longest time that a pace or a wait can be set to.
const MAX_TIME: Duration = Duration::from_secs(3600);
/// Longest that lane K builds on one statement.
const MAX_STATEMENT_AGE: Duration = Duration::from_secs(300);

/// Limits of a lane. Pace and wait are at most an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneLimits {
    /// Least time from the beginning of one report to that of the next, whatever
    /// the lane learns of the hardware. Zero lets it go as fast as that allows.
    pub pace: Duration,
    /// Reports made before anyone is served, to learn whether the host throttles;
    /// one that stalls is the last. A dozen for a host that nobody knows, else none.
    pub probe: u32,
    /// Most sessions that may wait at once; 16,384, which is also the most that
    /// share an epoch.
    pub max_waiting: usize,
    /// Longest a session waits. 15 s.
    pub wait: Duration,
    /// A report that takes longer than this makes the lane unattestable. 65 s:
    /// the guest driver itself gives up after 60.
    pub watchdog: Duration,
    /// Least time from one strict GPU epoch to the next. 10 s.
    pub strict_pace: Duration,
}

impl Default for LaneLimits {
    fn default() -> Self {
        Self {
            pace: Duration::ZERO,
            probe: 0,
            max_waiting: epoch::MAX_LEAVES,
            wait: Duration::from_secs(15),
            watchdog: Duration::from_secs(65),
            strict_pace: Duration::from_secs(10),
        }
    }
}

/// Why a session got no evidence. The enclave answers 503 to all of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LaneError {
    /// As many sessions wait as may.
    #[error("too many sessions wait for evidence; try again later")]
    Busy,
    /// No report came in time.
    #[error("no report came within {} s", .wait.as_secs())]
    TimedOut {
        /// How long the session waited.
        wait: Duration,
    },
    /// The platform can't attest any more until it boots again.
    #[error("this enclave can no longer attest: {reason}")]
    Unattestable {
        /// What came.
        reason: String,
    },
    /// The attester failed, and again if another attempt made sense.
    #[error("no report could be made")]
    Attester(#[source] AttesterError),
    /// GPUs were to be asked over a root, and gave no evidence.
    #[error("no strict evidence of GPUs: {reason}")]
    Gpus {
        /// What came.
        reason: String,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes for a session's salt")]
    NoRandomness,
    /// One of the lane's threads could not be started.
    #[error("the attester's thread could not be started: {reason}")]
    Thread {
        /// What the operating system said.
        reason: String,
    },
}

impl LaneError {
    /// The stable dotted code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Busy => "lane.busy",
            Self::TimedOut { .. } => "lane.timeout",
            Self::Unattestable { .. } => "lane.unattestable",
            Self::Attester(_) => "lane.attester",
            Self::Gpus { .. } => "lane.gpus",
            Self::NoRandomness => "lane.no_randomness",
            Self::Thread { .. } => "lane.thread",
        }
    }
}

/// Whether a lane can give evidence. Once unattestable, always unattestable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneHealth {
    /// It can.
    Healthy,
    /// It can't until the next boot; the enclave should drain and exit.
    Unattestable(String),
}

/// What a lane has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneCounters {
    /// Reports that came.
    pub epochs: u64,
    /// Sessions that were given evidence.
    pub sessions: u64,
    /// Sessions that were given a signature of the session key.
    pub signatures: u64,
    /// Attempts at a report that failed.
    pub failures: u64,
    /// Sessions that wait now.
    pub waiting: u64,
    /// Least time from the beginning of one report to that of the next, now.
    pub pace: Duration,
}

/// What has to stay true for a session that was attested: see [`LaneM::holds`],
/// [`LaneM::answers`] and [`GpuAttester`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Generation of what the statement says.
    pub generation: u64,
    /// Generation of what answers: model, configuration, receipt key, GPUs.
    pub answering: u64,
    /// Number of the GPU epoch in the statement.
    pub gpu_epoch: u64,
}

/// Evidence for one session, bound to the session's binder and nothing else's.
#[derive(Debug, Clone)]
pub struct Attested {
    epoch: Arc<SignedEpoch>,
    proof: InclusionProof,
    /// SHA-256 of the epoch statement in it.
    pub statement_digest: StatementDigest,
    /// What has to stay true.
    pub standing: Standing,
}

impl Attested {
    /// The evidence.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        self.epoch.evidence(self.proof.clone())
    }

    /// The evidence's envelope for a client that has what is `omitted`: the bytes
    /// of [`Evidence::encode_without`], of which those that all sessions of the
    /// epoch share are encoded once.
    #[must_use]
    pub fn envelope(&self, omitted: Omission) -> Vec<u8> {
        self.epoch.envelope(&self.proof, omitted)
    }

    /// Exact bytes of the epoch statement.
    #[must_use]
    pub fn statement(&self) -> &[u8] {
        self.epoch.report().statement.as_bytes()
    }
}

/// Lane K's answer for one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedSession {
    /// The signature over the session's binder and the statement.
    pub signature: SessionSignature,
    /// SHA-256 of the statement that it builds on.
    pub statement_digest: StatementDigest,
    /// When that statement is too old to build on: no lease may outlast it.
    pub until: Instant,
    /// What has to stay true.
    pub standing: Standing,
}

/// A handle on the lane. The last one dropped ends its threads.
#[derive(Debug, Clone)]
pub struct LaneM {
    owner: Arc<Owner>,
}

struct Owner {
    queue: Arc<Queue>,
    gpus: Option<Arc<dyn GpuAttester>>,
    wait: Duration,
}

impl core::fmt::Debug for Owner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Owner")
            .field("queue", &self.queue)
            .field("gpus", &self.gpus.is_some())
            .finish_non_exhaustive()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Tells a lane of what happened to GPUs. Keeps no lane alive.
#[derive(Debug, Clone)]
pub struct LaneSignal(Arc<Queue>);

impl LaneSignal {
    /// Something ended what statements say of GPUs: whatever was attested before
    /// is over, and an epoch is made at once to say so.
    pub fn interrupted(&self) {
        self.0.interrupt();
    }

    /// There is newer evidence of GPUs, and nothing happened to them. Statements
    /// before stay true, but whoever holds one of an older GPU epoch should look.
    pub fn renewed(&self) {
        self.0.announce();
    }
}

impl LaneM {
    /// Starts a lane and its threads, one of which alone calls `attester`.
    ///
    /// # Errors
    /// [`LaneError::Thread`] if there is no thread to be had.
    pub fn start(
        attester: Arc<dyn Attester>,
        facts: EnclaveFacts,
        limits: LaneLimits,
    ) -> Result<Self, LaneError> {
        Self::start_with_gpus(attester, None, facts, limits)
    }

    /// As [`Self::start`], on a machine whose GPUs attest themselves: each
    /// statement names the evidence that `gpus` holds when it is made, or none,
    /// and the same evidence goes to the sessions of its epoch.
    ///
    /// # Errors
    /// [`LaneError::Thread`] if there is no thread to be had.
    pub fn start_with_gpus(
        attester: Arc<dyn Attester>,
        gpus: Option<Arc<dyn GpuAttester>>,
        facts: EnclaveFacts,
        limits: LaneLimits,
    ) -> Result<Self, LaneError> {
        let queue = Arc::new(Queue::new(&limits, facts));
        // Whatever fails below, the threads that are there already end.
        let owner = Owner {
            queue: Arc::clone(&queue),
            gpus: gpus.clone(),
            wait: limits.wait.min(MAX_TIME),
        };
        watchdog::spawn(Arc::clone(&queue))?;
        if let Some(gpus) = gpus.clone() {
            let pace = limits.strict_pace.min(MAX_TIME);
            strict::spawn(Arc::clone(&queue), gpus, pace)?;
        }
        psp::spawn(queue, attester, gpus, &limits)?;
        Ok(Self {
            owner: Arc::new(owner),
        })
    }

    /// Gets evidence bound to `binder` from the next report that begins after
    /// this call. Dropping the future gives the place up and disturbs nobody.
    ///
    /// # Errors
    /// [`LaneError`]; the session gets no evidence then, not even older.
    pub async fn attest(&self, binder: Binder) -> Result<Attested, LaneError> {
        self.attest_as(LeafType::ServerTls, binder).await
    }

    /// As [`Self::attest`], for what is no server's end of a TLS session: the
    /// client's end of a link, or a key.
    ///
    /// # Errors
    /// As [`Self::attest`].
    pub async fn attest_as(&self, leaf: LeafType, binder: Binder) -> Result<Attested, LaneError> {
        let wait = self.owner.wait;
        let waiting = Queue::join(&self.owner.queue, leaf, binder, wait)?;
        self.wait(waiting).await
    }

    /// As [`Self::attest`], with evidence of GPUs that were asked over the root
    /// of the tree which holds this session's leaf. It takes as long as they do.
    ///
    /// # Errors
    /// As [`Self::attest`]; [`LaneError::Gpus`] if there are none or they gave none.
    pub async fn attest_strictly(&self, binder: Binder) -> Result<Attested, LaneError> {
        if self.owner.gpus.is_none() {
            return Err(LaneError::Gpus {
                reason: "this enclave has no GPUs that attest themselves".to_owned(),
            });
        }
        let wait = self.owner.wait;
        let waiting = Queue::join_strictly(&self.owner.queue, binder, wait)?;
        self.wait(waiting).await
    }

    async fn wait(&self, waiting: Waiting) -> Result<Attested, LaneError> {
        let wait = self.owner.wait;
        let Waiting {
            answer,
            place: _place,
        } = waiting;
        match tokio::time::timeout(wait, answer).await {
            Err(_) => Err(LaneError::TimedOut { wait }),
            Ok(Ok(granted)) => {
                let attested = granted?.redeem().ok_or_else(|| LaneError::Unattestable {
                    reason: "the session's leaf is not in its tree".to_owned(),
                })?;
                self.owner.queue.served();
                Ok(attested)
            }
            // The thread dropped the question: it has ended.
            Ok(Err(_)) => Err(LaneError::Unattestable {
                reason: queue::THREAD_ENDED.to_owned(),
            }),
        }
    }

    /// Lane K: signs this session, if the request allows it, the statement that it
    /// names was made by this boot lately, a report came for it, and nothing that
    /// it says has changed since. `None` otherwise: then only a report will do.
    #[must_use]
    pub fn sign(&self, request: &AttestRequest, binder: &Binder) -> Option<SignedSession> {
        if request.lane == Lane::M || request.gpu == GpuFreshness::Strict {
            return None;
        }
        let queue = &self.owner.queue;
        let (known, stated) = queue.recent().stated(request.known.as_ref()?)?;
        let oldest = Duration::from_secs(u64::from(request.max_age_s)).min(MAX_STATEMENT_AGE);
        let until = stated.made.checked_add(MAX_STATEMENT_AGE)?;
        if stated.made.elapsed() >= oldest {
            return None;
        }
        if let Some(gpus) = &self.owner.gpus {
            let current = gpus.current();
            if current.epoch.is_none() || current.number > stated.standing.gpu_epoch {
                return None;
            }
        }
        // After the GPUs: what happens to them from here on is another generation.
        let key = queue.session_key(stated.standing.generation)?;
        let signature = key.sign(binder, &known)?;
        queue.signed();
        Some(SignedSession {
            signature,
            statement_digest: known,
            until,
            standing: stated.standing,
        })
    }

    /// What need not be sent to a client that has what came with the statement
    /// `known`: nothing, if that is no statement that is remembered.
    #[must_use]
    pub fn omission(&self, known: Option<&StatementDigest>, attested: &Attested) -> Omission {
        let stated = known.and_then(|known| self.owner.queue.recent().stated(known));
        stated.map_or_else(Omission::default, |(_, stated)| {
            stated.sent.omission(&attested.epoch.report().sent)
        })
    }

    /// Changes what the enclave states about itself: a key, the model, the
    /// configuration. If anything changed, a new generation begins: whatever was
    /// attested before is over, and an epoch is made at once to say so. The
    /// boot's identity can't change. Returns the generation.
    pub fn restate(&self, change: impl FnOnce(&mut EnclaveFacts)) -> u64 {
        self.owner.queue.restate(change)
    }

    /// What the enclave states about itself now.
    #[must_use]
    pub fn facts(&self) -> EnclaveFacts {
        self.owner.queue.facts()
    }

    /// Counts the changes of what is stated and the interruptions of GPUs.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.owner.queue.generation().0
    }

    /// Whether nothing has changed since: else whoever was attested then has to be
    /// attested anew before it asks for anything.
    #[must_use]
    pub fn holds(&self, attested: &Standing) -> bool {
        self.owner.queue.generation().0 == attested.generation
    }

    /// Whether the same model, configuration, receipt key and GPUs still answer:
    /// else not another token. A new session or sealed-mode key is no such change.
    #[must_use]
    pub fn answers(&self, attested: &Standing) -> bool {
        self.owner.queue.generation().1 == attested.answering
    }

    /// Changes its value whenever something that was attested may be over.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.owner.queue.changes()
    }

    /// For whoever learns first of what happens to GPUs.
    #[must_use]
    pub fn signal(&self) -> LaneSignal {
        LaneSignal(Arc::clone(&self.owner.queue))
    }

    /// Where the epoch log stands, with evidence for this nonce from a report that
    /// begins after this call: its leaf stands for the head (type 4).
    ///
    /// # Errors
    /// As [`Self::attest`].
    pub async fn attest_log_head(&self, nonce: &Nonce) -> Result<(LogHead, Attested), LaneError> {
        let head = self.owner.queue.log().head();
        let binder = log_head_binder(&head.to_bytes(), nonce);
        let attested = self.attest_as(LeafType::LogHead, binder).await?;
        Ok((head, attested))
    }

    /// At most `count` statements of the epoch log from epoch `from` on, or from
    /// the oldest that is kept; never more than a page holds.
    #[must_use]
    pub fn epochs(&self, from: u64, count: usize) -> EpochLogPage {
        self.owner.queue.log().page(from, count)
    }

    /// Whether the lane can give evidence.
    #[must_use]
    pub fn health(&self) -> LaneHealth {
        self.owner.queue.health()
    }

    /// What the lane has done so far.
    #[must_use]
    pub fn counters(&self) -> LaneCounters {
        self.owner.queue.counters()
    }
}
