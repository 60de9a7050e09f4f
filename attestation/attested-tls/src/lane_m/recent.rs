//! The statements that reports came for lately: which of them lane K may build
//! on, and what their clients have been sent. Owns no evidence, only digests of it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bastide_attestation::{Endorsements, GpuEpoch, GpuPart, Omission, StatementDigest, sha256};

use crate::lane_m::Standing;

/// How many are remembered: five minutes of the fastest processor, 8 ms a report.
const MOST: usize = 40_000;

/// Digests of what was sent with a statement, its report aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    endorsements: [u8; 32],
    gpu: Option<[u8; 32]>,
}

/// Digests of what was sent last. The same endorsements and the same evidence of
/// GPUs go with epoch after epoch, and to compare them costs less than to hash them.
#[derive(Debug, Default)]
pub(super) struct LastSent {
    endorsements: Option<(Endorsements, [u8; 32])>,
    gpu: Option<(Arc<GpuEpoch>, [u8; 32])>,
}

impl LastSent {
    /// The digests of these.
    pub(super) fn digests(&mut self, endorsements: &Endorsements, gpu: Option<&Arc<GpuEpoch>>) -> Sent {
        let of_endorsements = match &self.endorsements {
            Some((known, digest)) if known == endorsements => *digest,
            _ => {
                let digest = digest_of_endorsements(endorsements);
                self.endorsements = Some((endorsements.clone(), digest));
                digest
            }
        };
        let of_gpu = gpu.map(|gpu| match &self.gpu {
            Some((known, digest)) if Arc::ptr_eq(known, gpu) => *digest,
            _ => {
                let digest = digest_of_gpu(gpu.part());
                self.gpu = Some((Arc::clone(gpu), digest));
                digest
            }
        });
        Sent {
            endorsements: of_endorsements,
            gpu: of_gpu,
        }
    }
}

impl Sent {
    /// What of `now` was sent already.
    pub(super) fn omission(&self, now: &Self) -> Omission {
        Omission {
            endorsements: now.endorsements == self.endorsements,
            gpu: now.gpu.is_some() && now.gpu == self.gpu,
        }
    }
}

/// SHA-256 of every part behind its length.
fn digest_of(parts: &[&[u8]]) -> [u8; 32] {
    let lengths: Vec<[u8; 8]> = parts
        .iter()
        .map(|part| u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes())
        .collect();
    let pieces: Vec<&[u8]> = lengths
        .iter()
        .zip(parts)
        .flat_map(|(length, part)| [&length[..], part])
        .collect();
    sha256(&pieces)
}

fn digest_of_endorsements(endorsements: &Endorsements) -> [u8; 32] {
    let Endorsements { vek, chain, crl } = endorsements;
    let mut parts = vec![vek.as_slice()];
    parts.extend(chain.iter().map(Vec::as_slice));
    // None and an empty list differ by their number of parts.
    parts.extend(crl.as_deref());
    let chain = u8::try_from(chain.len()).unwrap_or(u8::MAX);
    let head = [chain];
    parts.push(&head);
    digest_of(&parts)
}

fn digest_of_gpu(part: &GpuPart) -> [u8; 32] {
    digest_of(&[&part.evidence, &part.seed, &part.endorsements.encode()])
}

/// A statement that a report came for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stated {
    /// Before its report was asked for.
    pub(super) made: Instant,
    pub(super) standing: Standing,
    pub(super) sent: Sent,
}

/// The latest statements, by their digests.
#[derive(Debug, Default)]
pub(super) struct Recent {
    stated: HashMap<StatementDigest, Stated>,
    order: VecDeque<StatementDigest>,
}

impl Recent {
    pub(super) fn add(&mut self, digest: StatementDigest, stated: Stated) {
        if self.order.len() >= MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.stated.remove(&oldest);
        }
        self.order.push_back(digest);
        self.stated.insert(digest, stated);
    }

    /// The statement with this digest, if it is remembered.
    pub(super) fn stated(&self, digest: &StatementDigest) -> Option<(StatementDigest, Stated)> {
        self.stated.get(digest).map(|stated| (*digest, *stated))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u32) -> StatementDigest {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        StatementDigest::new(bytes)
    }

    #[test]
    fn the_oldest_is_forgotten_first_and_nothing_grows_beyond_the_limit() {
        let endorsements = Endorsements {
            vek: vec![1],
            chain: Vec::new(),
            crl: None,
        };
        let stated = Stated {
            made: Instant::now(),
            standing: Standing::default(),
            sent: LastSent::default().digests(&endorsements, None),
        };
        let mut recent = Recent::default();
        let most = u32::try_from(MOST).unwrap();
        for number in 0..most + 3 {
            recent.add(digest(number), stated);
        }
        assert_eq!((recent.order.len(), recent.stated.len()), (MOST, MOST));
        assert!(recent.stated(&digest(2)).is_none());
        assert!(recent.stated(&digest(3)).is_some() && recent.stated(&digest(most + 2)).is_some());
    }

    #[test]
    fn endorsements_that_changed_and_came_back_are_told_apart() {
        let of = |vek: u8| Endorsements {
            vek: vec![vek],
            chain: vec![vec![2], vec![3]],
            crl: None,
        };
        let mut last = LastSent::default();
        let [first, same, other, back] = [1, 1, 4, 1].map(|vek| last.digests(&of(vek), None));
        assert_eq!((first, first), (same, back));
        assert!(first.omission(&same).endorsements && other.omission(&other).endorsements);
        assert!(!first.omission(&other).endorsements && !other.omission(&back).endorsements);
        // No evidence of GPUs is nothing that could be left out.
        assert!(!first.omission(&same).gpu);
    }

    #[test]
    fn endorsements_are_equal_only_if_every_part_is() {
        let of = |vek: &[u8], chain: &[&[u8]], crl: Option<&[u8]>| {
            digest_of_endorsements(&Endorsements {
                vek: vek.to_vec(),
                chain: chain.iter().map(|part| part.to_vec()).collect(),
                crl: crl.map(<[u8]>::to_vec),
            })
        };
        let mut digests = vec![
            of(b"ab", &[], None),
            of(b"a", &[b"b"], None),
            of(b"a", &[], Some(b"b")),
            of(b"a", &[b"b"], Some(b"")),
            of(b"a", &[b"", b"b"], None),
            of(b"a", &[b"b", b""], None),
        ];
        assert_eq!(of(b"ab", &[], None), digests[0]);
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), 6);
    }
}
