//! The sealed mode: clients that can't reach an exporter and get a key
//! configuration and its evidence through the host, which sees every byte that
//! is not sealed. The enclave may boot again, and what its first boot held
//! leaks more than 300 s later, as in `direct`.
//!
//! A prompt that was sealed to a key before that key leaked is not counted: the
//! mode has no forward secrecy beyond the life of its key.

use super::explore::{Model, Property};
use super::protocol::{
    self, Answer, LEAF_SEALED, Protocol, accepts, forgeries, key_config, leaf, read, sealed_binder,
};
use super::terms::{Boot, Knowledge, Name, Owner, SessionId, Term, Terms};

const FIRST: Boot = Boot {
    enclave: 0,
    number: 0,
};
const SECOND: Boot = Boot {
    enclave: 0,
    number: 1,
};
/// The attacker's own, on another chip.
const OWN: Boot = Boot {
    enclave: 1,
    number: 0,
};

#[derive(Debug)]
pub(crate) struct Sealed {
    terms: Terms,
    protocol: Protocol,
    /// Times that each client may ask.
    asks: [u8; 2],
    /// Epochs that the attacker may cause.
    epochs: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    tick: u8,
    victim: Boot,
    asked: [u8; 2],
    waiting: Vec<SessionId>,
    /// Each statement with its boot and the challenges drawn by then.
    issued: Vec<(Boot, Term, [u8; 2])>,
    knowledge: Knowledge,
    accepted: bool,
    broken: Vec<Property>,
}

#[derive(Debug, Clone)]
#[expect(dead_code, reason = "steps are read by people, in the account of an attack")]
pub(crate) enum Step {
    ClientAsks(SessionId),
    EnclaveSignsEpochFor(Boot, usize),
    HostSendsKeyTo(SessionId, Name),
    EnclaveBootsAgain,
    MoreThan300SecondsPass,
}

impl Sealed {
    pub(crate) fn new(protocol: Protocol) -> Self {
        Self {
            terms: Terms::default(),
            protocol,
            asks: [2, 1],
            epochs: 2,
        }
    }

    fn nonce(&self, id: SessionId) -> Term {
        self.terms.name(Name::Nonce(id))
    }

    fn asks(&self, state: &State, next: &mut Vec<(Step, State)>) {
        for (client, most) in (0_u8..).zip(self.asks) {
            let number = state.asked[usize::from(client)];
            if number < most {
                let id = SessionId(Owner::Client(client), number);
                let mut after = state.clone();
                after.asked[usize::from(client)] += 1;
                after.knowledge.learn(&self.terms, self.nonce(id));
                after.waiting.push(id);
                after.waiting.sort();
                next.push((Step::ClientAsks(id), after));
            }
        }
    }

    /// Epochs over whatever the attacker asks for: one challenge, or two.
    fn epochs(&self, state: &State, next: &mut Vec<(Step, State)>) {
        if state.issued.len() >= usize::from(self.epochs) {
            return;
        }
        let mut challenges = vec![self.terms.name(Name::NonceOfAttacker)];
        challenges.extend(state.waiting.iter().map(|id| self.nonce(*id)));
        let mut batches: Vec<Vec<Term>> = challenges.iter().map(|one| vec![*one]).collect();
        for (at, one) in challenges.iter().enumerate() {
            batches.extend(challenges[at + 1..].iter().map(|other| vec![*one, *other]));
        }
        for boot in [state.victim, OWN] {
            for batch in &batches {
                let mut after = state.clone();
                let config = key_config(&self.terms, Name::SealedKey(boot));
                let leaves: Vec<(Term, Term)> = (0..)
                    .zip(batch)
                    .map(|(at, nonce)| {
                        let number = u8::try_from(state.issued.len() * 2).unwrap_or(u8::MAX) + at;
                        let salt = self.terms.name(Name::Salt(SessionId(Owner::Attacker, number)));
                        let bound = sealed_binder(&self.terms, &self.protocol, config, *nonce);
                        (salt, leaf(&self.terms, &self.protocol, LEAF_SEALED, salt, bound))
                    })
                    .collect();
                let answers = protocol::epoch(&self.terms, &self.protocol, boot, &leaves);
                for answer in &answers {
                    let parts = [answer.statement, answer.report, answer.salt];
                    for part in parts.into_iter().chain(answer.path.iter().map(|(_, part)| *part)) {
                        after.knowledge.learn(&self.terms, part);
                    }
                }
                after.issued.push((boot, answers[0].statement, state.asked));
                after.issued.sort();
                next.push((Step::EnclaveSignsEpochFor(boot, batch.len()), after));
            }
        }
    }

