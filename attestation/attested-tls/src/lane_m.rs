//! Lane M: one hardware report for all sessions that wait while another is
//! being made. Each gets its own inclusion proof, so that its own challenge is
//! under the hardware's signature. An epoch answers those who waited before it
//! began and nobody else: older evidence is never served as fresh.
//!
//! | part | what it owns |
//! |---|---|
//! | `queue` | who waits, how many may, whether the lane is healthy |
//! | `epoch` | one batch: salts, padding, permutation, tree, statement |
//! | `psp` | the thread that alone speaks with the attester, and its pace |

mod epoch;
mod psp;
mod queue;

use std::sync::Arc;
use std::time::Duration;

use bastide_attestation::binding::LeafType;
use bastide_attestation::{
    Attester, AttesterError, Binder, BootId, Evidence, GpuAttester, KeyThumbprint, ManifestDigest,
    PolicyDigest, StatementDigest,
};

use crate::lane_m::queue::{Queue, Waiting};

/// What an enclave states about itself in every epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnclaveFacts {
    /// Random identity of this boot.
    pub boot_id: BootId,
    /// Ed25519 public key of lane K, 32 bytes.
    pub session_key: [u8; 32],
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
}

/// Longest time that a pace or a wait can be set to.
const MAX_TIME: Duration = Duration::from_secs(3600);

/// Limits of a lane. Pace and wait are at most an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneLimits {
    /// Least time from the beginning of one report to that of the next. Zero
    /// unless the host throttles the security processor.
    pub pace: Duration,
    /// Most sessions that may wait at once; 16,384, which is also the most that
    /// share an epoch.
    pub max_waiting: usize,
    /// Longest a session waits. 15 s.
    pub wait: Duration,
    /// A report that takes longer than this makes the lane unattestable. 65 s:
    /// the guest driver itself gives up after 60.
    pub watchdog: Duration,
}

impl Default for LaneLimits {
    fn default() -> Self {
        Self {
            pace: Duration::ZERO,
            max_waiting: epoch::MAX_LEAVES,
            wait: Duration::from_secs(15),
            watchdog: Duration::from_secs(65),
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
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes for a session's salt")]
    NoRandomness,
    /// The lane's thread could not be started.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneCounters {
    /// Reports that came.
    pub epochs: u64,
    /// Sessions that were given evidence.
    pub sessions: u64,
    /// Attempts at a report that failed.
    pub failures: u64,
    /// Sessions that wait now.
    pub waiting: u64,
}

/// Evidence for one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attested {
    /// The evidence, bound to the session's binder and nothing else's.
    pub evidence: Evidence,
    /// SHA-256 of the epoch statement in it.
    pub statement_digest: StatementDigest,
}

/// A handle on the lane. The last one dropped ends its thread.
#[derive(Debug, Clone)]
pub struct LaneM {
    owner: Arc<Owner>,
}

#[derive(Debug)]
struct Owner {
    queue: Arc<Queue>,
    wait: Duration,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl LaneM {
    /// Starts a lane and its thread, which alone calls `attester`.
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
        let queue = Arc::new(Queue::new(&limits));
        let pace = limits.pace.min(MAX_TIME);
        psp::spawn(Arc::clone(&queue), attester, gpus, facts, pace)?;
        Ok(Self {
            owner: Arc::new(Owner {
                queue,
                wait: limits.wait.min(MAX_TIME),
            }),
        })
    }

    /// Gets evidence bound to `binder` from the next report that begins after
    /// this call. Dropping the future gives the place up and disturbs nobody.
    ///
    /// # Errors
    /// [`LaneError`]; the session gets no evidence then, not even older.
    pub async fn attest(&self, binder: Binder) -> Result<Attested, LaneError> {
        self.attest_as(binder, LeafType::ServerTls).await
    }

    /// As [`Self::attest`], for a leaf that stands for something else than a
    /// session that this end accepted.
    ///
    /// # Errors
    /// [`LaneError`]; there is no evidence then, not even older.
    pub async fn attest_as(&self, binder: Binder, leaf: LeafType) -> Result<Attested, LaneError> {
        let wait = self.owner.wait;
        let Waiting {
            answer,
            place: _place,
        } = Queue::join(&self.owner.queue, binder, leaf, wait)?;
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
