//! Lanes M and K: two honest clients, an enclave that may boot again, and a
//! host that carries every byte, stands between whom it likes, opens sessions of
//! its own, and runs a genuine enclave on a chip of its own.
//!
//! Time moves in steps of more than 300 s. In the first of them after a boot has
//! ended, everything that the boot held leaks: what lane K's limit is for.
//!
//! A session between an enclave and anybody is opened and answered in one step:
//! to have it wait gives the attacker nothing, since it may choose its own
//! challenges at the last moment, and an honest one waits 15 s at most.

use std::collections::BTreeMap;

use super::explore::{Model, Property};
use super::protocol::{
    self, Answer, Attacker, Ends, LEAF_SERVER, Protocol, accepts, binder, forgeries, leaf, session_signature,
};
use super::terms::{Boot, Knowledge, Name, Owner, Role, SessionId, Term, Terms};

/// The enclave whose host the attacker is, in its two boots, and the attacker's
/// own, on another chip.
const FIRST: Boot = Boot {
    enclave: 0,
    number: 0,
};
const SECOND: Boot = Boot {
    enclave: 0,
    number: 1,
};
const OWN: Boot = Boot {
    enclave: 1,
    number: 0,
};

#[derive(Debug)]
pub(crate) struct Direct {
    terms: Terms,
    protocol: Protocol,
    attacker: Attacker,
    /// Sessions that each client may open.
    connections: [u8; 2],
    /// Sessions that the attacker may open.
    probes: u8,
}

/// A session with an enclave, about to be answered.
#[derive(Debug, Clone, Copy)]
struct Asked {
    id: SessionId,
    /// Whose secret it has: another's only where exporters can be made equal.
    secret: SessionId,
    nonce: Term,
}

/// A client's session whose other end is the attacker, under this key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Intercepted {
    shown: Name,
}

/// What a client keeps of an acceptance in lane M.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Lease {
    statement: Term,
    boot: Boot,
    tick: u8,
}

/// A statement that a chip signed, with the honest challenges drawn by then.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Issued {
    boot: Boot,
    statement: Term,
    drawn: [u8; 2],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    tick: u8,
    victim: Boot,
    /// Sessions that each client opened, and the attacker.
    opened: [u8; 2],
    probed: u8,
    intercepted: BTreeMap<SessionId, Intercepted>,
    /// Secrets of honest sessions that the first boot held.
    held: Vec<SessionId>,
    knowledge: Knowledge,
    issued: Vec<Issued>,
    leases: [Vec<Lease>; 2],
    accepted: bool,
    broken: Vec<Property>,
}

#[derive(Debug, Clone)]
#[expect(dead_code, reason = "steps are read by people, in the account of an attack")]
pub(crate) enum Step {
    HostAnswersClientUnderKey(SessionId, Name),
    EnclaveSignsEpochFor(Boot, Vec<SessionId>),
    EnclaveSignsSession(Boot, SessionId),
    HostSendsReportTo(SessionId),
    HostSendsSignatureTo(SessionId),
    EnclaveBootsAgain,
    MoreThan300SecondsPass,
}

impl Direct {
    pub(crate) fn new(protocol: Protocol, attacker: Attacker) -> Self {
        Self::within(protocol, attacker, [2, 1], 1)
    }

    /// With so many sessions for the clients and for the attacker.
    pub(crate) fn within(protocol: Protocol, attacker: Attacker, connections: [u8; 2], probes: u8) -> Self {
        Self {
            terms: Terms::default(),
            protocol,
            attacker,
            connections,
            probes,
        }
    }

    fn binder(&self, secret: SessionId, nonce: Term, shown: Name) -> Term {
        let ends = Ends {
            role: Role::Server,
            attester: shown,
            peer: None,
            context: None,
        };
        binder(&self.terms, &self.protocol, secret, nonce, &ends)
    }

    /// What a client computes in a session with the attacker.
    fn binder_of(&self, id: SessionId, session: Intercepted) -> Term {
        self.binder(id, self.nonce(id), session.shown)
    }

