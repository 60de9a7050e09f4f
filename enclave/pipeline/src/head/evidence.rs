//! What stages answer to a client's challenge.
//!
//! Owns the challenges that aren't answered yet and the pieces that came. A
//! stage without a link is asked once it has one, and whoever takes the place
//! of a lost one is asked in its stead, until the challenge's time is over.
//! Refuses pieces out of order, too many or too large: such a stage gave no
//! evidence.

use std::time::Duration;

use bastide_attestation::Nonce;

use super::event::Effect;
use crate::message::{Envelope, EvidencePiece, Message, RingId};

/// Challenges at once.
const MOST: usize = 32;
/// Pieces of one envelope.
const MOST_PARTS: u16 = 16;
/// Bytes of one piece.
const MOST_BYTES: usize = 65_536;

enum Collected {
    /// It has no link, or hasn't been asked on it.
    Unasked,
    Waiting,
    Pieces {
        parts: u16,
        next: u16,
        bytes: Vec<u8>,
    },
    Over,
}

struct Challenge {
    id: u64,
    nonce: Nonce,
    until: Duration,
    stages: Vec<Collected>,
}

/// Challenges that aren't answered yet.
#[derive(Default)]
pub(super) struct Challenges {
    open: Vec<Challenge>,
}

impl Challenges {
    /// A challenge for so many stages, which [`ask`](Self::ask) sends. One too
    /// many is over at once, without evidence.
    pub(super) fn begin(
        &mut self,
        id: u64,
        nonce: Nonce,
        until: Duration,
        stages: u16,
        out: &mut Vec<Effect>,
    ) {
        if self.open.len() >= MOST || self.open.iter().any(|challenge| challenge.id == id) {
            out.extend((0..stages).map(|stage| none(id, stage)));
            return;
        }
        self.open.push(Challenge {
            id,
            nonce,
            until,
            stages: (0..stages).map(|_| Collected::Unasked).collect(),
        });
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
            Collected::Over | Collected::Unasked => return false,
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

    /// Asks stages that have a link and weren't asked on it; what a link that is
    /// gone began to say counts for nothing. Ends challenges whose time is over.
    pub(super) fn ask(&mut self, now: Duration, ring: RingId, links: &[bool], out: &mut Vec<Effect>) {
        for challenge in &mut self.open {
            let (id, nonce) = (challenge.id, challenge.nonce);
            for ((stage, slot), linked) in (0u16..).zip(&mut challenge.stages).zip(links) {
                match slot {
                    Collected::Over => {}
                    _ if challenge.until <= now => {
                        *slot = Collected::Over;
                        out.push(none(id, stage));
                    }
                    Collected::Unasked if *linked => {
                        *slot = Collected::Waiting;
                        let message = Message::Challenge { id, nonce };
                        let envelope = Envelope { ring, message };
                        out.push(Effect::Send { stage, envelope });
                    }
                    slot if !linked => *slot = Collected::Unasked,
                    _ => {}
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

/// That a stage gave no evidence.
fn none(id: u64, stage: u16) -> Effect {
    Effect::Evidence {
        id,
        stage,
        envelope: None,
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

    const TIME: Duration = Duration::from_secs(1);
    const LINKED: &[bool] = &[false, true];

    fn begun() -> Challenges {
        let (mut challenges, mut out) = (Challenges::default(), Vec::new());
        challenges.begin(7, Nonce::new([3; 32]), TIME, 2, &mut out);
        assert!(out.is_empty());
        challenges
    }

    type Envelopes = Vec<(u16, Option<Vec<u8>>)>;

    /// Stages that are asked, and envelopes that came.
    fn told(out: &mut Vec<Effect>) -> (Vec<u16>, Envelopes) {
        let (mut asked, mut answered) = (Vec::new(), Vec::new());
        for effect in out.drain(..) {
            match effect {
                Effect::Send { stage, envelope } => {
                    assert!(matches!(envelope.message, Message::Challenge { id: 7, .. }));
                    asked.push(stage);
                }
                Effect::Evidence {
                    id: 7,
                    stage,
                    envelope,
                } => answered.push((stage, envelope)),
                _ => panic!("another effect"),
            }
        }
        (asked, answered)
    }

    /// What came of stage 1 of 2, of which stage 0 isn't linked.
    fn collect(pieces: Vec<EvidencePiece>) -> Vec<Option<Vec<u8>>> {
        let (mut challenges, mut out) = (begun(), Vec::new());
        challenges.ask(Duration::ZERO, RingId(1), LINKED, &mut out);
        assert_eq!(told(&mut out), (vec![1], vec![]));
        for piece in pieces {
            challenges.piece(1, piece, &mut out);
        }
        challenges.ask(TIME, RingId(1), LINKED, &mut out);
        assert_eq!(challenges.due(), None);
        let (asked, mut answered) = told(&mut out);
        assert!(asked.is_empty());
        let unlinked = answered.iter().position(|(stage, _)| *stage == 0);
        assert_eq!(answered.remove(unlinked.unwrap()), (0, None));
        answered.into_iter().map(|(_, envelope)| envelope).collect()
    }

    #[test]
    fn a_stage_that_links_in_time_is_asked_then_and_whoever_replaces_it_too() {
        let (mut challenges, mut out) = (begun(), Vec::new());
        let mut ask = |challenges: &mut Challenges, links: [bool; 2]| {
            challenges.ask(Duration::ZERO, RingId(1), &links, &mut out);
            told(&mut out)
        };
        assert_eq!(ask(&mut challenges, [true, false]), (vec![0], vec![]));
        assert_eq!(ask(&mut challenges, [true, true]), (vec![1], vec![]));
        assert_eq!(ask(&mut challenges, [true, true]), (vec![], vec![]), "asked once");
        let mut effects = Vec::new();
        assert!(challenges.piece(1, piece(0, 2, b"of the one "), &mut effects));
        assert!(effects.is_empty());
        assert_eq!(
            ask(&mut challenges, [true, false]),
            (vec![], vec![]),
            "it was lost"
        );
        assert!(!challenges.piece(1, piece(1, 2, b"that was lost"), &mut effects));
        assert_eq!(ask(&mut challenges, [true, true]), (vec![1], vec![]));
        assert!(challenges.piece(1, piece(0, 1, b"of the other"), &mut effects));
        assert_eq!(
            told(&mut effects),
            (vec![], vec![(1, Some(b"of the other".to_vec()))])
        );
        assert_eq!(challenges.due(), Some(TIME), "stage 0 hasn't answered");
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
        for id in 8..40 {
            challenges.begin(id, Nonce::new([3; 32]), TIME, 1, &mut out);
        }
        assert!(out.is_empty());
        challenges.begin(7, Nonce::new([3; 32]), TIME, 1, &mut out);
        assert_eq!(told(&mut out), (vec![], vec![(0, None)]));
    }
}