    fn keys(&self, state: &State, next: &mut Vec<(Step, State)>) {
        for id in &state.waiting {
            for key in [
                Name::SealedKey(FIRST),
                Name::SealedKey(SECOND),
                Name::SealedKey(OWN),
                Name::SealedKeyOfAttacker,
            ] {
                let config = key_config(&self.terms, key);
                let bound = sealed_binder(&self.terms, &self.protocol, config, self.nonce(*id));
                for answer in forgeries(&self.terms, &self.protocol, &state.knowledge, LEAF_SEALED, bound) {
                    let mut after = state.clone();
                    if self.client_reads(&mut after, *id, key, bound, &answer) {
                        after.waiting.retain(|other| other != id);
                        next.push((Step::HostSendsKeyTo(*id, key), after));
                    }
                }
            }
        }
    }

    /// A client reads a key configuration and its evidence, and seals a prompt to it.
    fn client_reads(
        &self,
        state: &mut State,
        id: SessionId,
        key: Name,
        bound: Term,
        answer: &Answer,
    ) -> bool {
        let config = key_config(&self.terms, key);
        let named = read(&self.terms, answer.statement).map(|statement| statement.sealed_key);
        if self.protocol.sealed_in_statement && named != Some(config) {
            return false;
        }
        let Some(boot) = accepts(&self.terms, &self.protocol, LEAF_SEALED, bound, answer) else {
            return false;
        };
        state.accepted = true;
        if key != Name::SealedKey(boot) {
            state.broken.push(Property::Agreement);
        }
        if state.knowledge.derives(&self.terms, self.terms.name(key)) {
            state.broken.push(Property::Secrecy);
        }
        let client = match id.0 {
            Owner::Client(client) => usize::from(client),
            _ => unreachable!("clients alone wait"),
        };
        let fresh = state.issued.iter().any(|(issuer, statement, drawn)| {
            *issuer == boot && *statement == answer.statement && drawn[client] > id.1
        });
        if !fresh {
            state.broken.push(Property::Freshness);
        }
        state.broken.sort();
        state.broken.dedup();
        true
    }

    fn time(&self, state: &State, next: &mut Vec<(Step, State)>) {
        if state.victim == FIRST {
            let mut after = state.clone();
            after.victim = SECOND;
            next.push((Step::EnclaveBootsAgain, after));
        }
        if state.tick == 0 {
            let mut after = state.clone();
            after.tick = 1;
            after.waiting.clear();
            if state.victim == SECOND {
                let key = self.terms.name(Name::SealedKey(FIRST));
                after.knowledge.learn(&self.terms, key);
            }
            next.push((Step::MoreThan300SecondsPass, after));
        }
    }
}

impl Model for Sealed {
    type State = State;
    type Step = Step;

    fn initial(&self) -> State {
        State {
            tick: 0,
            victim: FIRST,
            asked: [0; 2],
            waiting: Vec::new(),
            issued: Vec::new(),
            knowledge: Knowledge::default(),
            accepted: false,
            broken: Vec::new(),
        }
    }

    fn next(&self, state: &State) -> Vec<(Step, State)> {
        let mut next = Vec::new();
        self.asks(state, &mut next);
        self.epochs(state, &mut next);
        self.keys(state, &mut next);
        self.time(state, &mut next);
        next
    }

    fn broken(&self, state: &State) -> Vec<Property> {
        state.broken.clone()
    }

    fn gets_through(&self, state: &State) -> bool {
        state.accepted
    }
}
