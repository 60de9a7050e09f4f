//! Nodes, links and time, all of them simulated.
//!
//! Owns the order in which things happen, which a seed decides. Links keep
//! their order, take their time, end with what is under way on them, and may
//! repeat what they carry to the head.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use bastide_attestation::{Nonce, Salt};
use bastide_pipeline::head::{
    DraftTask, Effect, Event, Finish, Head, HeadTerms, HeadTimes, Loss, Record, Request, Speculation,
};
use bastide_pipeline::message::{Envelope, Message, RingId, Sampling, SequenceId};
use bastide_pipeline::stage::{Origin, StageEffect, row_digest};
use zeroize::Zeroizing;

use crate::model::{EOS, VOCABULARY, plain};
use crate::stage::{ENGINE, MAX_POSITIONS, Node, PLAN, rows_digest, weights};

/// Nodes that may be each stage.
pub(crate) const CANDIDATES: usize = 2;

/// What a draft says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Drafts {
    Right,
    Wrong,
    /// Right, wrong, too few, too many, outside the vocabulary.
    Mixed,
}

/// An answer to ask for.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) prompt: Vec<u32>,
    pub(crate) budget: u32,
    pub(crate) sampling: Sampling,
    /// A stop string after so many tokens.
    pub(crate) stop: Option<u32>,
    /// Nobody wants it any more after so many tokens.
    pub(crate) cancel: Option<usize>,
}

/// How a world is.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    pub(crate) stages: u16,
    pub(crate) speculation: Speculation,
    pub(crate) drafts: Drafts,
    /// Longest time on a link, microseconds.
    pub(crate) hop: u64,
    /// Whether everything takes exactly that time.
    pub(crate) steady: bool,
    /// Things that end, at random moments.
    pub(crate) losses: u32,
    /// Of a thousand messages to the head, how many come twice.
    pub(crate) repeats: u64,
    pub(crate) max_sequences: u16,
    pub(crate) asks: Vec<Ask>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            seed: 1,
            stages: 3,
            speculation: Speculation::Off,
            drafts: Drafts::Right,
            hop: 3_000,
            steady: false,
            losses: 0,
            repeats: 0,
            max_sequences: 4,
            asks: vec![Ask::long(0, 12)],
        }
    }
}

impl Ask {
    /// A prompt whose greedy answer uses up the budget; another one for each `which`.
    pub(crate) fn long(which: u32, budget: u32) -> Self {
        let sampling = Sampling {
            temperature: 0.0,
            top_p: 1.0,
            seed: 5,
            top_logprobs: None,
        };
        let full = |prompt: &Vec<u32>| {
            let answer = plain(prompt, budget, MAX_POSITIONS, &sampling);
            answer.len() == usize::try_from(budget).unwrap() && answer.last() != Some(&EOS)
        };
        let mut prompts = (0..).map(|start| vec![which, start % VOCABULARY, start / VOCABULARY, 4, 5]);
        let prompt = prompts.find(full).unwrap();
        Self {
            prompt,
            budget,
            sampling,
            stop: None,
            cancel: None,
        }
    }
}

/// What is wrong with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vice {
    /// It says nothing any more.
    Mute,
    /// It answers pings, and computes nothing.
    Stuck,
    /// It loses its sequences.
    Forgetful,
}

/// What became of an answer.
#[derive(Clone, Default)]
pub(crate) struct Outcome {
    pub(crate) emitted: Vec<u32>,
    pub(crate) record: Option<Record>,
    pub(crate) failed: Option<&'static str>,
    pub(crate) cancelled: bool,
}

impl Outcome {
    pub(crate) fn over(&self) -> bool {
        self.record.is_some() || self.failed.is_some() || self.cancelled
    }
}

enum Happening {
    Heard {
        link: usize,
        envelope: Envelope,
        head: bool,
    },
    Opened {
        link: usize,
    },
    Ended {
        link: usize,
    },
    Drafted(DraftTask),
    Restarted {
        node: usize,
    },
    Tick,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// Head and the node.
    Head(usize),
    /// A node and the one of the next stage.
    Ring(usize, usize, RingId),
}

struct Link {
    ends: Ends,
    alive: bool,
    open: bool,
    /// When the last thing arrives, there and back.
    last: [u64; 2],
}

