//! The ring: links, joins, heartbeats, and making it again.
//!
//! Owns which node is which stage, and whether all are READY. Refuses a stage
//! of another plan, weights or arithmetic; one that doesn't answer is lost.
//! However a stage is lost, the whole ring is made again, under a new number.

use std::time::Duration;

use super::candidate::{Candidates, back_off};
use super::event::{Effect, Loss};
use super::terms::HeadTerms;
use crate::message::{Envelope, Join, Message, Ready, RingId};

/// Pings that a stage may miss.
const MISSES: u64 = 3;
/// A ring that lasted this long was a good one: waiting starts from the least again.
const PROVEN: Duration = Duration::from_secs(10);

enum State {
    /// A stage has no link, or the next join waits.
    Linking,
    /// JOIN was sent.
    Joining { until: Duration },
    /// All are READY.
    Whole { since: Duration },
}

enum Link {
    None,
    Opening { until: Duration },
    Up,
}

struct Member {
    candidates: Candidates,
    link: Link,
    /// Joined to the ring of the present number.
    joined: bool,
    ready: Option<Ready>,
    answered: u64,
    done: u64,
}

/// The stages and how they are connected.
pub(super) struct Ring {
    id: RingId,
    state: State,
    members: Vec<Member>,
    tick: u64,
    ping_due: Duration,
    /// Since when it isn't whole.
    broken: Duration,
    /// Joins since the last good ring.
    attempts: u32,
    join_after: Duration,
    /// What began the present repair.
    cause: Option<(u16, Loss)>,
    /// Whether the head was told that a whole ring broke.
    told: bool,
    pub(super) lost: u64,
}

impl Ring {
    pub(super) fn new(terms: &HeadTerms) -> Self {
        let mut nodes = terms.nodes.clone();
        nodes.resize(terms.weights.len().max(1), Vec::new());
        let mut members: Vec<Member> = nodes
            .into_iter()
            .map(|nodes| Member {
                candidates: Candidates::new(nodes),
                link: Link::None,
                joined: false,
                ready: None,
                answered: 0,
                done: 0,
            })
            .collect();
        if let Some(own) = members.first_mut() {
            own.link = Link::Up;
        }
        Self {
            id: RingId(0),
            state: State::Linking,
            members,
            tick: 0,
            ping_due: Duration::ZERO,
            broken: Duration::ZERO,
            attempts: 0,
            join_after: Duration::ZERO,
            cause: None,
            told: true,
            lost: 0,
        }
    }

    /// Before the first ring.
    pub(super) fn count_from(&mut self, ring: RingId) {
        self.id = ring;
    }

    pub(super) fn start(&mut self, now: Duration, terms: &HeadTerms, out: &mut Vec<Effect>) {
        self.broken = now;
        self.heal(now, terms, out);
    }

    pub(super) fn id(&self) -> RingId {
        self.id
    }

    pub(super) fn whole(&self) -> bool {
        matches!(self.state, State::Whole { .. })
    }

    /// Whether the ring of the present number is over, and the next not begun.
    pub(super) fn fallen(&self) -> bool {
        matches!(self.state, State::Linking)
    }

    /// Since when it isn't whole.
    pub(super) fn broken(&self) -> Option<Duration> {
        (!self.whole()).then_some(self.broken)
    }

    /// Stages, the head's own included; as many as fit sixteen bits.
    pub(super) fn stages(&self) -> u16 {
        u16::try_from(self.members.len()).unwrap_or(u16::MAX)
    }

    /// Which stages there are links to.
    pub(super) fn links(&self) -> Vec<bool> {
        let up = |member: &Member| matches!(member.link, Link::Up);
        self.members.iter().map(up).collect()
    }

    /// What the stages are.
    pub(super) fn ready(&self) -> impl Iterator<Item = &Ready> {
        self.members.iter().filter_map(|member| member.ready.as_ref())
    }

    /// For each stage but the first, which candidate it is.
    pub(super) fn nodes(&self) -> Vec<Option<usize>> {
        self.members
            .iter()
            .skip(1)
            .map(|member| member.candidates.chosen())
            .collect()
    }

    /// Whether a whole ring broke since the last call.
    pub(super) fn fell(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }

    /// What began the present repair, or the last one.
    pub(super) fn cause(&self) -> Option<(u16, Loss)> {
        self.cause
    }

