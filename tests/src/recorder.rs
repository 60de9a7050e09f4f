//! A relay that records: every byte between a client and a node, in order and
//! by direction, and the TLS records that they make up. This is what a host
//! sees.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Which way a byte went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From client to node.
    ToNode,
    /// From node to client.
    ToClient,
}

/// One TLS record as seen on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsRecord {
    /// Which way.
    pub direction: Direction,
    /// Content type: 22 handshake, 20 change cipher spec, 23 application data, 21 alert.
    pub content_type: u8,
    /// Length of the record's body in bytes.
    pub length: usize,
}

#[derive(Debug, Default)]
struct Log {
    to_node: Vec<u8>,
    to_client: Vec<u8>,
    records: Vec<TlsRecord>,
    /// Bodies of records of application data, in the order in which they were complete.
    application_data: Vec<u8>,
    connections: Vec<Sizes>,
}

/// Bytes of application data on one connection.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// From client to node.
    pub to_node: usize,
    /// From node to client.
    pub to_client: usize,
}

/// Content type of application data.
const APPLICATION_DATA: u8 = 23;

/// A listening recorder.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
}

impl Recorder {
    /// Listens on a free loopback port and relays each connection to `upstream`.
    ///
    /// # Panics
    /// If no loopback port is to be had.
    #[must_use]
    pub fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let log = Arc::new(Mutex::new(Log::default()));
        let (shared, upstream) = (Arc::clone(&log), upstream.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(node) = TcpStream::connect(&upstream) else {
                    continue;
                };
                let number = {
                    let mut log = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    log.connections.push(Sizes::default());
                    log.connections.len() - 1
                };
                pump(&client, &node, Direction::ToNode, &shared, number);
                pump(&node, &client, Direction::ToClient, &shared, number);
            }
        });
        Self { address, log }
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every TLS record so far, in the order in which they were complete.
    #[must_use]
    pub fn records(&self) -> Vec<TlsRecord> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .records
            .clone()
    }

    /// What was encrypted, of all records of application data so far, both ways.
    #[must_use]
    pub fn application_data(&self) -> Vec<u8> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.application_data.clone()
    }

    /// How much of it went over each connection, in the order in which they came.
    #[must_use]
    pub fn connections(&self) -> Vec<Sizes> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.connections.clone()
    }

    /// Whether `needle` went over the wire in clear, either way.
    #[must_use]
    pub fn saw(&self, needle: &[u8]) -> bool {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        [&log.to_node, &log.to_client]
            .iter()
            .any(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    }
}

fn pump(from: &TcpStream, to: &TcpStream, direction: Direction, log: &Arc<Mutex<Log>>, number: usize) {
    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else {
        return;
    };
    let log = Arc::clone(log);
    std::thread::spawn(move || {
        let mut partial = Vec::new();
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let bytes = &buffer[..count];
            partial.extend_from_slice(bytes);
            {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                match direction {
                    Direction::ToNode => log.to_node.extend_from_slice(bytes),
                    Direction::ToClient => log.to_client.extend_from_slice(bytes),
                }
                while let Some((record, size)) = first_record(&partial, direction) {
                    log.records.push(record);
                    if record.content_type == APPLICATION_DATA {
                        log.application_data.extend_from_slice(&partial[5..size]);
                        let sizes = &mut log.connections[number];
                        match direction {
                            Direction::ToNode => sizes.to_node += record.length,
                            Direction::ToClient => sizes.to_client += record.length,
                        }
                    }
                    partial.drain(..size);
                }
            }
            if to.write_all(bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

/// The first whole record among `bytes`, and how many of them it is.
pub(crate) fn first_record(bytes: &[u8], direction: Direction) -> Option<(TlsRecord, usize)> {
    let [content_type, _, _, high, low] = *bytes.first_chunk::<5>()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    (bytes.len() >= 5 + length).then_some((
        TlsRecord {
            direction,
            content_type,
            length,
        },
        5 + length,
    ))
}
