//! What one client, and all clients together, may have: connections and time.
//! Owns the counting. It never waits: who is over a limit is refused at once,
//! so that nothing queues here.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::endpoint::socket::Peer;

/// The limits of one relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time, those included that still wait for the guest.
    pub max_connections: usize,
    /// Connections at a time from one IPv4 address, one IPv6 /64 or one vsock
    /// context.
    pub per_address: usize,
    /// From accepting a connection to having one to the guest, names included.
    pub connect_timeout: Duration,
    /// Without a byte moved in either direction.
    pub idle_timeout: Duration,
    /// From accepting a connection to its end, whatever moves.
    pub max_lifetime: Duration,
    /// How long connections may go on after a request to stop.
    pub drain_timeout: Duration,
}

/// Why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// [`Limits::max_connections`] are open.
    Full,
    /// [`Limits::per_address`] are open from that address.
    PerAddress,
}

/// Counts who is in.
#[derive(Debug, Clone)]
pub struct Admission {
    max_connections: usize,
    per_address: usize,
    inside: Arc<Mutex<Inside>>,
}

/// `by_source` has no entry of 0, so its size is at most `total`.
#[derive(Debug, Default)]
struct Inside {
    total: usize,
    by_source: HashMap<Source, usize>,
}

/// Whom a connection is counted for. An IPv6 network of 64 bits is one: its
/// owner has all of its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Ip(IpAddr),
    Cid(u32),
}

/// The right to have one connection; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    source: Source,
    inside: Arc<Mutex<Inside>>,
}

impl Admission {
    /// Nobody inside yet.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            max_connections: limits.max_connections,
            per_address: limits.per_address,
            inside: Arc::default(),
        }
    }

    /// Lets `peer` in, or says which limit it is over.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn admit(&self, peer: Peer) -> Result<Permit, Refusal> {
        let source = Source::from(peer);
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.total >= self.max_connections {
            return Err(Refusal::Full);
        }
        let of_source = inside.by_source.get(&source).copied().unwrap_or(0);
        if of_source >= self.per_address {
            return Err(Refusal::PerAddress);
        }
        inside.by_source.insert(source, of_source + 1);
        inside.total += 1;
        Ok(Permit {
            source,
            inside: Arc::clone(&self.inside),
        })
    }

    /// Connections that are in.
    #[must_use]
    pub fn active(&self) -> usize {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.total = inside.total.saturating_sub(1);
        let left = inside
            .by_source
            .get(&self.source)
            .map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            inside.by_source.remove(&self.source);
        } else {
            inside.by_source.insert(self.source, left);
        }
    }
}

impl From<Peer> for Source {
    fn from(peer: Peer) -> Self {
        match peer {
            Peer::Ip(IpAddr::V6(address)) => {
                let network = u128::from(address) >> 64 << 64;
                Self::Ip(IpAddr::V6(Ipv6Addr::from(network)))
            }
            Peer::Ip(address) => Self::Ip(address),
            Peer::Cid(cid) => Self::Cid(cid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_connections: usize, per_address: usize) -> Admission {
        Admission::new(&Limits {
            max_connections,
            per_address,
            connect_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            max_lifetime: Duration::ZERO,
            drain_timeout: Duration::ZERO,
        })
    }

    fn ip(text: &str) -> Peer {
        Peer::Ip(text.parse().unwrap())
    }

    #[test]
    fn one_address_fills_its_share_and_not_the_others() {
        let admission = admission(8, 2);
        let first = admission.admit(ip("192.0.2.1")).unwrap();
        let _second = admission.admit(ip("192.0.2.1")).unwrap();
        assert_eq!(admission.admit(ip("192.0.2.1")).unwrap_err(), Refusal::PerAddress);
        let _other = admission.admit(ip("192.0.2.2")).unwrap();
        drop(first);
        let _again = admission.admit(ip("192.0.2.1")).unwrap();
    }

    #[test]
    fn the_total_holds_for_all_together_and_is_given_back() {
        let admission = admission(2, 2);
        let first = admission.admit(ip("192.0.2.1")).unwrap();
        let second = admission.admit(Peer::Cid(3)).unwrap();
        assert_eq!(admission.admit(ip("192.0.2.9")).unwrap_err(), Refusal::Full);
        drop((first, second));
        assert_eq!(admission.active(), 0);
        assert!(
            admission.inside.lock().unwrap().by_source.is_empty(),
            "no entry outlives its connections"
        );
    }

    #[test]
    fn an_ipv6_network_of_64_bits_counts_as_one() {
        let admission = admission(8, 1);
        let _one = admission.admit(ip("2001:db8:0:1::1")).unwrap();
        assert_eq!(
            admission.admit(ip("2001:db8:0:1:ffff::2")).unwrap_err(),
            Refusal::PerAddress
        );
        let _neighbour = admission.admit(ip("2001:db8:0:2::1")).unwrap();
    }
}
