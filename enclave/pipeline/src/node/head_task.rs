//! The task that owns the head's machine: what happens goes in, what is to be
//! done comes out. It never waits for a link, a stage, a draft or a reader.
//!
//! Owns links to stages and where answers go. Refuses what a link reports once
//! it was ended.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bastide_attestation::Nonce;
use bastide_attested_tls::LinkPeer;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::cable::{self, Cable, LinkNumber};
use super::drafting::{Drafted, Drafting};
use super::head_node::{EVENTS, HeadUpdate, StopCheck};
use super::inlet::Inlet;
use super::stage_node::StageNode;
use super::transport::{Connector, LinkKind};
use crate::head::{Effect, Event, Head, HeadStatus, Loss, Request};
use crate::message::{Bounds, Envelope, SequenceId, Target};

/// Messages that may wait for the link of one stage. They are few and small, as
/// frames go from stage to stage: a link with more waiting has stopped.
const OUTGOING: usize = 256;
/// Positions that a draft has beyond those of the answer.
const DRAFT_AHEAD: usize = 32;
/// Challenges whose evidence is waited for; the machine allows 32.
const CHALLENGES: usize = 32;

/// An answer, as the task is asked for it.
pub(super) struct Submitted {
    pub(super) request: Request,
    pub(super) stop: Option<StopCheck>,
    pub(super) sink: mpsc::UnboundedSender<HeadUpdate>,
}

type Envelopes = Vec<Option<Vec<u8>>>;

/// What the task is asked.
pub(super) enum Command {
    Submit(Box<Submitted>),
    Challenge(Nonce, oneshot::Sender<Envelopes>),
    Status(oneshot::Sender<HeadStatus>),
}

/// What a link reports.
enum Report {
    Up(Option<Arc<LinkPeer>>),
    Message(Envelope),
    Down(Loss, &'static str),
}

/// Of one stage, and of which of its links.
struct Reported {
    stage: u16,
    number: LinkNumber,
    report: Report,
}

struct Linked {
    cable: Cable,
    outgoing: mpsc::Sender<Envelope>,
}

struct Reader {
    sink: mpsc::UnboundedSender<HeadUpdate>,
    stop: Option<StopCheck>,
    /// Tokens given to it.
    given: u32,
    /// Positions that the draft needs for it.
    positions: usize,
}

struct Challenge {
    envelopes: Envelopes,
    missing: usize,
    reply: oneshot::Sender<Envelopes>,
}

/// The task's things.
pub(super) struct HeadTask {
    head: Head,
    connector: Connector,
    bounds: Bounds,
    max_positions: u32,
    began: Instant,
    links: HashMap<u16, Linked>,
    latest: LinkNumber,
    reports: mpsc::Sender<Reported>,
    reported: Option<mpsc::Receiver<Reported>>,
    readers: HashMap<SequenceId, Reader>,
    challenges: HashMap<u64, Challenge>,
    challenged: u64,
    peers: watch::Sender<Vec<Option<Arc<LinkPeer>>>>,
    inlet: Inlet,
    drafting: Option<Drafting>,
    /// Follow from effects: stops are told first, before anything else can happen.
    stops: Vec<Event>,
    follows: VecDeque<Event>,
}

/// What the task is made of.
pub(super) struct HeadParts {
    pub(super) head: Head,
    pub(super) connector: Connector,
    pub(super) bounds: Bounds,
    pub(super) max_positions: u32,
    pub(super) peers: watch::Sender<Vec<Option<Arc<LinkPeer>>>>,
    pub(super) inlet: Inlet,
    pub(super) drafting: Option<Drafting>,
}

/// Where things come from that aren't links.
pub(super) struct HeadInbox {
    pub(super) own: mpsc::Receiver<Envelope>,
    pub(super) drafted: mpsc::Receiver<Drafted>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) cancels: mpsc::UnboundedReceiver<SequenceId>,
}

enum Woke {
    Event(Event),
    Command(Option<Command>),
    Nothing,
}

impl HeadTask {
    pub(super) fn new(parts: HeadParts) -> Self {
        let (reports, reported) = mpsc::channel(EVENTS);
        Self {
            head: parts.head,
            connector: parts.connector,
            bounds: parts.bounds,
            max_positions: parts.max_positions,
            began: Instant::now(),
            links: HashMap::new(),
            latest: 0,
            reports,
            reported: Some(reported),
            readers: HashMap::new(),
            challenges: HashMap::new(),
            challenged: 0,
            peers: parts.peers,
            inlet: parts.inlet,
            drafting: parts.drafting,
            stops: Vec::new(),
            follows: VecDeque::new(),
        }
    }

