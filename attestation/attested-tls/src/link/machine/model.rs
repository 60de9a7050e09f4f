//! The machine as a model: two ends, a network that cuts bytes wherever it
//! likes, and an attacker in the middle of it, which is more than TLS leaves
//! anyone. Schedules are random; what must never happen, never happens.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::tests::{ideal_evidence, seconds, terms};
use super::*;

/// What an end was told to do and has not done.
#[derive(Debug)]
enum Task {
    Evidence(Vec<u8>),
    Appraise(bool),
    Nonce,
}

#[derive(Debug)]
struct End {
    machine: LinkMachine,
    tasks: VecDeque<Task>,
    /// Bytes on their way to this end, in frames as the network has them.
    inbox: VecDeque<Vec<u8>>,
    /// Frames that this end sent, and those that came to it whole.
    sent: Vec<Vec<u8>>,
    came: Vec<u8>,
    accepted: usize,
    opened: bool,
    /// What had come when it opened.
    came_when_opened: Vec<u8>,
    delivered: Vec<Vec<u8>>,
    end: Option<LinkEnd>,
    nonces: u8,
}

impl End {
    fn new(role: Role) -> (Self, Vec<Effect>) {
        let nonce = Nonce::new([if role == Role::Client { 1 } else { 2 }; 32]);
        let (machine, effects) = LinkMachine::start(terms(role), nonce).unwrap();
        let end = Self {
            machine,
            tasks: VecDeque::new(),
            inbox: VecDeque::new(),
            sent: Vec::new(),
            came: Vec::new(),
            accepted: 0,
            opened: false,
            came_when_opened: Vec::new(),
            delivered: Vec::new(),
            end: None,
            nonces: 100,
        };
        (end, effects)
    }

    /// Does what can be done at once; returns frames for the other end.
    fn carry_out(&mut self, effects: Vec<Effect>) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for effect in effects {
            assert!(self.end.is_none(), "an effect after the end: {effect:?}");
            match effect {
                Effect::Send(frame) => {
                    self.sent.push(frame.clone());
                    out.push(frame);
                }
                Effect::MakeEvidence { binder, leaf } => {
                    self.tasks
                        .push_back(Task::Evidence(ideal_evidence(&binder, leaf)));
                }
                Effect::Appraise {
                    evidence, expected, ..
                } => {
                    let bound = evidence == ideal_evidence(&expected.binder, expected.leaf);
                    self.tasks.push_back(Task::Appraise(bound));
                }
                Effect::DrawNonce => self.tasks.push_back(Task::Nonce),
                Effect::Opened => {
                    assert!(!self.opened, "opened twice");
                    assert!(self.accepted > 0, "opened without an accepted appraisal");
                    self.opened = true;
                    self.came_when_opened.clone_from(&self.came);
                }
                Effect::Deliver(message) => {
                    assert!(self.opened, "a message before the link was open");
                    self.delivered.push(message);
                }
                Effect::Close { end, .. } => self.end = Some(end),
                Effect::Draining | Effect::ArmTimer(_) => {}
            }
        }
        out
    }

    /// Takes at most `most` bytes from the network.
    fn receive(&mut self, now: Duration, most: usize) -> Vec<Vec<u8>> {
        let Some(mut piece) = self.inbox.pop_front() else {
            return Vec::new();
        };
        if piece.len() > most {
            self.inbox.push_front(piece.split_off(most));
        }
        self.came.extend_from_slice(&piece);
        let effects = self.machine.step(now, Input::Received(&piece));
        self.carry_out(effects)
    }

    fn do_task(&mut self, now: Duration) -> Vec<Vec<u8>> {
        let Some(task) = self.tasks.pop_front() else {
            return Vec::new();
        };
        let effects = match task {
            Task::Evidence(evidence) => self.machine.step(now, Input::Evidence(Ok(evidence))),
            Task::Appraise(true) => {
                self.accepted += 1;
                self.machine.step(now, Input::Appraised(Ok(())))
            }
            Task::Appraise(false) => {
                let refused = LinkEnd::Internal {
                    reason: "not bound to this session".to_owned(),
                };
                self.machine.step(now, Input::Appraised(Err(refused)))
            }
            Task::Nonce => {
                self.nonces += 1;
                self.machine
                    .step(now, Input::Nonce(Nonce::new([self.nonces; 32])))
            }
        };
        self.carry_out(effects)
    }
}

