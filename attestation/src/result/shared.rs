//! An accepted verdict that the sessions of an epoch share. What is said of one
//! session alone is a check of its own, and is put in its place when somebody looks.

use core::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::{Check, Verdict};

/// An accepted verdict, as one session has it. It reads as a [`Verdict`] does.
#[derive(Clone)]
pub struct SharedVerdict {
    epoch: Arc<Verdict>,
    own: Option<Own>,
}

/// The check of a session that isn't the one which was appraised.
#[derive(Clone)]
struct Own {
    check: Check,
    whole: OnceLock<Arc<Verdict>>,
}

impl SharedVerdict {
    /// The same verdict about another session of the epoch: with `check` in the
    /// place of the check that has its name.
    #[must_use]
    pub fn with(&self, check: Check) -> Self {
        Self {
            epoch: Arc::clone(&self.epoch),
            own: Some(Own {
                check,
                whole: OnceLock::new(),
            }),
        }
    }

    /// The verdict by itself.
    pub fn into_verdict(self) -> Verdict {
        match self.own {
            None => Arc::unwrap_or_clone(self.epoch),
            Some(_) => Verdict::clone(&self),
        }
    }
}

impl From<Verdict> for SharedVerdict {
    fn from(verdict: Verdict) -> Self {
        Self {
            epoch: Arc::new(verdict),
            own: None,
        }
    }
}

impl Deref for SharedVerdict {
    type Target = Verdict;

    fn deref(&self) -> &Verdict {
        let Some(Own { check, whole }) = &self.own else {
            return &self.epoch;
        };
        whole.get_or_init(|| {
            let mut verdict = Verdict::clone(&self.epoch);
            for shared in &mut verdict.checks {
                if shared.id == check.id {
                    shared.clone_from(check);
                }
            }
            Arc::new(verdict)
        })
    }
}

impl core::fmt::Debug for SharedVerdict {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        Verdict::fmt(self, f)
    }
}

impl PartialEq for SharedVerdict {
    fn eq(&self, other: &Self) -> bool {
        Verdict::eq(self, other)
    }
}

impl Eq for SharedVerdict {}

#[cfg(test)]
mod tests {
    use super::super::{Basis, Decision, Status, VERDICT_SCHEMA};
    use super::*;

    fn check(id: &'static str, got: &str) -> Check {
        Check {
            id,
            status: Status::Pass,
            expected: "what would have passed".into(),
            got: got.to_owned().into(),
            basis: Basis::Derived,
        }
    }

    fn verdict(second: &str) -> Verdict {
        Verdict {
            schema: VERDICT_SCHEMA,
            decision: Decision::Accepted,
            code: None,
            reason: None,
            platform: None,
            checks: ["first", "second", "third"]
                .map(|id| check(id, if id == "second" { second } else { "the same" }))
                .to_vec(),
            roots: Vec::new(),
            simulated: false,
            uncovered: Vec::new(),
            snp: None,
            azure: None,
            gpus: Vec::new(),
            session: None,
            policy: String::new(),
            policy_digest: String::new(),
            ignored: Vec::new(),
            at: String::new(),
        }
    }

    #[test]
    fn each_session_reads_its_own_check_and_all_else_is_the_epoch_s() {
        let first = SharedVerdict::from(verdict("leaf 1"));
        let [other, third] = ["leaf 2", "leaf 3"].map(|got| first.with(check("second", got)));
        assert_eq!(*first, verdict("leaf 1"));
        assert_eq!(*other, verdict("leaf 2"));
        assert_eq!(third.clone().into_verdict(), verdict("leaf 3"));
        assert_ne!(other, third);
        // Of one that has been looked at as of one that hasn't.
        assert_eq!(*other.with(check("second", "leaf 3")), verdict("leaf 3"));
        assert_eq!(*other.clone(), *other);
        assert_eq!(first.into_verdict(), verdict("leaf 1"));
    }
}
