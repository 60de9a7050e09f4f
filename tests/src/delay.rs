//! A relay that delays: each direction of each connection by the same fixed
//! time, in order, and without a limit of throughput. It stands for distance
//! where the kernel has no netem, and shows what went through to whoever asks.
//!
//! The bytes of a chunk are due a fixed time after they came, however many are
//! on their way. TCP's own handshake is not delayed: the relay answers it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::recorder::Direction;

/// Read at once.
const CHUNK: usize = 64 * 1024;
/// Chunks on their way in one direction of a connection: 256 MiB. Beyond that a
/// sender is held up, as by any network.
const MOST_CHUNKS: usize = 4096;

/// Is shown every chunk as it comes in. It runs on the relay's own threads.
pub type Tap = Arc<dyn Fn(Direction, &[u8]) + Send + Sync>;

/// A listening relay. Ends with the process.
pub struct Delay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Delay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delay")
            .field("address", &self.address)
            .field("one_way", &self.shared.one_way)
            .finish_non_exhaustive()
    }
}

struct Shared {
    upstream: Mutex<String>,
    one_way: Duration,
    tap: Option<Tap>,
    /// Bytes that came, by direction.
    to_node: AtomicU64,
    to_client: AtomicU64,
    /// Both sockets of every connection, to cut them.
    open: Mutex<Vec<TcpStream>>,
}

impl Delay {
    /// Listens on a free loopback port and relays each connection to `upstream`,
    /// each way `one_way` later: half of a round trip.
    ///
    /// # Panics
    /// If no loopback port is to be had.
    #[must_use]
    pub fn start(upstream: &str, one_way: Duration) -> Self {
        Self::start_with(upstream, one_way, None)
    }

