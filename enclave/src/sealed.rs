//! Sealed mode inside the enclave (`docs/spec/sealed-mode.md`): which keys are in
//! use, which statements may still be named, and which requests came before. It
//! knows nothing of HTTP.
//!
//! A captured request can be sent again. It is refused for 5 minutes because its
//! encapsulated key is remembered, and after that because the statement that it
//! names inside is no longer one that may be named: no clock of the host decides.
//!
//! | part | what it owns |
//! |---|---|
//! | `issued` | statements given out with evidence of a key, each for one lease |
//! | `replays` | encapsulated keys that came, each for at least one lease |

mod issued;
mod replays;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bastide_attestation::{Nonce, StatementDigest};
use bastide_attested_tls::{NoKey, OpenError, Opened, SealedKeys, Standing};
use tokio::time::Instant;

pub(crate) use issued::Issue;
use issued::Issued;
use replays::Replays;

use crate::api::ApiError;
use crate::server::LONGEST_LEASE;

/// How long a key pair may be used (protocol, "Sealed mode"): 24 h.
const KEY_LIFE: Duration = Duration::from_secs(24 * 3600);
/// When the next key pair takes over, so that the one before can still serve
/// whoever was just given it.
pub(crate) const ROTATION: Duration = Duration::from_secs(23 * 3600);
/// How long the pair before still opens requests: a lease, and time to send one.
const GRACE: Duration = Duration::from_secs(LONGEST_LEASE.as_secs() + 30);

/// Keys, statements and what came before. One lock for each, held for moments.
#[derive(Debug)]
pub(crate) struct SealedMode {
    keys: Mutex<Generations>,
    issued: Mutex<Issued>,
    replays: Mutex<Replays>,
}

#[derive(Debug)]
struct Generations {
    number: u8,
    current: Generation,
    before: Option<Generation>,
}

#[derive(Debug, Clone)]
struct Generation {
    keys: SealedKeys,
    until: Instant,
}

impl Generation {
    fn new(number: u8, now: Instant) -> Result<Self, NoKey> {
        Ok(Self {
            keys: SealedKeys::generate(number)?,
            until: now + KEY_LIFE,
        })
    }
}

/// A request that was opened, with the key that it was sealed to.
#[derive(Debug)]
pub(crate) struct Unsealed {
    /// The request, and what seals its answer.
    pub(crate) opened: Opened,
    /// Digest of the key configuration.
    pub(crate) key: [u8; 32],
}

impl SealedMode {
    /// Draws the first keys of this boot.
    ///
    /// # Errors
    /// [`NoKey`].
    pub(crate) fn start() -> Result<Self, NoKey> {
        Ok(Self {
            keys: Mutex::new(Generations {
                number: 0,
                current: Generation::new(0, Instant::now())?,
                before: None,
            }),
            issued: Mutex::default(),
            replays: Mutex::default(),
        })
    }

    /// The keys to seal to now; none if their time is over and no others came.
    pub(crate) fn current(&self) -> Option<SealedKeys> {
        self.current_at(Instant::now())
    }

    fn current_at(&self, now: Instant) -> Option<SealedKeys> {
        let generations = lock(&self.keys);
        let current = &generations.current;
        (now < current.until).then(|| current.keys.clone())
    }

    /// Draws new keys. Those before open requests for [`GRACE`] more and are then
    /// forgotten at the next call that looks for them.
    ///
    /// # Errors
    /// [`NoKey`]; the keys stay as they are.
    pub(crate) fn rotate(&self) -> Result<SealedKeys, NoKey> {
        self.rotate_at(Instant::now())
    }

    fn rotate_at(&self, now: Instant) -> Result<SealedKeys, NoKey> {
        let mut generations = lock(&self.keys);
        let number = generations.number.wrapping_add(1);
        let next = Generation::new(number, now)?;
        let keys = next.keys.clone();
        let mut before = std::mem::replace(&mut generations.current, next);
        before.until = before.until.min(now + GRACE);
        generations.number = number;
        generations.before = Some(before);
        Ok(keys)
    }

