//! Connections to several nodes, for many requests at once. Only an
//! [`AttestedConnection`] can be in it, and whatever is taken out of it is one
//! whose lease still holds. What is old is renewed on the same connection; what
//! was closed or failed is dropped when it is found.

mod race;
mod renewal;

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::address::NodeAddress;
use crate::client::Connector;
use crate::client::connection::{AttestedConnection, SendError};
use crate::client::error::ConnectError;

/// Times that a node may refuse a request because it holds the session for not
/// attested, before that is the answer.
const REFUSALS: usize = 2;
/// Milliseconds before a request of which nothing was written is tried on the
/// next connection. A node that changes what it states closes connections, and
/// on a busy machine the one that was just opened, too.
const PAUSES_MS: [u64; 8] = [0, 5, 10, 20, 40, 80, 160, 320];

/// How much a pool may hold, and for how long it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Connections at once, idle ones included. 64.
    pub open: usize,
    /// HTTP/1.1 connections that are kept while nobody uses them. 16.
    pub idle: usize,
    /// Requests at once on one HTTP/2 connection. 32.
    pub streams: usize,
    /// Connections that are being opened at once. 4.
    pub opening: usize,
    /// Longest that a request waits for a connection. 30 s: opening one may
    /// take that long.
    pub wait: Duration,
    /// How long the node before has before the next is tried beside it. 300 ms.
    pub stagger: Duration,
    /// How long a node that failed is tried after all others. 10 s.
    pub set_back: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            open: 64,
            idle: 16,
            streams: 32,
            opening: 4,
            wait: Duration::from_secs(30),
            stagger: Duration::from_millis(300),
            set_back: Duration::from_secs(10),
        }
    }
}

/// Learns what becomes of nodes, to tell people. Nothing it does admits one.
pub trait PoolObserver: Send + Sync {
    /// A new connection was attested. Of those in a race, only the one that won.
    fn admitted(&self, connection: &AttestedConnection);
    /// A node gave no attested connection, or one could not be renewed.
    fn failed(&self, node: &NodeAddress, error: &ConnectError);
}

/// Why a node gave no connection.
#[derive(Debug)]
pub struct NodeFailure {
    /// The node.
    pub node: NodeAddress,
    /// Why not, by the state that failed.
    pub error: ConnectError,
}

/// Why a request got no answer from a pool.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// No node gave an attested connection. Nothing was sent.
    #[error("no node gave an attested connection{}", first(.0))]
    NoNode(Arc<Vec<NodeFailure>>),
    /// All connections were in use. Nothing was sent.
    #[error("all connections were in use for {} s; try again", .waited.as_secs())]
    Busy {
        /// How long was waited.
        waited: Duration,
    },
    /// A connection took the request and gave no answer, or none took it.
    #[error(transparent)]
    Send(Arc<SendError>),
}

fn first(failures: &[NodeFailure]) -> String {
    failures.first().map_or_else(
        || ": there is no node to ask".to_owned(),
        |failure| format!(": {}: {}", failure.node, failure.error),
    )
}

impl PoolError {
    /// The stable dotted code. Of several nodes' the first that was judged: a
    /// verdict says more than a connection that failed.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoNode(failures) => {
                let judged = failures.iter().find(|failure| failure.error.verdict().is_some());
                let failure = judged.or_else(|| failures.first());
                failure.map_or("session.tcp", |failure| failure.error.code())
            }
            Self::Busy { .. } => "session.busy",
            Self::Send(error) => error.code(),
        }
    }
}

/// Attested connections to some nodes, opened when they are needed.
///
/// Clones are handles of the same pool. Dropping the last closes what nobody uses.
#[derive(Clone)]
pub struct AttestedPool(Arc<Inner>);

impl fmt::Debug for AttestedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttestedPool")
            .field("nodes", &self.0.nodes)
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

pub(super) struct Inner {
    connector: Connector,
    nodes: Vec<NodeAddress>,
    limits: PoolLimits,
    observer: Option<Arc<dyn PoolObserver>>,
    held: Mutex<Held>,
    /// Something may be there for those who wait.
    freed: Notify,
    slots: Arc<Semaphore>,
    opening: Semaphore,
    /// The task that renews, from the first connection on.
    renewal: OnceLock<()>,
}