    /// The same, and shows `tap` what comes.
    ///
    /// # Panics
    /// If no loopback port is to be had.
    #[must_use]
    pub fn start_with(upstream: &str, one_way: Duration, tap: Option<Tap>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream.to_owned()),
            one_way,
            tap,
            to_node: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
            open: Mutex::new(Vec::new()),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Whoever connected sees the connection end.
                drop(relay(&accepting, &client));
            }
        });
        Self { address, shared }
    }

    /// Where to connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that came so far, to the node and to the client.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.shared.to_node), read(&self.shared.to_client))
    }

    /// Relays connections to come to another address: whoever is behind this
    /// relay was started anew, elsewhere.
    pub fn redirect(&self, upstream: &str) {
        upstream.clone_into(&mut self.shared.lock_upstream());
    }

    /// Cuts every connection. What is on its way is lost; new ones are relayed.
    pub fn cut(&self) {
        for stream in self.shared.lock_open().drain(..) {
            // One that has ended by itself is cut already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn lock_upstream(&self) -> std::sync::MutexGuard<'_, String> {
        self.upstream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn relay(shared: &Arc<Shared>, client: &TcpStream) -> std::io::Result<()> {
    let upstream = shared.lock_upstream().clone();
    let node = TcpStream::connect(upstream)?;
    for stream in [client, &node] {
        stream.set_nodelay(true)?;
    }
    shared
        .lock_open()
        .extend([client.try_clone()?, node.try_clone()?]);
    pump(shared, client.try_clone()?, node.try_clone()?, Direction::ToNode);
    pump(shared, node, client.try_clone()?, Direction::ToClient);
    Ok(())
}

fn pump(shared: &Arc<Shared>, from: TcpStream, to: TcpStream, direction: Direction) {
    let (queue, due) = sync_channel(MOST_CHUNKS);
    let shared = Arc::clone(shared);
    thread::spawn(move || take(&shared, from, direction, &queue));
    thread::spawn(move || give(to, &due));
}

/// Reads chunks, and says when each is due.
fn take(shared: &Shared, mut from: TcpStream, direction: Direction, queue: &SyncSender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; CHUNK];
    let count = match direction {
        Direction::ToNode => &shared.to_node,
        Direction::ToClient => &shared.to_client,
    };
    loop {
        // The end is on its way like anything else: an empty chunk.
        let read = from.read(&mut buffer).unwrap_or(0);
        let chunk = buffer.get(..read).unwrap_or_default();
        count.fetch_add(read as u64, Ordering::Relaxed);
        if let Some(tap) = &shared.tap
            && !chunk.is_empty()
        {
            tap(direction, chunk);
        }
        let due = Instant::now() + shared.one_way;
        if queue.send((due, chunk.to_vec())).is_err() || read == 0 {
            return;
        }
    }
}

/// Writes chunks when they are due.
fn give(mut to: TcpStream, due: &Receiver<(Instant, Vec<u8>)>) {
    while let Ok((at, chunk)) = due.recv() {
        let wait = at.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            thread::sleep(wait);
        }
        if chunk.is_empty() || to.write_all(&chunk).is_err() {
            break;
        }
    }
    // The other end may be gone already.
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends back whatever comes, on every connection.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || {
                    let mut reader = stream.try_clone().unwrap();
                    let mut writer = stream;
                    let _ = std::io::copy(&mut reader, &mut writer);
                    let _ = writer.shutdown(Shutdown::Write);
                });
            }
        });
        address
    }

    fn connect(delay: &Delay) -> TcpStream {
        let stream = TcpStream::connect(delay.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    #[test]
    fn a_round_trip_takes_twice_the_delay_and_hardly_more() {
        let delay = Delay::start(&echo().to_string(), Duration::from_millis(25));
        let mut stream = connect(&delay);
        let mut fastest = Duration::MAX;
        for number in 0..8_u8 {
            let began = Instant::now();
            stream.write_all(&[number]).unwrap();
            let mut back = [0];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(back, [number]);
            let took = began.elapsed();
            assert!(took >= Duration::from_millis(50), "{took:?}");
            fastest = fastest.min(took);
        }
        assert!(fastest < Duration::from_millis(60), "{fastest:?}");
    }

    /// 32 MiB are on their way at once: were a chunk to wait for the one before
    /// to have arrived, they would take half a minute.
    #[test]
    fn many_bytes_take_no_longer_than_few_and_stay_in_order() {
        let delay = Delay::start(&echo().to_string(), Duration::from_millis(100));
        let mut stream = connect(&delay);
        let sent: Vec<u8> = (0..32_u32 << 20).map(|at| (at % 251) as u8).collect();
        let began = Instant::now();
        let mut writer = stream.try_clone().unwrap();
        let copy = sent.clone();
        let writing = thread::spawn(move || {
            writer.write_all(&copy).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut came = Vec::new();
        stream.read_to_end(&mut came).unwrap();
        writing.join().unwrap();
        assert!(came == sent, "{} of {} bytes", came.len(), sent.len());
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(delay.bytes(), (32 << 20, 32 << 20));
    }

    #[test]
    fn a_relay_that_is_redirected_takes_new_connections_elsewhere() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap();
        let delay = Delay::start(&gone.local_addr().unwrap().to_string(), Duration::ZERO);
        drop(gone);
        let mut back = [0];
        let refused = connect(&delay).read(&mut back);
        assert!(matches!(refused, Ok(0) | Err(_)), "{refused:?}");
        delay.redirect(&echo().to_string());
        let mut stream = connect(&delay);
        stream.write_all(b"z").unwrap();
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"z");
    }

    #[test]
    fn a_cut_ends_what_is_open_and_not_what_comes_after() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shown = Arc::clone(&seen);
        let tap: Tap = Arc::new(move |direction, bytes: &[u8]| {
            shown.lock().unwrap().push((direction, bytes.to_vec()));
        });
        let delay = Delay::start_with(&echo().to_string(), Duration::from_millis(1), Some(tap));
        let mut stream = connect(&delay);
        stream.write_all(b"x").unwrap();
        let mut back = [0];
        stream.read_exact(&mut back).unwrap();
        delay.cut();
        assert!(matches!(stream.read(&mut back), Ok(0) | Err(_)));
        let mut again = connect(&delay);
        again.write_all(b"y").unwrap();
        again.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"y");
        let seen = seen.lock().unwrap();
        assert!(seen.contains(&(Direction::ToNode, b"x".to_vec())));
        assert!(seen.contains(&(Direction::ToClient, b"y".to_vec())));
    }
}
