//! Links of a pipeline of three enclaves, each stage opening one to the next,
//! over a host that wires them as it likes, stands at either end under any key
//! that it has, and runs a genuine enclave of its own that is no member.
//!
//! Evidence goes both ways before either end has accepted the other's: every
//! enclave vouches to anybody. CONFIRM is not modelled: whoever stands at an end
//! can make it, and what it adds, that both ends saw the same frames, is no
//! property here.

use std::collections::BTreeMap;

use super::explore::{Model, Property};
use super::protocol::{self, Answer, Attacker, Ends, Protocol, accepts, binder, forgeries, leaf, leaf_type};
use super::terms::{Boot, Knowledge, Name, Owner, Role, SessionId, Term, Terms};

/// Stages, which are enclaves' numbers as well.
const STAGES: u8 = 3;
/// The attacker's own enclave.
const OWN: u8 = 3;
/// Number of the context of the link from stage 0, among public names.
const CONTEXTS: u8 = 100;
/// Sessions that the attacker may stand in.
const MOST_ENTERED: u8 = 2;
/// Ends that answer have session numbers of their own.
const ANSWERING: u8 = 10;

#[derive(Debug)]
pub(crate) struct Links {
    terms: Terms,
    protocol: Protocol,
    attacker: Attacker,
}

/// One end of a link: an enclave's view of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct End {
    enclave: u8,
    role: Role,
    /// Stage from which the link goes, as this end has it configured.
    link: u8,
    /// The key that the other end showed.
    shown: Name,
    /// Whose secret.
    secret: SessionId,
    vouched: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// Ends whose other end is the attacker.
    ends: BTreeMap<SessionId, End>,
    /// Links that each enclave opened, and answered.
    opened: [u8; 4],
    answered: [u8; 4],
    /// Sessions that the attacker stands in.
    entered: u8,
    wired: bool,
    knowledge: Knowledge,
    accepted: bool,
    broken: Vec<Property>,
}

#[derive(Debug, Clone)]
#[expect(dead_code, reason = "steps are read by people, in the account of an attack")]
pub(crate) enum Step {
    HostWires {
        from: u8,
        link: u8,
        to: u8,
        other_link: u8,
    },
    HostAnswersUnderKey(SessionId, Name),
    HostOpensUnderKey(SessionId, Name),
    HostOpensWithTheExporterOf(SessionId, SessionId),
    EnclaveVouches(SessionId),
    HostSendsEvidenceTo(SessionId),
}

const fn boot(enclave: u8) -> Boot {
    Boot { enclave, number: 0 }
}

impl Links {
    pub(crate) fn new(protocol: Protocol, attacker: Attacker) -> Self {
        Self {
            terms: Terms::default(),
            protocol,
            attacker,
        }
    }

    /// Who opens links, and which it takes itself to open.
    fn openers(state: &State) -> Vec<(u8, u8)> {
        let members = (0..STAGES - 1).map(|stage| (stage, stage));
        let own = (0..STAGES - 1).map(|link| (OWN, link));
        members
            .chain(own)
            .filter(|(enclave, _)| state.opened[usize::from(*enclave)] < 1)
            .collect()
    }

    /// Who answers links, and which it takes itself to answer.
    fn answerers(state: &State) -> Vec<(u8, u8)> {
        let members = (1..STAGES).map(|stage| (stage, stage - 1));
        let own = (0..STAGES - 1).map(|link| (OWN, link));
        members
            .chain(own)
            .filter(|(enclave, _)| state.answered[usize::from(*enclave)] < 2)
            .collect()
    }

    fn keys(&self) -> Vec<Name> {
        let mut keys = vec![Name::SpkiOfAttacker];
        if self.attacker.tls_keys {
            keys.extend((0..STAGES).map(|stage| Name::Spki(boot(stage))));
        }
        keys
    }

    fn opening(state: &State, enclave: u8) -> SessionId {
        SessionId(Owner::Enclave(enclave), state.opened[usize::from(enclave)])
    }

    fn answering(state: &State, enclave: u8) -> SessionId {
        SessionId(
            Owner::Enclave(ANSWERING + enclave),
            state.answered[usize::from(enclave)],
        )
    }