    /// Opens a request with at most `limit` bytes of content.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) fn open(&self, request: &[u8], limit: usize) -> Result<Unsealed, OpenError> {
        let keys = self
            .named_by(request, Instant::now())
            .ok_or(OpenError::UnknownKey)?;
        Ok(Unsealed {
            opened: keys.open(request, limit)?,
            key: keys.digest(),
        })
    }

    fn named_by(&self, request: &[u8], now: Instant) -> Option<SealedKeys> {
        let mut generations = lock(&self.keys);
        generations.before.take_if(|before| now >= before.until);
        let Generations { current, before, .. } = &*generations;
        [Some(current), before.as_ref()]
            .into_iter()
            .flatten()
            .filter(|generation| now < generation.until)
            .find(|generation| generation.keys.are_named_by(request))
            .map(|generation| generation.keys.clone())
    }

    /// Remembers that evidence of a key was given out.
    ///
    /// # Errors
    /// [`ApiError::SealedBusy`] if too much is remembered.
    pub(crate) fn issue(&self, statement: StatementDigest, issue: Issue) -> Result<(), ApiError> {
        lock(&self.issued).add(statement, issue, Instant::now())
    }

    /// Admits a request that was opened, once: the statement that it names stands
    /// for the key it was sealed to, and it did not come before.
    ///
    /// # Errors
    /// [`ApiError`] says which.
    pub(crate) fn admit(
        &self,
        unsealed: &Unsealed,
        statement: Option<StatementDigest>,
    ) -> Result<Admitted, ApiError> {
        let now = Instant::now();
        let statement = statement.ok_or(ApiError::SealedStatement)?;
        let issue = lock(&self.issued)
            .standing(&statement, now)
            .filter(|issue| issue.key == unsealed.key)
            .ok_or(ApiError::SealedStatement)?;
        lock(&self.replays).first(unsealed.opened.id, now)?;
        Ok(Admitted {
            nonce: Nonce::new(unsealed.opened.id),
            statement,
            standing: issue.standing,
        })
    }
}

/// What an answer to a sealed request rests on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admitted {
    /// SHA-256 of the request's encapsulated key: no two requests share one.
    pub(crate) nonce: Nonce,
    /// The statement that the request's sender appraised.
    pub(crate) statement: StatementDigest,
    /// What has to stay true.
    pub(crate) standing: Standing,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is complete before anything that could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_replaced_and_those_before_open_requests_for_a_lease_only() {
        let mode = SealedMode::start().unwrap();
        let now = Instant::now();
        let opens = |first: u8, now| mode.named_by(&[first], now).map(|keys| keys.digest());
        let first = mode.current_at(now).unwrap().digest();
        assert_eq!((opens(0, now), opens(1, now)), (Some(first), Some(first)));
        let second = mode.rotate_at(now).unwrap().digest();
        assert_ne!(first, second);
        assert_eq!(mode.current_at(now).unwrap().digest(), second);
        assert_eq!((opens(0, now), opens(2, now)), (Some(first), Some(second)));
        let later = now + GRACE;
        assert_eq!((opens(0, later), opens(2, later)), (None, Some(second)));
        assert!(
            lock(&mode.keys).before.is_none(),
            "the pair is gone, not only unused"
        );
    }

    #[test]
    fn keys_that_nobody_replaced_end_after_a_day() {
        let mode = SealedMode::start().unwrap();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        assert!(mode.current_at(now + KEY_LIFE - second).is_some());
        assert!(mode.current_at(now + KEY_LIFE + second).is_none());
        assert!(mode.named_by(&[0], now + KEY_LIFE + second).is_none());
    }

    #[test]
    fn whatever_may_be_named_is_remembered_for_longer() {
        assert!(replays::MEMORY > LONGEST_LEASE);
        assert!(ROTATION + GRACE <= KEY_LIFE);
    }
}
