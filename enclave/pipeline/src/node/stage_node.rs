//! A stage on sockets: the links that it accepts and opens, and the thread
//! that computes.
//!
//! Owns which links there are: one of a head, one of the stage before, one to
//! the stage behind. The newest link of the stage before counts, since the
//! head decides who that is. A head is kept while it is alive: another one is
//! turned away, unless it is the same enclave that links again, or the one
//! before has said nothing for [`SILENT_HEAD`]; heads ping each second. Refuses
//! links of anyone else, and more handshakes at once than [`HANDSHAKES`].

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bastide_attestation::{Nonce, SpkiDigest};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::cable::{self, Cable, LinkNumber, OUTGOING};
use super::transport::{Connector, Link, LinkClosed, LinkKind};
use super::worker::{self, CONTROL, Inbox, Input, Order, Signals};
use crate::message::{Bounds, Envelope, Message, RingId};
use crate::stage::{Cancelled, Layers, Origin, Progress, Stage};

/// How long a head may say nothing before another one may take its place.
pub const SILENT_HEAD: Duration = Duration::from_secs(5);
/// Links that may be proving themselves at once.
pub const HANDSHAKES: usize = 16;
/// Frames that wait to be computed; the rest waits with who sends them.
const FRAMES: usize = 4;
/// Frames that wait where the head is in the same enclave: the head bounds them.
const OWN_FRAMES: usize = 1024;
/// Messages of a stage that wait for its head.
const TO_HEAD: usize = 64;
/// Clients that are attested for at once. Others get no evidence of this stage.
const ATTESTING: usize = 32;
/// How long what waits for the head may take to go out at the end.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Things for the node to do.
const EVENTS: usize = 64;

/// Evidence that was asked for: an envelope, or `None` if there is none.
pub type Attesting = Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>>;

/// Attests this enclave, as its stage, for a client's nonce.
pub trait AttestStage: Send + Sync {
    /// An evidence envelope bound to the nonce and this stage.
    fn attest(&self, nonce: Nonce) -> Attesting;
}

/// What a stage is on its links.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a connector has keys")]
pub struct StageLinks {
    /// Its number.
    pub stage: u16,
    /// Opens and accepts links.
    pub connector: Connector,
    /// Attests for clients.
    pub attester: Arc<dyn AttestStage>,
    /// Bounds of messages, by the model.
    pub bounds: Bounds,
}

/// A running stage. Dropping it ends its links and its thread.
#[expect(missing_debug_implementations, reason = "a connector has keys")]
pub struct StageNode {
    connector: Connector,
    events: mpsc::Sender<Event>,
    handshakes: Arc<Semaphore>,
    state: watch::Receiver<StageState>,
    sequences: watch::Receiver<usize>,
    leaving: watch::Sender<bool>,
    supervisor: JoinHandle<()>,
}

/// Which links a stage has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageState {
    /// Whether a head is linked.
    pub head: bool,
    /// Whether the stage before is.
    pub before: bool,
    /// Whether the next stage is.
    pub next: bool,
}

/// A head's end of a stage in the same enclave.
pub(super) struct Local {
    pub(super) inlet: Inlet,
    pub(super) outlet: mpsc::Receiver<Envelope>,
}

enum Event {
    Accepted(Link),
    Ended(LinkNumber, LinkClosed),
    NextOpened(LinkNumber, RingId, Result<Link, LinkClosed>),
    Attested(u64, Option<Vec<u8>>),
}

impl StageNode {
    /// Starts a stage; heads and stages come by [`Self::accept`] or [`Self::serve`].
    ///
    /// # Errors
    /// If the operating system gives no thread.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start<L>(stage: Stage<L>, links: StageLinks) -> io::Result<Self>
    where
        L: Layers + Send + 'static,
        L::Sequence: Send,
    {
        Self::start_with(stage, links, FRAMES).map(|(node, _)| node)
    }

    /// Starts a head's own stage.
    pub(super) fn start_local<L>(stage: Stage<L>, links: StageLinks) -> io::Result<(Self, Local)>
    where
        L: Layers + Send + 'static,
        L::Sequence: Send,
    {
        let (node, inlet) = Self::start_with(stage, links, OWN_FRAMES)?;
        let (sender, outlet) = mpsc::channel(TO_HEAD);
        // The queue is new and has room.
        drop(inlet.control.try_send(Input::HeadLinked(sender.clone())));
        let inlet = Inlet {
            pongs: Some(sender),
            ..inlet
        };
        Ok((node, Local { inlet, outlet }))
    }

