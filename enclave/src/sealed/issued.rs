//! Statements that were given out with evidence of a sealed-mode key. A request
//! names one; it stands for one lease, and for what was true when it was made.

use std::collections::HashMap;

use bastide_attestation::StatementDigest;
use bastide_attested_tls::Standing;
use tokio::time::Instant;

use crate::api::ApiError;

/// More than one for every 8 ms of a lease, which is as fast as reports come.
const MOST: usize = 65_536;

/// What a statement stands for, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Issue {
    /// Digest of the key configuration that it names.
    pub(crate) key: [u8; 32],
    /// What has to stay true.
    pub(crate) standing: Standing,
    /// When the lease is over.
    pub(crate) until: Instant,
}

/// Statements by digest.
#[derive(Debug, Default)]
pub(super) struct Issued(HashMap<StatementDigest, Issue>);

impl Issued {
    /// Adds a statement. One that many were given in the same epoch is one entry,
    /// which lasts as long as the longest.
    pub(super) fn add(
        &mut self,
        statement: StatementDigest,
        issue: Issue,
        now: Instant,
    ) -> Result<(), ApiError> {
        if self.0.len() >= MOST {
            self.0.retain(|_, known| now < known.until);
            if self.0.len() >= MOST {
                return Err(ApiError::SealedBusy);
            }
        }
        let known = self.0.entry(statement).or_insert(issue);
        known.until = known.until.max(issue.until);
        Ok(())
    }

    /// What a statement stands for, while it does.
    pub(super) fn standing(&mut self, statement: &StatementDigest, now: Instant) -> Option<Issue> {
        let issue = *self.0.get(statement)?;
        if now < issue.until {
            return Some(issue);
        }
        self.0.remove(statement);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const STANDING: Standing = Standing {
        generation: 1,
        answering: 1,
        gpu_epoch: 0,
    };

    fn statement(number: usize) -> StatementDigest {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        StatementDigest::new(bytes)
    }

    #[test]
    fn t20_a_statement_stands_for_its_lease_and_no_longer() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let standing = Issue {
            key: [1; 32],
            standing: STANDING,
            until: now + 300 * second,
        };
        let mut issued = Issued::default();
        assert_eq!(issued.standing(&statement(1), now), None);
        issued.add(statement(1), standing, now).unwrap();
        assert_eq!(issued.standing(&statement(1), now + 299 * second), Some(standing));
        assert_eq!(issued.standing(&statement(1), now + 300 * second), None);
        assert_eq!(issued.standing(&statement(1), now), None, "forgotten for good");
    }

    #[test]
    fn when_as_many_stand_as_may_no_other_is_given_out() {
        let now = Instant::now();
        let standing = Issue {
            key: [1; 32],
            standing: STANDING,
            until: now + Duration::from_secs(300),
        };
        let mut issued = Issued::default();
        for number in 0..MOST {
            issued.add(statement(number), standing, now).unwrap();
        }
        assert_eq!(
            issued.add(statement(MOST), standing, now),
            Err(ApiError::SealedBusy)
        );
        assert_eq!(issued.standing(&statement(0), now), Some(standing));
        let later = now + Duration::from_secs(300);
        let next = Issue {
            until: later + Duration::from_secs(300),
            ..standing
        };
        issued.add(statement(MOST), next, later).unwrap();
        assert_eq!(issued.0.len(), 1);
    }
}
