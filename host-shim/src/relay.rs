//! The relay: takes connections, connects each to the guest, and stops in
//! order. Owns one listener and the tasks of its connections. It knows no
//! protocol above the socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::counters::{Counters, Snapshot};
use crate::endpoint::Endpoint;
use crate::endpoint::socket::{Listener, Peer, Stream};
use crate::limits::{Admission, Limits, Permit};
use crate::log::{Event, Level, Log, Throttle};
use crate::pump::{Deadlines, Ended, Meters, pump};
use crate::shutdown::Shutdown;

/// Bytes of a connection that this process holds at most, per direction.
pub const BUFFER: usize = crate::pump::BUFFER;
/// How often counters are logged, if they changed.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// How long to leave the kernel alone when it has no connection to give, such
/// as when file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the relay can't listen.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on `{listen}`")]
pub struct BindError {
    listen: Endpoint,
    source: io::Error,
}

impl BindError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.source.kind() {
            io::ErrorKind::AddrInUse => "shim.listen.address_in_use",
            io::ErrorKind::PermissionDenied => "shim.listen.not_permitted",
            _ if matches!(self.listen, Endpoint::Vsock { .. }) => "shim.listen.no_vsock",
            io::ErrorKind::AddrNotAvailable => "shim.listen.address_not_here",
            _ => "shim.listen.failed",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self.code() {
            "shim.listen.address_in_use" => {
                "stop the process that listens there, choose another port, or give port 0 to have a free one picked"
            }
            "shim.listen.address_not_here" => {
                "no interface of this machine has that address: give one that `ip address` shows, or 0.0.0.0 for all"
            }
            "shim.listen.not_permitted" => {
                "ports below 1024 need CAP_NET_BIND_SERVICE: grant it, or choose a port from 1024 up"
            }
            "shim.listen.no_vsock" => {
                "this machine has no such vsock context: listen on `vsock:any:PORT`, and load vhost_vsock on a host, or vsock_loopback to try it out"
            }
            _ => "check the address and that its name resolves",
        }
    }
}

/// A bound relay that has not yet accepted anything.
#[derive(Debug)]
pub struct Relay {
    listener: Listener,
    listen: Endpoint,
    shared: Arc<Shared>,
}

/// What the connections share.
#[derive(Debug)]
struct Shared {
    to: Endpoint,
    limits: Limits,
    log: Log,
    counters: Counters,
    upstream_faults: Throttle,
    accept_faults: Throttle,
}

impl Relay {
    /// Listens on `listen`; the kernel takes connections from here on.
    ///
    /// # Errors
    /// [`BindError`], such as a port that is taken.
    pub async fn bind(listen: &Endpoint, to: Endpoint, limits: Limits, log: Log) -> Result<Self, BindError> {
        let error = |source| BindError {
            listen: listen.clone(),
            source,
        };
        let listener = Listener::bind(listen).await.map_err(error)?;
        let listen = listener.local().map_err(error)?;
        let shared = Shared {
            to,
            limits,
            log,
            counters: Counters::default(),
            upstream_faults: Throttle::new(),
            accept_faults: Throttle::new(),
        };
        Ok(Self {
            listener,
            listen,
            shared: Arc::new(shared),
        })
    }

    /// Where clients connect, with the port that was picked.
    #[must_use]
    pub fn listen(&self) -> &Endpoint {
        &self.listen
    }

    /// Relays until `shutdown`, then drains: connections that are open may end
    /// by themselves until the drain's time-out, or `shutdown.now`. Returns what
    /// was done.
    pub async fn run(self, shutdown: &Shutdown) -> Snapshot {
        let Self {
            listener,
            listen,
            shared,
        } = self;
        let Limits {
            max_connections,
            per_address,
            drain_timeout,
            ..
        } = shared.limits;
        shared.log.write(&Event::Listening {
            listen: &listen.to_string(),
            to: &shared.to.to_string(),
            max_connections,
            per_address,
        });
        let admission = Admission::new(&shared.limits);
        let connections = TaskTracker::new();
        let cut = CancellationToken::new();

        accept_until(
            &shutdown.drain,
            &listener,
            &shared,
            &admission,
            &connections,
            &cut,
        )
        .await;
        drop(listener);
        connections.close();
        shared.log.write(&Event::Draining {
            active: admission.active(),
            drain_timeout_ms: drain_timeout.as_millis(),
        });
        tokio::select! {
            () = connections.wait() => {}
            () = sleep(drain_timeout) => {}
            () = shutdown.now.cancelled() => {}
        }
        cut.cancel();
        connections.wait().await;
        let counters = shared.counters.snapshot();
        shared.log.write(&Event::Stopped { counters });
        counters
    }
}

