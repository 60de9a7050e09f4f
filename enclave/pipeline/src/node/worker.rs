//! The thread that computes: it alone has the stage's machine and layers.
//!
//! Owns the order in which things come to the machine: what must be quick
//! first. Refuses nothing; the machine does. It waits where the next stage or
//! the head is slow to read, and computes nothing meanwhile; a new ring ends
//! the first of these.

use std::io;
use std::sync::Arc;
use std::thread;

use bastide_attestation::Nonce;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::cable::LinkNumber;
use crate::message::{Envelope, RingId};
use crate::stage::{Layers, Origin, Stage, StageEffect};

/// Quick things that may wait.
pub(super) const CONTROL: usize = 256;

/// What the machine is told.
pub(super) enum Input {
    /// A message.
    Message {
        origin: Origin,
        link: LinkNumber,
        envelope: Envelope,
        /// If it is a JOIN.
        join: Option<JoinWaits>,
    },
    /// A head is there, and reads here.
    HeadLinked(mpsc::Sender<Envelope>),
    /// It isn't any more.
    HeadLost,
    /// The next stage of this ring is there, and reads here.
    NextLinked(RingId, mpsc::Sender<Envelope>),
    /// It isn't any more, or never was.
    NextLost(RingId),
    /// What attesting came to.
    Evidence(u64, Option<Vec<u8>>),
}

/// What the machine wants done about links.
pub(super) enum Order {
    /// Open the link to the next stage.
    LinkNext { ring: RingId, address: String },
    /// End it.
    UnlinkNext,
    /// Attest for a client.
    Attest { id: u64, nonce: Nonce },
    /// End a link: what came on it must not come.
    Refuse { link: LinkNumber, code: &'static str },
}

/// Where the machine's things come from.
pub(super) struct Inbox {
    /// What must be quick.
    pub(super) control: mpsc::Receiver<Input>,
    /// What must stay in order.
    pub(super) ring: mpsc::Receiver<Input>,
}

impl Inbox {
    async fn next(&mut self) -> Option<Input> {
        tokio::select! {
            biased;
            Some(input) = self.control.recv() => Some(input),
            Some(input) = self.ring.recv() => Some(input),
            else => None,
        }
    }
}

/// What is known of the thread, and what it must know while it waits.
#[derive(Clone)]
pub(super) struct Signals {
    /// JOINs that came and that the machine hasn't seen.
    joins: Arc<watch::Sender<usize>>,
    /// Sequences that the machine holds.
    pub(super) sequences: Arc<watch::Sender<usize>>,
}

/// A JOIN that the machine hasn't seen. Ends however the message does.
pub(super) struct JoinWaits(Arc<watch::Sender<usize>>);

impl Drop for JoinWaits {
    fn drop(&mut self) {
        self.0.send_modify(|joins| *joins = joins.saturating_sub(1));
    }
}

impl Signals {
    pub(super) fn join_waits(&self) -> JoinWaits {
        self.joins.send_modify(|joins| *joins = joins.saturating_add(1));
        JoinWaits(Arc::clone(&self.joins))
    }

    pub(super) fn new() -> Self {
        let zero = || Arc::new(watch::Sender::new(0));
        Self {
            joins: zero(),
            sequences: zero(),
        }
    }
}

struct Worker<L: Layers> {
    stage: Stage<L>,
    runtime: Handle,
    signals: Signals,
    head: Option<mpsc::Sender<Envelope>>,
    next: Option<mpsc::Sender<Envelope>>,
    /// Ring that the latest order to link was for.
    ring: RingId,
    orders: mpsc::UnboundedSender<Order>,
}

/// Starts the thread. It ends when both queues of its inbox do. The number of
/// orders is bounded by that of inputs, whose queues are bounded.
///
/// # Errors
/// If the operating system gives no thread.
pub(super) fn start<L>(
    stage: Stage<L>,
    mut inbox: Inbox,
    orders: mpsc::UnboundedSender<Order>,
    signals: Signals,
) -> io::Result<thread::JoinHandle<()>>
where
    L: Layers + Send + 'static,
    L::Sequence: Send,
{
    let runtime = Handle::current();
    thread::Builder::new()
        .name("pipeline-stage".to_owned())
        .spawn(move || {
            let mut worker = Worker {
                stage,
                runtime,
                signals,
                head: None,
                next: None,
                ring: RingId(0),
                orders,
            };
            while let Some(input) = worker.runtime.block_on(inbox.next()) {
                worker.take(input);
                worker.publish();
            }
        })
}

impl<L: Layers> Worker<L> {
    fn take(&mut self, input: Input) {
        let effects = match input {
            Input::Message {
                origin,
                link,
                envelope,
                join,
            } => {
                drop(join);
                match self.stage.handle(origin, envelope) {
                    Ok(effects) => effects,
                    Err(fault) => {
                        let code = fault.code();
                        self.order(Order::Refuse { link, code });
                        Vec::new()
                    }
                }
            }
            Input::HeadLinked(sender) => {
                self.head = Some(sender);
                Vec::new()
            }
            Input::HeadLost => {
                self.head = None;
                self.stage.head_lost()
            }
            Input::NextLinked(ring, sender) if ring == self.ring => {
                self.next = Some(sender);
                self.stage.next_linked(ring)
            }
            Input::NextLost(ring) if ring == self.ring => {
                self.next = None;
                self.stage.next_lost()
            }
            // Of a ring that has been left.
            Input::NextLinked(..) | Input::NextLost(_) => Vec::new(),
            Input::Evidence(id, envelope) => self.stage.evidence(id, envelope),
        };
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<StageEffect>) {
        for effect in effects {
            match effect {
                StageEffect::ToHead(envelope) => {
                    // A head that has left is noticed where its link is.
                    if let Some(head) = &self.head {
                        drop(head.blocking_send(envelope));
                    }
                }
                StageEffect::ToNext(envelope) => self.hand_on(envelope),
                StageEffect::LinkNext { ring, address } => {
                    self.next = None;
                    self.ring = ring;
                    self.order(Order::LinkNext { ring, address });
                }
                StageEffect::UnlinkNext => {
                    self.next = None;
                    self.order(Order::UnlinkNext);
                }
                StageEffect::Attest { id, nonce } => self.order(Order::Attest { id, nonce }),
            }
        }
    }

    /// Waits for the next stage to read, unless a new ring begins: then what was
    /// to be sent is of no more use to anyone.
    fn hand_on(&self, envelope: Envelope) {
        let Some(next) = &self.next else {
            return;
        };
        let mut joins = self.signals.joins.subscribe();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                // A next stage that has left is noticed where its link is.
                _ = next.send(envelope) => {}
                _ = joins.wait_for(|joins| *joins > 0) => {}
            }
        });
    }

    fn publish(&self) {
        let held = self.stage.sequences();
        self.signals.sequences.send_if_modified(|known| {
            let changed = *known != held;
            *known = held;
            changed
        });
    }

    fn order(&self, order: Order) {
        // Without a node there are no links to give orders about.
        drop(self.orders.send(order));
    }
}