    fn start_with<L>(stage: Stage<L>, links: StageLinks, frames: usize) -> io::Result<(Self, Inlet)>
    where
        L: Layers + Send + 'static,
        L::Sequence: Send,
    {
        let (cancelled, progress) = (stage.cancelled(), stage.progress());
        let signals = Signals::new();
        let (control, quick) = mpsc::channel(CONTROL);
        let (ring, ordered) = mpsc::channel(frames);
        let (orders, ordering) = mpsc::unbounded_channel();
        let (events, happening) = mpsc::channel(EVENTS);
        let (state, known) = watch::channel(StageState::default());
        let (leaving, leaves) = watch::channel(false);
        let inbox = Inbox {
            control: quick,
            ring: ordered,
        };
        worker::start(stage, inbox, orders, signals.clone())?;
        let inlet = Inlet {
            control: control.clone(),
            ring,
            cancelled,
            progress,
            signals: signals.clone(),
            pongs: None,
            link: 0,
        };
        let live = LiveHead::default();
        let connector = gated(&links, &live);
        let supervisor = Supervisor {
            links,
            inlet: inlet.clone(),
            control,
            events: events.clone(),
            attesting: Arc::new(Semaphore::new(ATTESTING)),
            latest: 0,
            live,
            head: None,
            before: None,
            next: None,
            state,
            leaves,
        };
        let node = Self {
            connector,
            events,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
            state: known,
            sequences: signals.sequences.subscribe(),
            leaving,
            supervisor: tokio::spawn(supervisor.run(happening, ordering)),
        };
        Ok((node, inlet))
    }

    /// Takes a connection: whoever is there proves in a task of its own that it
    /// may link to this stage. One too many is closed at once.
    pub fn accept<IO>(&self, stream: IO)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Ok(permit) = Arc::clone(&self.handshakes).try_acquire_owned() else {
            ops!(WARN, "pipeline.links_refused", code = "pipeline.handshakes");
            return;
        };
        let (connector, events) = (self.connector.clone(), self.events.clone());
        tokio::spawn(async move {
            let accepted = tokio::select! {
                accepted = connector.accept(stream) => accepted,
                () = events.closed() => return,
            };
            match accepted {
                Ok(link) => drop(events.send(Event::Accepted(link)).await),
                Err(closed) => ops!(WARN, "pipeline.link_not_opened", code = closed.code),
            }
            drop(permit);
        });
    }

    /// Accepts connections until the listener fails.
    ///
    /// # Errors
    /// What the listener says, except of a connection that was given up before
    /// it was accepted.
    pub async fn serve(&self, listener: &TcpListener) -> io::Result<()> {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    stream.set_nodelay(true)?;
                    self.accept(stream);
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Which links there are.
    #[must_use]
    pub fn state(&self) -> StageState {
        *self.state.borrow()
    }

    /// Waits until the stage can compute no more: its thread has ended.
    pub async fn ended(&mut self) {
        // Its sender lives as long as the supervisor.
        while self.state.changed().await.is_ok() {}
    }

    /// Lets the answers in progress end, for at most `limit`, then ends all links.
    /// No new link is accepted meanwhile.
    pub async fn shut_down(&self, limit: Duration) {
        self.handshakes.close();
        let mut sequences = self.sequences.clone();
        let ended = sequences.wait_for(|held| *held == 0);
        // A head with more to ask joins another stage once this one is gone.
        drop(tokio::time::timeout(limit, ended).await);
        // What was said to the head still goes out: parts of receipts.
        self.leaving.send_replace(true);
        let mut state = self.state.clone();
        let left = state.wait_for(|state| !state.head);
        drop(tokio::time::timeout(LAST_WORDS, left).await);
        self.supervisor.abort();
    }
}

