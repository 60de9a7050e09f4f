//! The listening side: who is let in, for how long, and how it ends. A client
//! that is one too many is closed before its first byte is read.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bastide_attested_tls::Carrier;
use bastide_host_shim::endpoint::socket::Peer;
use bastide_host_shim::limits::{Admission, Limits};
use bastide_host_shim::shutdown::Shutdown;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::forward;

const MAX_HEADER_BYTES: usize = 16 * 1024;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// From accepting a connection to its end, whatever moves.
const LIFETIME: Duration = Duration::from_secs(600);
/// How long exchanges may go on after a request to stop.
const DRAIN: Duration = Duration::from_secs(25);
/// After an error of accept, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// A bound socket in front of a gateway.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    gateway: Arc<Carrier>,
    admission: Admission,
}

impl Server {
    /// Binds.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn bind(
        listen: SocketAddr,
        gateway: Carrier,
        max_connections: usize,
        per_address: usize,
    ) -> io::Result<Self> {
        let limits = Limits {
            max_connections,
            per_address,
            connect_timeout: HEADER_TIMEOUT,
            idle_timeout: LIFETIME,
            max_lifetime: LIFETIME,
            drain_timeout: DRAIN,
        };
        Ok(Self {
            listener: TcpListener::bind(listen).await?,
            gateway: Arc::new(gateway),
            admission: Admission::new(&limits),
        })
    }

    /// Where clients connect, with the port that was picked.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn listen(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until a request to stop, then waits for exchanges under way.
    pub async fn run(self, shutdown: &Shutdown) {
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = shutdown.drain.cancelled() => break,
            };
            let Ok((socket, address)) = accepted else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            // Counted by address for as long as the connection is open; kept nowhere else.
            let Ok(permit) = self.admission.admit(Peer::Ip(address.ip().to_canonical())) else {
                continue;
            };
            let (gateway, shutdown) = (Arc::clone(&self.gateway), shutdown.clone());
            tasks.spawn(async move {
                let serving = tokio::time::timeout(LIFETIME, serve(socket, gateway, &shutdown));
                tokio::select! {
                    _ = serving => {}
                    () = shutdown.now.cancelled() => {}
                }
                drop(permit);
            });
        }
        tasks.close();
        tokio::select! {
            _ = tokio::time::timeout(DRAIN, tasks.wait()) => {}
            () = shutdown.now.cancelled() => {}
        }
    }
}

/// One connection, one exchange: nothing is to be gained from the next one's
/// being known for the same client's.
async fn serve(socket: TcpStream, gateway: Arc<Carrier>, shutdown: &Shutdown) {
    let _ = socket.set_nodelay(true);
    let service = service_fn(move |request| {
        let gateway = Arc::clone(&gateway);
        async move { Ok::<_, Infallible>(forward::answer(&gateway, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    // What goes wrong on a client's socket is the client's affair.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = shutdown.drain.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