    /// The first stage that hasn't done a frame; the tail if all have, since
    /// then its answer is missing.
    pub(super) fn behind(&self, number: u64) -> u16 {
        (0u16..)
            .zip(&self.members)
            .find(|(_, member)| member.done < number)
            .map_or_else(|| self.stages().saturating_sub(1), |(stage, _)| stage)
    }

    /// Whether what comes from a stage is to be looked at.
    pub(super) fn hears(&self, stage: u16, ring: RingId) -> bool {
        ring == self.id && self.member(stage).is_some_and(|member| member.joined)
    }

    fn member(&self, stage: u16) -> Option<&Member> {
        self.members.get(usize::from(stage))
    }

    fn member_mut(&mut self, stage: u16) -> Option<&mut Member> {
        self.members.get_mut(usize::from(stage))
    }

    /// A link opened; whether one was expected.
    pub(super) fn up(&mut self, stage: u16) -> bool {
        match self.member_mut(stage) {
            Some(member) if matches!(member.link, Link::Opening { .. }) => {
                member.link = Link::Up;
                true
            }
            _ => false,
        }
    }

    /// A link ended by itself; whether there was one.
    pub(super) fn down(&mut self, stage: u16, why: Loss, now: Duration, terms: &HeadTerms) -> bool {
        let linked = self
            .member(stage)
            .is_some_and(|member| !matches!(member.link, Link::None));
        if linked {
            self.drop_link(stage, why, now, terms);
            self.fall(stage, why, now, terms);
        }
        linked
    }

    /// A stage is lost for another reason than its link.
    pub(super) fn lose(
        &mut self,
        stage: u16,
        why: Loss,
        now: Duration,
        terms: &HeadTerms,
        out: &mut Vec<Effect>,
    ) {
        let linked = self
            .member(stage)
            .is_some_and(|member| !matches!(member.link, Link::None));
        if linked && stage > 0 {
            out.push(Effect::Unlink { stage });
        }
        self.drop_link(stage, why, now, terms);
        self.fall(stage, why, now, terms);
    }

    fn drop_link(&mut self, stage: u16, why: Loss, now: Duration, terms: &HeadTerms) {
        let proven = self.proven(now);
        // The head's own stage has no link that could be lost.
        if stage > 0
            && let Some(member) = self.member_mut(stage)
        {
            member.link = Link::None;
            member.joined = false;
            member.ready = None;
            member.candidates.fail(why, proven, now, &terms.times);
        }
    }

    fn proven(&self, now: Duration) -> bool {
        matches!(self.state, State::Whole { since } if now.saturating_sub(since) >= PROVEN)
    }

    fn fall(&mut self, stage: u16, why: Loss, now: Duration, terms: &HeadTerms) {
        self.lost += 1;
        if self.proven(now) {
            self.attempts = 0;
        }
        match self.state {
            State::Linking => {}
            State::Joining { .. } | State::Whole { .. } => {
                self.join_after = match self.attempts.checked_sub(1) {
                    None => now,
                    Some(attempts) => now.saturating_add(back_off(attempts, &terms.times)),
                };
                self.attempts = self.attempts.saturating_add(1);
            }
        }
        if self.whole() {
            self.broken = now;
            self.told = false;
            self.cause = None;
        }
        self.cause.get_or_insert((stage, why));
        self.state = State::Linking;
    }

    /// Opens what links are missing, and joins when there are all.
    pub(super) fn heal(&mut self, now: Duration, terms: &HeadTerms, out: &mut Vec<Effect>) {
        if !matches!(self.state, State::Linking) {
            return;
        }
        for (stage, member) in (0u16..).zip(&mut self.members) {
            if matches!(member.link, Link::None)
                && let Some(node) = member.candidates.choose(now)
            {
                out.push(Effect::Link {
                    stage,
                    node: node.to_owned(),
                });
                member.link = Link::Opening {
                    until: now.saturating_add(terms.times.link),
                };
            }
        }
        if self.members.iter().all(|member| matches!(member.link, Link::Up)) && now >= self.join_after {
            self.join(now, terms, out);
        }
    }

