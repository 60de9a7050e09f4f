//! The task that knows which links a stage has: one of a head, one of the stage
//! before, one to the stage behind.
//!
//! Owns their lives, and passes on what they say. The newest link of the stage
//! before counts, since the head decides who that is; a head is kept while it is
//! alive. Refuses links of anyone else.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, watch};

use super::cable::{self, Cable, LinkNumber, OUTGOING};
use super::inlet::{Inlet, along_the_ring};
use super::live_head::LiveHead;
use super::stage_node::{StageLinks, StageState};
use super::transport::{Link, LinkClosed, LinkKind};
use super::worker::{Input, Order};
use crate::message::RingId;
use crate::stage::Origin;

/// Messages of a stage that wait for its head.
pub(super) const TO_HEAD: usize = 64;

/// What the task is told.
pub(super) enum Event {
    Accepted(Link),
    Ended(LinkNumber, LinkClosed),
    NextOpened(LinkNumber, RingId, Result<Link, LinkClosed>),
    Attested(u64, Option<Vec<u8>>),
}

/// The link to the next stage, and the ring that it is of.
pub(super) struct Next {
    ring: RingId,
    open: bool,
    /// Opens it, and then is it.
    cable: Cable,
}

pub(super) struct Supervisor {
    pub(super) links: StageLinks,
    pub(super) inlet: Inlet,
    pub(super) control: mpsc::Sender<Input>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) attesting: Arc<Semaphore>,
    pub(super) latest: LinkNumber,
    pub(super) live: LiveHead,
    pub(super) head: Option<Cable>,
    pub(super) before: Option<Cable>,
    pub(super) next: Option<Next>,
    pub(super) state: watch::Sender<StageState>,
    pub(super) leaves: watch::Receiver<bool>,
}

