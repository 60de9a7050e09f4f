//! Nodes, links and time, all of them simulated.
//!
//! Owns the order in which things happen, which a seed decides. Links keep
//! their order, take their time, end with what is under way on them, and may
//! repeat what they carry to the head.

mod check;
mod links;
mod orders;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use bastide_attestation::{Nonce, Salt};
use bastide_pipeline::head::{DraftTask, Event, Head, HeadTerms, HeadTimes, Record, Request, Speculation};
use bastide_pipeline::message::{Envelope, RingId, Sampling, SequenceId};
use zeroize::Zeroizing;

use crate::model::{EOS, VOCABULARY, plain};
use crate::stage::{ENGINE, MAX_POSITIONS, Node, PLAN, weights};

/// Nodes that may be each stage.
pub(crate) const CANDIDATES: usize = 2;

/// What a draft says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Drafts {
    Right,
    Wrong,
    /// Each token right with so many chances of a hundred.
    Often(u64),
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
    /// When the first tokens were emitted.
    pub(crate) first_at: Option<u64>,
    /// When the last tokens were emitted.
    pub(crate) last_at: u64,
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
            first_at: None,
            last_at: 0,
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