    fn join(&mut self, now: Duration, terms: &HeadTerms, out: &mut Vec<Effect>) {
        self.id = RingId(self.id.0.saturating_add(1));
        self.state = State::Joining {
            until: now.saturating_add(terms.times.join),
        };
        let mut next = None;
        let mut joins = Vec::new();
        // From the tail on, so that a stage's next one is likely to know by then.
        for (stage, member) in (0u16..)
            .zip(&mut self.members)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            member.joined = true;
            member.ready = None;
            member.answered = self.tick;
            member.done = 0;
            let join = Join {
                plan: terms.plan,
                stage,
                next: next.take(),
            };
            joins.push(Effect::Send {
                stage,
                envelope: Envelope {
                    ring: self.id,
                    message: Message::Join(join),
                },
            });
            next = member.candidates.node().map(str::to_owned);
        }
        out.extend(joins);
    }

    /// A stage is READY.
    ///
    /// # Errors
    /// [`Loss::Mismatch`] if it isn't what the plan says. `Ok(false)` if none
    /// was expected.
    pub(super) fn hear_ready(
        &mut self,
        stage: u16,
        ready: Ready,
        now: Duration,
        terms: &HeadTerms,
    ) -> Result<bool, Loss> {
        let weights = terms.weights.get(usize::from(stage));
        if ready.plan != terms.plan
            || ready.stage != stage
            || Some(&ready.weights) != weights
            || ready.engine != terms.engine
            || ready.max_positions < terms.max_positions
            || ready.max_sequences == 0
        {
            return Err(Loss::Mismatch);
        }
        let joining = matches!(self.state, State::Joining { .. });
        match self.member_mut(stage) {
            Some(member) if joining && member.ready.is_none() => member.ready = Some(ready),
            _ => return Ok(false),
        }
        if self.members.iter().all(|member| member.ready.is_some()) {
            self.state = State::Whole { since: now };
        }
        Ok(true)
    }

    /// A stage answered a ping.
    ///
    /// # Errors
    /// [`Loss::Nonsense`] if that ping was never sent.
    pub(super) fn hear_pong(&mut self, stage: u16, tick: u64, done: u64) -> Result<(), Loss> {
        if tick > self.tick {
            return Err(Loss::Nonsense);
        }
        if let Some(member) = self.member_mut(stage) {
            member.answered = member.answered.max(tick);
            member.done = member.done.max(done);
        }
        Ok(())
    }

    /// Does what is due.
    pub(super) fn pass(&mut self, now: Duration, terms: &HeadTerms, out: &mut Vec<Effect>) {
        for stage in 0..self.stages() {
            if matches!(self.member(stage), Some(Member { link: Link::Opening { until }, .. }) if *until <= now)
            {
                self.lose(stage, Loss::Unreachable, now, terms, out);
            }
        }
        if matches!(self.state, State::Joining { until } if until <= now) {
            let late = self.members.iter().position(|member| member.ready.is_none());
            let late = late.and_then(|late| u16::try_from(late).ok()).unwrap_or(0);
            self.lose(late, Loss::Slow, now, terms, out);
        }
        if self.ping_due <= now {
            self.ping_due = now.saturating_add(terms.times.ping);
            self.ping(now, terms, out);
        }
        self.heal(now, terms, out);
    }

    fn ping(&mut self, now: Duration, terms: &HeadTerms, out: &mut Vec<Effect>) {
        for stage in 0..self.stages() {
            let tick = self.tick;
            if self
                .member(stage)
                .is_some_and(|member| member.joined && tick.saturating_sub(member.answered) >= MISSES)
            {
                self.lose(stage, Loss::Silent, now, terms, out);
                if let Some(member) = self.member_mut(stage) {
                    member.answered = tick;
                }
            }
        }
        self.tick += 1;
        for (stage, member) in (0u16..).zip(&self.members) {
            if member.joined {
                let message = Message::Ping { tick: self.tick };
                out.push(Effect::Send {
                    stage,
                    envelope: Envelope {
                        ring: self.id,
                        message,
                    },
                });
            }
        }
    }

    /// When [`pass`](Self::pass) has something to do.
    pub(super) fn due(&self) -> Option<Duration> {
        let mut due = None;
        let mut least = |moment: Option<Duration>| {
            due = match (due, moment) {
                (Some(due), Some(moment)) => Some(std::cmp::min::<Duration>(due, moment)),
                (due, moment) => due.or(moment),
            };
        };
        if self.members.iter().any(|member| member.joined) {
            least(Some(self.ping_due));
        }
        for member in &self.members {
            match member.link {
                Link::None => least(member.candidates.due()),
                Link::Opening { until } => least(Some(until)),
                Link::Up => {}
            }
        }
        match self.state {
            State::Joining { until } => least(Some(until)),
            State::Linking if self.members.iter().all(|member| matches!(member.link, Link::Up)) => {
                least(Some(self.join_after));
            }
            _ => {}
        }
        due
    }
}