    fn nonce(&self, id: SessionId) -> Term {
        self.terms.name(Name::Nonce(id))
    }

    /// Clients that may open another session, and which it is.
    fn clients(&self, state: &State) -> Vec<SessionId> {
        (0..)
            .zip(self.connections.iter().zip(&state.opened))
            .filter(|(_, (most, opened))| opened < most)
            .map(|(client, (_, opened))| SessionId(Owner::Client(client), *opened))
            .collect()
    }

    fn interceptions(&self, state: &State, next: &mut Vec<(Step, State)>) {
        let mut keys = vec![Name::SpkiOfAttacker];
        if self.attacker.tls_keys {
            keys.push(Name::Spki(FIRST));
            if state.victim == SECOND {
                keys.push(Name::Spki(SECOND));
            }
        }
        for id in self.clients(state) {
            for shown in &keys {
                let mut after = state.clone();
                after.opened[client(id)] += 1;
                for known in [Name::SessionSecret(id), Name::Nonce(id)] {
                    after.knowledge.learn(&self.terms, self.terms.name(known));
                }
                after.intercepted.insert(id, Intercepted { shown: *shown });
                next.push((Step::HostAnswersClientUnderKey(id, *shown), after));
            }
        }
    }

    /// What the attacker may send for a challenge. Only equality with an honest
    /// party's own value matters: its challenge, or, where leaves can be taken
    /// for nodes, its leaf.
    fn challenges(&self, state: &State) -> Vec<Term> {
        let own = self.terms.name(Name::NonceOfAttacker);
        let mut challenges = vec![own];
        for (id, session) in &state.intercepted {
            challenges.push(self.nonce(*id));
            if !self.protocol.own_salt {
                let bound = self.binder_of(*id, *session);
                challenges.push(leaf(&self.terms, &self.protocol, LEAF_SERVER, own, bound));
            }
        }
        challenges.retain(|challenge| state.knowledge.derives(&self.terms, *challenge));
        challenges
    }

    /// Sessions that the attacker may open now: `later` after others of the same step.
    fn probes(&self, state: &State, later: u8) -> Vec<Asked> {
        let number = state.probed + later;
        if number >= self.probes {
            return Vec::new();
        }
        let id = SessionId(Owner::Attacker, number);
        let mut secrets = vec![id];
        if self.attacker.equal_exporters {
            secrets.extend(state.intercepted.keys());
        }
        let challenges = self.challenges(state);
        secrets
            .into_iter()
            .flat_map(|secret| {
                challenges.iter().map(move |nonce| Asked {
                    id,
                    secret,
                    nonce: *nonce,
                })
            })
            .collect()
    }

    fn epochs(&self, state: &State, next: &mut Vec<(Step, State)>) {
        let clients: Vec<Asked> = self
            .clients(state)
            .into_iter()
            .map(|id| Asked {
                id,
                secret: id,
                nonce: self.nonce(id),
            })
            .collect();
        let probes = self.probes(state, 0);
        let mut batches: Vec<Vec<Asked>> = Vec::new();
        for asked in clients.iter().chain(&probes) {
            batches.push(vec![*asked]);
        }
        for one in &clients {
            let others = clients.iter().filter(|other| other.id > one.id);
            batches.extend(others.chain(&probes).map(|other| vec![*one, *other]));
        }
        for one in &probes {
            batches.extend(self.probes(state, 1).into_iter().map(|other| vec![*one, other]));
        }
        for boot in [state.victim, OWN] {
            for batch in &batches {
                next.push(self.epoch(state, boot, batch));
            }
        }
    }