    /// What `attester` and whoever verifies it compute, each from its own side.
    fn binder(
        &self,
        secret: SessionId,
        nonce: Term,
        role: Role,
        attester: Name,
        peer: Name,
        link: u8,
    ) -> Term {
        let ends = Ends {
            role,
            attester,
            peer: Some(peer),
            context: Some(CONTEXTS + link),
        };
        binder(&self.terms, &self.protocol, secret, nonce, &ends)
    }

    /// An enclave's evidence on its end, for a challenge of the other.
    fn evidence(&self, id: SessionId, end: &End, challenge: Term) -> Answer {
        let own = Name::Spki(boot(end.enclave));
        let bound = self.binder(end.secret, challenge, end.role, own, end.shown, end.link);
        let salt = self.terms.name(Name::Salt(id));
        let kind = leaf_type(&self.protocol, end.role);
        let hash = leaf(&self.terms, &self.protocol, kind, salt, bound);
        protocol::epoch(&self.terms, &self.protocol, boot(end.enclave), &[(salt, hash)]).remove(0)
    }

    /// What the evidence of the other end must be bound to.
    fn expected(&self, id: SessionId, end: &End) -> (u8, Term) {
        let other = match end.role {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        };
        let nonce = self.terms.name(Name::Nonce(id));
        let own = Name::Spki(boot(end.enclave));
        let bound = self.binder(end.secret, nonce, other, end.shown, own, end.link);
        (leaf_type(&self.protocol, other), bound)
    }

    /// Whether an end takes the evidence, and what breaks if it does. `other` is
    /// who really stands at the other end, and which link that one means.
    fn reads(
        &self,
        state: &mut State,
        id: SessionId,
        end: &End,
        answer: &Answer,
        other: Option<(u8, u8)>,
    ) -> bool {
        let (kind, bound) = self.expected(id, end);
        let Some(accepted) = accepts(&self.terms, &self.protocol, kind, bound, answer) else {
            return false;
        };
        if self.protocol.hardware_set && accepted.enclave >= STAGES {
            return false;
        }
        // Credentials are public; the stage that one names is the one it is for.
        let stage = match end.role {
            Role::Server => end.link,
            Role::Client => end.link + 1,
        };
        if self.protocol.credential_key && end.shown != Name::Spki(boot(stage)) {
            return false;
        }
        // What the attacker's own enclave accepts is the attacker's business.
        if end.enclave == OWN {
            return true;
        }
        state.accepted = true;
        if other.map(|(enclave, _)| boot(enclave)) != Some(accepted) {
            state.broken.push(Property::Agreement);
        }
        if other.is_none() {
            state.broken.push(Property::Secrecy);
        }
        if accepted.enclave == end.enclave {
            state.broken.push(Property::NoReflection);
        }
        if other.is_some_and(|(_, link)| link != end.link) {
            state.broken.push(Property::Stage);
        }
        if accepted.enclave >= STAGES {
            state.broken.push(Property::Membership);
        }
        state.broken.sort();
        state.broken.dedup();
        true
    }

    /// The host passes on the bytes between two enclaves, whichever they are.
    fn wires(&self, state: &State, next: &mut Vec<(Step, State)>) {
        // What two enclaves say to each other gives the attacker reports over
        // secrets that it doesn't have: one such link shows all there is.
        if state.wired {
            return;
        }
        for (from, link) in Self::openers(state) {
            for (to, other_link) in Self::answerers(state) {
                if from == to {
                    continue;
                }
                let mut after = state.clone();
                after.wired = true;
                let (opener, answerer) = (Self::opening(state, from), Self::answering(state, to));
                after.opened[usize::from(from)] += 1;
                after.answered[usize::from(to)] += 1;
                let first = End {
                    enclave: from,
                    role: Role::Client,
                    link,
                    shown: Name::Spki(boot(to)),
                    secret: opener,
                    vouched: true,
                };
                let second = End {
                    enclave: to,
                    role: Role::Server,
                    link: other_link,
                    shown: Name::Spki(boot(from)),
                    ..first
                };
                let nonce = |id| self.terms.name(Name::Nonce(id));
                let of_first = self.evidence(opener, &first, nonce(answerer));
                let of_second = self.evidence(answerer, &second, nonce(opener));
                for evidence in [&of_first, &of_second] {
                    after.knowledge.learn(&self.terms, evidence.report);
                    after.knowledge.learn(&self.terms, evidence.statement);
                }
                self.reads(&mut after, opener, &first, &of_second, Some((to, other_link)));
                self.reads(&mut after, answerer, &second, &of_first, Some((from, link)));
                let step = Step::HostWires {
                    from,
                    link,
                    to,
                    other_link,
                };
                next.push((step, after));
            }
        }
    }

