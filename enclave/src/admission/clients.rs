//! The table of clients: what each has in use, and what is left of its rates.
//! It has a fixed number of places. A client is forgotten only when it has
//! nothing open and nothing held against it; whoever comes to a full table
//! shares one place with all the others that do.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::bucket::Bucket;
use super::limits::AdmissionLimits;
use crate::metrics::Refusal;

/// Least time between two searches of the whole table.
const SWEEP: Duration = Duration::from_secs(1);

/// Where a connection is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seat {
    /// At its own client's.
    Own([u8; 16]),
    /// Where the table was full.
    Shared,
}

#[derive(Debug, Default)]
struct Client {
    connections: usize,
    handshakes: usize,
    arrivals: Bucket,
    attests: Bucket,
}

/// The clients that are remembered.
#[derive(Debug)]
pub(super) struct Clients {
    places: usize,
    // std's hasher has random keys: nobody can choose addresses that collide.
    known: HashMap<[u8; 16], Client>,
    shared: Client,
    swept: Option<Instant>,
}

impl Clients {
    pub(super) fn new(places: usize) -> Self {
        Self {
            places,
            known: HashMap::new(),
            shared: Client::default(),
            swept: None,
        }
    }

    /// Counts a connection whose handshake begins.
    pub(super) fn arrive(
        &mut self,
        address: [u8; 16],
        limits: &AdmissionLimits,
        now: Instant,
    ) -> Result<Seat, Refusal> {
        let seat = self.place(address, now);
        let client = match seat {
            Seat::Own(address) => self.known.entry(address).or_default(),
            Seat::Shared => &mut self.shared,
        };
        let over = |used: usize, limit: usize| limit != 0 && used >= limit;
        if over(client.connections, limits.client_connections) {
            return Err(Refusal::ClientConnections);
        }
        if over(client.handshakes, limits.client_handshakes) {
            return Err(Refusal::ClientHandshakes);
        }
        client
            .arrivals
            .take(limits.client_arrivals, now)
            .map_err(|_| Refusal::ClientArrivals)?;
        client.connections += 1;
        client.handshakes += 1;
        Ok(seat)
    }

    fn place(&mut self, address: [u8; 16], now: Instant) -> Seat {
        if self.known.len() < self.places || self.known.contains_key(&address) {
            return Seat::Own(address);
        }
        let due = self
            .swept
            .is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP);
        if due {
            self.swept = Some(now);
            self.known.retain(|_, client| !client.is_forgettable(now));
        }
        if self.known.len() < self.places {
            Seat::Own(address)
        } else {
            Seat::Shared
        }
    }

    /// Counts an attest; how long to wait if there were too many.
    pub(super) fn attest(
        &mut self,
        seat: Seat,
        limits: &AdmissionLimits,
        now: Instant,
    ) -> Result<(), Duration> {
        self.at(seat)
            .map_or(Ok(()), |client| client.attests.take(limits.client_attests, now))
    }

    pub(super) fn handshaken(&mut self, seat: Seat) {
        if let Some(client) = self.at(seat) {
            client.handshakes = client.handshakes.saturating_sub(1);
        }
    }

    pub(super) fn leave(&mut self, seat: Seat) {
        if let Some(client) = self.at(seat) {
            client.connections = client.connections.saturating_sub(1);
        }
    }

    /// A seat is there as long as a connection sits in it.
    fn at(&mut self, seat: Seat) -> Option<&mut Client> {
        match seat {
            Seat::Own(address) => self.known.get_mut(&address),
            Seat::Shared => Some(&mut self.shared),
        }
    }

    /// How many are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

impl Client {
    fn is_forgettable(&self, now: Instant) -> bool {
        self.connections == 0 && self.arrivals.is_full(now) && self.attests.is_full(now)
    }
}
