//! The listening side: loopback only, limited in connections and time, and
//! ended by draining.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::relay::AnswerBody;
use super::write_limit::WriteLimit;

const MAX_CONNECTIONS: usize = 256;
/// For a request's head, and for an idle connection until its next request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest that a client may leave what was written to it unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// How long answers may go on after the order to stop.
const DRAIN: Duration = Duration::from_secs(20);
/// After an error of accept, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether an address can be reached from this machine only.
pub(crate) fn loopback(address: SocketAddr) -> bool {
    address.ip().is_loopback()
}

/// What answers local clients.
pub(crate) trait Answers: Send + Sync + 'static {
    /// Answers a request.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<AnswerBody>> + Send;

    /// Tries the nodes once and reports.
    fn warm_up(&self) -> impl Future<Output = ()> + Send;
}

/// A bound socket and what answers on it.
#[derive(Debug)]
pub(crate) struct Server<S> {
    listener: TcpListener,
    service: Arc<S>,
    tasks: TaskTracker,
}

impl<S: Answers> Server<S> {
    /// Takes a bound socket. `tasks` is what the service spawns into.
    pub(crate) const fn new(listener: TcpListener, service: Arc<S>, tasks: TaskTracker) -> Self {
        Self {
            listener,
            service,
            tasks,
        }
    }

    /// Serves until `stop`, then waits for answers under way, for 20 s at
    /// most. Says whether all of them ended in time.
    pub(crate) async fn run(self, stop: CancellationToken) -> bool {
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            match accepted {
                // More than that at once is no client of one person's.
                Ok((socket, _)) => {
                    if let Ok(permit) = Arc::clone(&connections).try_acquire_owned() {
                        let (service, stop) = (Arc::clone(&self.service), stop.clone());
                        self.tasks.spawn(async move {
                            serve(socket, service, stop).await;
                            drop(permit);
                        });
                    }
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        drop(self.listener);
        self.tasks.close();
        tokio::time::timeout(DRAIN, self.tasks.wait()).await.is_ok()
    }
}

async fn serve<S: Answers>(socket: TcpStream, service: Arc<S>, stop: CancellationToken) {
    let _ = socket.set_nodelay(true);
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(TokioIo::new(WriteLimit::new(socket, WRITE_TIMEOUT)), answer);
    let mut connection = pin!(connection);
    // What a local client did wrong on its socket is its own affair.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use super::loopback;

    #[test]
    fn only_loopback_addresses_are_loopback() {
        for address in ["127.0.0.1:1", "127.9.9.9:0", "[::1]:1"] {
            assert!(loopback(address.parse().unwrap()), "{address}");
        }
        for address in ["0.0.0.0:1", "[::]:1", "192.168.0.1:1", "[::ffff:10.0.0.1]:1"] {
            assert!(!loopback(address.parse().unwrap()), "{address}");
        }
    }
}