/// A cluster.
pub(crate) struct World {
    pub(crate) setting: Setting,
    pub(crate) head: Head,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) evidence: Vec<(u64, u16, Option<Vec<u8>>)>,
    pub(crate) now: u64,
    /// Messages that arrived somewhere.
    pub(crate) delivered: u64,
    /// Called when so many had arrived.
    pub(crate) kill: Option<(u64, u16)>,
    /// What a node says instead of what it should.
    pub(crate) tamper: Option<fn(&mut Envelope)>,
    /// What is wrong with which node from when on.
    pub(crate) vice: Option<(usize, u64, Vice)>,
    /// How often the head was told that a moment has come.
    pub(crate) ticks: u64,
    /// Whether nodes that crashed stay away.
    pub(crate) doomed: bool,
    /// Most frames that were under way at once.
    pub(crate) most_frames: usize,
    /// How often `tamper` is still applied.
    pub(crate) tampers: u32,
    random: u64,
    nodes: Vec<Option<Node>>,
    links: Vec<Link>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    order: u64,
    drafting: bool,
    expected: Vec<Vec<u32>>,
    losses: u32,
    stops: Vec<(usize, u32)>,
}

pub(crate) fn terms(stages: u16, speculation: Speculation, max_sequences: u16) -> HeadTerms {
    HeadTerms {
        plan: PLAN,
        engine: ENGINE,
        weights: (0..stages).map(weights).collect(),
        max_positions: MAX_POSITIONS,
        max_sequences,
        // Narrow frames, so that a prompt is several.
        width: 4_000,
        vocabulary: VOCABULARY,
        eos: vec![EOS],
        speculation,
        nodes: (0..usize::from(stages))
            .map(|stage| match stage {
                0 => Vec::new(),
                _ => (0..CANDIDATES)
                    .map(|other| (stage * CANDIDATES + other).to_string())
                    .collect(),
            })
            .collect(),
        times: HeadTimes::default(),
    }
}

impl World {
    pub(crate) fn new(setting: Setting) -> Self {
        let stages = setting.stages;
        let nodes = (0..usize::from(stages) * CANDIDATES)
            .map(|node| Some(Self::stage(node, &setting)))
            .collect();
        let expected = setting
            .asks
            .iter()
            .map(|ask| plain(&ask.prompt, ask.budget, MAX_POSITIONS, &ask.sampling))
            .collect();
        let own = Link {
            ends: Ends::Head(0),
            alive: true,
            open: true,
            last: [0; 2],
        };
        Self {
            head: Head::new(terms(stages, setting.speculation, setting.max_sequences)),
            outcomes: vec![Outcome::default(); setting.asks.len()],
            evidence: Vec::new(),
            now: 0,
            delivered: 0,
            kill: None,
            tamper: None,
            tampers: 0,
            vice: None,
            ticks: 0,
            doomed: false,
            most_frames: 0,
            random: setting.seed,
            nodes,
            links: vec![own],
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            order: 0,
            drafting: false,
            expected,
            losses: setting.losses,
            stops: Vec::new(),
            setting,
        }
    }

