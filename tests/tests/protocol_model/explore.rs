//! Visits every state that a model can reach, breadth first, and keeps the
//! shortest way to each property that breaks.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt::{Debug, Write as _};
use std::hash::{Hash, Hasher};

/// What must hold. Each model says at which step it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Property {
    /// P1: whoever accepts a report shares its session with the enclave whose report it is.
    Agreement,
    /// P2: no prompt goes where the attacker can read it.
    Secrecy,
    /// P3: the report began after this verifier's challenge; in lane K, this
    /// client saw the key fresh at most 300 s ago, in the same boot.
    Freshness,
    /// P4: nobody accepts its own evidence.
    NoReflection,
    /// P5: both ends of a link mean the same link.
    Stage,
    /// P6: only members join a pipeline.
    Membership,
}

/// A protocol with its attacker, as a graph of states.
pub(crate) trait Model {
    /// One state: everything that anyone knows or waits for.
    type State: Clone + Eq + Hash;
    /// What leads from one to the next, for people to read.
    type Step: Clone + Debug;

    fn initial(&self) -> Self::State;
    fn next(&self, state: &Self::State) -> Vec<(Self::Step, Self::State)>;
    /// The properties that broke on the way into this state; it is then the last of its way.
    fn broken(&self, state: &Self::State) -> Vec<Property>;
    /// Whether someone honest accepted somebody.
    fn gets_through(&self, state: &Self::State) -> bool;
}

/// What an exploration found.
#[derive(Debug)]
pub(crate) struct Findings {
    /// States that can be reached.
    pub(crate) states: usize,
    /// Steps between them.
    pub(crate) steps: usize,
    /// In how many of them someone honest accepted: a model in which nobody ever
    /// gets through would hold anything.
    pub(crate) accepting: usize,
    /// The shortest way to each property that broke.
    pub(crate) attacks: BTreeMap<Property, Vec<String>>,
}

impl Findings {
    pub(crate) fn breaks(&self, property: Property) -> bool {
        self.attacks.contains_key(&property)
    }

    /// The shortest attacks, step by step.
    pub(crate) fn narrative(&self) -> String {
        let mut text = String::new();
        for (property, steps) in &self.attacks {
            let _ = writeln!(text, "  {property:?} breaks:");
            for (number, step) in (1..).zip(steps) {
                let _ = writeln!(text, "    {number}. {step}");
            }
        }
        text
    }
}

/// More states than any model here has: reaching it means that the bounds are wrong.
const MOST_STATES: usize = 2_000_000;

/// Visits everything. States are told apart by 128 bits of their hash.
pub(crate) fn explore<M: Model>(model: &M) -> Findings {
    explore_until(model, &[])
}

/// Visits states until each of `wanted` is broken; all of them, if it is empty
/// or one of it never is.
pub(crate) fn explore_until<M: Model>(model: &M, wanted: &[Property]) -> Findings {
    let mut seen = HashSet::new();
    // How each state was reached: the one before, and the step.
    let mut ways: Vec<Option<(usize, M::Step)>> = vec![None];
    let mut queue = VecDeque::new();
    let mut findings = Findings {
        states: 0,
        steps: 0,
        accepting: 0,
        attacks: BTreeMap::new(),
    };
    let initial = model.initial();
    seen.insert(fingerprint(&initial));
    queue.push_back((0, initial));
    while let Some((at, state)) = queue.pop_front() {
        findings.states += 1;
        findings.accepting += usize::from(model.gets_through(&state));
        assert!(findings.states < MOST_STATES, "the model's bounds are too wide");
        let broken = model.broken(&state);
        for property in &broken {
            findings
                .attacks
                .entry(*property)
                .or_insert_with(|| way_to(at, &ways));
        }
        if !wanted.is_empty() && wanted.iter().all(|property| findings.breaks(*property)) {
            break;
        }
        if !broken.is_empty() {
            continue;
        }
        for (step, state) in model.next(&state) {
            findings.steps += 1;
            if seen.insert(fingerprint(&state)) {
                ways.push(Some((at, step)));
                queue.push_back((ways.len() - 1, state));
            }
        }
    }
    findings
}

/// Two hashes of 64 bits, mixed word by word with different constants.
#[derive(Clone, Copy)]
struct Fingerprint([u64; 2]);

impl Fingerprint {
    fn mix(&mut self, word: u64) {
        const ODD: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];
        for (half, odd) in self.0.iter_mut().zip(ODD) {
            // The finaliser of SplitMix64, over what came before and the word.
            let mut mixed = half.rotate_left(29) ^ word.wrapping_add(odd);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *half = (mixed ^ (mixed >> 31)).wrapping_add(odd);
        }
    }
}

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        self.0[0]
    }

    fn write(&mut self, bytes: &[u8]) {
        self.mix(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.mix(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.mix(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }
}

fn fingerprint<S: Hash>(state: &S) -> [u64; 2] {
    let mut hasher = Fingerprint([1, 2]);
    state.hash(&mut hasher);
    hasher.0
}

fn way_to<S: Debug>(mut at: usize, ways: &[Option<(usize, S)>]) -> Vec<String> {
    let mut steps = Vec::new();
    while let Some((before, step)) = &ways[at] {
        steps.push(format!("{step:?}"));
        at = *before;
    }
    steps.reverse();
    steps
}