impl Drop for StageNode {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

/// Where the head's messages go in.
#[derive(Clone)]
pub(super) struct Inlet {
    control: mpsc::Sender<Input>,
    ring: mpsc::Sender<Input>,
    cancelled: Cancelled,
    progress: Progress,
    signals: Signals,
    /// Where answers to pings go, past the thread that computes.
    pongs: Option<mpsc::Sender<Envelope>>,
    link: LinkNumber,
}

impl Inlet {
    /// What doesn't wait for the thread that computes.
    fn at_once(&self, envelope: &Envelope) -> bool {
        match &envelope.message {
            Message::Ping { tick } => {
                let pong = self.progress.pong(envelope.ring, *tick);
                // Where this much waits for the head, it is deaf: let it miss one.
                if let Some(pongs) = &self.pongs {
                    drop(pongs.try_send(pong));
                }
                true
            }
            Message::Cancel { sequence, epoch } => {
                self.cancelled.note(envelope.ring, *sequence, *epoch);
                true
            }
            _ => false,
        }
    }

    fn input(&self, envelope: Envelope) -> Input {
        Input::Message {
            origin: Origin::Head,
            link: self.link,
            join: matches!(envelope.message, Message::Join(_)).then(|| self.signals.join_waits()),
            envelope,
        }
    }

    /// Takes a message of a head elsewhere.
    async fn take(&self, envelope: Envelope) -> Result<(), &'static str> {
        if along_the_ring(&envelope.message) {
            return Err("pipeline.origin");
        }
        if !self.at_once(&envelope) {
            let sent = self.control.send(self.input(envelope)).await;
            return sent.map_err(|_| "pipeline.stage_ended");
        }
        Ok(())
    }

    /// Takes a message of the head in this enclave, without waiting.
    ///
    /// # Errors
    /// If the thread has ended, or is so far behind that nothing more fits.
    pub(super) fn take_now(&self, envelope: Envelope) -> Result<(), &'static str> {
        if self.at_once(&envelope) {
            return Ok(());
        }
        let queue = if along_the_ring(&envelope.message) {
            &self.ring
        } else {
            &self.control
        };
        queue
            .try_send(self.input(envelope))
            .map_err(|_| "pipeline.stage_behind")
    }
}

/// Whether a message goes from stage to stage.
fn along_the_ring(message: &Message) -> bool {
    matches!(message, Message::Open(_) | Message::Frame(_) | Message::Finish(_))
}

/// The key of the head that is linked, and when it was last heard.
#[derive(Clone, Default)]
struct LiveHead(Arc<Mutex<Option<(SpkiDigest, Instant)>>>);

impl LiveHead {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(SpkiDigest, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, key: Option<SpkiDigest>) {
        *self.lock() = key.map(|key| (key, Instant::now()));
    }

    fn heard(&self) {
        if let Some((_, heard)) = &mut *self.lock() {
            *heard = Instant::now();
        }
    }

    /// Whether a head with another key is there and alive.
    fn is_other(&self, key: &SpkiDigest) -> bool {
        self.lock()
            .is_some_and(|(known, heard)| known != *key && heard.elapsed() < SILENT_HEAD)
    }
}

/// Turns away, by HELLO, another head than one that lives, and what comes
/// before stage 1 from another enclave than that head.
fn gated(links: &StageLinks, live: &LiveHead) -> Connector {
    let (live, own) = (live.clone(), links.stage);
    links.connector.clone().gated(move |kind, _, key| match kind {
        LinkKind::Ring if own != 1 => true,
        LinkKind::Head | LinkKind::Ring => !live.is_other(key),
    })
}

/// The link to the next stage, and the ring that it is of.
struct Next {
    ring: RingId,
    open: bool,
    /// Opens it, and then is it.
    cable: Cable,
}

struct Supervisor {
    links: StageLinks,
    inlet: Inlet,
    control: mpsc::Sender<Input>,
    events: mpsc::Sender<Event>,
    attesting: Arc<Semaphore>,
    latest: LinkNumber,
    live: LiveHead,
    head: Option<Cable>,
    before: Option<Cable>,
    next: Option<Next>,
    state: watch::Sender<StageState>,
    leaves: watch::Receiver<bool>,
}

impl Supervisor {
    async fn run(mut self, mut events: mpsc::Receiver<Event>, mut orders: mpsc::UnboundedReceiver<Order>) {
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
