//! Whether a manifest's certificates are valid in time, and what is done when
//! manifests outlive their signers, as NVIDIA's do. Never a bare yes: what was
//! overlooked is part of the answer.

use bastide_attestation::UnixTime;

use super::error::RimFault;

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// What is done about expired certificates. One that is not valid yet is always
/// refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// Every certificate must be valid now.
    Strict,
    /// Each may have expired at most this long ago.
    Grace {
        /// Days of 24 hours.
        days: u16,
    },
    /// Files with these SHA-256 digests may have expired; all others are as
    /// under `Strict`.
    Pinned {
        /// The files.
        sha256: Vec<[u8; 32]>,
    },
}

/// Why a manifest is current enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Every certificate is valid now.
    Valid {
        /// Last second at which all still are.
        until: UnixTime,
    },
    /// A certificate expired, within the days of grace.
    Grace {
        /// When the first one did.
        expired: UnixTime,
    },
    /// A certificate expired, and the file is pinned.
    Pinned {
        /// When the first one did.
        expired: UnixTime,
    },
}

impl Expiry {
    /// Decides about certificates with these first and last seconds, signer first.
    pub(super) fn decide(
        &self,
        validity: &[(UnixTime, UnixTime)],
        file_sha256: &[u8; 32],
        now: UnixTime,
    ) -> Result<Standing, RimFault> {
        let mut until = UnixTime::from_secs(u64::MAX);
        for (index, (from, to)) in validity.iter().enumerate() {
            if now < *from {
                return Err(RimFault::NotYetValid { index, from: *from });
            }
            until = until.min(*to);
        }
        if now <= until {
            return Ok(Standing::Valid { until });
        }
        let expired = until;
        match self {
            Self::Pinned { sha256 } if sha256.contains(file_sha256) => {
                return Ok(Standing::Pinned { expired });
            }
            Self::Grace { days } => {
                let grace = u64::from(*days) * SECONDS_PER_DAY;
                if now.as_secs() <= expired.as_secs().saturating_add(grace) {
                    return Ok(Standing::Grace { expired });
                }
            }
            Self::Strict | Self::Pinned { .. } => {}
        }
        let index = validity.iter().position(|(_, to)| *to == expired);
        Err(RimFault::SignerExpired {
            index: index.unwrap_or_default(),
            since: expired,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Expiry, RimFault, Standing};
    use bastide_attestation::UnixTime;

    const DAY: u64 = 24 * 60 * 60;
    const FILE: [u8; 32] = [7; 32];

    fn decide(expiry: &Expiry, now: u64) -> Result<Standing, RimFault> {
        let validity = [(2, 10), (1, 20)]
            .map(|(from, to)| (UnixTime::from_secs(from * DAY), UnixTime::from_secs(to * DAY)));
        expiry.decide(&validity, &FILE, UnixTime::from_secs(now))
    }

    #[test]
    fn both_ends_are_valid_and_nothing_beyond_under_strict() {
        let until = UnixTime::from_secs(10 * DAY);
        let fault = RimFault::SignerExpired {
            index: 0,
            since: until,
        };
        assert_eq!(decide(&Expiry::Strict, 2 * DAY), Ok(Standing::Valid { until }));
        assert_eq!(decide(&Expiry::Strict, 10 * DAY), Ok(Standing::Valid { until }));
        assert_eq!(decide(&Expiry::Strict, 10 * DAY + 1), Err(fault));
    }

    #[test]
    fn grace_ends_and_says_since_when_it_was_needed() {
        let expired = UnixTime::from_secs(10 * DAY);
        let grace = Expiry::Grace { days: 3 };
        assert_eq!(decide(&grace, 13 * DAY), Ok(Standing::Grace { expired }));
        assert!(decide(&grace, 13 * DAY + 1).is_err());
        assert!(decide(&Expiry::Grace { days: 0 }, 10 * DAY + 1).is_err());
    }

    #[test]
    fn a_pin_is_for_one_file_alone() {
        let expired = UnixTime::from_secs(10 * DAY);
        let pinned = |sha256| Expiry::Pinned { sha256 };
        assert_eq!(
            decide(&pinned(vec![[1; 32], FILE]), 99 * DAY),
            Ok(Standing::Pinned { expired })
        );
        assert!(decide(&pinned(vec![[1; 32]]), 99 * DAY).is_err());
        assert!(decide(&pinned(vec![]), 11 * DAY).is_err());
    }

    #[test]
    fn what_is_not_valid_yet_is_refused_in_every_mode() {
        let from = UnixTime::from_secs(2 * DAY);
        for expiry in [
            Expiry::Strict,
            Expiry::Grace { days: u16::MAX },
            Expiry::Pinned { sha256: vec![FILE] },
        ] {
            assert_eq!(
                decide(&expiry, 2 * DAY - 1),
                Err(RimFault::NotYetValid { index: 0, from })
            );
        }
    }
}