    fn epoch(&self, state: &State, boot: Boot, batch: &[Asked]) -> (Step, State) {
        let mut after = state.clone();
        let mut leaves = Vec::new();
        for asked in batch {
            self.open(&mut after, boot, asked);
            let salt = if self.protocol.own_salt {
                self.terms.name(Name::Salt(asked.id))
            } else {
                asked.nonce
            };
            let bound = self.binder(asked.secret, asked.nonce, Name::Spki(boot));
            leaves.push((salt, leaf(&self.terms, &self.protocol, LEAF_SERVER, salt, bound)));
        }
        let answers = protocol::epoch(&self.terms, &self.protocol, boot, &leaves);
        // Reports are public: hosts see them, and epoch logs are served to anyone.
        after.knowledge.learn(&self.terms, answers[0].report);
        after.knowledge.learn(&self.terms, answers[0].statement);
        after.issued.push(Issued {
            boot,
            statement: answers[0].statement,
            drawn: after.opened,
        });
        after.issued.sort();
        for (asked, answer) in batch.iter().zip(&answers) {
            if asked.id.0 == Owner::Attacker {
                after.knowledge.learn(&self.terms, answer.salt);
                for (_, sibling) in &answer.path {
                    after.knowledge.learn(&self.terms, *sibling);
                }
            } else {
                let bound = self.binder(asked.secret, asked.nonce, Name::Spki(boot));
                self.client_reads(&mut after, asked.id, Some(boot), bound, answer);
            }
        }
        let ids = batch.iter().map(|asked| asked.id).collect();
        (Step::EnclaveSignsEpochFor(boot, ids), after)
    }

    /// A session with an enclave comes about.
    fn open(&self, state: &mut State, boot: Boot, asked: &Asked) {
        if asked.id.0 == Owner::Attacker {
            state.probed += 1;
            let secret = self.terms.name(Name::SessionSecret(asked.secret));
            state.knowledge.learn(&self.terms, secret);
        } else {
            state.opened[client(asked.id)] += 1;
            if boot == FIRST {
                state.held.push(asked.id);
                state.held.sort();
            }
        }
    }

    /// A client reads an answer in lane M, from an enclave or from the attacker.
    fn client_reads(
        &self,
        state: &mut State,
        id: SessionId,
        other_end: Option<Boot>,
        bound: Term,
        answer: &Answer,
    ) {
        let Some(boot) = accepts(&self.terms, &self.protocol, LEAF_SERVER, bound, answer) else {
            return;
        };
        let fresh = state.issued.iter().any(|issued| {
            issued.statement == answer.statement && issued.boot == boot && issued.drawn[client(id)] > id.1
        });
        self.attested(state, other_end, boot, fresh);
        let lease = Lease {
            statement: answer.statement,
            boot,
            tick: state.tick,
        };
        let leases = &mut state.leases[client(id)];
        leases.push(lease);
        leases.sort();
        leases.dedup();
    }

    /// The moment of a prompt: whoever stands at the other end can read it.
    fn attested(&self, state: &mut State, other_end: Option<Boot>, boot: Boot, fresh: bool) {
        state.accepted = true;
        if other_end != Some(boot) {
            state.broken.push(Property::Agreement);
        }
        if other_end.is_none() {
            state.broken.push(Property::Secrecy);
        }
        if !fresh {
            state.broken.push(Property::Freshness);
        }
        state.broken.sort();
        state.broken.dedup();
    }

    /// Statements that a client takes a lane-K signature for.
    fn known_to(&self, state: &State, id: SessionId) -> Vec<Lease> {
        if !self.protocol.lane_k_after_m {
            // Whatever statement and report came along with the signature.
            let all = state.issued.iter().map(|issued| Lease {
                statement: issued.statement,
                boot: issued.boot,
                tick: state.tick,
            });
            return all.collect();
        }
        let leases = state.leases[client(id)].iter();
        leases
            .filter(|lease| !self.protocol.lane_k_age || lease.tick == state.tick)
            .copied()
            .collect()
    }

    fn client_reads_signature(
        &self,
        state: &mut State,
        id: SessionId,
        other_end: Option<Boot>,
        known: &Lease,
    ) {
        let fresh = state.leases[client(id)]
            .iter()
            .any(|lease| lease.boot == known.boot && lease.tick == state.tick);
        self.attested(state, other_end, known.boot, fresh);
    }

