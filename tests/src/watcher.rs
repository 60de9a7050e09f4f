//! A relay that judges as it records, for runs that are too long to keep every
//! byte: per connection, what the client had encrypted before the node could
//! have proved itself. This is what a host sees.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::recorder::{Direction, TlsRecord, first_record};

const APPLICATION_DATA: u8 = 23;
/// Most bytes of one record before evidence has come: an attest request of 128
/// bytes, and its HTTP head.
pub const MOST_BYTES_OF_A_RECORD: usize = 512;
/// Most bytes of all of them.
pub const MOST_BYTES_BEFORE_EVIDENCE: usize = 1024;
/// What a node has sent at least when it has answered an attest request: a
/// signature of 64 bytes in an envelope, and an HTTP head.
const LEAST_BYTES_OF_AN_ANSWER: usize = 200;

/// What was seen of all connections.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Connections, refused and broken ones among them.
    pub connections: u64,
    /// Those on which an answer to the attest request may have come.
    pub answered: u64,
    /// Application data of clients on the others, the largest on one connection.
    pub most_without_answer: usize,
    /// The largest record of a client's before such an answer.
    pub largest_before_answer: usize,
    /// Bytes both ways.
    pub bytes: u64,
    /// What a client sent that it shouldn't have.
    pub faults: Vec<String>,
}

#[derive(Debug, Default)]
struct Connection {
    /// The client's Finished has gone by: it is a client's first application data.
    finished: bool,
    before_answer: usize,
    answer: usize,
    answered: bool,
}

#[derive(Debug)]
struct Shared {
    seen: Mutex<Seen>,
    canary: Vec<u8>,
    upstream: Mutex<String>,
    /// Whether any client of this relay may ever be answered and go on.
    admits: bool,
}

/// A listening watcher.
#[derive(Debug, Clone)]
pub struct Watcher {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Watcher {
    /// Listens on a free loopback port and relays each connection to `upstream`.
    /// `canary` must never be seen in clear. Where no client `admits` the node,
    /// nothing but attest requests may ever go by.
    ///
    /// # Panics
    /// If no loopback port is to be had.
    #[must_use]
    pub fn start(upstream: &str, canary: &str, admits: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            canary: canary.as_bytes().to_vec(),
            upstream: Mutex::new(upstream.to_owned()),
            admits,
        });
        let listening = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let upstream = lock(&listening.upstream).clone();
                let Ok(node) = TcpStream::connect(upstream) else {
                    continue;
                };
                lock(&listening.seen).connections += 1;
                let connection = Arc::new(Mutex::new(Connection::default()));
                pump(&client, &node, Direction::ToNode, &listening, &connection);
                pump(&node, &client, Direction::ToClient, &listening, &connection);
            }
        });
        Self { address, shared }
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Relays connections to come to another address.
    pub fn redirect(&self, upstream: &str) {
        upstream.clone_into(&mut lock(&self.shared.upstream));
    }

    /// What was seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        lock(&self.shared.seen).clone()
    }
}

impl Shared {
    fn record(&self, connection: &mut Connection, record: TlsRecord) {
        if record.content_type != APPLICATION_DATA {
            return;
        }
        let mut seen = lock(&self.seen);
        match record.direction {
            Direction::ToNode if !connection.finished => connection.finished = true,
            Direction::ToNode if !connection.answered => {
                connection.before_answer += record.length;
                seen.largest_before_answer = seen.largest_before_answer.max(record.length);
                if !self.admits || connection.answer == 0 {
                    seen.most_without_answer = seen.most_without_answer.max(connection.before_answer);
                }
                if record.length > MOST_BYTES_OF_A_RECORD
                    || connection.before_answer > MOST_BYTES_BEFORE_EVIDENCE
                {
                    let fault = format!(
                        "connection {}: a record of {} bytes, {} in all, before an answer",
                        seen.connections, record.length, connection.before_answer
                    );
                    seen.faults.push(fault);
                }
            }
            // What the node sends before the client asked is its handshake.
            Direction::ToClient if connection.before_answer > 0 && !connection.answered => {
                connection.answer += record.length;
                if self.admits && connection.answer >= LEAST_BYTES_OF_AN_ANSWER {
                    connection.answered = true;
                    seen.answered += 1;
                }
            }
            Direction::ToNode | Direction::ToClient => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pump(
    from: &TcpStream,
    to: &TcpStream,
    direction: Direction,
    shared: &Arc<Shared>,
    connection: &Arc<Mutex<Connection>>,
) {
    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else {
        return;
    };
    let (shared, connection) = (Arc::clone(shared), Arc::clone(connection));
    std::thread::spawn(move || {
        let mut partial = Vec::new();
        // The end of what went before, so that a canary across two reads is seen.
        let mut tail: Vec<u8> = Vec::new();
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let bytes = &buffer[..count];
            tail.extend_from_slice(bytes);
            let canary = &shared.canary;
            let in_clear = tail.windows(canary.len()).any(|window| window == &canary[..]);
            {
                let mut seen = lock(&shared.seen);
                seen.bytes += u64::try_from(count).unwrap_or(0);
                if in_clear {
                    seen.faults.push("the prompt was seen in clear".to_owned());
                }
            }
            tail.drain(..tail.len().saturating_sub(canary.len()));
            partial.extend_from_slice(bytes);
            while let Some((record, size)) = first_record(&partial, direction) {
                shared.record(&mut lock(&connection), record);
                partial.drain(..size);
            }
            if to.write_all(bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(admits: bool) -> Shared {
        Shared {
            seen: Mutex::default(),
            canary: b"canary".to_vec(),
            upstream: Mutex::default(),
            admits,
        }
    }

    fn run(shared: &Shared, records: &[(Direction, usize)]) -> Seen {
        let mut connection = Connection::default();
        for (direction, length) in records {
            let record = TlsRecord {
                direction: *direction,
                content_type: APPLICATION_DATA,
                length: *length,
            };
            shared.record(&mut connection, record);
        }
        lock(&shared.seen).clone()
    }

    #[test]
    fn a_prompt_before_an_answer_is_a_fault_and_after_one_is_none() {
        use Direction::{ToClient, ToNode};
        let handshake = [(ToClient, 1500), (ToNode, 69), (ToNode, 300)];
        let early = [&handshake[..], &[(ToNode, 8192)]].concat();
        assert_eq!(run(&shared(true), &early).faults.len(), 1);
        let in_pieces = [&handshake[..], &[(ToNode, 400), (ToNode, 400)]].concat();
        assert_eq!(run(&shared(true), &in_pieces).faults.len(), 1);
        let answered = [&handshake[..], &[(ToClient, 9000), (ToNode, 8192)]].concat();
        let seen = run(&shared(true), &answered);
        assert_eq!((seen.faults.len(), seen.answered), (0, 1));
        // Where the node is never admitted, an answer changes nothing.
        assert_eq!(run(&shared(false), &answered).faults.len(), 1);
    }
}