#[derive(Default)]
struct Held {
    /// HTTP/1.1, unused.
    idle: Vec<Slotted>,
    /// HTTP/2, in use or not.
    shared: Vec<Slotted>,
    /// When each node last failed.
    failed: Vec<Option<Instant>>,
    /// What the last race that nobody won came to, and when it began.
    lost: Option<(Instant, Arc<Vec<NodeFailure>>)>,
}

/// A connection and its place among those that may be open. All handles of one
/// connection hold the same place: their number is its load.
struct Slotted {
    connection: AttestedConnection,
    slot: Arc<OwnedSemaphorePermit>,
    renewing: bool,
}

impl Slotted {
    fn load(&self) -> usize {
        Arc::strong_count(&self.slot) - 1
    }
}

/// A connection out of a pool, for one request at a time.
///
/// Dropped, an HTTP/1.1 connection is closed: nobody knows what is still to come
/// on it. [`Self::done`] puts it back. Over HTTP/2 there is no difference.
pub struct PooledConnection {
    connection: AttestedConnection,
    slot: Arc<OwnedSemaphorePermit>,
    /// Last, so that whoever is woken finds the place free.
    wake: Wake,
}

/// Wakes those who wait, when it is dropped.
struct Wake(Arc<Inner>);

impl Drop for Wake {
    fn drop(&mut self) {
        self.0.freed.notify_waiters();
    }
}

impl fmt::Debug for PooledConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.connection.fmt(f)
    }
}

impl Deref for PooledConnection {
    type Target = AttestedConnection;

    fn deref(&self) -> &AttestedConnection {
        &self.connection
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut AttestedConnection {
        &mut self.connection
    }
}

impl PooledConnection {
    /// Gives it back: the last answer was read to its end.
    pub fn done(self) {
        let Self {
            connection,
            slot,
            wake,
        } = self;
        wake.0.keep_idle(connection, slot);
    }
}

impl AttestedPool {
    /// A pool without connections. `nodes` are in the order to try them.
    #[must_use]
    pub fn new(connector: Connector, nodes: Vec<NodeAddress>, limits: PoolLimits) -> Self {
        Self::observed(connector, nodes, limits, None)
    }

    /// The same, with somebody who is told what becomes of nodes.
    #[must_use]
    pub fn observed(
        connector: Connector,
        nodes: Vec<NodeAddress>,
        limits: PoolLimits,
        observer: Option<Arc<dyn PoolObserver>>,
    ) -> Self {
        let held = Held {
            failed: vec![None; nodes.len()],
            ..Held::default()
        };
        Self(Arc::new(Inner {
            connector,
            nodes,
            limits,
            observer,
            held: Mutex::new(held),
            freed: Notify::new(),
            slots: Arc::new(Semaphore::new(limits.open)),
            opening: Semaphore::new(limits.opening),
            renewal: OnceLock::new(),
        }))
    }

    /// A usable connection: one that is there, or a new one to the first node
    /// that proves itself.
    ///
    /// # Errors
    /// [`PoolError`]; nothing was sent then.
    pub async fn take(&self) -> Result<PooledConnection, PoolError> {
        let inner = &self.0;
        let began = Instant::now();
        let busy = PoolError::Busy {
            waited: inner.limits.wait,
        };
        let until = began + inner.limits.wait;
        loop {
            let freed = inner.freed.notified();
            tokio::pin!(freed);
            // From here no wake-up is missed.
            freed.as_mut().enable();
            if let Some(found) = inner.existing() {
                return Ok(found);
            }
            let turn = tokio::select! {
                biased;
                turn = inner.opening.acquire() => turn.map_err(|_| busy.clone())?,
                () = freed.as_mut() => continue,
                () = tokio::time::sleep_until(until) => return Err(busy),
            };
            // Those before may have opened one that serves us too, or found that there is none.
            if let Some(found) = inner.existing() {
                return Ok(found);
            }
            if let Some(lost) = inner.lost_since(began) {
                return Err(PoolError::NoNode(lost));
            }
            if let Ok(slot) = Arc::clone(&inner.slots).try_acquire_owned() {
                return inner.open(slot).await;
            }
            drop(turn);
            tokio::select! {
                () = freed => {}
                () = tokio::time::sleep_until(until) => return Err(busy),
            }
        }
    }