async fn accept_until(
    stop: &CancellationToken,
    listener: &Listener,
    shared: &Arc<Shared>,
    admission: &Admission,
    connections: &TaskTracker,
    cut: &CancellationToken,
) {
    let mut report = interval(REPORT_EVERY);
    report.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reported = shared.counters.snapshot();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = report.tick() => {
                let counters = shared.counters.snapshot();
                if counters != reported {
                    shared.log.write(&Event::Counters { active: admission.active(), counters });
                    reported = counters;
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((client, peer)) => match admission.admit(peer) {
                Ok(permit) => {
                    shared.counters.accepted.add(1);
                    let number = shared.counters.accepted.read();
                    let connection = Connection {
                        number,
                        peer,
                        client,
                        permit,
                    };
                    connections.spawn(connection.serve(Arc::clone(shared), cut.clone()));
                }
                Err(limit) => {
                    shared.counters.refused(limit);
                    client.abort();
                    if shared.log.writes(Level::Debug) {
                        shared.log.write(&Event::ConnectionRefused {
                            peer: &peer.to_string(),
                            limit,
                        });
                    }
                }
            },
            Err(error) => {
                shared.counters.accept_failed.add(1);
                if let Some(unreported) = shared.accept_faults.pass() {
                    let reason = error.to_string();
                    shared.log.write(&Event::AcceptFailed {
                        reason: &reason,
                        unreported,
                    });
                }
                // A client that gave up while it waited costs no pause.
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = sleep(ACCEPT_PAUSE) => {}
                    }
                }
            }
        }
    }
}

/// One client that was let in.
#[derive(Debug)]
struct Connection {
    number: u64,
    peer: Peer,
    client: Stream,
    permit: Permit,
}

impl Connection {
    async fn serve(self, shared: Arc<Shared>, cut: CancellationToken) {
        let Self {
            number,
            peer,
            mut client,
            permit,
        } = self;
        let began = Instant::now();
        let debug = shared.log.writes(Level::Debug);
        if debug {
            shared.log.write(&Event::ConnectionOpened {
                connection: number,
                peer: &peer.to_string(),
            });
        }
        let ended = match connect(&shared, began, &cut).await {
            Some(mut guest) => {
                let deadlines = Deadlines {
                    idle: shared.limits.idle_timeout,
                    lifetime: began + shared.limits.max_lifetime,
                    cut: &cut,
                };
                let meters = Meters {
                    to_guest: &shared.counters.bytes_to_guest,
                    to_client: &shared.counters.bytes_to_client,
                };
                let ended = pump(&mut client, &mut guest, &deadlines, &meters).await;
                shared.counters.ended(ended);
                // Ends that closed by themselves get what the kernel still holds
                // for them; the others are told that they were cut off.
                if !matches!(ended, Ended::Complete | Ended::Broken) {
                    guest.abort();
                    client.abort();
                }
                ended.name()
            }
            None => {
                client.abort();
                "upstream_failed"
            }
        };
        // The count falls only when both sockets are closed.
        drop(permit);
        if debug {
            let lasted_ms = began.elapsed().as_millis();
            shared.log.write(&Event::ConnectionClosed {
                connection: number,
                ended,
                lasted_ms,
            });
        }
    }
}

/// Connects to the guest, or counts and reports why not.
async fn connect(shared: &Shared, began: Instant, cut: &CancellationToken) -> Option<Stream> {
    let deadline = began + shared.limits.connect_timeout;
    let connected = tokio::select! {
        connected = timeout_at(deadline, Stream::connect(&shared.to)) => connected,
        () = cut.cancelled() => {
            shared.counters.cut.add(1);
            return None;
        }
    };
    let (reason, remedy) = match connected {
        Ok(Ok(guest)) => return Some(guest),
        Ok(Err(error)) => (
            error.to_string(),
            "check that the enclave runs and listens where --to points",
        ),
        Err(_) => (
            "no answer in --connect-timeout".to_owned(),
            "check the guest's network and that it isn't overloaded",
        ),
    };
    shared.counters.upstream_failed.add(1);
    if let Some(unreported) = shared.upstream_faults.pass() {
        let to = shared.to.to_string();
        shared.log.write(&Event::UpstreamFailed {
            to: &to,
            reason: &reason,
            remedy,
            unreported,
        });
    }
    None
}