/// What the attacker does with one frame on its way.
#[derive(Debug, Clone, Copy)]
enum Attack {
    Drop,
    Twice,
    /// Lets the next one go first.
    Hold,
    Flip(prop::sample::Index, u8),
    Truncate(prop::sample::Index),
    /// Sends it back to its sender as well.
    Reflect,
    /// Puts a frame of this type, with some legal body, before it.
    Inject(usize, u8),
}

fn attack() -> impl Strategy<Value = Attack> {
    prop_oneof![
        Just(Attack::Drop),
        Just(Attack::Twice),
        Just(Attack::Hold),
        (any::<prop::sample::Index>(), 0_u8..8).prop_map(|(at, bit)| Attack::Flip(at, bit)),
        any::<prop::sample::Index>().prop_map(Attack::Truncate),
        Just(Attack::Reflect),
        (0_usize..7, any::<u8>()).prop_map(|(kind, fill)| Attack::Inject(kind, fill)),
    ]
}

#[derive(Debug)]
struct World {
    ends: [End; 2],
    now: Duration,
    /// Which frame of which direction is attacked, counted from 0.
    attacks: Vec<(usize, usize, Attack)>,
    counts: [usize; 2],
    held: [Option<Vec<u8>>; 2],
}

impl World {
    fn new(attacks: Vec<(usize, usize, Attack)>) -> Self {
        let (client, to_server) = End::new(Role::Client);
        let (server, to_client) = End::new(Role::Server);
        let mut world = Self {
            ends: [client, server],
            now: seconds(0),
            attacks,
            counts: [0, 0],
            held: [None, None],
        };
        for (from, effects) in [(0, to_server), (1, to_client)] {
            let frames = world.ends[from].carry_out(effects);
            world.send(from, frames);
        }
        world
    }

    fn send(&mut self, from: usize, frames: Vec<Vec<u8>>) {
        for frame in frames {
            let number = self.counts[from];
            self.counts[from] += 1;
            let attack = self
                .attacks
                .iter()
                .find(|(end, at, _)| (*end, *at) == (from, number))
                .map(|(_, _, attack)| *attack);
            let mut out = Vec::new();
            match attack {
                None => out.push(frame),
                Some(Attack::Drop) => {}
                Some(Attack::Twice) => out.extend([frame.clone(), frame]),
                Some(Attack::Hold) => {
                    self.held[from] = Some(frame);
                    continue;
                }
                Some(Attack::Flip(at, bit)) => {
                    let mut frame = frame;
                    let at = at.index(frame.len());
                    frame[at] ^= 1 << bit;
                    out.push(frame);
                }
                Some(Attack::Truncate(at)) => out.push(frame[..at.index(frame.len())].to_vec()),
                Some(Attack::Reflect) => {
                    self.ends[from].inbox.push_back(frame.clone());
                    out.push(frame);
                }
                Some(Attack::Inject(kind, fill)) => {
                    let kind = FrameType::ALL[kind];
                    let (fewest, _) = kind.bounds();
                    out.extend([encode_frame(kind, &vec![fill; fewest]).unwrap(), frame]);
                }
            }
            out.extend(self.held[from].take());
            self.ends[1 - from]
                .inbox
                .extend(out.into_iter().filter(|frame| !frame.is_empty()));
        }
    }

    /// One thing that can happen.
    fn happen(&mut self, choice: u16) {
        let end = usize::from(choice & 1);
        let frames = if choice & 2 == 0 {
            let most = usize::from(choice >> 2) % 97 + 1;
            self.ends[end].receive(self.now, most)
        } else {
            self.ends[end].do_task(self.now)
        };
        self.send(end, frames);
    }