impl Supervisor {
    pub(super) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut orders: mpsc::UnboundedReceiver<Order>,
    ) {
        loop {
            let goes_on = tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    // The thread has ended, which it does by itself only in a panic.
                    None => return,
                },
                // It never ends: this task has a sender.
                Some(event) = events.recv() => self.note(event).await,
            };
            if goes_on.is_err() {
                return;
            }
            let state = StageState {
                head: self.head.is_some(),
                before: self.before.is_some(),
                next: self.next.as_ref().is_some_and(|next| next.open),
            };
            self.state.send_if_modified(|known| {
                let changed = *known != state;
                *known = state;
                changed
            });
        }
    }

    /// Tells the thread something. `Err` once it has ended.
    async fn tell(&self, input: Input) -> Result<(), ()> {
        self.control.send(input).await.map_err(|_| ())
    }

    fn number(&mut self) -> LinkNumber {
        self.latest += 1;
        self.latest
    }

    async fn note(&mut self, event: Event) -> Result<(), ()> {
        match event {
            Event::Accepted(link) => self.take(link).await,
            Event::Ended(number, closed) => self.end(number, closed.code).await,
            Event::NextOpened(number, ring, opened) => self.next_opened(number, ring, opened).await,
            Event::Attested(id, envelope) => self.tell(Input::Evidence(id, envelope)).await,
        }
    }

    async fn take(&mut self, link: Link) -> Result<(), ()> {
        let before = self.links.stage.checked_sub(1);
        match link.kind {
            LinkKind::Head if link.stage == 0 => self.take_head(link).await,
            LinkKind::Ring if Some(link.stage) == before => {
                self.take_before(link);
                Ok(())
            }
            LinkKind::Head | LinkKind::Ring => {
                ops!(
                    WARN,
                    "pipeline.link_refused",
                    stage = link.stage,
                    code = "pipeline.wrong_stage"
                );
                Ok(())
            }
        }
    }

    async fn take_head(&mut self, link: Link) -> Result<(), ()> {
        let key = link.key();
        if self.head.is_some() {
            // Two that were let in at once.
            if key.is_some_and(|key| self.live.is_other(&key)) {
                ops!(WARN, "pipeline.link_refused", code = "pipeline.second_head");
                return Ok(());
            }
            self.head = None;
            self.tell(Input::HeadLost).await?;
        }
        let number = self.number();
        let (sender, outgoing) = mpsc::channel(TO_HEAD);
        self.tell(Input::HeadLinked(sender.clone())).await?;
        self.live.set(key);
        let inlet = Arc::new(Inlet {
            pongs: Some(sender),
            link: number,
            ..self.inlet.clone()
        });
        let leaves = self.leaves.clone();
        let (live, bounds, events) = (self.live.clone(), self.links.bounds, self.events.clone());
        let task = tokio::spawn(async move {
            let closed = cable::run(link, outgoing, leaves, bounds, |envelope| {
                live.heard();
                let inlet = Arc::clone(&inlet);
                async move { inlet.take(envelope).await }
            });
            let closed = closed.await;
            drop(events.send(Event::Ended(number, closed)).await);
        });
        let cable = Cable::new(number, task);
        self.head = Some(cable);
        ops!(INFO, "pipeline.head_linked");
        Ok(())
    }

    fn take_before(&mut self, link: Link) {
        let number = self.number();
        // It stays until the node ends: after the head's, which has more to hear.
        let stays = watch::channel(false).1;
        let (ring, bounds, events) = (self.inlet.ring.clone(), self.links.bounds, self.events.clone());
        let task = tokio::spawn(async move {
            // Nothing is sent on it; the queue is kept so that it stays open.
            let (_outgoing, nothing) = mpsc::channel(1);
            let closed = cable::run(link, nothing, stays, bounds, |envelope| {
                let ring = ring.clone();
                async move {
                    if !along_the_ring(&envelope.message) {
                        return Err("pipeline.origin");
                    }
                    let input = Input::Message {
                        origin: Origin::Previous,
                        link: number,
                        envelope,
                        join: None,
                    };
                    ring.send(input).await.map_err(|_| "pipeline.stage_ended")
                }
            });
            let closed = closed.await;
            drop(events.send(Event::Ended(number, closed)).await);
        });
        self.before = Some(Cable::new(number, task));
    }

    async fn end(&mut self, number: LinkNumber, code: &'static str) -> Result<(), ()> {
        if self.head.as_ref().is_some_and(|head| head.number == number) {
            ops!(WARN, "pipeline.head_gone", code = code);
            self.head = None;
            self.live.set(None);
            self.tell(Input::HeadLost).await?;
        } else if self.before.as_ref().is_some_and(|before| before.number == number) {
            ops!(WARN, "pipeline.before_gone", code = code);
            self.before = None;
        } else if self.next.as_ref().is_some_and(|next| next.cable.number == number) {
            ops!(WARN, "pipeline.next_gone", code = code);
            if let Some(next) = self.next.take() {
                self.tell(Input::NextLost(next.ring)).await?;
            }
        }
        Ok(())
    }

    async fn obey(&mut self, order: Order) -> Result<(), ()> {
        match order {
            Order::LinkNext { ring, address } => self.link_next(ring, address),
            Order::UnlinkNext => self.next = None,
            Order::Attest { id, nonce } => {
                let Ok(permit) = Arc::clone(&self.attesting).try_acquire_owned() else {
                    return self.tell(Input::Evidence(id, None)).await;
                };
                let (attesting, events) = (self.links.attester.attest(nonce), self.events.clone());
                tokio::spawn(async move {
                    let envelope = attesting.await;
                    drop(events.send(Event::Attested(id, envelope)).await);
                    drop(permit);
                });
            }
            Order::Refuse { link, code } => self.end(link, code).await?,
        }
        Ok(())
    }

    fn link_next(&mut self, ring: RingId, address: String) {
        let number = self.number();
        let (connector, events) = (self.links.connector.clone(), self.events.clone());
        let stage = self.links.stage.saturating_add(1);
        let task = tokio::spawn(async move {
            let opened = connector.connect(LinkKind::Ring, stage, &address).await;
            drop(events.send(Event::NextOpened(number, ring, opened)).await);
        });
        let cable = Cable::new(number, task);
        self.next = Some(Next {
            ring,
            open: false,
            cable,
        });
    }

    async fn next_opened(
        &mut self,
        number: LinkNumber,
        ring: RingId,
        opened: Result<Link, LinkClosed>,
    ) -> Result<(), ()> {
        if self.next.as_ref().is_none_or(|next| next.cable.number != number) {
            // Another ring has begun meanwhile.
            return Ok(());
        }
        let link = match opened {
            Ok(link) => link,
            Err(closed) => return self.end(number, closed.code).await,
        };
        let number = self.number();
        let (sender, outgoing) = mpsc::channel(OUTGOING);
        let stays = watch::channel(false).1;
        let (bounds, events) = (self.links.bounds, self.events.clone());
        let task = tokio::spawn(async move {
            let closed = cable::run(link, outgoing, stays, bounds, |_| async {
                Err("pipeline.origin")
            });
            let closed = closed.await;
            drop(events.send(Event::Ended(number, closed)).await);
        });
        let cable = Cable::new(number, task);
        self.next = Some(Next {
            ring,
            open: true,
            cable,
        });
        self.tell(Input::NextLinked(ring, sender)).await
    }
}