    fn lane_k(&self, state: &State, next: &mut Vec<(Step, State)>) {
        // From an enclave, which signs for statements of its own boot alone.
        for boot in [state.victim, OWN] {
            for id in self.clients(state) {
                for known in self.known_to(state, id) {
                    if known.boot == boot {
                        let asked = Asked {
                            id,
                            secret: id,
                            nonce: self.nonce(id),
                        };
                        let mut after = state.clone();
                        self.open(&mut after, boot, &asked);
                        self.client_reads_signature(&mut after, id, Some(boot), &known);
                        next.push((Step::EnclaveSignsSession(boot, id), after));
                    }
                }
            }
            for asked in self.probes(state, 0) {
                for issued in state.issued.iter().filter(|issued| issued.boot == boot) {
                    let mut after = state.clone();
                    self.open(&mut after, boot, &asked);
                    let bound = self.binder(asked.secret, asked.nonce, Name::Spki(boot));
                    let signature = self.signature(boot, bound, issued.statement);
                    after.knowledge.learn(&self.terms, signature);
                    next.push((Step::EnclaveSignsSession(boot, asked.id), after));
                }
            }
        }
        // From the attacker.
        for (id, session) in &state.intercepted {
            let bound = self.binder_of(*id, *session);
            for known in self.known_to(state, *id) {
                let wanted = self.signature(known.boot, bound, known.statement);
                if state.knowledge.derives(&self.terms, wanted) {
                    let mut after = state.clone();
                    after.intercepted.remove(id);
                    self.client_reads_signature(&mut after, *id, None, &known);
                    next.push((Step::HostSendsSignatureTo(*id), after));
                }
            }
        }
    }

    fn signature(&self, boot: Boot, bound: Term, statement: Term) -> Term {
        session_signature(&self.terms, &self.protocol, boot, bound, statement)
    }

    fn forged(&self, state: &State, next: &mut Vec<(Step, State)>) {
        for (id, session) in &state.intercepted {
            let bound = self.binder_of(*id, *session);
            for answer in forgeries(&self.terms, &self.protocol, &state.knowledge, LEAF_SERVER, bound) {
                let mut after = state.clone();
                after.intercepted.remove(id);
                self.client_reads(&mut after, *id, None, bound, &answer);
                next.push((Step::HostSendsReportTo(*id), after));
            }
        }
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
            after.intercepted.clear();
            if state.victim == SECOND {
                let secrets = state.held.iter().map(|id| Name::SessionSecret(*id));
                for secret in secrets.chain([Name::SessionKey(FIRST)]) {
                    after.knowledge.learn(&self.terms, self.terms.name(secret));
                }
                after.held.clear();
            }
            next.push((Step::MoreThan300SecondsPass, after));
        }
    }
}

fn client(id: SessionId) -> usize {
    match id.0 {
        Owner::Client(number) => usize::from(number),
        Owner::Attacker | Owner::Enclave(_) => unreachable!("asked of clients' sessions alone"),
    }
}

impl Model for Direct {
    type State = State;
    type Step = Step;

    fn initial(&self) -> State {
        let mut knowledge = Knowledge::default();
        if self.attacker.session_keys {
            knowledge.learn(&self.terms, self.terms.name(Name::SessionKey(FIRST)));
        }
        State {
            tick: 0,
            victim: FIRST,
            opened: [0; 2],
            probed: 0,
            intercepted: BTreeMap::new(),
            held: Vec::new(),
            knowledge,
            issued: Vec::new(),
            leases: [Vec::new(), Vec::new()],
            accepted: false,
            broken: Vec::new(),
        }
    }

    fn next(&self, state: &State) -> Vec<(Step, State)> {
        let mut next = Vec::new();
        self.interceptions(state, &mut next);
        self.epochs(state, &mut next);
        self.lane_k(state, &mut next);
        self.forged(state, &mut next);
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