    /// Runs until nobody can ask for anything and every answer has ended, or the
    /// head's own stage has.
    pub(super) async fn run(mut self, mut node: StageNode, inbox: HeadInbox) {
        let HeadInbox {
            mut own,
            mut drafted,
            mut commands,
            mut cancels,
        } = inbox;
        let Some(mut reported) = self.reported.take() else {
            return;
        };
        let first = self.head.start(self.began.elapsed());
        self.carry_out(first);
        let mut asked = true;
        while asked || !self.readers.is_empty() {
            let due = self.head.deadline().map(|due| self.began + due);
            let mut woke = tokio::select! {
                command = commands.recv(), if asked => Woke::Command(command),
                Some(sequence) = cancels.recv() => self.cancel(sequence),
                Some(envelope) = own.recv() => Woke::Event(Event::Message { stage: 0, envelope }),
                Some(report) = reported.recv() => self.heard(report),
                Some(result) = drafted.recv() => self.drafted(result),
                () = node.ended() => {
                    ops!(ERROR, "pipeline.own_stage_ended");
                    return;
                }
                () = until(due) => Woke::Event(Event::Tick),
            };
            // What has happened by now counts before the next draft is asked for.
            loop {
                match woke {
                    Woke::Event(event) => self.happen(event),
                    Woke::Command(Some(command)) => self.command(command),
                    Woke::Command(None) => asked = false,
                    Woke::Nothing => {}
                }
                woke = if let Ok(envelope) = own.try_recv() {
                    Woke::Event(Event::Message { stage: 0, envelope })
                } else if let Ok(report) = reported.try_recv() {
                    self.heard(report)
                } else {
                    break;
                };
            }
            self.ask_for_draft();
        }
    }

    fn happen(&mut self, event: Event) {
        let effects = self.head.handle(self.began.elapsed(), event);
        self.carry_out(effects);
    }

    fn ask_for_draft(&mut self) {
        let Some(drafting) = self.drafting.as_mut().filter(|drafting| drafting.is_idle()) else {
            return;
        };
        if let Some(task) = self.head.next_draft(self.began.elapsed()) {
            let reader = self.readers.get(&task.sequence);
            let positions = reader.map_or(0, |reader| reader.positions);
            drafting.draft(task, positions);
        }
    }

    fn cancel(&mut self, sequence: SequenceId) -> Woke {
        if self.forget(sequence).is_none() {
            return Woke::Nothing;
        }
        Woke::Event(Event::Cancel { sequence })
    }

    fn drafted(&mut self, result: Drafted) -> Woke {
        if let Some(drafting) = &mut self.drafting {
            drafting.done();
        }
        let Drafted {
            sequence,
            epoch,
            ids,
            took,
        } = result;
        if !self.readers.contains_key(&sequence) {
            return Woke::Nothing;
        }
        Woke::Event(Event::Drafted {
            sequence,
            epoch,
            ids,
            took,
        })
    }

