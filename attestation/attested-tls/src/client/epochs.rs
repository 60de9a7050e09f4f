//! The epochs that were appraised a moment ago. All sessions of an epoch share
//! one report, so that of a further one only the proof is new: that this
//! session's leaf is under the root which was judged before.
//!
//! An entry holds for one appraiser, counts for a minute and is never prolonged
//! by being used. What does not hit, whatever the reason, is appraised in full.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bastide_attestation::binding::leaf;
use bastide_attestation::{
    Appraiser, AttestationResult, Endorsements, Evidence, GpuPart, PlatformEvidence, SessionExpectation,
    UnixTime, Untrusted, Verdict, sha256,
};

use super::lease::Moment;

/// Longest that one appraisal serves further sessions of its epoch.
pub const EPOCH_LIFE: Duration = Duration::from_secs(60);
/// Most epochs that are remembered.
const MAX_EPOCHS: usize = 64;
/// Name of the check that says which leaf is this session's.
const BINDING: &str = "session.binding";
const ABSENT: [u8; 32] = [0; 32];

/// An appraiser that remembers which epochs it accepted. It asks the one
/// behind it about everything else.
pub struct EpochCache {
    appraiser: Arc<dyn Appraiser>,
    epochs: Mutex<Epochs>,
}

#[derive(Default)]
struct Epochs {
    by_key: HashMap<[u8; 32], Epoch>,
    /// Endorsements repeat: comparing them costs less than hashing them.
    endorsements: Option<(Endorsements, [u8; 32])>,
    gpu: Option<(GpuPart, [u8; 32])>,
}

struct Epoch {
    result: Arc<AttestationResult>,
    appraised: Moment,
}

impl std::fmt::Debug for EpochCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EpochCache")
            .field("epochs", &self.epochs().by_key.len())
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

    fn keep(&self, key: [u8; 32], result: &AttestationResult, appraised: Moment, now: UnixTime) {
        let mut epochs = self.epochs();
        let by_key = &mut epochs.by_key;
        by_key.retain(|_, epoch| epoch.counts(now));
        if by_key.len() >= MAX_EPOCHS
            && let Some(oldest) = by_key
                .iter()
                .max_by_key(|(_, epoch)| epoch.appraised.age(now))
                .map(|(key, _)| *key)
        {
            by_key.remove(&oldest);
        }
        let result = Arc::new(result.clone());
        by_key.insert(key, Epoch { result, appraised });
    }
}

impl Epoch {
    fn counts(&self, now: UnixTime) -> bool {
        self.appraised.age(now).is_some_and(|age| age < EPOCH_LIFE)
    }
}

impl Epochs {
    /// SHA-256 over everything that an appraisal is of, except the session's own
    /// proof. `None` for a platform that isn't known here: it is always appraised.
    fn key(&mut self, evidence: &Evidence) -> Option<[u8; 32]> {
        let platform = match &evidence.platform {
            PlatformEvidence::Snp(report) => sha256(&[b"snp", report.as_slice()]),
            PlatformEvidence::AzureVtpm { hcl_report, quote } => {
                let (report, quote) = (sha256(&[hcl_report]), sha256(&[&quote.encode()]));
                sha256(&[b"azure", &report, &quote])
            }
            _ => return None,
        };
        let endorsements = digest_of(
            &mut self.endorsements,
            &evidence.endorsements,
            digest_of_endorsements,
        );
        let gpu = evidence
            .gpu
            .as_ref()
            .map_or(ABSENT, |gpu| digest_of(&mut self.gpu, gpu, digest_of_gpu));
        let statement = sha256(&[&evidence.statement]);
        Some(sha256(&[&statement, &platform, &gpu, &endorsements]))
    }
}

/// The digest of `value`, which is remembered with the value it is of.
fn digest_of<T: Clone + PartialEq>(
    memo: &mut Option<(T, [u8; 32])>,
    value: &T,
    digest: fn(&T) -> [u8; 32],
) -> [u8; 32] {
    match memo {
        Some((known, of_known)) if known == value => *of_known,
        _ => {
            let fresh = digest(value);
            *memo = Some((value.clone(), fresh));
            fresh
        }
    }
}

/// Over digests of a fixed number of parts, so that no two sets of them are the same bytes.
fn digest_of_endorsements(endorsements: &Endorsements) -> [u8; 32] {
    let mut chain = Vec::new();
    for certificate in &endorsements.chain {
        chain.extend_from_slice(&sha256(&[certificate]));
    }
    let crl = endorsements
        .crl
        .as_ref()
        .map_or(ABSENT, |crl| sha256(&[b"crl", crl]));
    sha256(&[&sha256(&[&endorsements.vek]), &sha256(&[&chain]), &crl])
}

fn digest_of_gpu(gpu: &GpuPart) -> [u8; 32] {
    let endorsements = sha256(&[&gpu.endorsements.encode()]);
    sha256(&[&sha256(&[&gpu.evidence]), &gpu.seed, &endorsements])
}

impl Appraiser for EpochCache {
    fn appraise(
        &self,
        evidence: &Untrusted<Evidence>,
        session: &SessionExpectation,
        now: UnixTime,
    ) -> Result<AttestationResult, Box<Verdict>> {
        let unverified = evidence.as_unverified();
        let (key, known) = {
            let mut epochs = self.epochs();
            let key = epochs.key(unverified);
            let known = key
                .and_then(|key| epochs.by_key.get(&key))
                .filter(|epoch| epoch.counts(now))
                .map(|epoch| Arc::clone(&epoch.result));
            (key, known)
        };
        // The key holds the very bytes of S that the root and depth were read from.
        if let Some(known) = known
            && is_in(unverified, session, &known)
        {
            let mut result = AttestationResult::clone(&known);
            let proof = &unverified.proof;
            for check in &mut result.verdict.checks {
                if check.id == BINDING {
                    let depth = known.statement.depth;
                    check.got = format!("leaf {} of a tree of depth {depth}", proof.index).into();
                }
            }
            return Ok(result);
        }
        let appraised = Moment::new(now);
        let result = self.appraiser.appraise(evidence, session, now)?;
        if let Some(key) = key {
            self.keep(key, &result, appraised, now);
        }
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