    /// Sends a request over a connection that takes it. It is sent again, over
    /// another, only where nothing of it was written, where the node refused it
    /// because it holds the session for no longer attested (403), or, once, where
    /// the node said that it did not begin with it (GOAWAY). Whatever else broke
    /// may have been answered, and is not sent again.
    ///
    /// # Errors
    /// [`PoolError`].
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(PooledConnection, Response<Incoming>), PoolError> {
        let until = Instant::now() + self.0.limits.wait;
        let (mut refused, mut crossed, mut unwritten) = (0, false, 0);
        loop {
            let mut connection = self.take().await?;
            match connection.send(request.clone()).await {
                Ok(response) if response.status() == StatusCode::FORBIDDEN && refused < REFUSALS => {
                    refused += 1;
                    connection.retire();
                }
                Ok(response) => return Ok((connection, response)),
                // A request that can't be written can't be on any connection.
                Err(error) if error.nothing_written() && !matches!(error, SendError::Request { .. }) => {
                    drop(connection);
                    // Each took its time to connect, and a request waits no longer than that.
                    let in_time = |_: &&u64| Instant::now() < until;
                    let Some(pause) = PAUSES_MS.get(unwritten).filter(in_time) else {
                        return Err(PoolError::Send(Arc::new(error)));
                    };
                    unwritten += 1;
                    tokio::time::sleep(Duration::from_millis(*pause)).await;
                }
                // A node that says so of every request is not asked for ever.
                Err(SendError::NotBegun(_)) if !crossed => crossed = true,
                Err(error) => return Err(PoolError::Send(Arc::new(error))),
            }
        }
    }

    /// Connections that are open, used or not.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.0
            .limits
            .open
            .saturating_sub(self.0.slots.available_permits())
    }
}

impl Inner {
    fn held(&self) -> MutexGuard<'_, Held> {
        // What is held is valid at every moment, so that a panic elsewhere doesn't taint it.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pooled(
        self: &Arc<Self>,
        connection: AttestedConnection,
        slot: Arc<OwnedSemaphorePermit>,
    ) -> PooledConnection {
        PooledConnection {
            connection,
            slot,
            wake: Wake(Arc::clone(self)),
        }
    }

    /// A connection that is there: the least used over HTTP/2, else an unused one.
    fn existing(self: &Arc<Self>) -> Option<PooledConnection> {
        let mut held = self.held();
        held.drop_unusable();
        let least = held
            .shared
            .iter()
            .filter(|slotted| slotted.load() < self.limits.streams)
            .min_by_key(|slotted| slotted.load());
        if let Some(slotted) = least
            && let Some(connection) = slotted.connection.share()
        {
            let slot = Arc::clone(&slotted.slot);
            return Some(self.pooled(connection, slot));
        }
        let Slotted { connection, slot, .. } = held.idle.pop()?;
        Some(self.pooled(connection, slot))
    }

    /// The last failure, if what failed began after `began`: it answers whoever
    /// has waited since then.
    fn lost_since(&self, began: Instant) -> Option<Arc<Vec<NodeFailure>>> {
        let held = self.held();
        let (since, lost) = held.lost.as_ref()?;
        (*since >= began).then(|| Arc::clone(lost))
    }

    async fn open(self: &Arc<Self>, slot: OwnedSemaphorePermit) -> Result<PooledConnection, PoolError> {
        let began = Instant::now();
        let slot = Arc::new(slot);
        match self.race().await {
            Ok(connection) => {
                self.renewal.get_or_init(|| renewal::start(self));
                if let Some(shared) = connection.share() {
                    self.held().shared.push(Slotted {
                        connection: shared,
                        slot: Arc::clone(&slot),
                        renewing: false,
                    });
                }
                self.freed.notify_waiters();
                Ok(self.pooled(connection, slot))
            }
            Err(failures) => {
                let failures = Arc::new(failures);
                self.held().lost = Some((began, Arc::clone(&failures)));
                Err(PoolError::NoNode(failures))
            }
        }
    }

    /// Keeps an HTTP/1.1 connection whose last answer was read, if there is room.
    fn keep_idle(&self, connection: AttestedConnection, slot: Arc<OwnedSemaphorePermit>) {
        let shared = connection.share().is_some();
        let mut held = self.held();
        if !shared && connection.is_usable() && held.idle.len() < self.limits.idle {
            held.idle.push(Slotted {
                connection,
                slot,
                renewing: false,
            });
        }
    }
}

impl Held {
    fn drop_unusable(&mut self) {
        self.idle.retain(|slotted| slotted.connection.is_usable());
        self.shared.retain(|slotted| slotted.connection.is_usable());
    }
}
