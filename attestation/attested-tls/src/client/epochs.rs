//! The epochs that were appraised a moment ago. All sessions of an epoch share
//! one report, so that of a further one only the proof is new: that this
//! session's leaf is under the root which was judged before. Everything else that
//! an appraisal is of has to be the same, byte for byte, and is compared.
//!
//! An entry holds for one appraiser, counts for a minute and is never prolonged
//! by being used. What does not hit, whatever the reason, is appraised in full.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bastide_attestation::binding::leaf;
use bastide_attestation::{
    Appraiser, AttestationResult, Check, Endorsements, Evidence, GpuPart, PlatformEvidence,
    SessionExpectation, UnixTime, Untrusted, Verdict,
};

use super::lease::Moment;

/// Longest that one appraisal serves further sessions of its epoch.
pub const EPOCH_LIFE: Duration = Duration::from_secs(60);
/// Most epochs that are remembered.
const MAX_EPOCHS: usize = 64;
/// Name of the check that says which leaf is this session's.
const BINDING: &str = "session.binding";

/// An appraiser that remembers which epochs it accepted. It asks the one
/// behind it about everything else.
pub struct EpochCache {
    appraiser: Arc<dyn Appraiser>,
    epochs: Mutex<Epochs>,
}

#[derive(Default)]
struct Epochs {
    /// The latest last.
    known: Vec<Arc<Epoch>>,
    /// The latest, which the epochs of a node have in common.
    endorsements: Option<Arc<Endorsements>>,
    gpu: Option<Arc<GpuPart>>,
}

/// An accepted appraisal, and all that it was of, but for the session's own proof.
struct Epoch {
    statement: Vec<u8>,
    platform: PlatformEvidence,
    endorsements: Arc<Endorsements>,
    gpu: Option<Arc<GpuPart>>,
    result: AttestationResult,
    /// The check that is each session's own.
    binding: Option<Check>,
    appraised: Moment,
}

impl std::fmt::Debug for EpochCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EpochCache")
            .field("epochs", &self.epochs().known.len())
            .finish_non_exhaustive()
    }
}

impl EpochCache {
    /// An empty cache in front of `appraiser`.
    #[must_use]
    pub fn new(appraiser: Arc<dyn Appraiser>) -> Self {
        Self {
            appraiser,
            epochs: Mutex::default(),
        }
    }

    fn epochs(&self) -> MutexGuard<'_, Epochs> {
        // An entry is put in whole or not at all.
        self.epochs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The accepted appraisal of everything here but the proof, while it counts.
    fn known(&self, evidence: &Evidence, now: UnixTime) -> Option<Arc<Epoch>> {
        let epochs = self.epochs();
        let mut latest_first = epochs.known.iter().rev();
        let known = latest_first.find(|epoch| epoch.is_of(evidence) && epoch.counts(now));
        known.cloned()
    }

    fn keep(&self, evidence: &Evidence, result: &AttestationResult, appraised: Moment, now: UnixTime) {
        let mut epochs = self.epochs();
        epochs
            .known
            .retain(|epoch| epoch.counts(now) && !epoch.is_of(evidence));
        if epochs.known.len() >= MAX_EPOCHS {
            // The first came first.
            epochs.known.remove(0);
        }
        let binding = result.verdict.checks.iter().find(|check| check.id == BINDING);
        let epoch = Epoch {
            statement: evidence.statement.clone(),
            platform: evidence.platform.clone(),
            endorsements: shared(&mut epochs.endorsements, &evidence.endorsements),
            gpu: evidence.gpu.as_ref().map(|gpu| shared(&mut epochs.gpu, gpu)),
            binding: binding.cloned(),
            result: result.clone(),
            appraised,
        };
        epochs.known.push(Arc::new(epoch));
    }
}

impl Epoch {
    fn counts(&self, now: UnixTime) -> bool {
        self.appraised.age(now).is_some_and(|age| age < EPOCH_LIFE)
    }

    /// Whether an appraisal of this evidence would be of the same but for the proof.
    fn is_of(&self, evidence: &Evidence) -> bool {
        let Evidence {
            statement,
            proof: _,
            platform,
            endorsements,
            gpu,
        } = evidence;
        self.statement == *statement
            && self.platform == *platform
            && *self.endorsements == *endorsements
            && self.gpu.as_deref() == gpu.as_ref()
    }

    /// The appraisal as one of the session that is at this leaf.
    fn at(&self, index: u64) -> AttestationResult {
        let AttestationResult {
            verdict,
            statement,
            statement_digest,
        } = &self.result;
        let verdict = match &self.binding {
            Some(binding) => verdict.with(Check {
                got: format!("leaf {index} of a tree of depth {}", statement.depth).into(),
                ..binding.clone()
            }),
            None => verdict.clone(),
        };
        AttestationResult {
            verdict,
            statement: statement.clone(),
            statement_digest: *statement_digest,
        }
    }
}

/// The value, held once where it is the latest again.
fn shared<T: Clone + PartialEq>(latest: &mut Option<Arc<T>>, value: &T) -> Arc<T> {
    match latest {
        Some(latest) if **latest == *value => Arc::clone(latest),
        _ => Arc::clone(latest.insert(Arc::new(value.clone()))),
    }
}

impl Appraiser for EpochCache {
    fn appraise(
        &self,
        evidence: &Untrusted<Evidence>,
        session: &SessionExpectation,
        now: UnixTime,
    ) -> Result<AttestationResult, Box<Verdict>> {
        let unverified = evidence.as_unverified();
        // The very bytes of S that the root and depth were read from.
        if let Some(known) = self.known(unverified, now)
            && is_in(unverified, session, &known.result)
        {
            return Ok(known.at(unverified.proof.index));
        }
        let appraised = Moment::new(now);
        let result = self.appraiser.appraise(evidence, session, now)?;
        self.keep(unverified, &result, appraised, now);
        Ok(result)
    }
}

/// Whether the leaf of the client's own binder is under the epoch's root. Index
/// and length of the path are held against the depth in S.
fn is_in(evidence: &Evidence, session: &SessionExpectation, known: &AttestationResult) -> bool {
    let own = leaf(session.leaf, &evidence.proof.salt, &session.binder);
    evidence
        .proof
        .verify(&own, known.statement.depth, &known.statement.root)
        .is_ok()
}
