//! A stage on sockets: its handle, who may come in, and how it ends.
//!
//! Owns starting the thread that computes and the task that knows which links
//! there are. Refuses more handshakes at once than [`HANDSHAKES`], and by HELLO
//! whom `live_head` turns away: another head than one that said something within
//! [`SILENT_HEAD`](super::SILENT_HEAD); heads ping each second.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bastide_attestation::Nonce;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use super::inlet::Inlet;
use super::live_head::{self, LiveHead};
use super::supervisor::{Event, Supervisor, TO_HEAD};
use super::transport::Connector;
use super::worker::{self, CONTROL, Inbox, Input, Signals};
use crate::message::{Bounds, Envelope};
use crate::stage::{Layers, Stage};

/// Links that may be proving themselves at once.
pub const HANDSHAKES: usize = 16;
/// Frames that wait to be computed; the rest waits with who sends them.
const FRAMES: usize = 4;
/// Frames that wait where the head is in the same enclave: the head bounds them.
const OWN_FRAMES: usize = 1024;
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
        let connector = live_head::gated(links.connector.clone(), links.stage, &live);
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