    fn stage(node: usize, setting: &Setting) -> Node {
        let stage = u16::try_from(node / CANDIDATES).unwrap();
        Node::new(stage, setting.stages, setting.max_sequences)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    fn at(&mut self, time: u64, happening: Happening) {
        self.order += 1;
        self.queue.push(Reverse((time, self.order)));
        self.happenings.insert(self.order, happening);
    }

    fn moment(&self) -> Duration {
        Duration::from_micros(self.now)
    }

    /// Starts the head and asks for every answer.
    pub(crate) fn begin(&mut self) {
        let effects = self.head.start(self.moment());
        self.obey(effects);
        for place in 0..self.setting.asks.len() {
            let ask = self.setting.asks[place].clone();
            let request = Request {
                sequence: SequenceId(u64::try_from(place).unwrap()),
                prompt: Zeroizing::new(ask.prompt),
                budget: ask.budget,
                sampling: ask.sampling,
                salt: Salt::new([u8::try_from(place).unwrap(); 32]),
            };
            self.tell(Event::Submit(request));
        }
    }

    /// Runs until every answer is over, and checks each.
    pub(crate) fn run(&mut self) {
        self.begin();
        let mut steps = 0u32;
        while !self.outcomes.iter().all(Outcome::over) {
            assert!(self.step(), "nothing is left to happen, and an answer isn't over");
            steps += 1;
            assert!(steps < 400_000 && self.now < 900_000_000, "an answer doesn't end");
        }
        self.check();
    }

    /// The next thing happens.
    pub(crate) fn step(&mut self) -> bool {
        let Some(Reverse((time, order))) = self.queue.pop() else {
            return false;
        };
        self.now = self.now.max(time);
        let happening = self.happenings.remove(&order).unwrap();
        match happening {
            Happening::Heard { link, envelope, head } => self.deliver(link, envelope, head),
            Happening::Opened { link } => self.opened(link),
            Happening::Ended { link } => self.ended(link),
            Happening::Restarted { node } => self.nodes[node] = Some(Self::stage(node, &self.setting)),
            Happening::Tick => {
                // Others may have come in between; one that isn't due does no harm.
                self.ticks += 1;
                self.tell(Event::Tick);
            }
            Happening::Drafted(task) => {
                self.drafting = false;
                let ids = self.draft(&task);
                let took = Duration::from_millis(u64::try_from(task.k).unwrap());
                self.tell(Event::Drafted {
                    sequence: task.sequence,
                    epoch: task.epoch,
                    ids,
                    took,
                });
            }
        }
        true
    }

    fn deliver(&mut self, link: usize, envelope: Envelope, head: bool) {
        if !self.links[link].alive {
            return;
        }
        self.delivered += 1;
        self.lose_something();
        match self.links[link].ends {
            // What was lost just now isn't delivered.
            _ if !self.links[link].alive => {}
            Ends::Head(node) if head => {
                let stage = u16::try_from(node / CANDIDATES).unwrap();
                if self.below(1_000) < self.setting.repeats {
                    let late = self.now + self.below(self.setting.hop * 3 + 1_000);
                    self.at(
                        late,
                        Happening::Heard {
                            link,
                            envelope: envelope.clone(),
                            head,
                        },
                    );
                }
                self.tell(Event::Message { stage, envelope });
            }
            Ends::Head(node) | Ends::Ring(_, node, _) => {
                let vice = self
                    .vice
                    .filter(|(which, from, _)| *which == node && *from <= self.now);
                let frame = matches!(envelope.message, Message::Frame(_));
                match vice.map(|(_, _, vice)| vice) {
                    Some(Vice::Mute) => return,
                    Some(Vice::Stuck) if frame => return,
                    Some(Vice::Forgetful) if frame => {
                        self.vice = None;
                        if let Some(stage) = &self.nodes[node] {
                            stage.forget();
                        }
                    }
                    _ => {}
                }
                let from = match self.links[link].ends {
                    Ends::Head(_) => Origin::Head,
                    Ends::Ring(..) => Origin::Previous,
                };
                if let Some(stage) = self.nodes[node].as_mut() {
                    match stage.hear(from, envelope) {
                        Some(effects) => self.act(node, effects),
                        None => self.cut(link),
                    }
                }
            }
        }
    }

    /// Does what a node wants done.
    fn act(&mut self, node: usize, effects: Vec<StageEffect>) {
        for effect in effects {
            match effect {
                StageEffect::ToHead(mut envelope) => {
                    if self.tampers > 0
                        && let Some(tamper) = self.tamper
                    {
                        let before = envelope.clone();
                        tamper(&mut envelope);
                        self.tampers -= u32::from(before != envelope);
                    }
                    if let Some(link) = self.find(|ends| ends == Ends::Head(node)) {
                        self.carry(link, envelope, true);
                    }
                }
                StageEffect::ToNext(envelope) => {
                    let link = self.find(|ends| matches!(ends, Ends::Ring(from, ..) if from == node));
                    if let Some(link) = link {
                        self.carry(link, envelope, false);
                    }
                }
                StageEffect::LinkNext { ring, address } => {
                    let next: usize = address.parse().unwrap();
                    assert_eq!(next / CANDIDATES, node / CANDIDATES + 1);
                    self.open_link(Ends::Ring(node, next, ring));
                }
                StageEffect::UnlinkNext => {
                    for link in &mut self.links {
                        if matches!(link.ends, Ends::Ring(from, ..) if from == node) {
                            link.alive = false;
                        }
                    }
                }
                StageEffect::Attest { .. } => unreachable!("a node attests by itself"),
            }
        }
    }

    fn find(&self, wanted: impl Fn(Ends) -> bool) -> Option<usize> {
        self.links
            .iter()
            .rposition(|link| link.alive && link.open && wanted(link.ends))
    }

    /// Puts something on a link.
    fn carry(&mut self, link: usize, envelope: Envelope, head: bool) {
        let delay = if self.setting.steady {
            self.setting.hop
        } else {
            1 + self.below(self.setting.hop + 1)
        };
        let last = &mut self.links[link].last[usize::from(head)];
        let time = (self.now + delay).max(*last + 1);
        *last = time;
        self.at(time, Happening::Heard { link, envelope, head });
    }

    fn open_link(&mut self, ends: Ends) {
        self.links.push(Link {
            ends,
            alive: true,
            open: false,
            last: [self.now; 2],
        });
        let time = self.now + 1 + self.below(2 * self.setting.hop + 1);
        self.at(
            time,
            Happening::Opened {
                link: self.links.len() - 1,
            },
        );
    }

    fn opened(&mut self, link: usize) {
        if !self.links[link].alive {
            return;
        }
        let ends = self.links[link].ends;
        let (Ends::Head(far) | Ends::Ring(_, far, _)) = ends;
        let up = self.nodes[far].is_some();
        self.links[link].open = up;
        self.links[link].alive = up;
        match ends {
            Ends::Head(node) => {
                if up {
                    self.without_head(node);
                }
                let stage = u16::try_from(node / CANDIDATES).unwrap();
                self.tell(if up {
                    Event::Up { stage }
                } else {
                    Event::Down {
                        stage,
                        why: Loss::Unreachable,
                    }
                });
            }
            Ends::Ring(node, _, ring) => {
                let effects = self.nodes[node].as_mut().map(|stage| match up {
                    true => stage.machine.next_linked(ring),
                    false => stage.machine.next_lost(),
                });
                self.act(node, effects.unwrap_or_default());
            }
        }
    }

    /// A node's link to the head has ended.
    fn without_head(&mut self, node: usize) {
        let effects = self.nodes[node].as_mut().map(|stage| stage.machine.head_lost());
        self.act(node, effects.unwrap_or_default());
    }

    /// Who is at the ends of a link notices that it has ended.
    fn ended(&mut self, link: usize) {
        match self.links[link].ends {
            Ends::Head(node) => {
                if self.find(|ends| ends == Ends::Head(node)).is_none() {
                    self.without_head(node);
                }
                let stage = u16::try_from(node / CANDIDATES).unwrap();
                // Of links that the head ended itself it hears nothing.
                if self.links[link].open {
                    self.tell(Event::Down {
                        stage,
                        why: Loss::Ended,
                    });
                }
            }
            Ends::Ring(node, ..) => {
                let again = self
                    .links
                    .iter()
                    .any(|link| link.alive && matches!(link.ends, Ends::Ring(from, ..) if from == node));
                if !again {
                    let effects = self.nodes[node].as_mut().map(|stage| stage.machine.next_lost());
                    self.act(node, effects.unwrap_or_default());
                }
            }
        }
    }

    fn cut(&mut self, link: usize) {
        if self.links[link].alive && link > 0 {
            self.links[link].alive = false;
            let time = self.now + 1 + self.below(self.setting.hop + 1);
            self.at(time, Happening::Ended { link });
        }
    }

    /// A node's process ends; it is started again after a while.
    pub(crate) fn crash(&mut self, node: usize) {
        self.nodes[node] = None;
        for link in 0..self.links.len() {
            let touches = match self.links[link].ends {
                Ends::Head(far) => far == node,
                Ends::Ring(near, far, _) => near == node || far == node,
            };
            if touches {
                self.cut(link);
            }
        }
        let time = self.now + 1 + self.below(2_000_000);
        if !self.doomed {
            self.at(time, Happening::Restarted { node });
        }
    }

    /// The node that the head has linked to as a stage.
    fn linked(&self, stage: u16) -> Option<usize> {
        let of = |ends: Ends| matches!(ends, Ends::Head(node) if node / CANDIDATES == usize::from(stage));
        match self.find(of).map(|link| self.links[link].ends) {
            Some(Ends::Head(node)) => Some(node),
            _ => None,
        }
    }

    fn lose_something(&mut self) {
        if let Some((delivered, stage)) = self.kill
            && delivered <= self.delivered
        {
            self.kill = None;
            if let Some(node) = self.linked(stage) {
                self.crash(node);
            }
        }
        if self.losses == 0 || self.below(60) > 0 || self.setting.stages == 1 {
            return;
        }
        self.losses -= 1;
        let stage = 1 + u16::try_from(self.below(u64::from(self.setting.stages) - 1)).unwrap();
        let Some(node) = self.linked(stage) else { return };
        let link = match self.below(3) {
            0 => self.find(|ends| ends == Ends::Head(node)),
            1 => self.find(|ends| matches!(ends, Ends::Ring(_, far, _) if far == node)),
            _ => {
                self.crash(node);
                None
            }
        };
        if let Some(link) = link {
            self.cut(link);
        }
    }

    /// Tells the head something, and does what it says.
    pub(crate) fn tell(&mut self, event: Event) {
        let effects = self.head.handle(self.moment(), event);
        self.obey(effects);
        let status = self.head.status();
        assert!(
            status.frames <= 32 + usize::from(self.setting.stages) + 1,
            "{} frames",
            status.frames
        );
        self.most_frames = self.most_frames.max(status.frames);
        assert!(status.running <= usize::from(self.setting.max_sequences));
        if !self.drafting
            && let Some(task) = self.head.next_draft(self.moment())
        {
            assert!((1..=16).contains(&task.k));
            self.drafting = true;
            let k = u64::try_from(task.k).unwrap();
            let time = if self.setting.steady {
                self.now + k * 1_000
            } else {
                self.now + 50 + self.below(400)
            };
            self.at(time, Happening::Drafted(task));
        }
        if let Some(deadline) = self.head.deadline() {
            let time = u64::try_from(deadline.as_micros()).unwrap() + 1;
            self.at(time.max(self.now + 1), Happening::Tick);
        }
    }

    fn obey(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Link { stage, node } => {
                    let node: usize = node.parse().unwrap();
                    assert_eq!(node / CANDIDATES, usize::from(stage));
                    self.open_link(Ends::Head(node));
                }
                Effect::Unlink { stage } => {
                    assert!(stage > 0);
                    let of = usize::from(stage);
                    for link in 0..self.links.len() {
                        if matches!(self.links[link].ends, Ends::Head(node) if node / CANDIDATES == of) {
                            self.cut(link);
                            self.links[link].open = false;
                        }
                    }
                }
                Effect::Send { stage, envelope } => {
                    let along = matches!(
                        envelope.message,
                        Message::Open(_) | Message::Frame(_) | Message::Finish(_)
                    );
                    assert!(!along || stage == 0);
                    let link = if stage == 0 {
                        Some(0)
                    } else {
                        let of = usize::from(stage);
                        self.find(|ends| matches!(ends, Ends::Head(node) if node / CANDIDATES == of))
                    };
                    if let Some(link) = link {
                        self.carry(link, envelope, false);
                    }
                }
                Effect::Emit { sequence, targets } => {
                    assert!(!targets.is_empty());
                    let place = usize::try_from(sequence.0).unwrap();
                    let outcome = &mut self.outcomes[place];
                    assert!(!outcome.over(), "emitted after the end");
                    outcome.emitted.extend(targets.iter().map(|target| target.id));
                    let length = outcome.emitted.len();
                    assert!(length <= self.expected[place].len(), "more than one node answers");
                    assert_eq!(
                        outcome.emitted,
                        self.expected[place][..length],
                        "not what one node answers"
                    );
                    let ask = &self.setting.asks[place];
                    if ask.cancel.is_some_and(|cancel| length >= cancel) {
                        outcome.cancelled = true;
                    } else if let Some(stop) = ask.stop
                        && length >= usize::try_from(stop).unwrap()
                    {
                        self.stops.push((place, stop));
                    }
                }
                Effect::Done { sequence, record } => {
                    let outcome = &mut self.outcomes[usize::try_from(sequence.0).unwrap()];
                    assert!(!outcome.over(), "done after the end");
                    outcome.record = Some(*record);
                }
                Effect::Failed { sequence, code } => {
                    let outcome = &mut self.outcomes[usize::try_from(sequence.0).unwrap()];
                    assert!(!outcome.over(), "failed after the end");
                    outcome.failed = Some(code);
                }
                Effect::Evidence { id, stage, envelope } => self.evidence.push((id, stage, envelope)),
            }
        }
        while let Some((place, produced)) = self.stops.pop() {
            // Told once: later ones are of an answer that has ended.
            self.setting.asks[place].stop = None;
            let sequence = SequenceId(u64::try_from(place).unwrap());
            self.setting.asks[place].budget = produced;
            self.tell(Event::Stop { sequence, produced });
        }
        for place in 0..self.outcomes.len() {
            if self.outcomes[place].cancelled && self.setting.asks[place].cancel.take().is_some() {
                let sequence = SequenceId(u64::try_from(place).unwrap());
                self.tell(Event::Cancel { sequence });
            }
        }
    }

    fn draft(&mut self, task: &DraftTask) -> Zeroizing<Vec<u32>> {
        let budget = u32::try_from(task.k).unwrap();
        let mut ids = plain(&task.tokens, budget, u32::MAX, &task.sampling);
        let how = match self.setting.drafts {
            Drafts::Right => 0,
            Drafts::Wrong => 1,
            Drafts::Mixed => self.below(7),
        };
        match how {
            1 => ids.iter_mut().for_each(|id| *id = (*id + 1) % VOCABULARY),
            2 => {
                let place = self.below(u64::try_from(ids.len()).unwrap());
                ids[usize::try_from(place).unwrap()] ^= 1;
            }
            3 => ids.clear(),
            4 => ids.extend_from_slice(&[5; 40]),
            5 => ids[0] = u32::MAX,
            _ => {}
        }
        Zeroizing::new(ids)
    }

    fn check(&self) {
        for (place, outcome) in self.outcomes.iter().enumerate() {
            let (ask, expected) = (&self.setting.asks[place], &self.expected[place]);
            let Some(record) = &outcome.record else { continue };
            let produced = usize::try_from(record.produced).unwrap();
            match record.finish {
                Finish::Stop => assert_eq!(record.produced, ask.budget, "stopped where it was told to"),
                Finish::Eos | Finish::Length => {
                    assert_eq!(&outcome.emitted, expected);
                    assert_eq!(produced, expected.len());
                    assert_eq!(record.finish == Finish::Eos, expected.last() == Some(&EOS));
                }
            }
            assert_eq!(
                usize::try_from(record.rows).unwrap(),
                ask.prompt.len() + produced - 1
            );
            assert!(record.accepted <= record.drafted && record.replans.len() <= 16);
            let salt = Salt::new([u8::try_from(place).unwrap(); 32]);
            let digest = |ids: &[u32], first: usize| {
                let rows: Vec<[u8; 32]> = ids
                    .iter()
                    .zip(first..)
                    .map(|(id, p)| row_digest(&salt, u64::try_from(p).unwrap(), &id.to_le_bytes()))
                    .collect();
                rows_digest(&salt, &rows)
            };
            let mut rows = ask.prompt.clone();
            rows.extend_from_slice(&expected[..produced - 1]);
            let mut joint = digest(&rows, 0);
            assert_eq!(record.parts.len(), usize::from(self.setting.stages));
            for part in &record.parts {
                assert_eq!(part[..32], joint, "out-digest and in-digest join");
                joint.copy_from_slice(&part[32..64]);
                assert_eq!(part[64..], record.rows.to_le_bytes());
            }
            assert_eq!(joint, record.emitted, "the tail's out-digest is the head's");
            assert_eq!(joint, digest(&expected[..produced], ask.prompt.len()));
        }
    }

    /// Sequences that some node still holds.
    pub(crate) fn held(&self) -> usize {
        self.nodes
            .iter()
            .flatten()
            .map(|stage| stage.machine.sequences())
            .sum()
    }

    /// A client asks for all evidence.
    pub(crate) fn challenge(&mut self, id: u64) {
        self.tell(Event::Challenge {
            id,
            nonce: Nonce::new([9; 32]),
        });
    }
}