    /// Lets everything happen that still can.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            if self
                .ends
                .iter()
                .all(|end| end.inbox.is_empty() && end.tasks.is_empty())
            {
                return;
            }
            for end in [0, 1] {
                let frames = self.ends[end].do_task(self.now);
                self.send(end, frames);
                let frames = self.ends[end].receive(self.now, 4096);
                self.send(end, frames);
            }
        }
        panic!("the ends never come to rest");
    }

    fn message(&mut self, from: usize, text: &[u8]) -> bool {
        let (effects, result) = self.ends[from].machine.data(self.now, text);
        let frames = self.ends[from].carry_out(effects);
        self.send(from, frames);
        result.is_ok()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    /// Never a deadlock: whatever the order and the pieces, honest ends open.
    #[test]
    fn honest_ends_open_whatever_the_order(schedule in prop::collection::vec(any::<u16>(), 0..200)) {
        let mut world = World::new(Vec::new());
        schedule.into_iter().for_each(|choice| world.happen(choice));
        world.settle();
        prop_assert!(world.ends.iter().all(|end| end.opened && end.end.is_none()));
        prop_assert!(world.message(0, b"to the server") && world.message(1, b"to the client"));
        world.settle();
        prop_assert_eq!(&world.ends[1].delivered, &[b"to the server".to_vec()]);
        prop_assert_eq!(&world.ends[0].delivered, &[b"to the client".to_vec()]);
    }

    /// An end opens only on exactly the HELLO, EVIDENCE and CONFIRM that its peer
    /// sent, and the peer accepted its evidence. (OPEN is empty: what it rests on
    /// is these, and TLS, as does all that follows it.)
    #[test]
    fn whatever_is_done_to_frames_nobody_opens_on_other_bytes_than_the_peer_sent(
        attacks in prop::collection::vec((0_usize..2, 0_usize..4, attack()), 1..4),
        schedule in prop::collection::vec(any::<u16>(), 0..120),
    ) {
        let mut world = World::new(attacks);
        schedule.into_iter().for_each(|choice| world.happen(choice));
        world.settle();
        for (end, peer) in [(0, 1), (1, 0)] {
            let (end, peer) = (&world.ends[end], &world.ends[peer]);
            if end.opened {
                let sent: Vec<u8> = peer.sent.iter().take(3).flatten().copied().collect();
                prop_assert!(end.came_when_opened.starts_with(&sent));
                prop_assert!(peer.accepted > 0);
            }
            prop_assert!(end.delivered.is_empty(), "nobody sent a message");
        }
    }

    /// Whatever is thrown at one end, in whatever pieces, it never opens, never
    /// delivers and never panics: nobody here has evidence.
    #[test]
    fn an_end_never_opens_to_a_peer_without_evidence(
        frames in prop::collection::vec((0_usize..7, any::<u8>(), 0_usize..40), 0..12),
        honest_hello: bool,
        pieces in 1_usize..50,
    ) {
        let (mut end, _) = End::new(Role::Server);
        let mut bytes = Vec::new();
        if honest_hello {
            let (_, effects) = End::new(Role::Client);
            bytes.extend(effects.into_iter().filter_map(|effect| match effect {
                Effect::Send(frame) => Some(frame),
                _ => None,
            }).flatten());
        }
        for (kind, fill, more) in frames {
            let kind = FrameType::ALL[kind];
            let (fewest, most) = kind.bounds();
            bytes.extend(encode_frame(kind, &vec![fill; (fewest + more).min(most)]).unwrap());
        }
        end.inbox.push_back(bytes);
        while !end.inbox.is_empty() || !end.tasks.is_empty() {
            drop(end.receive(seconds(1), pieces));
            drop(end.do_task(seconds(1)));
        }
        prop_assert!(!end.opened && end.delivered.is_empty());
    }

    /// A message is delivered only while evidence of the peer, challenged at most
    /// 300 s before, was accepted; and with time that passes evenly a link stays open.
    #[test]
    fn leases_are_kept_and_renewed(
        steps in prop::collection::vec((0_u64..120, any::<bool>(), any::<bool>()), 1..30)
    ) {
        let mut world = World::new(Vec::new());
        world.settle();
        let mut late = false;
        for (wait, settle, message) in steps {
            world.now += seconds(wait);
            for end in [0, 1] {
                let effects = world.ends[end].machine.step(world.now, Input::Timer);
                let frames = world.ends[end].carry_out(effects);
                world.send(end, frames);
            }
            if settle {
                world.settle();
            }
            let before = world.ends[1].delivered.len();
            if message && world.message(0, b"m") && settle {
                world.settle();
                let end = &world.ends[1];
                if end.delivered.len() > before {
                    let age = world.now.saturating_sub(end.machine.leased);
                    prop_assert!(age < LinkTimes::default().lease, "delivered at age {age:?}");
                }
            }
            late |= !settle || wait > 40;
        }
        // Steps of at most 40 s, all carried out: nobody missed a renewal.
        if !late {
            prop_assert!(world.ends.iter().all(|end| end.end.is_none()));
        }
    }
}