    fn host_answers(&self, state: &State, next: &mut Vec<(Step, State)>) {
        if state.entered >= MOST_ENTERED {
            return;
        }
        for (enclave, link) in Self::openers(state) {
            let id = Self::opening(state, enclave);
            for shown in self.keys() {
                let mut after = state.clone();
                after.opened[usize::from(enclave)] += 1;
                let end = End {
                    enclave,
                    role: Role::Client,
                    link,
                    shown,
                    secret: id,
                    vouched: false,
                };
                self.stand_at(&mut after, id, end);
                next.push((Step::HostAnswersUnderKey(id, shown), after));
            }
        }
    }

    fn host_opens(&self, state: &State, next: &mut Vec<(Step, State)>) {
        if state.entered >= MOST_ENTERED {
            return;
        }
        let fresh = SessionId(Owner::Attacker, state.entered);
        let mut secrets = vec![fresh];
        if self.attacker.equal_exporters {
            secrets.extend(state.ends.keys());
        }
        for (enclave, link) in Self::answerers(state) {
            let id = Self::answering(state, enclave);
            for shown in self.keys() {
                for secret in &secrets {
                    let mut after = state.clone();
                    after.answered[usize::from(enclave)] += 1;
                    let end = End {
                        enclave,
                        role: Role::Server,
                        link,
                        shown,
                        secret: *secret,
                        vouched: false,
                    };
                    self.stand_at(&mut after, id, end);
                    let step = match *secret == fresh {
                        true => Step::HostOpensUnderKey(id, shown),
                        false => Step::HostOpensWithTheExporterOf(id, *secret),
                    };
                    next.push((step, after));
                }
            }
        }
    }

    /// The attacker is the other end, and is sent a challenge.
    fn stand_at(&self, state: &mut State, id: SessionId, end: End) {
        state.entered += 1;
        for known in [Name::SessionSecret(end.secret), Name::Nonce(id)] {
            state.knowledge.learn(&self.terms, self.terms.name(known));
        }
        state.ends.insert(id, end);
    }

    fn vouching(&self, state: &State, next: &mut Vec<(Step, State)>) {
        let mut challenges = vec![self.terms.name(Name::NonceOfAttacker)];
        challenges.extend(state.ends.keys().map(|id| self.terms.name(Name::Nonce(*id))));
        for (id, end) in state.ends.iter().filter(|(_, end)| !end.vouched) {
            for challenge in &challenges {
                let mut after = state.clone();
                let answer = self.evidence(*id, end, *challenge);
                for part in [answer.statement, answer.report, answer.salt] {
                    after.knowledge.learn(&self.terms, part);
                }
                after.ends.insert(
                    *id,
                    End {
                        vouched: true,
                        ..*end
                    },
                );
                next.push((Step::EnclaveVouches(*id), after));
            }
        }
    }

    fn forged(&self, state: &State, next: &mut Vec<(Step, State)>) {
        for (id, end) in &state.ends {
            let (kind, bound) = self.expected(*id, end);
            for answer in forgeries(&self.terms, &self.protocol, &state.knowledge, kind, bound) {
                let mut after = state.clone();
                if self.reads(&mut after, *id, end, &answer, None) {
                    after.ends.remove(id);
                    next.push((Step::HostSendsEvidenceTo(*id), after));
                }
            }
        }
    }
}

impl Model for Links {
    type State = State;
    type Step = Step;

    fn initial(&self) -> State {
        State {
            ends: BTreeMap::new(),
            opened: [0; 4],
            answered: [0; 4],
            entered: 0,
            wired: false,
            knowledge: Knowledge::default(),
            accepted: false,
            broken: Vec::new(),
        }
    }

    fn next(&self, state: &State) -> Vec<(Step, State)> {
        let mut next = Vec::new();
        self.wires(state, &mut next);
        self.host_answers(state, &mut next);
        self.host_opens(state, &mut next);
        self.vouching(state, &mut next);
        self.forged(state, &mut next);
        next
    }

    fn broken(&self, state: &State) -> Vec<Property> {
        state.broken.clone()
    }

    fn gets_through(&self, state: &State) -> bool {
        state.accepted
    }
}