    /// What a link says, if it is still the stage's.
    fn heard(&mut self, reported: Reported) -> Woke {
        let Reported {
            stage,
            number,
            report,
        } = reported;
        let current = self.links.get(&stage);
        if current.is_none_or(|link| link.cable.number != number) {
            return Woke::Nothing;
        }
        Woke::Event(match report {
            Report::Up(peer) => {
                ops!(INFO, "pipeline.stage_linked", stage = stage);
                self.know(stage, peer);
                Event::Up { stage }
            }
            Report::Message(envelope) => Event::Message { stage, envelope },
            Report::Down(why, code) => {
                ops!(WARN, "pipeline.stage_gone", stage = stage, code = code);
                self.unlink(stage);
                Event::Down { stage, why }
            }
        })
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Submit(submitted) => {
                let Submitted { request, stop, sink } = *submitted;
                if sink.is_closed() {
                    return;
                }
                let budget = usize::try_from(request.budget).unwrap_or(usize::MAX);
                let most = usize::try_from(self.max_positions).unwrap_or(usize::MAX);
                let positions = request.prompt.len().saturating_add(budget).min(most);
                let reader = Reader {
                    sink,
                    stop,
                    given: 0,
                    positions: positions.saturating_add(DRAFT_AHEAD),
                };
                self.readers.insert(request.sequence, reader);
                self.happen(Event::Submit(request));
            }
            Command::Challenge(nonce, reply) => {
                let stages = self.peers.borrow().len();
                let none = vec![None; stages];
                if self.challenges.len() >= CHALLENGES {
                    // Who asked may have left.
                    let _ = reply.send(none);
                    return;
                }
                self.challenged += 1;
                let id = self.challenged;
                let challenge = Challenge {
                    missing: none.len(),
                    envelopes: none,
                    reply,
                };
                self.challenges.insert(id, challenge);
                self.happen(Event::Challenge { id, nonce });
            }
            Command::Status(reply) => {
                let _ = reply.send(self.head.status());
            }
        }
    }

    /// Carries out effects, and those that follow from them.
    fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut due = VecDeque::from(effects);
        loop {
            while let Some(effect) = due.pop_front() {
                self.obey(effect);
            }
            let event = match self.stops.pop() {
                Some(stop) => stop,
                None => match self.follows.pop_front() {
                    Some(event) => event,
                    None => return,
                },
            };
            due.extend(self.head.handle(self.began.elapsed(), event));
        }
    }

    fn obey(&mut self, effect: Effect) {
        match effect {
            Effect::Link { stage, node } => self.link(stage, node),
            Effect::Unlink { stage } => self.unlink(stage),
            Effect::Send { stage, envelope } => {
                if let Err(code) = self.send(stage, envelope) {
                    ops!(WARN, "pipeline.stage_full", stage = stage, code = code);
                    self.unlink(stage);
                    self.follows.push_back(Event::Down {
                        stage,
                        why: Loss::Slow,
                    });
                }
            }
            Effect::Emit { sequence, targets } => self.emit(sequence, targets),
            Effect::Done { sequence, record } => self.end(sequence, HeadUpdate::Done(record)),
            Effect::Failed { sequence, code } => self.end(sequence, HeadUpdate::Failed(code)),
            Effect::Evidence { id, stage, envelope } => self.evidence(id, stage, envelope),
        }
    }

    fn send(&self, stage: u16, envelope: Envelope) -> Result<(), &'static str> {
        if stage == 0 {
            return self.inlet.take_now(envelope);
        }
        match self.links.get(&stage) {
            Some(link) => match link.outgoing.try_send(envelope) {
                Err(TrySendError::Full(_)) => Err("pipeline.link_full"),
                // Why it is closed is being reported.
                Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            },
            // Ended above, which follows.
            None => Ok(()),
        }
    }

    /// Gives tokens to their reader, up to where the answer stops.
    fn emit(&mut self, sequence: SequenceId, mut targets: Vec<Target>) {
        let Some(reader) = self.readers.get_mut(&sequence) else {
            return;
        };
        if let Some(produced) = reader.stop.as_mut().and_then(|stop| stop(&targets)) {
            let left = produced.saturating_sub(reader.given);
            targets.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            // It has stopped: the machine emits nothing more of it.
            reader.stop = None;
            self.stops.push(Event::Stop { sequence, produced });
        }
        let given = u32::try_from(targets.len()).unwrap_or(u32::MAX);
        reader.given = reader.given.saturating_add(given);
        if reader.sink.send(HeadUpdate::Tokens(targets)).is_err() {
            // Who asked has left; the cancel may have come before the question.
            self.forget(sequence);
            self.follows.push_back(Event::Cancel { sequence });
        }
    }

    fn end(&mut self, sequence: SequenceId, update: HeadUpdate) {
        if let Some(reader) = self.forget(sequence) {
            // It may have left.
            drop(reader.sink.send(update));
        }
    }

    /// Forgets who reads an answer, and the draft's memory of it.
    fn forget(&mut self, sequence: SequenceId) -> Option<Reader> {
        let reader = self.readers.remove(&sequence);
        if let (Some(_), Some(drafting)) = (&reader, &self.drafting) {
            drafting.forget(sequence);
        }
        reader
    }

    fn evidence(&mut self, id: u64, stage: u16, envelope: Option<Vec<u8>>) {
        let Some(challenge) = self.challenges.get_mut(&id) else {
            return;
        };
        if let Some(slot) = challenge.envelopes.get_mut(usize::from(stage)) {
            *slot = envelope;
        }
        challenge.missing = challenge.missing.saturating_sub(1);
        if challenge.missing == 0
            && let Some(challenge) = self.challenges.remove(&id)
        {
            let _ = challenge.reply.send(challenge.envelopes);
        }
    }

    fn know(&self, stage: u16, peer: Option<Arc<LinkPeer>>) {
        self.peers.send_modify(|peers| {
            if let Some(known) = peers.get_mut(usize::from(stage)) {
                *known = peer;
            }
        });
    }

    fn unlink(&mut self, stage: u16) {
        self.links.remove(&stage);
        self.know(stage, None);
    }

    fn link(&mut self, stage: u16, node: String) {
        self.latest += 1;
        let number = self.latest;
        let (outgoing, to_send) = mpsc::channel(OUTGOING);
        let stays = watch::channel(false).1;
        let (connector, reports, bounds) = (self.connector.clone(), self.reports.clone(), self.bounds);
        let task = tokio::spawn(async move {
            let report = |report| Reported {
                stage,
                number,
                report,
            };
            let closed = match connector.connect(LinkKind::Head, stage, &node).await {
                Ok(link) => {
                    let up = report(Report::Up(link.peer()));
                    if reports.send(up).await.is_err() {
                        return;
                    }
                    let deliver = |envelope| {
                        let (reports, message) = (reports.clone(), report(Report::Message(envelope)));
                        async move { reports.send(message).await.map_err(|_| "pipeline.head_ended") }
                    };
                    cable::run(link, to_send, stays, bounds, deliver).await
                }
                Err(closed) => closed,
            };
            drop(reports.send(report(Report::Down(closed.why, closed.code))).await);
        });
        let cable = Cable::new(number, task);
        self.links.insert(stage, Linked { cable, outgoing });
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
