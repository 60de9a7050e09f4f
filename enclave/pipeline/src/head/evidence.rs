//! What stages answer to a client's challenge.
//!
//! Owns the challenges that aren't answered yet and the pieces that came.
//! Refuses pieces out of order, too many or too large: such a stage gave no
//! evidence.

use std::time::Duration;

use super::event::Effect;
use crate::message::EvidencePiece;

/// Challenges at once.
const MOST: usize = 32;
/// Pieces of one envelope.
const MOST_PARTS: u16 = 16;
/// Bytes of one piece.
const MOST_BYTES: usize = 65_536;

enum Collected {
    Waiting,
    Pieces { parts: u16, next: u16, bytes: Vec<u8> },
    Over,
}

struct Challenge {
    id: u64,
    until: Duration,
    stages: Vec<Collected>,
}

/// Challenges that aren't answered yet.
#[derive(Default)]
pub(super) struct Challenges {
    open: Vec<Challenge>,
}

impl Challenges {
    /// A challenge that goes to those stages for which `asked` is true; the
    /// others have no evidence to give. Whether it is to be sent at all.
    pub(super) fn begin(&mut self, id: u64, until: Duration, asked: &[bool], out: &mut Vec<Effect>) -> bool {
        let room = self.open.len() < MOST && self.open.iter().all(|challenge| challenge.id != id);
        let mut stages = Vec::new();
        for (stage, asked) in (0u16..).zip(asked) {
            stages.push(if *asked && room {
                Collected::Waiting
            } else {
                Collected::Over
            });
            if !(*asked && room) {
                out.push(Effect::Evidence {
                    id,
                    stage,
                    envelope: None,
                });
            }
        }
        if room && asked.contains(&true) {
            self.open.push(Challenge { id, until, stages });
        }
        room
    }

    /// A piece came; whether it was expected.
    pub(super) fn piece(&mut self, stage: u16, piece: EvidencePiece, out: &mut Vec<Effect>) -> bool {
        let id = piece.id;
        let slot = self
            .open
            .iter_mut()
            .find(|challenge| challenge.id == id)
            .and_then(|challenge| challenge.stages.get_mut(usize::from(stage)));
        let Some(slot) = slot else { return false };
        let envelope = match slot {
            Collected::Over => return false,
            Collected::Waiting if piece.bytes.is_empty() => Some(None),
            Collected::Waiting => fits(&piece, piece.parts, 0).then(|| {
                let (parts, next, bytes) = (piece.parts, 1, piece.bytes);
                if next == parts {
                    return Some(bytes);
                }
                *slot = Collected::Pieces { parts, next, bytes };
                None
            }),
            Collected::Pieces { parts, next, bytes } => fits(&piece, *parts, *next).then(|| {
                bytes.extend_from_slice(&piece.bytes);
                *next += 1;
                (next == parts).then(|| std::mem::take(bytes))
            }),
        };
        match envelope {
            // More is to come.
            Some(None) if !matches!(slot, Collected::Waiting) => return true,
            // All of it, none at all, or nonsense.
            envelope => {
                *slot = Collected::Over;
                let envelope = envelope.flatten();
                out.push(Effect::Evidence { id, stage, envelope });
            }
        }
        self.open.retain(|challenge| !challenge.over());
        true
    }

    /// A stage is lost, or a challenge has waited long enough.
    pub(super) fn end(&mut self, over: impl Fn(u16, Duration) -> bool, out: &mut Vec<Effect>) {
        for challenge in &mut self.open {
            for (stage, slot) in (0u16..).zip(&mut challenge.stages) {
                if !matches!(slot, Collected::Over) && over(stage, challenge.until) {
                    *slot = Collected::Over;
                    let id = challenge.id;
                    out.push(Effect::Evidence {
                        id,
                        stage,
                        envelope: None,
                    });
                }
            }
        }
        self.open.retain(|challenge| !challenge.over());
    }

    /// When the next has waited long enough.
    pub(super) fn due(&self) -> Option<Duration> {
        self.open.iter().map(|challenge| challenge.until).min()
    }
}

impl Challenge {
    fn over(&self) -> bool {
        self.stages.iter().all(|slot| matches!(slot, Collected::Over))
    }
}

fn fits(piece: &EvidencePiece, parts: u16, next: u16) -> bool {
    piece.parts == parts
        && piece.part == next
        && next < parts
        && parts <= MOST_PARTS
        && !piece.bytes.is_empty()
        && piece.bytes.len() <= MOST_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(part: u16, parts: u16, bytes: &[u8]) -> EvidencePiece {
        EvidencePiece {
            id: 7,
            part,
            parts,
            bytes: bytes.to_vec(),
        }
    }

    /// What came of stage 1 of 2, of which stage 0 isn't linked.
    fn collect(pieces: Vec<EvidencePiece>) -> Vec<Option<Vec<u8>>> {
        let mut challenges = Challenges::default();
        let mut out = Vec::new();
        assert!(challenges.begin(7, Duration::from_secs(1), &[false, true], &mut out));
        assert!(matches!(
            out.pop(),
            Some(Effect::Evidence {
                id: 7,
                stage: 0,
                envelope: None
            })
        ));
        for piece in pieces {
            challenges.piece(1, piece, &mut out);
        }
        challenges.end(|_, until| until <= Duration::from_secs(1), &mut out);
        assert_eq!(challenges.due(), None);
        out.into_iter()
            .map(|effect| match effect {
                Effect::Evidence {
                    id: 7,
                    stage: 1,
                    envelope,
                } => envelope,
                _ => panic!("another effect"),
            })
            .collect()
    }

    #[test]
    fn pieces_in_order_make_an_envelope() {
        assert_eq!(collect(vec![piece(0, 1, b"ab")]), [Some(b"ab".to_vec())]);
        let three = vec![piece(0, 3, b"a"), piece(1, 3, b"b"), piece(2, 3, b"c")];
        assert_eq!(collect(three), [Some(b"abc".to_vec())]);
    }

    #[test]
    fn what_is_no_envelope_is_none_and_answered_once() {
        for pieces in [
            vec![],
            vec![piece(0, 1, b"")],
            vec![piece(0, 2, b"a")],
            vec![piece(1, 2, b"a"), piece(0, 2, b"a")],
            vec![piece(0, 2, b"a"), piece(0, 2, b"a"), piece(1, 2, b"a")],
            vec![piece(0, 17, b"a")],
            vec![piece(0, 0, b"a")],
            vec![piece(0, 2, b"a"), piece(1, 2, b"")],
            vec![piece(0, 1, &[1; MOST_BYTES + 1])],
        ] {
            assert_eq!(collect(pieces), [None]);
        }
        assert_eq!(
            collect(vec![piece(0, 1, b"a"), piece(0, 1, b"b")]),
            [Some(b"a".to_vec())]
        );
    }

    #[test]
    fn challenges_at_once_are_bounded() {
        let mut challenges = Challenges::default();
        let mut out = Vec::new();
        for id in 0..32 {
            assert!(challenges.begin(id, Duration::from_secs(1), &[true], &mut out));
        }
        assert!(out.is_empty());
        assert!(!challenges.begin(32, Duration::from_secs(1), &[true], &mut out));
        assert!(matches!(
            out[..],
            [Effect::Evidence {
                id: 32,
                stage: 0,
                envelope: None
            }]
        ));
    }
}
