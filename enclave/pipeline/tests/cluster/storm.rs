//! Whatever a stage, a link or a client says: no panic, no endless growth.

use std::time::Duration;

use bastide_attestation::{Nonce, Salt};
use bastide_pipeline::head::{Effect, Event, Head, Loss, Request, Speculation};
use bastide_pipeline::message::{
    Answer, Envelope, Epoch, EvidencePiece, Fault, FaultCode, Message, Part, Ready, RingId, Sampling,
    SequenceId, Target, Targets,
};
use proptest::collection::vec;
use proptest::prelude::*;
use zeroize::Zeroizing;

use crate::model::VOCABULARY;
use crate::stage::{ENGINE, MAX_POSITIONS, PLAN, weights};
use crate::world::terms;

const STAGES: u16 = 3;

/// Throws that one number decides, so that a failure shrinks to few events.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn narrow(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(bound.into())).unwrap()
    }

    fn stage(&mut self) -> u16 {
        u16::try_from(self.below(u64::from(STAGES) + 1)).unwrap()
    }

    fn sequence(&mut self) -> SequenceId {
        SequenceId(self.below(4))
    }

    fn epoch(&mut self) -> Epoch {
        match self.below(8) {
            0 => Epoch(u32::MAX),
            1..3 => Epoch(self.narrow(5)),
            _ => Epoch(0),
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::try_from(self.below(3)).unwrap();
        vec![7; length]
    }

    fn targets(&mut self) -> Targets {
        let count = self.below(4);
        Targets {
            sequence: self.sequence(),
            epoch: self.epoch(),
            pos: self.narrow(12),
            targets: (0..count)
                .map(|_| Target {
                    id: self.narrow(VOCABULARY + 1),
                    logprob: f32::NAN,
                    top: Vec::new(),
                })
                .collect(),
        }
    }

    /// The ring is decided when it is said.
    fn message(&mut self) -> (u16, Message) {
        let (stage, sequence, epoch) = (self.stage(), self.sequence(), self.epoch());
        let message = match self.below(12) {
            0..4 => Message::Ready(Ready {
                plan: PLAN,
                stage,
                weights: weights(stage),
                engine: ENGINE,
                max_positions: MAX_POSITIONS,
                max_sequences: 2,
                row_us: u32::MAX,
            }),
            4..8 => {
                let runs = (0..self.below(3)).map(|_| self.targets()).collect();
                return (
                    STAGES - 1,
                    Message::Answer(Answer {
                        number: self.below(6),
                        runs,
                    }),
                );
            }
            8 => Message::Part(Part {
                sequence,
                epoch,
                stage,
                signed: self.bytes(),
            }),
            9 => {
                let codes = [
                    FaultCode::Gap,
                    FaultCode::Full,
                    FaultCode::Unknown,
                    FaultCode::Forward,
                    FaultCode::NextLost,
                    FaultCode::Signing,
                ];
                let code = codes[usize::try_from(self.below(6)).unwrap()];
                Message::Fault(Fault {
                    code,
                    sequence,
                    epoch,
                })
            }
            10 => Message::Pong {
                tick: self.below(5),
                done: self.below(5),
            },
            _ => {
                let (id, part, parts) = (self.below(3), self.stage(), self.stage());
                Message::Evidence(EvidencePiece {
                    id,
                    part,
                    parts,
                    bytes: self.bytes(),
                })
            }
        };
        (stage, message)
    }

    fn event(&mut self, ring: u32) -> Event {
        let (stage, sequence) = (self.stage(), self.sequence());
        match self.below(32) {
            0..3 => Event::Submit(Request {
                sequence,
                prompt: Zeroizing::new((0..self.narrow(6)).collect()),
                budget: self.narrow(9),
                sampling: Sampling {
                    temperature: 0.0,
                    top_p: 1.0,
                    seed: 0,
                    top_logprobs: None,
                },
                salt: Salt::new([0; 32]),
            }),
            3..11 => Event::Up { stage },
            11 => Event::Down {
                stage,
                why: Loss::Ended,
            },
            12..26 => {
                let (stage, message) = self.message();
                let old = u32::from(self.below(10) == 0);
                let ring = RingId(ring.wrapping_sub(old));
                Event::Message {
                    stage,
                    envelope: Envelope { ring, message },
                }
            }
            26..29 => Event::Drafted {
                sequence,
                epoch: self.epoch(),
                ids: Zeroizing::new((0..self.below(40)).map(|_| self.narrow(VOCABULARY + 1)).collect()),
                took: Duration::MAX,
            },
            29 => Event::Stop {
                sequence,
                produced: self.narrow(5),
            },
            30 => Event::Cancel { sequence },
            _ => Event::Challenge {
                id: self.below(4),
                nonce: Nonce::new([1; 32]),
            },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_comes_makes_the_head_panic_or_grow(
        events in vec((any::<u64>(), 0u64..1_000), 0..300),
        speculation in prop_oneof![
            Just(Speculation::Off),
            Just(Speculation::Synchronous { k: 3 }),
            Just(Speculation::Pipelined { k: 2, depth: 3 }),
            Just(Speculation::Auto),
        ],
    ) {
        let mut head = Head::new(terms(STAGES, speculation, 3));
        let mut now = Duration::ZERO;
        head.start(now);
        let mut running = std::collections::BTreeSet::new();
        for (seed, pause) in events {
            now += Duration::from_millis(pause);
            let event = Dice(seed).event(head.status().ring);
            match &event {
                Event::Submit(request) => {
                    running.insert(request.sequence);
                }
                Event::Cancel { sequence } => {
                    running.remove(sequence);
                }
                _ => {}
            }
            for effect in head.handle(now, event) {
                match effect {
                    Effect::Emit { sequence, targets } => {
                        prop_assert!(running.contains(&sequence) && !targets.is_empty());
                    }
                    Effect::Done { sequence, .. } | Effect::Failed { sequence, .. } => {
                        prop_assert!(running.remove(&sequence), "ended once");
                    }
                    _ => {}
                }
            }
            while head.next_draft(now).is_some() {}
            let status = head.status();
            prop_assert!(status.frames <= 32 + usize::from(STAGES) + 1);
            prop_assert!(status.running + status.waiting == running.len());
        }
        // With nobody there, everything comes to its end.
        for stage in 1..STAGES {
            head.handle(now, Event::Down { stage, why: Loss::Ended });
        }
        let mut ticks = 0;
        while head.status().running + head.status().waiting > 0 {
            let due = head.deadline();
            prop_assert!(due.is_some(), "something waits for nothing");
            now = now.max(due.unwrap_or_default());
            head.handle(now, Event::Tick);
            ticks += 1;
            prop_assert!(ticks < 2_000, "it spins");
        }
    }
}
